//! Everything that the crate asks of the system, one function a call: processes, descriptors,
//! clock, threads and locks.
//!
//! # Safety
//!
//! All `unsafe` of the crate is here, each block around one call. The functions themselves are
//! safe: they take descriptors as owned or borrowed values, and memory as references.
//!
//! No function reports EINTR, and none does more than its call.

#![allow(unsafe_code)] // The one place for it: see above.

use std::fs;
use std::io;
use std::mem::MaybeUninit;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd};
use std::os::unix::net::UnixStream;
use std::thread;
use std::time::{Duration, Instant};

use nix::errno::{Errno, ErrnoSentinel};
use nix::libc::{self, c_int, pid_t};
use nix::poll::{PollFd, PollFlags};
use nix::sys::signal::{SigSet, SigmaskHow};
use nix::Result;

use crate::exit::{Event, ResourceUsage};

pub(crate) use std::sync::{Arc, Condvar, Mutex, MutexGuard, Weak};

/// A pidfd.
pub(crate) type Pidfd = OwnedFd;
/// The end of a channel that becomes readable when the other end is dropped.
pub(crate) type Readable = UnixStream;
/// That other end.
pub(crate) type Dropped = UnixStream;

// ---- processes by pid ----

/// `waitid(P_PID, pid, WEXITED | WNOWAIT)`: looks at a child and leaves the zombie where it is.
/// With `block`, only once there is something to see.
pub(crate) fn look_by_pid(pid: pid_t, block: bool) -> Result<Event> {
    let options = libc::WEXITED | libc::WNOWAIT | if block { 0 } else { libc::WNOHANG };
    let id = libc::id_t::try_from(pid).map_err(|_| Errno::EINVAL)?;
    let mut info = zeroed_siginfo();
    retry(|| {
        // SAFETY: `info` is valid for writes for the whole call, which keeps no pointer to it.
        unsafe { libc::waitid(libc::P_PID, id, info.as_mut_ptr(), options) }
    })?;
    Ok(decode(&info))
}

/// `wait4(pid, WNOHANG)`: reaps a child by pid.
pub(crate) fn reap_by_pid(pid: pid_t, usage: Option<&mut ResourceUsage>) -> Result<Event> {
    let mut status = 0;
    let mut rusage = MaybeUninit::<libc::rusage>::zeroed();
    let rusage_ptr = if_wanted(&usage, &mut rusage);
    let reaped = retry(|| {
        // SAFETY: both pointers are to locals, valid for writes for the whole call; the last may
        // be null.
        unsafe { libc::wait4(pid, &mut status, libc::WNOHANG, rusage_ptr) }
    })?;
    if reaped == 0 {
        return Ok(Event::Running);
    }
    store_usage(&rusage, usage);
    Ok(Event::from_wait_status(status))
}

/// `kill(pid, signal)`. Not nix's, whose `Signal` has no real-time signals.
///
/// Only this function signals by number, so it is here that a pid is never 0, -1 or a group.
pub(crate) fn kill(pid: pid_t, signal: c_int) -> Result<()> {
    if pid <= 0 {
        return Err(Errno::EINVAL);
    }
    // SAFETY: `kill` reads two integers and touches no memory of ours.
    Errno::result(unsafe { libc::kill(pid, signal) }).map(drop)
}

/// `kill(-pid, signal)`: signals the process group that `pid` leads.
///
/// Group 1 cannot be named that way: -1 is everybody.
pub(crate) fn kill_group(pid: pid_t, signal: c_int) -> Result<()> {
    if pid <= 1 {
        return Err(Errno::EINVAL);
    }
    // SAFETY: `kill` reads two integers and touches no memory of ours.
    Errno::result(unsafe { libc::kill(-pid, signal) }).map(drop)
}

/// Whether `pid` leads a process group, `getpgid(pid)`. A zombie still may.
pub(crate) fn leads_group(pid: pid_t) -> Result<bool> {
    let group = nix::unistd::getpgid(Some(nix::unistd::Pid::from_raw(pid)))?;
    Ok(group.as_raw() == pid)
}

/// Whether there is a signal of that number; 0, which only asks, counts.
pub(crate) fn is_signal(signal: c_int) -> bool {
    let set = SigSet::empty();
    // SAFETY: `sigismember` reads the set, which is initialized; for a number that is no signal
    // it answers -1.
    signal == 0 || unsafe { libc::sigismember(set.as_ref(), signal) } >= 0
}

