//! The system calls, with nothing around them but a check that they succeeded.

use std::io;
use std::mem::MaybeUninit;
use std::os::fd::{AsRawFd, FromRawFd, OwnedFd, RawFd};
use std::time::Duration;

use nix::libc::{self, c_int, pid_t, WNOHANG};

/// Panics with the errno if a call failed: a bench must not measure failures.
fn check(result: c_int) -> c_int {
    assert!(result >= 0, "{}", io::Error::last_os_error());
    result
}

pub(crate) fn pidfd_open(pid: pid_t) -> OwnedFd {
    // SAFETY: the call reads two integers.
    let fd = check(unsafe { libc::syscall(libc::SYS_pidfd_open, pid, 0) } as c_int);
    // SAFETY: the descriptor is new, and nothing else owns it.
    unsafe { OwnedFd::from_raw_fd(fd) }
}

/// `waitid`: the status field, or `None` if the child still runs or was reaped (ECHILD).
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

/// A wait that leaves the zombie.
pub(crate) fn peek_by_pid(pid: pid_t, options: c_int) -> Option<c_int> {
    waitid(libc::P_PID, pid as libc::id_t, options | libc::WNOWAIT)
}

/// `waitpid`: the PID and the status, or `None` if no child has exited yet.
pub(crate) fn waitpid(pid: pid_t, options: c_int) -> Option<(pid_t, c_int)> {
    let mut status = 0;
    // SAFETY: `status` is valid for writes, and the call does not keep it.
    let reaped = check(unsafe { libc::waitpid(pid, &mut status, options) });
    (reaped != 0).then_some((reaped, status))
}

pub(crate) fn kill(pid: pid_t, signal: c_int) {
    assert!(pid > 0, "not a group");
    // SAFETY: the call reads two integers.
    check(unsafe { libc::kill(pid, signal) });
}

/// Returns whether the group has a process; zombies count.
pub(crate) fn kill_group(pgid: pid_t, signal: c_int) -> bool {
    assert!(pgid > 1, "not a group");
    // SAFETY: the call reads two integers.
    let result = unsafe { libc::kill(-pgid, signal) };
    let error = io::Error::last_os_error();
    assert!(result == 0 || error.raw_os_error() == Some(libc::ESRCH));
    result == 0
}

/// Returns whether this process has a child, running or unreaped.
pub(crate) fn has_children() -> bool {
    let options = libc::WEXITED | libc::WNOWAIT | WNOHANG;
    // SAFETY: the call accepts a null `info`.
    let result = unsafe { libc::waitid(libc::P_ALL, 0, std::ptr::null_mut(), options) };
    let error = io::Error::last_os_error();
    assert!(result == 0 || error.raw_os_error() == Some(libc::ECHILD));
    result == 0
}

pub(crate) fn pidfd_send_signal(fd: &OwnedFd, signal: c_int) {
    let (fd, no_info) = (fd.as_raw_fd(), std::ptr::null::<libc::siginfo_t>());
    // SAFETY: the call accepts a null `info`.
    check(unsafe { libc::syscall(libc::SYS_pidfd_send_signal, fd, signal, no_info, 0) } as c_int);
}

/// `ppoll` of one descriptor: whether it became readable in time.
pub(crate) fn poll_readable(fd: &OwnedFd, timeout: Duration) -> bool {
    let mut poll = libc::pollfd {
        fd: fd.as_raw_fd(),
        events: libc::POLLIN,
        revents: 0,
    };
    let timeout = libc::timespec {
        tv_sec: timeout.as_secs() as libc::time_t,
        tv_nsec: timeout.subsec_nanos().into(),
    };
    // SAFETY: `poll` is one `pollfd`, valid for writes; the signal mask may be null.
    check(unsafe { libc::ppoll(&mut poll, 1, &timeout, std::ptr::null()) }) > 0
}

