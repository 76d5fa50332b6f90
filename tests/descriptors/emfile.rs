//! One system call that fails with EMFILE: the n-th that a thread makes.
//!
//! The thread puts a filter on itself by which the kernel asks us before each of its calls
//! (seccomp_unotify(2), Linux 5.5), and whoever starts as its thread inherits it.

#![allow(unsafe_code)] // Nobody offers that but the kernel itself.

use std::io;
use std::mem::MaybeUninit;
use std::os::fd::{AsFd, AsRawFd, FromRawFd, OwnedFd, RawFd};
use std::sync::atomic::{AtomicBool, AtomicI32, AtomicI64, Ordering::SeqCst};
use std::sync::{Arc, Mutex};
use std::thread::{self, JoinHandle};

use nix::libc::{self, c_long, pid_t};
use nix::poll::{PollFd, PollFlags, PollTimeout};
use nix::unistd::gettid;

/// What never wants a descriptor, nor fails but for a mistake of ours: clock, locks, memory,
/// which std and libc have no answer to, and `close`, which would leave it open.
const SPARED: [c_long; 17] = [
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

/// Strikes once, if the call comes to so many.
pub(crate) struct Emfile {
    state: Arc<State>,
    judge: Mutex<Option<JoinHandle<()>>>,
}

struct State {
    at: usize,
    /// The listener's descriptor, once there is one.
    listener: AtomicI32,
    /// The thread that is judged.
    thread: AtomicI32,
    over: AtomicBool,
    /// The call that was struck, or -1.
    struck: AtomicI64,
}

impl Emfile {
    pub(crate) fn at(at: usize) -> Self {
        let state = State {
            at,
            listener: AtomicI32::new(-1),
            thread: AtomicI32::new(0),
            over: AtomicBool::new(false),
            struck: AtomicI64::new(-1),
        };
        Self {
            state: Arc::new(state),
            judge: Mutex::default(),
        }
    }

    /// Does `call` in a thread of its own, whose n-th system call fails.
    pub(crate) fn during<T: Send>(&self, call: impl FnOnce() -> T + Send) -> T {
        let state = Arc::clone(&self.state);
        let judge = thread::spawn(move || judge(&state));
        self.judge.lock().expect("no panic").replace(judge);
        let calling = || {
            self.state.thread.store(gettid().as_raw(), SeqCst);
            let listener = put_on_filter().expect("a filter");
            // Nothing but memory tells the judge, for calls of this thread wait for it by now.
            self.state.listener.store(listener, SeqCst);
            let answer = call();
            self.state.over.store(true, SeqCst);
            answer
        };
        thread::scope(|scope| scope.spawn(calling).join().expect("no panic"))
    }

    /// The number of the call that has failed; `None`: there were not so many.
    pub(crate) fn struck(&self) -> Option<c_long> {
        let struck = self.state.struck.load(SeqCst);
        (struck >= 0).then_some(struck)
    }

    /// Returns once nobody has the filter on, watchers included.
    pub(crate) fn lift(&self) {
        let judge = self.judge.lock().expect("no panic").take();
        judge.map(JoinHandle::join).transpose().expect("no panic");
    }
}

/// Answers each call's question until nobody is left to ask.
fn judge(state: &State) {
    while state.listener.load(SeqCst) < 0 {
        thread::yield_now();
    }
    // SAFETY: the kernel has made it for us, and nobody else closes it.
    let listener = unsafe { OwnedFd::from_raw_fd(state.listener.load(SeqCst)) };
    let mut calls = 0;
    loop {
        let mut fds = [PollFd::new(listener.as_fd(), PollFlags::POLLIN)];
        nix::poll::poll(&mut fds, PollTimeout::NONE).expect("poll");
        if fds[0].revents() != Some(PollFlags::POLLIN) {
            return; // POLLHUP: the last one has ended.
        }
        let mut asked = MaybeUninit::<libc::seccomp_notif>::zeroed();
        // SAFETY: `asked` is zeroed, as it must be, and valid for writes during the call.
        if unsafe {
            libc::ioctl(
                listener.as_raw_fd(),
                libc::SECCOMP_IOCTL_NOTIF_RECV,
                asked.as_mut_ptr(),
            )
        } != 0
        {
            continue; // Whoever asked was killed meanwhile.
        }
        // SAFETY: zeroed, and filled in.
        let asked = unsafe { asked.assume_init() };
        let mut verdict = libc::seccomp_notif_resp {
            id: asked.id,
            val: 0,
            error: 0,
            flags: u32::try_from(libc::SECCOMP_USER_NOTIF_FLAG_CONTINUE).expect("a flag"),
        };
        let judged = pid_t::try_from(asked.pid) == Ok(state.thread.load(SeqCst));
        if judged && !state.over.load(SeqCst) && !is_stds_check(&asked.data) {
            if calls == state.at {
                (verdict.error, verdict.flags) = (-libc::EMFILE, 0);
                state.struck.store(asked.data.nr.into(), SeqCst);
            }
            calls += 1;
        }
        // SAFETY: reads a local. That it fails means that whoever asked was killed meanwhile.
        unsafe {
            libc::ioctl(
                listener.as_raw_fd(),
                libc::SECCOMP_IOCTL_NOTIF_SEND,
                &verdict,
            )
        };
    }
}

/// Whether a descriptor is open, which std asks in debug builds before it closes one.
fn is_stds_check(call: &libc::seccomp_data) -> bool {
    c_long::from(call.nr) == libc::SYS_fcntl && Ok(libc::F_GETFD) == call.args[1].try_into()
}

/// Whether this system lets a thread do that.
pub(crate) fn check() -> io::Result<()> {
    let try_it = || {
        let listener = put_on_filter()?;
        // SAFETY: nobody else knows it. And nobody would answer what std asks in debug builds
        // before it closes a descriptor.
        unsafe { libc::close(listener) };
        Ok(())
    };
    thread::spawn(try_it).join().expect("no panic")
}

/// Has the kernel ask a listener about all but the spared calls of this thread.
fn put_on_filter() -> io::Result<RawFd> {
    let operation = |code: u32, k, jf| libc::sock_filter {
        code: u16::try_from(code).expect("codes are short"),
        jt: 0,
        jf,
        k,
    };
    let answer = |what| operation(libc::BPF_RET | libc::BPF_K, what, 0);
    // The number of the call is what comes first in `struct seccomp_data`.
    let mut program = vec![operation(libc::BPF_LD | libc::BPF_W | libc::BPF_ABS, 0, 0)];
    for call in SPARED {
        let call = u32::try_from(call).expect("calls have small numbers");
        let unless_skip = operation(libc::BPF_JMP | libc::BPF_JEQ | libc::BPF_K, call, 1);
        program.extend([unless_skip, answer(libc::SECCOMP_RET_ALLOW)]);
    }
    program.push(answer(libc::SECCOMP_RET_USER_NOTIF));
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
    // SAFETY: `program` points to `len` instructions that live on, which the kernel only reads.
    let fd = unsafe { libc::syscall(libc::SYS_seccomp, filter, listen, &program) };
    match RawFd::try_from(fd) {
        Ok(fd) if fd >= 0 => Ok(fd),
        _ => Err(io::Error::last_os_error()),
    }
}
