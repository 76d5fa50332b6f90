//! One process, its handle, and a log of its signals and of the statuses it gave.

#![allow(unsafe_code)] // Peeks and reaps without the crate, by raw system calls.

use std::io;
use std::os::unix::process::{CommandExt, ExitStatusExt};
use std::process::{ChildStdin, ExitStatus, Stdio};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Mutex, MutexGuard};
use std::time::{Duration, Instant};

use nix::libc::{self, c_int, pid_t};
use pidwait::{Backend, PidHandle, ProcessGroup};

use crate::common::{self, readable, LONG};
use crate::random::Random;

#[derive(Debug)]
pub(crate) struct Subject {
    handle: PidHandle,
    /// The process exits with this code when its stdin closes.
    code: i32,
    stdin: Mutex<Option<ChildStdin>>,
    log: Mutex<Log>,
    released: AtomicBool,
    /// Some calls keep it, and others drop it.
    group: Mutex<Option<ProcessGroup>>,
}

#[derive(Debug, Default)]
struct Log {
    /// Logged before they are sent.
    signals: Vec<c_int>,
    /// Statuses that waits of the handle returned.
    returned: Vec<ExitStatus>,
    /// Statuses that ends returned: their own, or that of a wait.
    shared: Vec<ExitStatus>,
    /// Statuses that external waits reaped.
    reaped_externally: Vec<ExitStatus>,
    /// A group kept the zombie for a while, so that external code could reap it after a wait had its
    /// status.
    was_kept: bool,
    /// Whether a call failed with ECHILD.
    echild: bool,
}

impl Log {
    fn statuses(&self) -> Vec<ExitStatus> {
        let all = [&self.returned, &self.shared, &self.reaped_externally];
        all.into_iter().flatten().copied().collect()
    }
}

impl Subject {
    pub(crate) fn spawn(backend: Backend, random: &mut Random) -> Self {
        let code = i32::try_from(random.below(200)).expect("a code");
        let mut command = common::shell(&format!("read go; exit {code}"));
        command.stdin(Stdio::piped()).process_group(0);
        let mut child = command.spawn().expect("sh starts");
        Self {
            handle: crate::open(child.id(), backend),
            code,
            stdin: Mutex::new(child.stdin.take()),
            log: Mutex::default(),
            released: AtomicBool::new(false),
            group: Mutex::default(),
        }
    }

    /// Makes one random call and checks its result.
    pub(crate) fn call_something(&self, random: &mut Random) {
        let handle = &self.handle;
        let short = Duration::from_micros(random.next() % 3000);
        match random.below(24) {
            0..=1 => {
                self.close_stdin();
                self.record(handle.wait());
            }
            2 => {
                self.close_stdin();
                self.record(handle.wait_usage().map(|(status, _)| status));
            }
            3..=4 => self.record_if_some(handle.try_wait()),
            5..=6 => {
                let end = Instant::now() + short;
                let result = handle.wait_timeout(short);
                assert!(
                    !matches!(result, Ok(None)) || Instant::now() >= end,
                    "early"
                );
                self.record_if_some(result);
            }
            7 => {
                if let Some(true) = self.check(handle.wait_exited_timeout(short)) {
                    self.assert_exited();
                }
            }
            8 => {
                self.close_stdin();
                if self.check(handle.wait_exited()).is_some() {
                    self.assert_exited();
                }
            }
            9 => self.poll_exit(),
            10..=11 => {
                let signal = self.random_signal(random);
                self.check(handle.signal(signal));
            }
            12 => {
                let signal = self.random_signal(random);
                self.check(
                    handle
                        .process_group()
                        .and_then(|group| group.signal(signal)),
                );
            }
            13 => {
                self.log().signals.extend([libc::SIGTERM, libc::SIGKILL]);
                let status = self.check(handle.terminate(short));
                self.log().shared.extend(status);
            }
            17 => {
                self.log().signals.extend([libc::SIGTERM, libc::SIGKILL]);
                if let Some(group) = self.check(handle.process_group()) {
                    self.log().was_kept = true;
                    let status = self.check(group.terminate(short));
                    self.log().shared.extend(status);
                }
            }
            14 => {
                // Stored before the release, because other threads call in the meantime.
                self.released.store(true, Ordering::SeqCst);
                handle.release().expect("release cannot fail");
            }
            15 if handle.backend() == Backend::Pidfd => self.reap_externally(),
            16 => drop(handle.exit_status().map(|status| self.check_status(status))),
            18 => {
                self.log().was_kept = true;
                let group = self.check(handle.process_group());
                let before = std::mem::replace(&mut *self.group.lock().expect("no panic"), group);
                drop(before);
            }
            19 => self.drop_group(),
            20 => {
                self.close_stdin();
                let status = self.check(handle.wait_shared());
                self.log().shared.extend(status);
            }
            21 => {
                let status = self.check(handle.wait_shared_timeout(short)).flatten();
                self.log().shared.extend(status);
            }
            _ => self.close_stdin(),
        }
    }

