//! Replaces functions of libc, for the whole program: the crate, std and its dependencies. Each calls the
//! real one, unless it is the call that is to fail.

#![allow(unsafe_code)]

use std::cell::Cell;
use std::ffi::CStr;
use std::ptr::null_mut;
use std::sync::atomic::{AtomicBool, AtomicI32, AtomicU32, AtomicUsize, Ordering::SeqCst};

use nix::libc::{
    self, c_char, c_int, c_long, c_ulong, c_void, id_t, idtype_t, nfds_t, off_t, pid_t, pollfd,
    siginfo_t, size_t, ssize_t,
};

use crate::common::interpose::{real_syscall, Real};

/// A call that fails: that of this name which comes after so many others.
#[derive(Clone, Debug)]
pub(crate) struct Fault {
    pub(crate) function: String,
    pub(crate) after: u32,
    pub(crate) errno: c_int,
}

/// Calls are counted, and one fails, only while this is set.
static IS_ARMED: AtomicBool = AtomicBool::new(false);
/// The function to fail, or [`NONE`].
static FUNCTION: AtomicUsize = AtomicUsize::new(NONE);
static AFTER: AtomicU32 = AtomicU32::new(0);
static ERRNO: AtomicI32 = AtomicI32::new(0);
static HAS_FIRED: AtomicBool = AtomicBool::new(false);
const NONE: usize = usize::MAX;

/// The system calls that are made through `syscall`: std's locks, and what libc has no function for.
const SYSCALLS: [(c_long, &str); 6] = [
    (libc::SYS_futex, "futex"),
    (libc::SYS_pidfd_open, "pidfd_open"),
    (libc::SYS_pidfd_send_signal, "pidfd_send_signal"),
    (libc::SYS_waitid, "raw waitid"),
    (libc::SYS_wait4, "raw wait4"),
    (-1, "another system call"),
];
const FUNCTIONS: usize = NAMES.len() + SYSCALLS.len();
static COUNTS: [AtomicU32; FUNCTIONS] = [const { AtomicU32::new(0) }; FUNCTIONS];

fn name(function: usize) -> &'static str {
    match function.checked_sub(NAMES.len()) {
        None => NAMES[function],
        Some(call) => SYSCALLS[call].1,
    }
}

/// Chooses the call that fails.
pub(crate) fn set(fault: &Fault) {
    let function = (0..FUNCTIONS).find(|it| name(*it) == fault.function);
    FUNCTION.store(function.expect("a function"), SeqCst);
    AFTER.store(fault.after, SeqCst);
    ERRNO.store(fault.errno, SeqCst);
}

pub(crate) fn arm() {
    IS_ARMED.store(true, SeqCst);
}

pub(crate) fn disarm() {
    IS_ARMED.store(false, SeqCst);
}

thread_local! {
    static IS_OBSERVER: Cell<bool> = const { Cell::new(false) };
}

/// Runs what the test itself does between the calls under test: it neither fails nor counts.
pub(crate) fn observe<T>(run: impl FnOnce() -> T) -> T {
    IS_OBSERVER.set(true);
    let result = run();
    IS_OBSERVER.set(false);
    result
}

/// The errno with which a call has failed.
pub(crate) fn fired() -> Option<c_int> {
    HAS_FIRED.load(SeqCst).then(|| ERRNO.load(SeqCst))
}

/// The functions that were called, and how often.
pub(crate) fn calls() -> Vec<(&'static str, u32)> {
    let all = (0..FUNCTIONS).map(|it| (name(it), COUNTS[it].load(SeqCst)));
    all.filter(|(_, count)| *count > 0).collect()
}

/// Counts a call. The errno to fail with, if it is the one.
fn count(function: usize) -> Option<c_int> {
    if !IS_ARMED.load(SeqCst) || IS_OBSERVER.get() {
        return None;
    }
    let before = COUNTS[function].fetch_add(1, SeqCst);
    if FUNCTION.load(SeqCst) != function || AFTER.load(SeqCst) != before {
        return None;
    }
    HAS_FIRED.store(true, SeqCst);
    Some(ERRNO.load(SeqCst))
}

