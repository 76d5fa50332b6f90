//! Signals: raw system calls that send them, permissions, and signal actions of this process and of
//! a child.

use std::io;
use std::mem::MaybeUninit;
use std::os::unix::process::CommandExt;
use std::process::Command;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::mpsc::{self, RecvTimeoutError};
use std::time::Duration;

use nix::libc::{self, c_int};

#[cfg(not(target_os = "linux"))]
use super::{kill_thread, last_signal, reset_action, this_thread};

/// Sends a signal by PID.
pub(crate) fn kill(pid: u32, signal: c_int) {
    let pid = libc::pid_t::try_from(pid).expect("a PID");
    // SAFETY: takes two integers.
    let sent = unsafe { libc::kill(pid, signal) };
    assert_eq!(sent, 0, "kill {pid}: {}", io::Error::last_os_error());
}

#[cfg(target_os = "linux")]
pub(crate) type ThreadId = libc::pid_t;

#[cfg(target_os = "linux")]
pub(crate) fn this_thread() -> ThreadId {
    nix::unistd::gettid().as_raw()
}

/// Sends a signal to one thread of this process.
#[cfg(target_os = "linux")]
pub(crate) fn kill_thread(tid: ThreadId, signal: c_int) {
    let me = libc::pid_t::try_from(std::process::id()).expect("a PID");
    // SAFETY: takes three integers.
    let sent = unsafe { libc::syscall(libc::SYS_tgkill, me, tid, signal) };
    assert_eq!(sent, 0, "tgkill: {}", io::Error::last_os_error());
}

/// Returns whether this thread may signal a process.
pub(crate) fn may_signal(pid: libc::pid_t) -> bool {
    // SAFETY: takes two integers; signal 0 only checks the permission.
    unsafe { libc::kill(pid, 0) == 0 }
}

/// Returns whether this process runs as root and so may signal every process.
pub(crate) fn is_root() -> bool {
    // SAFETY: takes no arguments and cannot fail.
    unsafe { libc::geteuid() == 0 }
}

/// Whether this program runs with more privileges than its caller.
#[cfg(target_os = "linux")]
pub(crate) fn is_privileged() -> bool {
    // SAFETY: takes an integer.
    unsafe { libc::getauxval(libc::AT_SECURE) != 0 }
}

/// A user ID without privileges.
pub(crate) const UNPRIVILEGED_UID: libc::uid_t = 65534;

/// Drops root's privileges in the calling *thread*. A raw system call, because libc's function
/// changes the user ID of all threads.
#[cfg(target_os = "linux")]
pub(crate) fn drop_privileges() {
    // The thread that reaps and ends in the background would inherit the rights of the one that starts it.
    let child = super::sleeper();
    let pid = child.id();
    pidwait::ChildExt::pidfd_reap_in_background(child);
    kill(pid, libc::SIGKILL);
    // SAFETY: takes three integers.
    let set = unsafe {
        libc::syscall(
            libc::SYS_setresuid,
            UNPRIVILEGED_UID,
            UNPRIVILEGED_UID,
            UNPRIVILEGED_UID,
        )
    };
    assert_eq!(set, 0, "setresuid: {}", io::Error::last_os_error());
}

/// For each signal, how often the handler of `interrupt_calls` has run. Tests that run at the same
/// time use different signals.
static INTERRUPTIONS: [AtomicUsize; 65] = [const { AtomicUsize::new(0) }; 65];

/// Returns how often the handler for this signal has run.
pub(crate) fn interruptions(signal: c_int) -> usize {
    counter(signal).load(Ordering::SeqCst)
}

fn counter(signal: c_int) -> &'static AtomicUsize {
    &INTERRUPTIONS[signal.unsigned_abs() as usize]
}

