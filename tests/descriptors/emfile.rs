//! Makes the n-th system call of a thread fail with EMFILE.
//!
//! The thread installs a seccomp filter on itself. The kernel then notifies a supervisor thread before
//! each system call and lets it decide (seccomp_unotify(2), Linux 5.5). Threads that the filtered
//! thread starts inherit the filter.

#![allow(unsafe_code)] // No safe wrapper for seccomp notifications.

use std::io;
use std::mem::MaybeUninit;
use std::os::fd::{AsFd, AsRawFd, FromRawFd, OwnedFd, RawFd};
use std::sync::atomic::{AtomicBool, AtomicI32, AtomicI64, Ordering::SeqCst};
use std::sync::{Arc, Mutex};
use std::thread::{self, JoinHandle};

use nix::libc::{self, c_long, pid_t};
use nix::poll::{PollFd, PollFlags, PollTimeout};
use nix::unistd::gettid;

/// Calls that are never failed: they need no descriptor, and std and libc do not handle an error from
/// them (clock, locks, memory). A failed `close` would leave the descriptor open.
const EXEMPT: [c_long; 17] = [
    libc::SYS_brk,
    libc::SYS_clock_gettime,
    libc::SYS_clock_nanosleep,
    libc::SYS_close,
    libc::SYS_exit,
    libc::SYS_futex,
    libc::SYS_getpid,
    libc::SYS_gettid,
    libc::SYS_madvise,
    libc::SYS_mmap,
    libc::SYS_mprotect,
    libc::SYS_mremap,
    libc::SYS_munmap,
    libc::SYS_rt_sigprocmask,
    libc::SYS_rt_sigreturn,
    libc::SYS_sched_yield,
    libc::SYS_write,
];

/// Fails one system call, if the thread makes that many.
pub(crate) struct Emfile {
    state: Arc<State>,
    supervisor: Mutex<Option<JoinHandle<()>>>,
}

struct State {
    /// The index of the call to fail.
    at: usize,
    /// The seccomp listener, or -1 before the filter is installed.
    listener: AtomicI32,
    /// The ID of the thread whose calls are counted.
    thread: AtomicI32,
    finished: AtomicBool,
    /// The number of the system call that failed, or -1.
    failed_call: AtomicI64,
}

impl Emfile {
    pub(crate) fn at(at: usize) -> Self {
        let state = State {
            at,
            listener: AtomicI32::new(-1),
            thread: AtomicI32::new(0),
            finished: AtomicBool::new(false),
            failed_call: AtomicI64::new(-1),
        };
        Self {
            state: Arc::new(state),
            supervisor: Mutex::default(),
        }
    }

    /// Runs `call` in a new thread, whose n-th system call fails.
    pub(crate) fn during<T: Send>(&self, call: impl FnOnce() -> T + Send) -> T {
        let state = Arc::clone(&self.state);
        let supervisor = thread::spawn(move || supervise(&state));
        self.supervisor
            .lock()
            .expect("no panic")
            .replace(supervisor);
        let calling = || {
            self.state.thread.store(gettid().as_raw(), SeqCst);
            let listener = install_filter().expect("a filter");
            // Through an atomic only: from here on each system call of this thread blocks until the
            // supervisor decides.
            self.state.listener.store(listener, SeqCst);
            let result = call();
            self.state.finished.store(true, SeqCst);
            result
        };
        thread::scope(|scope| scope.spawn(calling).join().expect("no panic"))
    }

    /// The system call that failed. `None` if the thread made fewer calls.
    pub(crate) fn failed_call(&self) -> Option<c_long> {
        let call = self.state.failed_call.load(SeqCst);
        (call >= 0).then_some(call)
    }

    /// Returns when all threads with the filter have ended, watchers included.
    pub(crate) fn join(&self) {
        let supervisor = self.supervisor.lock().expect("no panic").take();
        supervisor
            .map(JoinHandle::join)
            .transpose()
            .expect("no panic");
    }
}