fn set_errno(errno: c_int) {
    // SAFETY: returns a pointer to the thread's own errno.
    let own = unsafe { libc::__errno_location() };
    // SAFETY: see above.
    unsafe { own.write(errno) };
}

/// How a function reports an error.
trait Failed {
    fn failed(errno: c_int) -> Self;
}

impl Failed for c_int {
    fn failed(errno: c_int) -> Self {
        set_errno(errno);
        -1
    }
}

impl Failed for c_long {
    fn failed(errno: c_int) -> Self {
        set_errno(errno);
        -1
    }
}

impl Failed for ssize_t {
    fn failed(errno: c_int) -> Self {
        set_errno(errno);
        -1
    }
}

impl Failed for *mut c_void {
    fn failed(errno: c_int) -> Self {
        set_errno(errno);
        null_mut()
    }
}

/// The result of a function that returns the errno instead of setting it.
#[repr(transparent)]
struct Code(c_int);

impl Failed for Code {
    fn failed(errno: c_int) -> Self {
        Code(errno)
    }
}

macro_rules! replace {
    ($($name:ident($($arg:ident: $type:ty),*) -> $result:ty;)*) => {
        const NAMES: &[&str] = &[$(stringify!($name)),*];

        #[allow(non_camel_case_types, clippy::upper_case_acronyms)]
        enum Function { $($name),* }

        $(
            #[no_mangle]
            unsafe extern "C" fn $name($($arg: $type),*) -> $result {
                let error = count(Function::$name as usize);
                // A real `close` frees the number whatever it returns.
                if let (Some(errno), false) = (error, is_close(stringify!($name))) {
                    return <$result>::failed(errno);
                }
                static REAL: Real = Real::new(c_name(concat!(stringify!($name), "\0")));
                type Same = unsafe extern "C" fn($($type),*) -> $result;
                // SAFETY: that is libc's function, which has this type.
                let real: Same = unsafe { std::mem::transmute(REAL.get()) };
                // SAFETY: as the caller promises.
                let result = unsafe { real($($arg),*) };
                error.map_or(result, <$result>::failed)
            }
        )*
    };
}

fn is_close(name: &str) -> bool {
    name == "close"
}