/// Makes a signal interrupt system calls in the whole process: installs a counting handler without
/// SA_RESTART.
pub(crate) fn interrupt_calls(signal: c_int) {
    extern "C" fn count(signal: c_int) {
        counter(signal).fetch_add(1, Ordering::SeqCst);
    }
    let handler: extern "C" fn(c_int) = count;
    set_action(signal, handler as libc::sighandler_t);
}

/// Runs a closure while a signal interrupts the system calls of this thread every millisecond.
pub(crate) fn with_interruptions<T>(run: impl FnOnce() -> T) -> T {
    interrupt_calls(libc::SIGUSR2);
    let this = this_thread();
    let (done, is_done) = mpsc::channel::<()>();
    std::thread::scope(|scope| {
        scope.spawn(move || {
            let interval = Duration::from_millis(1);
            while is_done.recv_timeout(interval) == Err(RecvTimeoutError::Timeout) {
                kill_thread(this, libc::SIGUSR2);
            }
        });
        let result = run();
        drop(done);
        result
    })
}

/// Sets SIGCHLD to SIG_IGN, so that the kernel reaps every child at its exit and discards the
/// status.
pub(crate) fn ignore_sigchld() {
    set_action(libc::SIGCHLD, libc::SIG_IGN);
}

/// Resets SIGCHLD to SIG_DFL, so that the kernel keeps zombies again.
pub(crate) fn restore_sigchld() {
    set_action(libc::SIGCHLD, libc::SIG_DFL);
}

/// Sets the action of a signal: SIG_IGN, SIG_DFL or a handler.
pub(crate) fn set_action(signal: c_int, handler: libc::sighandler_t) {
    // SAFETY: all zeros are a valid `sigaction`, without flags.
    let mut action: libc::sigaction = unsafe { MaybeUninit::zeroed().assume_init() };
    action.sa_sigaction = handler;
    // SAFETY: the handler only adds to an atomic; the old action is not read.
    let set = unsafe { libc::sigaction(signal, &action, std::ptr::null_mut()) };
    assert_eq!(set, 0, "sigaction: {}", io::Error::last_os_error());
}

/// Returns the signals that kill a process by default.
pub(crate) fn fatal_signals() -> impl Iterator<Item = c_int> {
    use libc::{SIGCHLD, SIGCONT, SIGSTOP, SIGTSTP, SIGTTIN, SIGTTOU, SIGURG, SIGWINCH};
    let others = [
        SIGCHLD, SIGCONT, SIGSTOP, SIGTSTP, SIGTTIN, SIGTTOU, SIGURG, SIGWINCH,
    ];
    (1..=last_signal()).filter(move |signal| !others.contains(signal))
}

/// Returns the highest signal number.
#[cfg(target_os = "linux")]
pub(crate) fn last_signal() -> c_int {
    libc::SIGRTMAX()
}

/// Resets a signal's action. A raw `rt_sigaction`, because libc's function rejects the signals that
/// libc uses itself, and these can be inherited as ignored, too.
#[cfg(target_os = "linux")]
fn reset_action(signal: c_int) {
    let default = [0_u64; 4];
    let (new, no_old) = (default.as_ptr(), std::ptr::null_mut::<u64>());
    // SAFETY: reads a local variable of the size of the kernel's structure.
    unsafe { libc::syscall(libc::SYS_rt_sigaction, signal, new, no_old, 8) };
}

/// Resets all signal actions in a child, so that every fatal signal kills it even if this process
/// inherited an ignored one. Also disables core files.
pub(crate) fn reset_signal_actions(command: &mut Command) {
    let last = last_signal();
    let set = move || {
        (1..=last).for_each(reset_action);
        let none = libc::rlimit {
            rlim_cur: 0,
            rlim_max: 0,
        };
        // SAFETY: reads a local variable.
        unsafe { libc::setrlimit(libc::RLIMIT_CORE, &none) };
        Ok(())
    };
    // SAFETY: the closure makes only async-signal-safe calls and does not allocate.
    unsafe { command.pre_exec(set) };
}