/// Decides about each system call until no thread has the filter any more.
fn supervise(state: &State) {
    while state.listener.load(SeqCst) < 0 {
        thread::yield_now();
    }
    // SAFETY: the descriptor is newly created, and nothing else closes it.
    let listener = unsafe { OwnedFd::from_raw_fd(state.listener.load(SeqCst)) };
    let mut calls = 0;
    loop {
        let mut fds = [PollFd::new(listener.as_fd(), PollFlags::POLLIN)];
        nix::poll::poll(&mut fds, PollTimeout::NONE).expect("poll");
        if fds[0].revents() != Some(PollFlags::POLLIN) {
            return; // POLLHUP: the last filtered thread has ended.
        }
        let Some(notification) = receive(&listener) else {
            continue; // The thread was killed in the meantime.
        };
        let mut response = libc::seccomp_notif_resp {
            id: notification.id,
            val: 0,
            error: 0,
            flags: u32::try_from(libc::SECCOMP_USER_NOTIF_FLAG_CONTINUE).expect("a flag"),
        };
        let counted = pid_t::try_from(notification.pid) == Ok(state.thread.load(SeqCst));
        if counted && !state.finished.load(SeqCst) && !is_std_close_check(&notification.data) {
            if calls == state.at {
                (response.error, response.flags) = (-libc::EMFILE, 0);
                state.failed_call.store(notification.data.nr.into(), SeqCst);
            }
            calls += 1;
        }
        respond(&listener, &response);
    }
}

/// The system call that a thread wants to make. `None` if the thread was killed in the meantime.
fn receive(listener: &OwnedFd) -> Option<libc::seccomp_notif> {
    let (fd, request) = (listener.as_raw_fd(), libc::SECCOMP_IOCTL_NOTIF_RECV);
    let mut notification = MaybeUninit::<libc::seccomp_notif>::zeroed();
    // SAFETY: `notification` is zeroed, as the kernel requires, and valid for writes during the call.
    let received = unsafe { libc::ioctl(fd, request, notification.as_mut_ptr()) };
    // SAFETY: zeroed and filled in by the call.
    (received == 0).then(|| unsafe { notification.assume_init() })
}

/// Lets the thread continue. Fails only if it was killed in the meantime.
fn respond(listener: &OwnedFd, response: &libc::seccomp_notif_resp) {
    let (fd, request) = (listener.as_raw_fd(), libc::SECCOMP_IOCTL_NOTIF_SEND);
    // SAFETY: the call reads `response`.
    unsafe { libc::ioctl(fd, request, response) };
}

/// Whether this is the check that std makes in debug builds before it closes a descriptor.
fn is_std_close_check(call: &libc::seccomp_data) -> bool {
    c_long::from(call.nr) == libc::SYS_fcntl && Ok(libc::F_GETFD) == call.args[1].try_into()
}

/// Fails if this system does not let a thread install such a filter.
pub(crate) fn check() -> io::Result<()> {
    let install = || {
        let listener = install_filter()?;
        // Not through `OwnedFd`: in debug builds std checks the descriptor before it closes it, and
        // without a supervisor that system call would block forever.
        // SAFETY: the descriptor is not used anywhere else.
        unsafe { libc::close(listener) };
        Ok(())
    };
    thread::spawn(install).join().expect("no panic")
}

/// Makes the kernel notify a listener of all system calls of this thread that are not exempt. Returns
/// the listener.
fn install_filter() -> io::Result<RawFd> {
    let instruction = |code: u32, k, jf| libc::sock_filter {
        code: u16::try_from(code).expect("a 16-bit code"),
        jt: 0,
        jf,
        k,
    };
    let verdict = |what| instruction(libc::BPF_RET | libc::BPF_K, what, 0);
    // The call's number is the first field of `struct seccomp_data`.
    let mut program = vec![instruction(
        libc::BPF_LD | libc::BPF_W | libc::BPF_ABS,
        0,
        0,
    )];
    for call in EXEMPT {
        let call = u32::try_from(call).expect("a small number");
        let skip_unless_equal = instruction(libc::BPF_JMP | libc::BPF_JEQ | libc::BPF_K, call, 1);
        program.extend([skip_unless_equal, verdict(libc::SECCOMP_RET_ALLOW)]);
    }
    program.push(verdict(libc::SECCOMP_RET_USER_NOTIF));
    let program = libc::sock_fprog {
        len: u16::try_from(program.len()).expect("a short program"),
        filter: program.as_mut_ptr(),
    };
    // SAFETY: PR_SET_NO_NEW_PRIVS takes integers.
    if unsafe { libc::prctl(libc::PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) } != 0 {
        return Err(io::Error::last_os_error());
    }
    let (filter, listen) = (
        libc::SECCOMP_SET_MODE_FILTER,
        libc::SECCOMP_FILTER_FLAG_NEW_LISTENER,
    );
    // SAFETY: `program` points to `len` live instructions, which the kernel only reads.
    let fd = unsafe { libc::syscall(libc::SYS_seccomp, filter, listen, &program) };
    match RawFd::try_from(fd) {
        Ok(fd) if fd >= 0 => Ok(fd),
        _ => Err(io::Error::last_os_error()),
    }
}
