//! File descriptors: pidfds, polling, pipes and files, the open descriptors and their limit.

use std::fs::{self, File};
use std::io;
use std::mem::MaybeUninit;
use std::os::fd::{AsFd, AsRawFd, FromRawFd, OwnedFd};
use std::os::unix::fs::OpenOptionsExt;

use nix::errno::Errno;
use nix::libc;
use nix::poll::{PollFd, PollFlags};

/// A poll timeout in milliseconds that is long enough for any exit that a test has caused.
pub(crate) const LONG: u16 = 60_000;

/// Returns whether a descriptor becomes readable within a timeout in milliseconds. The timeout
/// restarts after a signal.
pub(crate) fn readable(fd: &impl AsFd, millis: u16) -> bool {
    let mut fds = [PollFd::new(fd.as_fd(), PollFlags::POLLIN)];
    let ready = loop {
        match nix::poll::poll(&mut fds, millis) {
            Err(Errno::EINTR) => {}
            ready => break ready.expect("poll"),
        }
    };
    ready == 1
        && fds[0]
            .revents()
            .is_some_and(|it| it.contains(PollFlags::POLLIN))
}

/// Calls `pidfd_open`.
#[cfg(target_os = "linux")]
pub(crate) fn pidfd_open(pid: u32, flags: u32) -> io::Result<OwnedFd> {
    // SAFETY: the call takes integers.
    let fd = unsafe { libc::syscall(libc::SYS_pidfd_open, pid, flags) };
    if fd < 0 {
        return Err(io::Error::last_os_error());
    }
    let fd = i32::try_from(fd).expect("a file descriptor");
    // SAFETY: the call above returned it, and nothing else owns it.
    Ok(unsafe { OwnedFd::from_raw_fd(fd) })
}

/// Duplicates a descriptor to the first free number from `lowest` on.
pub(crate) fn duplicate_from(fd: &impl AsRawFd, lowest: i32) -> OwnedFd {
    // SAFETY: the third argument is an integer.
    let copy = unsafe { libc::fcntl(fd.as_raw_fd(), libc::F_DUPFD_CLOEXEC, lowest) };
    assert!(copy >= lowest, "{}", io::Error::last_os_error());
    // SAFETY: the call above returned it, and nothing else owns it.
    unsafe { OwnedFd::from_raw_fd(copy) }
}

/// Returns whether a descriptor is in blocking mode.
pub(crate) fn is_blocking(fd: &impl AsRawFd) -> bool {
    // SAFETY: F_GETFL takes no third argument.
    let flags = unsafe { libc::fcntl(fd.as_raw_fd(), libc::F_GETFL) };
    assert!(flags >= 0, "{}", io::Error::last_os_error());
    flags & libc::O_NONBLOCK == 0
}

/// Puts a descriptor into non-blocking mode.
pub(crate) fn set_nonblocking(fd: &impl AsRawFd) {
    // SAFETY: the third argument is an integer.
    let set = unsafe { libc::fcntl(fd.as_raw_fd(), libc::F_SETFL, libc::O_NONBLOCK) };
    assert_eq!(set, 0, "{}", io::Error::last_os_error());
}

/// Opens a pseudoterminal and returns both ends: ours and the terminal. Unlike those of `openpty`,
/// they are close-on-exec from the start, so that no child of another thread inherits them.
#[cfg(target_os = "linux")]
pub(crate) fn pseudoterminal() -> (OwnedFd, OwnedFd) {
    let mut options = File::options();
    let options = options.read(true).write(true).custom_flags(libc::O_NOCTTY);
    let ours = options.open("/dev/ptmx").expect("/dev/ptmx");
    let (unlocked, mut number): (libc::c_int, libc::c_int) = (0, 0);
    // SAFETY: the call reads an integer.
    let set = unsafe { libc::ioctl(ours.as_raw_fd(), libc::TIOCSPTLCK, &unlocked) };
    assert_eq!(set, 0, "TIOCSPTLCK: {}", io::Error::last_os_error());
    // SAFETY: the call writes an integer.
    let got = unsafe { libc::ioctl(ours.as_raw_fd(), libc::TIOCGPTN, &mut number) };
    assert_eq!(got, 0, "TIOCGPTN: {}", io::Error::last_os_error());
    let terminal = options.open(format!("/dev/pts/{number}"));
    (ours.into(), terminal.expect("the terminal").into())
}