/// The time of a clock. CLOCK_MONOTONIC is the same in all processes.
pub(crate) fn nanoseconds(clock: libc::clockid_t) -> u64 {
    let mut now = MaybeUninit::<libc::timespec>::zeroed();
    // SAFETY: `now` is valid for writes, and the call does not keep it.
    check(unsafe { libc::clock_gettime(clock, now.as_mut_ptr()) });
    // SAFETY: the call has initialized it.
    let now = unsafe { now.assume_init() };
    now.tv_sec as u64 * 1_000_000_000 + now.tv_nsec as u64
}

/// Ends this process at once, without running exit handlers.
pub(crate) fn exit_now() -> ! {
    // SAFETY: the call has no requirements, and does not return.
    unsafe { libc::_exit(0) }
}

/// Sleeps until the other end of a socket is closed, and exits. For a forked child, which must make
/// system calls only; it closes all other descriptors, so that it keeps none of the parent's open.
pub(crate) fn sleep_until_closed(fd: RawFd) -> ! {
    let mut byte = [0_u8];
    // SAFETY: the call reads two integers, and nothing else uses descriptor 0 here.
    check(unsafe { libc::dup2(fd, 0) });
    // SAFETY: the call reads three integers, and this process uses none of the descriptors again.
    check(unsafe { libc::syscall(libc::SYS_close_range, 1, u32::MAX, 0) } as c_int);
    // SAFETY: `byte` is valid for writes of one byte.
    unsafe { libc::read(0, byte.as_mut_ptr().cast(), 1) };
    exit_now()
}

/// The CPUs that this thread may run on.
pub(crate) fn cpus() -> libc::cpu_set_t {
    let mut cpus = MaybeUninit::<libc::cpu_set_t>::zeroed();
    let size = size_of::<libc::cpu_set_t>();
    // SAFETY: `cpus` is valid for writes of that size.
    check(unsafe { libc::sched_getaffinity(0, size, cpus.as_mut_ptr()) });
    // SAFETY: zeroes are valid, and so is what the kernel has written.
    unsafe { cpus.assume_init() }
}

pub(crate) fn set_cpus(cpus: &libc::cpu_set_t) {
    // SAFETY: `cpus` is valid for reads of that size.
    check(unsafe { libc::sched_setaffinity(0, size_of::<libc::cpu_set_t>(), cpus) });
}

/// The CPU that this thread runs on now.
pub(crate) fn this_cpu() -> libc::cpu_set_t {
    // SAFETY: the call has no requirements.
    let cpu = check(unsafe { libc::sched_getcpu() });
    // SAFETY: a set of CPUs may be all zeroes: it is empty.
    let mut cpus = unsafe { MaybeUninit::<libc::cpu_set_t>::zeroed().assume_init() };
    // SAFETY: the call writes to `cpus` only, and checks the number.
    unsafe { libc::CPU_SET(cpu as usize, &mut cpus) };
    cpus
}

/// Raises the limit of open descriptors if it is lower.
pub(crate) fn raise_descriptor_limit(wanted: u64) -> io::Result<()> {
    let mut limit = MaybeUninit::<libc::rlimit>::zeroed();
    // SAFETY: `limit` is valid for writes, and the call does not keep it.
    check(unsafe { libc::getrlimit(libc::RLIMIT_NOFILE, limit.as_mut_ptr()) });
    // SAFETY: the call has initialized it.
    let mut limit = unsafe { limit.assume_init() };
    limit.rlim_cur = limit.rlim_cur.max(wanted);
    limit.rlim_max = limit.rlim_max.max(wanted);
    // SAFETY: `limit` is valid for reads.
    match unsafe { libc::setrlimit(libc::RLIMIT_NOFILE, &limit) } {
        0 => Ok(()),
        _ => Err(io::Error::last_os_error()),
    }
}

/// A system call that nothing else makes, to be found in strace's output.
pub(crate) fn mark() {
    // SAFETY: the call reads one integer, and fails.
    unsafe { libc::getsid(pid_t::MAX) };
}

/// Lets a descriptor be inherited by programs that are executed, and returns its number.
pub(crate) fn inheritable(fd: &impl AsRawFd) -> RawFd {
    // SAFETY: the call reads three integers.
    check(unsafe { libc::fcntl(fd.as_raw_fd(), libc::F_SETFD, 0) });
    fd.as_raw_fd()
}
