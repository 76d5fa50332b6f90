//! The system calls, with nothing around them but the check that they worked.

use std::io;
use std::mem::MaybeUninit;
use std::os::fd::{AsRawFd, BorrowedFd, FromRawFd, OwnedFd, RawFd};
use std::time::Duration;

use nix::libc::{self, c_int, pid_t};

/// Panics with errno where a call failed: no bench goes on with half an answer.
fn check(result: c_int) -> c_int {
    assert!(result >= 0, "{}", io::Error::last_os_error());
    result
}

pub(crate) fn pidfd_open(pid: pid_t) -> OwnedFd {
    // SAFETY: the call reads two integers.
    let fd = check(unsafe { libc::syscall(libc::SYS_pidfd_open, pid, 0) } as c_int);
    // SAFETY: the descriptor is new, and nobody else's.
    unsafe { OwnedFd::from_raw_fd(fd) }
}

/// `waitid`: the raw status field, or `None` where there was nothing yet, or ECHILD.
fn waitid(kind: libc::idtype_t, id: libc::id_t, options: c_int) -> Option<c_int> {
    let mut info = MaybeUninit::<libc::siginfo_t>::zeroed();
    // SAFETY: `info` is valid for writes, and the call does not keep it.
    if unsafe { libc::waitid(kind, id, info.as_mut_ptr(), libc::WEXITED | options) } < 0 {
        let error = io::Error::last_os_error();
        assert_eq!(error.raw_os_error(), Some(libc::ECHILD));
        return None;
    }
    // SAFETY: zeroes are valid, and so is what the kernel has written.
    let info = unsafe { info.assume_init_ref() };
    // SAFETY: as above; after `waitid` this is the field in use.
    let status = unsafe { info.si_status() };
    (info.si_signo != 0).then_some(status)
}

pub(crate) fn waitid_pidfd(fd: &OwnedFd, options: c_int) -> Option<c_int> {
    waitid(libc::P_PIDFD, fd.as_raw_fd() as libc::id_t, options)
}

/// Looks at a child and leaves it unreaped.
pub(crate) fn look_by_pid(pid: pid_t, block: bool) -> Option<c_int> {
    let options = libc::WNOWAIT | if block { 0 } else { libc::WNOHANG };
    waitid(libc::P_PID, pid as libc::id_t, options)
}

/// `waitpid`, which reaps: the pid and the status; `None` where there was nothing yet.
pub(crate) fn waitpid(pid: pid_t, options: c_int) -> Option<(pid_t, c_int)> {
    let mut status = 0;
    // SAFETY: `status` is valid for writes, and the call does not keep it.
    let reaped = check(unsafe { libc::waitpid(pid, &mut status, options) });
    (reaped != 0).then_some((reaped, status))
}

pub(crate) fn kill(pid: pid_t, signal: c_int) {
    assert!(pid > 0, "no group is ever meant");
    // SAFETY: the call reads two integers.
    check(unsafe { libc::kill(pid, signal) });
}

pub(crate) fn pidfd_send_signal(fd: &OwnedFd, signal: c_int) {
    let (fd, no_info) = (fd.as_raw_fd(), std::ptr::null::<libc::siginfo_t>());
    // SAFETY: the call accepts a null `info`.
    check(unsafe { libc::syscall(libc::SYS_pidfd_send_signal, fd, signal, no_info, 0) } as c_int);
}

/// `ppoll` of one descriptor: whether it became readable within the limit.
pub(crate) fn readable_within(fd: &OwnedFd, limit: Duration) -> bool {
    let mut poll = libc::pollfd {
        fd: fd.as_raw_fd(),
        events: libc::POLLIN,
        revents: 0,
    };
    let limit = libc::timespec {
        tv_sec: limit.as_secs() as libc::time_t,
        tv_nsec: limit.subsec_nanos().into(),
    };
    // SAFETY: one `pollfd` is there, valid for writes, and no signal mask is given.
    check(unsafe { libc::ppoll(&mut poll, 1, &limit, std::ptr::null()) }) > 0
}

/// What a clock says: CLOCK_MONOTONIC, the same in all processes, or CLOCK_PROCESS_CPUTIME_ID.
pub(crate) fn nanoseconds(clock: libc::clockid_t) -> u64 {
    let mut now = MaybeUninit::<libc::timespec>::zeroed();
    // SAFETY: `now` is valid for writes, and the call does not keep it.
    check(unsafe { libc::clock_gettime(clock, now.as_mut_ptr()) });
    // SAFETY: the call has filled it in.
    let now = unsafe { now.assume_init() };
    now.tv_sec as u64 * 1_000_000_000 + now.tv_nsec as u64
}

/// Ends this process at once, with nothing run on the way out.
pub(crate) fn exit_now() -> ! {
    // SAFETY: it does not return, and needs nothing.
    unsafe { libc::_exit(0) }
}

/// What a forked child does until the other end of a descriptor is closed; then it exits.
///
/// It holds no other descriptor: nothing that is to be closed is kept open by it.
pub(crate) fn sleep_until_closed(fd: RawFd) -> ! {
    let mut byte = [0_u8];
    // SAFETY: `dup2` reads two integers, and both descriptors are this process's own.
    check(unsafe { libc::dup2(fd, 0) });
    // SAFETY: the call reads three integers, and nothing in this process uses descriptors again.
    check(unsafe { libc::syscall(libc::SYS_close_range, 1, u32::MAX, 0) } as c_int);
    // SAFETY: one byte is there to be written to.
    unsafe { libc::read(0, byte.as_mut_ptr().cast(), 1) };
    exit_now()
}

/// Raises the limit of open descriptors, if it is lower.
pub(crate) fn raise_descriptor_limit(wanted: u64) -> io::Result<()> {
    let mut limit = MaybeUninit::<libc::rlimit>::zeroed();
    // SAFETY: `limit` is valid for writes, and the call does not keep it.
    check(unsafe { libc::getrlimit(libc::RLIMIT_NOFILE, limit.as_mut_ptr()) });
    // SAFETY: the call has filled it in.
    let mut limit = unsafe { limit.assume_init() };
    limit.rlim_cur = limit.rlim_cur.max(wanted);
    limit.rlim_max = limit.rlim_max.max(wanted);
    // SAFETY: `limit` is valid for reads.
    match unsafe { libc::setrlimit(libc::RLIMIT_NOFILE, &limit) } {
        0 => Ok(()),
        _ => Err(io::Error::last_os_error()),
    }
}

/// `read`, appended to a buffer that is given room for 64 KiB more; 0 is the end.
pub(crate) fn read_on(fd: BorrowedFd<'_>, buffer: &mut Vec<u8>) -> usize {
    buffer.reserve(64 * 1024);
    let spare = buffer.spare_capacity_mut();
    // SAFETY: the spare capacity may be written to.
    let read = unsafe { libc::read(fd.as_raw_fd(), spare.as_mut_ptr().cast(), spare.len()) };
    let read = usize::try_from(read).expect("no error");
    // SAFETY: so many bytes behind the old end have been written.
    unsafe { buffer.set_len(buffer.len() + read) };
    read
}

/// A system call that nothing else makes, for strace to see.
pub(crate) fn mark() {
    // SAFETY: it reads one integer, and no session has a process of that pid.
    unsafe { libc::getsid(pid_t::MAX) };
}
