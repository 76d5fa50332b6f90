//! Signals: sending them past the crate, who may, what they do to this process and to a child.

use std::io;
use std::mem::MaybeUninit;
use std::os::unix::process::CommandExt;
use std::process::Command;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::mpsc::{self, RecvTimeoutError};
use std::time::Duration;

use nix::libc::{self, c_int};
use nix::unistd::gettid;

/// Sends a signal by bare pid.
pub(crate) fn kill(pid: u32, signal: c_int) {
    let pid = libc::pid_t::try_from(pid).expect("a pid");
    // SAFETY: reads two integers.
    let sent = unsafe { libc::kill(pid, signal) };
    assert_eq!(sent, 0, "kill {pid}: {}", io::Error::last_os_error());
}

/// Sends a signal to one thread of this process.
pub(crate) fn kill_thread(tid: libc::pid_t, signal: c_int) {
    let me = libc::pid_t::try_from(std::process::id()).expect("a pid");
    // SAFETY: reads three integers.
    let sent = unsafe { libc::syscall(libc::SYS_tgkill, me, tid, signal) };
    assert_eq!(sent, 0, "tgkill: {}", io::Error::last_os_error());
}

/// Whether this thread has the right to signal a process.
pub(crate) fn may_signal(pid: libc::pid_t) -> bool {
    // SAFETY: reads two integers, and signal 0 only asks.
    unsafe { libc::kill(pid, 0) == 0 }
}

/// Whether this is root, who may signal everybody.
pub(crate) fn is_root() -> bool {
    // SAFETY: takes nothing, and cannot fail.
    unsafe { libc::geteuid() == 0 }
}

/// A user who has no rights.
pub(crate) const UNPRIVILEGED_UID: libc::uid_t = 65534;

/// Makes the calling *thread* a nobody; libc's own function would do that to all of them.
pub(crate) fn drop_privileges() {
    // SAFETY: reads three integers.
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

/// For each signal, how often the handler of `interrupt_calls` has run: tests that run side by side
/// take different ones.
static INTERRUPTIONS: [AtomicUsize; 65] = [const { AtomicUsize::new(0) }; 65];

/// How often a signal has interrupted whatever this process did.
pub(crate) fn interruptions(signal: c_int) -> usize {
    counter(signal).load(Ordering::SeqCst)
}

fn counter(signal: c_int) -> &'static AtomicUsize {
    &INTERRUPTIONS[signal.unsigned_abs() as usize]
}

/// Makes a signal interrupt system calls, for the whole process: a handler that counts, without
/// SA_RESTART.
pub(crate) fn interrupt_calls(signal: c_int) {
    extern "C" fn count(signal: c_int) {
        counter(signal).fetch_add(1, Ordering::SeqCst);
    }
    let handler: extern "C" fn(c_int) = count;
    set_action(signal, handler as libc::sighandler_t);
}

/// Runs something while this thread gets a signal every millisecond that interrupts its calls.
pub(crate) fn with_interruptions<T>(run: impl FnOnce() -> T) -> T {
    interrupt_calls(libc::SIGUSR2);
    let this = gettid().as_raw();
    let (over, is_over) = mpsc::channel::<()>();
    std::thread::scope(|scope| {
        scope.spawn(move || {
            let pause = Duration::from_millis(1);
            while is_over.recv_timeout(pause) == Err(RecvTimeoutError::Timeout) {
                kill_thread(this, libc::SIGUSR2);
            }
        });
        let result = run();
        drop(over);
        result
    })
}

/// Has the kernel reap every child of this process at its exit, and throw its status away.
pub(crate) fn ignore_sigchld() {
    set_action(libc::SIGCHLD, libc::SIG_IGN);
}

/// Has statuses kept again, as in a process that has said nothing about it.
pub(crate) fn restore_sigchld() {
    set_action(libc::SIGCHLD, libc::SIG_DFL);
}

fn set_action(signal: c_int, handler: libc::sighandler_t) {
    // SAFETY: zeroes are a valid `sigaction`, without flags.
    let mut action: libc::sigaction = unsafe { MaybeUninit::zeroed().assume_init() };
    action.sa_sigaction = handler;
    // SAFETY: the handler only adds to an atomic; the old action is not asked for.
    let set = unsafe { libc::sigaction(signal, &action, std::ptr::null_mut()) };
    assert_eq!(set, 0, "sigaction: {}", io::Error::last_os_error());
}

/// The signals that end a process which has said nothing about them.
pub(crate) fn fatal_signals() -> impl Iterator<Item = c_int> {
    use libc::{SIGCHLD, SIGCONT, SIGSTOP, SIGTSTP, SIGTTIN, SIGTTOU, SIGURG, SIGWINCH};
    let others = [
        SIGCHLD, SIGCONT, SIGSTOP, SIGTSTP, SIGTTIN, SIGTTOU, SIGURG, SIGWINCH,
    ];
    (1..=libc::SIGRTMAX()).filter(move |signal| !others.contains(signal))
}

/// Makes a child one that every fatal signal ends, whatever this process was started under, and
/// that leaves no core file behind.
pub(crate) fn reset_signal_actions(command: &mut Command) {
    let last = libc::SIGRTMAX();
    let set = move || {
        // The kernel's `sigaction` with SIG_DFL: libc's keeps its hands off the signals that it
        // uses itself, which may be inherited ignored like all others.
        let default = [0_u64; 4];
        for signal in 1..=last {
            let (new, no_old) = (default.as_ptr(), std::ptr::null_mut::<u64>());
            // SAFETY: reads a local that is as long as the kernel's structure.
            unsafe { libc::syscall(libc::SYS_rt_sigaction, signal, new, no_old, 8) };
        }
        let none = libc::rlimit {
            rlim_cur: 0,
            rlim_max: 0,
        };
        // SAFETY: reads a local.
        unsafe { libc::setrlimit(libc::RLIMIT_CORE, &none) };
        Ok(())
    };
    // SAFETY: the closure makes async-signal-safe calls only, and allocates nothing.
    unsafe { command.pre_exec(set) };
}
