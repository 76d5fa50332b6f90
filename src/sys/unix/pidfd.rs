// Tests: tests/it/from_pidfd.rs, tests/it/seccomp.rs, tests/syscalls.rs

//! The calls on pidfds.

use std::fs;
use std::io;
use std::os::fd::{AsFd, AsRawFd, FromRawFd, OwnedFd};

use nix::errno::Errno;
use nix::libc::{self, c_int, pid_t};
use nix::Result;

use super::wait::waitid::waitid;
use super::{status_flags, Pidfd};
use crate::exit::{Event, ResourceUsage};

/// `PIDFD_SIGNAL_PROCESS_GROUP`: the group that the process leads (Linux 6.9).
pub(crate) const SIGNAL_PROCESS_GROUP: u32 = 1 << 2;
/// `PIDFD_INFO_EXIT`: the wait status of a reaped process (Linux 6.15).
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

/// `pidfd_open(pid, 0)`.
pub(crate) fn pidfd_open(pid: pid_t) -> Result<Pidfd> {
    // SAFETY: the call reads two integers and touches no memory of ours.
    let fd = Errno::result(unsafe { libc::syscall(libc::SYS_pidfd_open, pid, 0) })?;
    let fd = c_int::try_from(fd).map_err(|_| Errno::EBADF)?;
    // SAFETY: the kernel has just made this descriptor for us, and no other code has it.
    Ok(unsafe { OwnedFd::from_raw_fd(fd) })
}

/// `pidfd_send_signal(fd, signal, NULL, flags)`.
pub(crate) fn pidfd_send_signal(fd: &Pidfd, signal: c_int, flags: u32) -> Result<()> {
    let no_info = std::ptr::null::<libc::siginfo_t>();
    let raw = fd.as_raw_fd();
    // SAFETY: `fd` is open while it is borrowed, and the call accepts a null `info`.
    let sent = unsafe { libc::syscall(libc::SYS_pidfd_send_signal, raw, signal, no_info, flags) };
    Errno::result(sent).map(drop)
}

/// `waitid(P_PIDFD, fd, options)`: status and usage in one call.
pub(crate) fn waitid_pidfd(
    fd: &Pidfd,
    options: c_int,
    usage: Option<&mut ResourceUsage>,
) -> Result<Event> {
    let id = libc::id_t::try_from(fd.as_raw_fd()).map_err(|_| Errno::EBADF)?;
    // __WALL: also children whose exit signal is not SIGCHLD. Every kernel with P_PIDFD accepts it.
    waitid(libc::P_PIDFD, id, options | libc::__WALL, usage)
}

/// `ioctl(PIDFD_GET_INFO)`. `wanted` is a mask of `PIDFD_INFO_*`. The mask in the result tells which of
/// them the kernel filled in.
pub(crate) fn pidfd_info(fd: &Pidfd, wanted: u64) -> Result<PidfdInfo> {
    let mut info = PidfdInfo {
        mask: wanted,
        ..PidfdInfo::default()
    };
    let raw = fd.as_raw_fd();
    // SAFETY: `fd` is open while it is borrowed, and the request's number carries the size of the
    // structure, so the kernel writes no further than that.
    unsafe { get_info(raw, &mut info) }?;
    Ok(info)
}

nix::ioctl_readwrite!(get_info, 0xFF, 11, PidfdInfo);

/// Takes over a descriptor that the caller opened.
pub(crate) fn adopt(fd: OwnedFd) -> Pidfd {
    fd
}

/// Whether a pidfd has `PIDFD_THREAD` (which is O_EXCL) among its flags.
pub(crate) fn is_thread_pidfd(fd: &Pidfd) -> Result<bool> {
    Ok(status_flags(fd.as_fd())? & libc::O_EXCL != 0)
}

/// Reads the kernel's information on a descriptor.
///
/// Not from `/proc/self`, which belongs to the main thread: that may have another descriptor table, or
/// have exited.
pub(crate) fn fdinfo(fd: &Pidfd) -> io::Result<String> {
    fs::read_to_string(format!("/proc/thread-self/fdinfo/{}", fd.as_raw_fd()))
}