    /// Ends the process and asserts that exactly one wait got its status; at most one, if the kernel
    /// may have discarded it.
    pub(crate) fn check_reaped_once(&self, may_be_lost: bool) {
        self.close_stdin();
        self.drop_group();
        let log = self.log();
        let is_taken = !log.statuses().is_empty();
        assert!(
            !log.echild || is_taken || may_be_lost,
            "ECHILD for an unreaped child: {log:?}"
        );
        drop(log);
        // An unreaped child of ours, so the PID is still its own.
        if !is_taken && peek(libc::P_PID, self.handle.id()).is_ok() {
            common::kill(self.handle.id(), libc::SIGKILL);
            let status = reap(self.handle.id(), 0);
            self.log().reaped_externally.extend(status);
        }
        let log = self.log();
        let statuses = log.statuses();
        let waits = log.returned.len() + log.reaped_externally.len();
        let most = 1 + usize::from(log.was_kept && !log.reaped_externally.is_empty());
        assert!(
            waits <= most,
            "two waits got it: {:?}: {log:?}",
            self.handle
        );
        assert!(
            !statuses.is_empty() || may_be_lost,
            "{:?}: {log:?}",
            self.handle
        );
        drop(log);
        for status in &statuses {
            self.check_status(*status);
            assert_eq!(*status, statuses[0]);
        }
        let known = self.handle.exit_status();
        let log = self.log();
        if let Some(taken) = log.returned.iter().chain(&log.shared).next() {
            assert_eq!(known.as_ref(), Some(taken));
        }
        if let (Some(known), Some(status)) = (known, statuses.first()) {
            assert_eq!(known, *status);
        }
    }

    fn drop_group(&self) {
        let group = self.group.lock().expect("no panic").take();
        drop(group);
    }

    fn close_stdin(&self) {
        drop(self.stdin.lock().expect("no panic").take());
    }

    fn random_signal(&self, random: &mut Random) -> c_int {
        let signals = [
            0,
            libc::SIGTERM,
            libc::SIGUSR2,
            libc::SIGKILL,
            libc::SIGRTMAX(),
        ];
        let signal = signals[random.below(signals.len())];
        self.log().signals.push(signal);
        signal
    }

    fn poll_exit(&self) {
        let Some(exit) = self.check(self.handle.exit_fd()) else {
            return;
        };
        self.close_stdin();
        assert!(readable(&exit, LONG));
        self.assert_exited();
    }

    fn assert_exited(&self) {
        if let Some(exited) = self.check(self.handle.has_exited()) {
            assert!(exited, "another call saw the exit before");
        }
    }

    fn reap_externally(&self) {
        let status = reap(self.handle.id(), libc::WNOHANG);
        self.log().reaped_externally.extend(status);
    }

    fn record(&self, result: io::Result<ExitStatus>) {
        let status = self.check(result);
        self.log().returned.extend(status);
    }

    fn record_if_some(&self, result: io::Result<Option<ExitStatus>>) {
        let status = self.check(result).flatten();
        self.log().returned.extend(status);
    }

    /// The value of a call that succeeded. A call may fail only with ECHILD if the handle is done, and
    /// with EINVAL if it is released.
    #[track_caller]
    fn check<T>(&self, result: io::Result<T>) -> Option<T> {
        match result.map_err(|error| (error.raw_os_error(), error)) {
            Ok(result) => return Some(result),
            Err((Some(libc::ECHILD), _)) => self.log().echild = true,
            Err((Some(libc::EINVAL), _)) => {
                assert!(self.released.load(Ordering::SeqCst), "EINVAL, not released");
            }
            Err((_, error)) => panic!("not an error of docs/contract.md: {error}"),
        }
        None
    }

    fn check_status(&self, status: ExitStatus) {
        let signal = status.signal();
        // A child also gets SIGKILL when the thread that spawned it ends.
        let expected = signal == Some(libc::SIGKILL)
            || signal.is_some_and(|signal| self.log().signals.contains(&signal));
        assert!(
            expected || status.code() == Some(self.code),
            "{status}, of {self:?}"
        );
    }

    fn log(&self) -> MutexGuard<'_, Log> {
        self.log.lock().expect("no panic")
    }
}

/// `Some` if this process has a child, zombie or not: the PID of a zombie, else 0.
pub(crate) fn any_child() -> Option<pid_t> {
    peek(libc::P_ALL, 0).ok()
}

/// Peeks at a child without reaping it. Fails with ECHILD if there is none.
fn peek(kind: libc::idtype_t, id: u32) -> io::Result<pid_t> {
    let mut info = std::mem::MaybeUninit::<libc::siginfo_t>::zeroed();
    let options = libc::WEXITED | libc::WNOHANG | libc::WNOWAIT;
    // With WNOHANG the call cannot fail with EINTR.
    // SAFETY: `info` is valid for writes during the call.
    let seen = unsafe { libc::waitid(kind, id, info.as_mut_ptr(), options) };
    if seen != 0 {
        return Err(io::Error::last_os_error());
    }
    // SAFETY: zeros are valid, and the call may have filled it in.
    let info = unsafe { info.assume_init_ref() };
    // SAFETY: the field is filled in or still zero.
    Ok(unsafe { info.si_pid() })
}

/// Reaps by PID, as other code in this process could. A round is too short for the kernel to reuse a
/// PID, so the PID cannot be another child's.
fn reap(pid: u32, options: c_int) -> Option<ExitStatus> {
    let pid = pid_t::try_from(pid).expect("a PID");
    let mut status = 0;
    loop {
        // SAFETY: `status` is valid for writes during the call.
        match unsafe { libc::waitpid(pid, &mut status, options) } {
            -1 if io::Error::last_os_error().kind() == io::ErrorKind::Interrupted => {}
            reaped => return (reaped == pid).then(|| ExitStatus::from_raw(status)),
        }
    }
}