// ---- processes by descriptor ----

#[cfg(any(target_os = "linux", target_os = "android"))]
mod pidfd {
    use super::*;

    /// `pidfd_open(pid, 0)`.
    pub(crate) fn pidfd_open(pid: pid_t) -> Result<Pidfd> {
        // SAFETY: the call reads two integers and touches no memory of ours.
        let fd = Errno::result(unsafe { libc::syscall(libc::SYS_pidfd_open, pid, 0) })?;
        let fd = c_int::try_from(fd).map_err(|_| Errno::EBADF)?;
        // SAFETY: the kernel has just made this descriptor for us, and nobody else knows it.
        Ok(unsafe { std::os::fd::FromRawFd::from_raw_fd(fd) })
    }

    /// `pidfd_send_signal(fd, signal, NULL, flags)`.
    pub(crate) fn pidfd_send_signal(fd: &Pidfd, signal: c_int, flags: u32) -> Result<()> {
        let no_info = std::ptr::null::<libc::siginfo_t>();
        let raw = fd.as_raw_fd();
        // SAFETY: `fd` is open while it is borrowed, and the call accepts a null `info`.
        let sent =
            unsafe { libc::syscall(libc::SYS_pidfd_send_signal, raw, signal, no_info, flags) };
        Errno::result(sent).map(drop)
    }

    /// `waitid(P_PIDFD, fd, options)`: status and usage in one call.
    pub(crate) fn waitid_pidfd(
        fd: &Pidfd,
        options: c_int,
        usage: Option<&mut ResourceUsage>,
    ) -> Result<Event> {
        let id = libc::id_t::try_from(fd.as_raw_fd()).map_err(|_| Errno::EBADF)?;
        waitid(libc::P_PIDFD, id, options, usage)
    }

    /// What a zombie used, before anybody reaps it.
    pub(crate) fn usage_by_pid(pid: pid_t) -> Option<ResourceUsage> {
        let id = libc::id_t::try_from(pid).ok()?;
        let options = libc::WEXITED | libc::WNOHANG | libc::WNOWAIT;
        let mut usage = ResourceUsage::default();
        let event = waitid(libc::P_PID, id, options, Some(&mut usage)).ok()?;
        event.exited().map(|_| usage)
    }

    /// The system call, whose fifth argument libc's function lacks.
    fn waitid(
        kind: libc::idtype_t,
        id: libc::id_t,
        options: c_int,
        usage: Option<&mut ResourceUsage>,
    ) -> Result<Event> {
        let mut info = zeroed_siginfo();
        let mut rusage = MaybeUninit::<libc::rusage>::zeroed();
        let info_ptr = info.as_mut_ptr();
        let rusage_ptr = if_wanted(&usage, &mut rusage);
        retry(|| {
            // SAFETY: both pointers are to locals that are valid for writes for the whole call,
            // which keeps neither; the last may be null.
            unsafe { libc::syscall(libc::SYS_waitid, kind, id, info_ptr, options, rusage_ptr) }
        })?;
        let event = decode(&info);
        if let Event::Exited(_) = event {
            store_usage(&rusage, usage);
        }
        Ok(event)
    }

    /// Asks a pidfd about its process, `ioctl(PIDFD_GET_INFO)`; `wanted` is a mask of
    /// `PIDFD_INFO_*`, and what was really had is in the mask that comes back.
    pub(crate) fn pidfd_info(fd: &Pidfd, wanted: u64) -> Result<PidfdInfo> {
        let mut info = PidfdInfo {
            mask: wanted,
            ..PidfdInfo::default()
        };
        let raw = fd.as_raw_fd();
        // SAFETY: `fd` is open while it is borrowed, and the request's number carries the size of
        // the structure, so the kernel writes no further than that.
        unsafe { get_info(raw, &mut info) }?;
        Ok(info)
    }

    nix::ioctl_readwrite!(get_info, 0xFF, 11, PidfdInfo);
}

#[cfg(not(any(target_os = "linux", target_os = "android")))]
#[path = "sys/no_pidfd.rs"]
mod pidfd;

pub(crate) use pidfd::{pidfd_info, pidfd_open, pidfd_send_signal, usage_by_pid, waitid_pidfd};

/// `PIDFD_SIGNAL_PROCESS_GROUP`: the group that the process leads (Linux 6.9).
pub(crate) const SIGNAL_PROCESS_GROUP: u32 = 1 << 2;
/// `PIDFD_INFO_EXIT`: how a reaped process ended (Linux 6.15).
pub(crate) const INFO_EXIT: u64 = 1 << 3;