const fn c_name(name: &'static str) -> &'static CStr {
    match CStr::from_bytes_with_nul(name.as_bytes()) {
        Ok(name) => name,
        Err(_) => panic!("a zero inside"),
    }
}

// Where libc takes any number of arguments, one more than is read does no harm.
replace! {
    close(fd: c_int) -> c_int;
    dup(fd: c_int) -> c_int;
    epoll_create1(flags: c_int) -> c_int;
    epoll_ctl(epoll: c_int, op: c_int, fd: c_int, event: *mut c_void) -> c_int;
    epoll_wait(epoll: c_int, events: *mut c_void, most: c_int, timeout: c_int) -> c_int;
    eventfd(initial: u32, flags: c_int) -> c_int;
    fcntl(fd: c_int, command: c_int, arg: c_long) -> c_int;
    fstat64(fd: c_int, to: *mut c_void) -> c_int;
    getpgid(pid: pid_t) -> c_int;
    getrandom(to: *mut c_void, bytes: size_t, flags: u32) -> ssize_t;
    ioctl(fd: c_int, request: c_ulong, arg: c_long) -> c_int;
    kill(pid: pid_t, signal: c_int) -> c_int;
    lseek64(fd: c_int, offset: off_t, whence: c_int) -> c_long;
    munmap(address: *mut c_void, bytes: size_t) -> c_int;
    open64(path: *const c_char, flags: c_int, mode: c_long) -> c_int;
    opendir(path: *const c_char) -> *mut c_void;
    pipe2(fds: *mut c_int, flags: c_int) -> c_int;
    poll(fds: *mut pollfd, count: nfds_t, timeout: c_int) -> c_int;
    posix_spawn_file_actions_adddup2(actions: *mut c_void, fd: c_int, to: c_int) -> Code;
    posix_spawn_file_actions_init(actions: *mut c_void) -> Code;
    posix_spawnattr_init(attributes: *mut c_void) -> Code;
    posix_spawnattr_setflags(attributes: *mut c_void, flags: c_long) -> Code;
    posix_spawnattr_setpgroup(attributes: *mut c_void, group: pid_t) -> Code;
    posix_spawnattr_setsigdefault(attributes: *mut c_void, set: *const c_void) -> Code;
    posix_spawnp(pid: *mut pid_t, file: *const c_char, actions: *const c_void, attributes: *const c_void,
        argv: *const c_void, envp: *const c_void) -> Code;
    ppoll(fds: *mut pollfd, count: nfds_t, timeout: *const c_void, mask: *const c_void) -> c_int;
    prctl(option: c_int, a: c_long, b: c_long, c: c_long, d: c_long) -> c_int;
    pthread_create(thread: *mut c_void, attributes: *const c_void, run: *mut c_void, arg: *mut c_void)
        -> Code;
    pthread_sigmask(how: c_int, set: *const c_void, before: *mut c_void) -> Code;
    read(fd: c_int, to: *mut c_void, bytes: size_t) -> ssize_t;
    readdir64(directory: *mut c_void) -> *mut c_void;
    readlink(path: *const c_char, to: *mut c_char, bytes: size_t) -> ssize_t;
    readv(fd: c_int, to: *const c_void, count: c_int) -> ssize_t;
    recv(fd: c_int, to: *mut c_void, bytes: size_t, flags: c_int) -> ssize_t;
    send(fd: c_int, from: *const c_void, bytes: size_t, flags: c_int) -> ssize_t;
    shutdown(fd: c_int, how: c_int) -> c_int;
    sigaction(signal: c_int, action: *const c_void, before: *mut c_void) -> c_int;
    socketpair(domain: c_int, kind: c_int, protocol: c_int, fds: *mut c_int) -> c_int;
    stat64(path: *const c_char, to: *mut c_void) -> c_int;
    statx(fd: c_int, path: *const c_char, flags: c_int, mask: u32, to: *mut c_void) -> c_int;
    waitid(kind: idtype_t, id: id_t, info: *mut siginfo_t, options: c_int) -> c_int;
    waitpid(pid: pid_t, status: *mut c_int, options: c_int) -> pid_t;
    write(fd: c_int, from: *const c_void, bytes: size_t) -> ssize_t;
    writev(fd: c_int, from: *const c_void, count: c_int) -> ssize_t;
    __register_atfork(prepare: *mut c_void, parent: *mut c_void, child: *mut c_void, dso: *mut c_void)
        -> Code;
}

/// Replaces libc's.
///
/// # Safety
///
/// As of libc's.
#[no_mangle]
unsafe extern "C" fn syscall(
    number: c_long,
    a: c_long,
    b: c_long,
    c: c_long,
    d: c_long,
    e: c_long,
    f: c_long,
) -> c_long {
    let last = SYSCALLS.len() - 1;
    let call = SYSCALLS
        .iter()
        .position(|(it, _)| *it == number)
        .unwrap_or(last);
    let is_wake = number == libc::SYS_futex && b & c_long::from(libc::FUTEX_WAKE) != 0;
    // No kernel fails to wake a thread.
    let error = if is_wake {
        None
    } else {
        count(NAMES.len() + call)
    };
    if let Some(errno) = error {
        return c_long::failed(errno);
    }
    // SAFETY: as the caller promises.
    unsafe { real_syscall(number, [a, b, c, d, e, f]) }
}