/// Returns whether a descriptor is closed by an exec.
pub(crate) fn closes_on_exec(fd: &impl AsRawFd) -> bool {
    // SAFETY: F_GETFD takes no third argument.
    let flags = unsafe { libc::fcntl(fd.as_raw_fd(), libc::F_GETFD) };
    assert!(flags >= 0, "{}", io::Error::last_os_error());
    flags & libc::FD_CLOEXEC != 0
}

/// Sets the capacity of a pipe.
#[cfg(target_os = "linux")]
pub(crate) fn set_pipe_size(pipe: &impl AsRawFd, bytes: libc::c_int) {
    // SAFETY: the third argument is an integer.
    let holds = unsafe { libc::fcntl(pipe.as_raw_fd(), libc::F_SETPIPE_SZ, bytes) };
    assert!(holds >= bytes, "{}", io::Error::last_os_error());
}

/// Returns a sparse file in memory that reads as this many zero bytes.
#[cfg(target_os = "linux")]
pub(crate) fn file_of_zeros(bytes: usize) -> File {
    // SAFETY: the name is a static string with a terminating zero.
    let fd = unsafe { libc::memfd_create(c"zeroes".as_ptr(), libc::MFD_CLOEXEC) };
    assert!(fd >= 0, "{}", io::Error::last_os_error());
    // SAFETY: the call above returned it, and nothing else owns it.
    let file = unsafe { File::from_raw_fd(fd) };
    file.set_len(bytes as u64).expect("a size");
    file
}

/// Returns how many descriptors this process has open. The number is stable only in a test that runs
/// isolated.
#[cfg(target_os = "linux")]
pub(crate) fn open_descriptors() -> usize {
    let listed = fs::read_dir("/proc/self/fd").expect("/proc/self/fd");
    listed.count() - 1 // Without the descriptor of the directory itself.
}

/// Returns the limit on open descriptors.
pub(crate) fn descriptor_limit() -> libc::rlimit {
    let mut limit = MaybeUninit::<libc::rlimit>::zeroed();
    // SAFETY: `limit` is valid for writes during the call.
    let got = unsafe { libc::getrlimit(libc::RLIMIT_NOFILE, limit.as_mut_ptr()) };
    assert_eq!(got, 0, "getrlimit: {}", io::Error::last_os_error());
    // SAFETY: zeroed above and written by the kernel.
    unsafe { limit.assume_init() }
}

pub(crate) fn set_descriptor_limit(limit: libc::rlimit) -> io::Result<()> {
    // SAFETY: reads a local variable.
    match unsafe { libc::setrlimit(libc::RLIMIT_NOFILE, &limit) } {
        0 => Ok(()),
        _ => Err(io::Error::last_os_error()),
    }
}

/// Sets the soft limit on open descriptors.
pub(crate) fn limit_descriptors(most: libc::rlim_t) {
    let mut limit = descriptor_limit();
    limit.rlim_cur = most;
    set_descriptor_limit(limit).expect("setrlimit");
}

/// Uses up all descriptors until the returned files are dropped.
pub(crate) fn exhaust_descriptors() -> Vec<File> {
    limit_descriptors(64);
    let null = File::open("/dev/null").expect("/dev/null");
    let mut files = vec![null];
    while let Ok(file) = files[0].try_clone() {
        files.push(file);
    }
    files
}

/// Sets the soft limit on the address space of this process, and returns the one before.
pub(crate) fn limit_memory(most: libc::rlim_t) -> libc::rlim_t {
    let mut limit = MaybeUninit::<libc::rlimit>::zeroed();
    // SAFETY: `limit` is valid for writes during the call.
    let got = unsafe { libc::getrlimit(libc::RLIMIT_AS, limit.as_mut_ptr()) };
    assert_eq!(got, 0, "getrlimit: {}", io::Error::last_os_error());
    // SAFETY: zeroed above and written by the kernel.
    let mut limit = unsafe { limit.assume_init() };
    let before = std::mem::replace(&mut limit.rlim_cur, most);
    // SAFETY: reads a local variable.
    let set = unsafe { libc::setrlimit(libc::RLIMIT_AS, &limit) };
    assert_eq!(set, 0, "setrlimit: {}", io::Error::last_os_error());
    before
}