/// `struct pidfd_info` as Linux 6.13 has it; later kernels append, and still accept this one.
#[repr(C)]
#[derive(Debug, Default)]
pub(crate) struct PidfdInfo {
    pub(crate) mask: u64,
    _cgroup: u64,
    pub(crate) pid: u32,
    pub(crate) tgid: u32,
    pub(crate) ppid: u32,
    _credentials: [u32; 8],
    pub(crate) exit_code: i32,
}

/// Takes over a descriptor that somebody else opened.
pub(crate) fn adopt(fd: OwnedFd) -> Pidfd {
    fd
}

/// Whether a pidfd has `PIDFD_THREAD` (which is O_EXCL) among its flags.
pub(crate) fn is_of_a_thread(fd: &Pidfd) -> Result<bool> {
    Ok(status_flags(fd.as_fd())? & libc::O_EXCL != 0)
}

/// What the kernel writes of a descriptor, `/proc/self/fdinfo/N`.
pub(crate) fn fdinfo(fd: &Pidfd) -> io::Result<String> {
    fs::read_to_string(format!("/proc/self/fdinfo/{}", fd.as_raw_fd()))
}

// ---- descriptors ----

/// Waits until one of `fds` is ready, and says how many are; 0 only once the deadline has passed.
pub(crate) fn poll(fds: &mut [PollFd<'_>], deadline: Option<Instant>) -> Result<usize> {
    // Some systems refuse a longer time.
    const LONGEST: Duration = Duration::from_secs(1_000_000);
    loop {
        let left = deadline.map(|at| at.saturating_duration_since(now()));
        match poll_once(fds, left.map(|time| time.min(LONGEST))) {
            Err(Errno::EINTR) => {}
            Ok(0) if deadline.map_or(true, |at| now() < at) => {}
            done => return done,
        }
    }
}

#[cfg(any(target_os = "linux", target_os = "android", target_os = "freebsd"))]
mod ppoll {
    use super::*;

    pub(super) fn poll_once(fds: &mut [PollFd<'_>], limit: Option<Duration>) -> Result<usize> {
        let ready = nix::poll::ppoll(fds, limit.map(Into::into), None)?;
        Ok(usize::try_from(ready).unwrap_or(0))
    }
}

#[cfg(not(any(target_os = "linux", target_os = "android", target_os = "freebsd")))]
#[path = "sys/no_ppoll.rs"]
mod ppoll;

use ppoll::poll_once;

/// Waits until `fd` is readable; false once the deadline has passed.
pub(crate) fn poll_readable(fd: &impl AsFd, deadline: Option<Instant>) -> Result<bool> {
    let mut fds = [PollFd::new(fd.as_fd(), PollFlags::POLLIN)];
    Ok(poll(&mut fds, deadline)? > 0)
}

/// Waits until a pidfd says that its process was reaped, POLLHUP (Linux 6.9), or the deadline has
/// passed.
pub(crate) fn poll_reaped(fd: &Pidfd, deadline: Option<Instant>) -> Result<()> {
    // Asked for nothing, poll tells of this alone.
    let mut fds = [PollFd::new(fd.as_fd(), PollFlags::empty())];
    poll(&mut fds, deadline).map(drop)
}

/// The status flags of what is open there, `fcntl(F_GETFL)`.
pub(crate) fn status_flags(fd: BorrowedFd<'_>) -> Result<c_int> {
    // SAFETY: `fd` is open while it is borrowed, and F_GETFL takes no third argument.
    Errno::result(unsafe { libc::fcntl(fd.as_raw_fd(), libc::F_GETFL) })
}

/// Sets those that can be set, `fcntl(F_SETFL)`.
pub(crate) fn set_status_flags(fd: BorrowedFd<'_>, flags: c_int) -> Result<()> {
    // SAFETY: `fd` is open while it is borrowed, and F_SETFL takes an int.
    Errno::result(unsafe { libc::fcntl(fd.as_raw_fd(), libc::F_SETFL, flags) }).map(drop)
}

/// How many bytes a pipe holds, `ioctl(FIONREAD)`.
pub(crate) fn bytes_in(fd: BorrowedFd<'_>) -> Result<usize> {
    let mut held: c_int = 0;
    // SAFETY: `fd` is open while it is borrowed, and FIONREAD writes one int to a local.
    Errno::result(unsafe { libc::ioctl(fd.as_raw_fd(), libc::FIONREAD, &mut held) })?;
    Ok(usize::try_from(held).unwrap_or(0))
}

/// One `read`, appended to `buffer`, of as much as it has spare capacity for; 0 is the end.
pub(crate) fn read_spare(fd: BorrowedFd<'_>, buffer: &mut Vec<u8>) -> Result<usize> {
    let spare = buffer.spare_capacity_mut();
    let (start, room) = (spare.as_mut_ptr().cast(), spare.len());
    let raw = fd.as_raw_fd();
    let read = retry(|| {
        // SAFETY: `fd` is open while it is borrowed; the spare capacity is ours, `room` bytes
        // long, and may be written to.
        unsafe { libc::read(raw, start, room) }
    })?;
    let read = usize::try_from(read).unwrap_or(0);
    let length = buffer.len() + read;
    // SAFETY: `read` has initialized that many bytes behind the old length, within the capacity.
    unsafe { buffer.set_len(length) };
    Ok(read)
}

/// A channel that carries nothing but the end of its second half: a socket pair, because a pipe
/// would have to be written to, under SIGPIPE, before poll says POLLIN of it.
pub(crate) fn channel() -> Result<(Readable, Dropped)> {
    UnixStream::pair().map_err(errno_of)
}

// ---- clock and threads ----

/// The monotonic clock.
pub(crate) fn now() -> Instant {
    Instant::now()
}

/// Sleeps for as long as that, by the clock. std's `sleep` asks for what was left after each signal
/// handler, the time between not counted: signals that come fast enough would keep it for ever.
pub(crate) fn sleep(time: Duration) {
    // Of no descriptors there is nothing to report but the end of the time.
    let _ = poll(&mut [], now().checked_add(time));
}

/// Starts a thread that handles no signal of the program's and needs next to no stack.
pub(crate) fn spawn_watcher(run: impl FnOnce() + Send + 'static) -> Result<()> {
    // Blocked before the thread is there, which inherits it: no handler ever runs on it.
    let before = SigSet::all().thread_swap_mask(SigmaskHow::SIG_SETMASK)?;
    let spawned = thread::Builder::new()
        .name("pidwait".to_owned())
        .stack_size(64 * 1024)
        .spawn(run);
    // It cannot fail; and an error here would deny a thread that is there.
    let _ = before.thread_set_mask();
    spawned.map(drop).map_err(errno_of)
}

// ---- helpers of the calls above ----

/// Calls again for as long as a signal handler gets in the way.
fn retry<T: ErrnoSentinel + PartialEq>(mut call: impl FnMut() -> T) -> Result<T> {
    loop {
        match Errno::result(call()) {
            Err(Errno::EINTR) => {}
            done => return done,
        }
    }
}

/// Zeroed, for where there is nothing to report some systems leave it as it was.
fn zeroed_siginfo() -> MaybeUninit<libc::siginfo_t> {
    MaybeUninit::zeroed()
}

/// What std reports of a system call; it makes up no errors of its own here.
fn errno_of(error: io::Error) -> Errno {
    error.raw_os_error().map_or(Errno::EIO, Errno::from_raw)
}

fn decode(info: &MaybeUninit<libc::siginfo_t>) -> Event {
    // SAFETY: it was zeroed, and zeroes are valid for every field; a call may have filled it in.
    let info = unsafe { info.assume_init_ref() };
    // SAFETY: `si_status` is the field that `waitid` fills in, or the zeroes still.
    let status = unsafe { info.si_status() };
    Event::from_siginfo(info.si_signo, info.si_code, status)
}

/// Where the kernel is to write the usage; for it is work to find out, null if nobody asks.
fn if_wanted(
    usage: &Option<&mut ResourceUsage>,
    raw: &mut MaybeUninit<libc::rusage>,
) -> *mut libc::rusage {
    match usage {
        Some(_) => raw.as_mut_ptr(),
        None => std::ptr::null_mut(),
    }
}

fn store_usage(raw: &MaybeUninit<libc::rusage>, usage: Option<&mut ResourceUsage>) {
    if let Some(usage) = usage {
        // SAFETY: it was zeroed, and zeroes are valid for every field; a call has filled it in.
        *usage = ResourceUsage::from_rusage(unsafe { raw.assume_init_ref() });
    }
}
