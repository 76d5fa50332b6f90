//! Forked processes that do not exec: they may only make system calls, because other threads of the
//! test process do not exist in them.

use std::fs;
use std::io;
use std::mem::MaybeUninit;
use std::os::fd::{AsRawFd, RawFd};
use std::os::unix::net::UnixStream;
use std::panic::{catch_unwind, AssertUnwindSafe};
use std::ptr::{addr_of_mut, null, null_mut};
use std::time::{Duration, Instant};

use nix::libc;

use super::ignore_sigchld;

/// Forks a process that runs the closure and exits with code 0, or 101 after a panic. The kernel kills it
/// when the thread of the test ends. Returns its PID.
pub(crate) fn fork(run: impl FnOnce()) -> u32 {
    try_fork(run).expect("fork")
}

/// Like [`fork`], but returns the error.
pub(crate) fn try_fork(run: impl FnOnce()) -> io::Result<u32> {
    // SAFETY: the child only makes async-signal-safe calls, as the callers promise.
    match unsafe { libc::fork() } {
        -1 => Err(io::Error::last_os_error()),
        pid => Ok(run_in(pid, run)),
    }
}

/// The same by a raw `clone`, which no handler of `pthread_atfork` sees.
pub(crate) fn raw_fork(run: impl FnOnce()) -> u32 {
    clone_with(libc::SIGCHLD, run)
}

fn clone_with(exit_signal: libc::c_int, run: impl FnOnce()) -> u32 {
    // SAFETY: the child only makes system calls, as the callers promise.
    let pid = unsafe { raw_clone(exit_signal) };
    run_in(libc::pid_t::try_from(pid).expect("a PID"), run)
}

/// Forks by the bare `clone` system call.
///
/// # Safety
///
/// As for `fork`: the child may only make async-signal-safe calls.
pub(crate) unsafe fn raw_clone(exit_signal: libc::c_int) -> libc::c_long {
    const NO_STACK: libc::c_long = 0;
    let flags = libc::c_long::from(exit_signal);
    let (first, second) = match cfg!(target_arch = "s390x") {
        true => (NO_STACK, flags),
        false => (flags, NO_STACK),
    };
    // SAFETY: without a stack it is a fork, and the caller promises the rest.
    unsafe { libc::syscall(libc::SYS_clone, first, second, 0_usize, 0_usize, 0_usize) }
}

fn run_in(pid: libc::pid_t, run: impl FnOnce()) -> u32 {
    if pid == 0 {
        // SAFETY: this prctl takes integers.
        unsafe { libc::prctl(libc::PR_SET_PDEATHSIG, libc::SIGKILL) };
        // A panic must not unwind into the test harness, whose other threads do not exist here.
        let result = catch_unwind(AssertUnwindSafe(run));
        exit(if result.is_ok() { 0 } else { 101 });
    }
    std::mem::forget(run); // It belongs to the other process.
    u32::try_from(pid).expect("fork")
}

/// Forks a chain of processes in a new group. Each of them forks the next one and exits at once.
/// Returns the PID of the first one, the leader.
///
/// The calling process must be isolated: it becomes a subreaper and ignores SIGCHLD, so that the
/// kernel reaps the others. There are thousands, too many for the PID 1 of a container. The leader
/// has no exit signal, so it stays a zombie.
pub(crate) fn fork_chain() -> u32 {
    become_subreaper();
    ignore_sigchld();
    clone_with(0, || {
        lead_group();
        // So that the chain ends even if the test fails.
        let start = Instant::now();
        while start.elapsed() < Duration::from_secs(30) {
            // SAFETY: the child only makes system calls.
            if unsafe { libc::fork() } != 0 {
                break;
            }
        }
    })
}

/// Makes the calling process the leader of a new group.
pub(crate) fn lead_group() {
    join_group(0);
}

/// Moves the calling process to another group.
pub(crate) fn join_group(group: libc::pid_t) {
    // SAFETY: takes two integers.
    unsafe { libc::setpgid(0, group) };
}

/// Waits for any child and reaps it.
pub(crate) fn reap_any() {
    // SAFETY: takes two integers, and null pointers for what is not needed.
    unsafe { libc::wait4(-1, null_mut(), 0, null_mut()) };
}

pub(crate) fn exit(code: i32) -> ! {
    // SAFETY: async-signal-safe, and does not return.
    unsafe { libc::_exit(code) }
}

/// Sleeps until a signal kills this process.
pub(crate) fn pause() {
    loop {
        // SAFETY: takes no arguments.
        unsafe { libc::pause() };
    }
}

/// Ends the main thread of a forked process, which continues with another thread.
pub(crate) fn exit_main_thread() {
    extern "C" fn run(_: *mut libc::c_void) -> *mut libc::c_void {
        pause();
        null_mut()
    }
    let mut thread = MaybeUninit::uninit();
    // SAFETY: `thread` is valid for writes; the new thread takes no argument.
    unsafe { libc::pthread_create(thread.as_mut_ptr(), null(), run, null_mut()) };
    // SAFETY: ends only the calling thread, which has nothing to drop.
    unsafe { libc::syscall(libc::SYS_exit, 0) };
}

/// Forks a process whose second thread execs `sleep` when a byte is written to the returned stream.
pub(crate) fn exec_in_a_thread() -> (u32, UnixStream) {
    extern "C" fn run(gate: *mut libc::c_void) -> *mut libc::c_void {
        let mut byte = 0_u8;
        // SAFETY: `byte` is valid for writes; the argument is a descriptor's number.
        unsafe { libc::read(gate as RawFd, addr_of_mut!(byte).cast(), 1) };
        let arguments = [c"sleep".as_ptr(), c"600".as_ptr(), null()];
        // SAFETY: the arguments are C strings, and a null pointer ends them.
        unsafe { libc::execvp(arguments[0], arguments.as_ptr()) };
        exit(127)
    }
    let (start, gate) = UnixStream::pair().expect("a pair of sockets");
    let (ours, theirs) = (start.as_raw_fd(), gate.as_raw_fd());
    let pid = fork(|| {
        // SAFETY: closes this process's copy, which is not used again.
        unsafe { libc::close(ours) };
        let mut thread = MaybeUninit::uninit();
        let argument = theirs as *mut libc::c_void;
        // SAFETY: `thread` is valid for writes; the argument is a number.
        unsafe { libc::pthread_create(thread.as_mut_ptr(), null(), run, argument) };
        pause();
    });
    (pid, start)
}

/// Whether a process of [`exec_in_a_thread`] has become `sleep`. While the thread takes the place of the
/// main thread, the file can be missing.
pub(crate) fn has_execed(pid: u32) -> bool {
    let name = fs::read_to_string(format!("/proc/{pid}/comm"));
    name.is_ok_and(|name| name == "sleep\n")
}

/// Makes this process adopt orphans among its descendants.
pub(crate) fn become_subreaper() {
    // SAFETY: this prctl takes integers.
    let set = unsafe { libc::prctl(libc::PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0) };
    assert_eq!(set, 0, "{}", io::Error::last_os_error());
}

/// Puts later children of this process into a new PID namespace. After that this process cannot start
/// threads. Needs root.
pub(crate) fn unshare_pids() {
    // SAFETY: takes an integer.
    let unshared = unsafe { libc::unshare(libc::CLONE_NEWPID) };
    assert_eq!(unshared, 0, "unshare: {}", io::Error::last_os_error());
}
