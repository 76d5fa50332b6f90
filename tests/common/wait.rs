//! Raw system calls that wait for a child by PID: peeking, and reaping as other code in the process
//! would do it.

use std::io;
use std::mem::MaybeUninit;
use std::os::unix::process::ExitStatusExt;
use std::process::ExitStatus;

use nix::libc;

use super::kill;

/// Blocks until a child has changed state (WEXITED, WSTOPPED, WCONTINUED), without consuming the
/// event.
pub(crate) fn await_change(pid: u32, change: i32) {
    peek(pid, change);
}

/// Blocks until a child has exited, without reaping it.
pub(crate) fn await_zombie(pid: u32) {
    await_change(pid, libc::WEXITED);
}

/// Stops a child and returns when it has stopped.
pub(crate) fn stop(pid: u32) {
    kill(pid, libc::SIGSTOP);
    await_change(pid, libc::WSTOPPED);
}

#[cfg(target_os = "linux")]
const ANY_EXIT_SIGNAL: libc::c_int = libc::__WALL;
#[cfg(not(target_os = "linux"))]
const ANY_EXIT_SIGNAL: libc::c_int = 0;

/// Reaps a child without using its handle, and returns the raw wait status. Also finds children whose
/// exit signal is not SIGCHLD (`__WALL`).
#[track_caller]
pub(crate) fn reap_externally(pid: u32) -> i32 {
    try_reap_externally(pid).unwrap_or_else(|error| panic!("waitpid {pid}: {error}"))
}

/// Like [`reap_externally`], but returns the error.
pub(crate) fn try_reap_externally(pid: u32) -> io::Result<i32> {
    let mut status = 0;
    let pid = libc::pid_t::try_from(pid).expect("a PID");
    // SAFETY: `status` is valid for writes during the call.
    let reaped = unsafe { libc::waitpid(pid, &mut status, ANY_EXIT_SIGNAL) };
    if reaped == pid {
        return Ok(status);
    }
    Err(io::Error::last_os_error())
}

/// Returns whether this process has no child, not even a zombie. Reaps nothing.
pub(crate) fn has_no_children() -> bool {
    let options = libc::WEXITED | libc::WNOHANG | libc::WNOWAIT | ANY_EXIT_SIGNAL;
    let mut info = MaybeUninit::<libc::siginfo_t>::zeroed();
    // SAFETY: `info` is valid for writes during the call.
    let found = unsafe { libc::waitid(libc::P_ALL, 0, info.as_mut_ptr(), options) };
    found != 0 && io::Error::last_os_error().raw_os_error() == Some(libc::ECHILD)
}

/// Returns the status of a zombie without reaping it.
pub(crate) fn status_of_zombie(pid: u32) -> ExitStatus {
    let info = peek(pid, libc::WEXITED);
    // SAFETY: `waitid` has set this field.
    let status = unsafe { info.si_status() };
    ExitStatus::from_raw(match info.si_code {
        libc::CLD_EXITED => status << 8,
        libc::CLD_KILLED => status,
        libc::CLD_DUMPED => status | 0x80,
        other => panic!("not an exit: si_code {other}"),
    })
}

/// Returns the resource usage of a zombie without reaping it.
#[cfg(target_os = "linux")]
pub(crate) fn usage_of_zombie(pid: u32) -> libc::rusage {
    let mut usage = MaybeUninit::<libc::rusage>::zeroed();
    let mut info = MaybeUninit::<libc::siginfo_t>::zeroed();
    let options = libc::WEXITED | libc::WNOWAIT;
    let (info, out) = (info.as_mut_ptr(), usage.as_mut_ptr());
    // SAFETY: both pointers are valid for writes during the call. A raw system call, because
    // libc's `waitid` has no parameter for the usage.
    let seen = unsafe { libc::syscall(libc::SYS_waitid, libc::P_PID, pid, info, options, out) };
    assert_eq!(seen, 0, "waitid {pid}: {}", io::Error::last_os_error());
    // SAFETY: zeroed above and written by the kernel.
    unsafe { usage.assume_init() }
}

fn peek(pid: u32, change: i32) -> libc::siginfo_t {
    let id = libc::id_t::try_from(pid).expect("a PID");
    loop {
        let mut info = MaybeUninit::<libc::siginfo_t>::zeroed();
        let options = change | libc::WNOWAIT;
        // SAFETY: `info` is valid for writes during the call.
        let seen = unsafe { libc::waitid(libc::P_PID, id, info.as_mut_ptr(), options) };
        if seen == 0 {
            // SAFETY: zeroed above and written by the kernel.
            return unsafe { info.assume_init() };
        }
        let error = io::Error::last_os_error();
        assert_eq!(
            error.kind(),
            io::ErrorKind::Interrupted,
            "waitid {pid}: {error}"
        );
    }
}
