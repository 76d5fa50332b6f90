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
    /// A group that some calls keep, and others drop.
    group: Mutex<Option<ProcessGroup>>,
}

#[derive(Debug, Default)]
struct Log {
    /// Logged before they are sent.
    signals: Vec<c_int>,
    /// Statuses that waits of the handle returned.
    returned: Vec<ExitStatus>,
    /// Statuses that ends and shared waits returned, which one of the others may have got.
    shared: Vec<ExitStatus>,
    /// Statuses that external waits reaped.
    reaped_externally: Vec<ExitStatus>,
    /// Whether a call failed with ECHILD.
    echild: bool,
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
        match random.below(23) {
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
                if let Some(group) = self.check(handle.process_group()) {
                    self.check(group.signal(signal));
                }
            }
            13 => {
                self.log().signals.extend([libc::SIGTERM, libc::SIGKILL]);
                self.record_shared(handle.terminate(short));
            }
            14 => {
                // Stored before the release, because other threads call in the meantime.
                self.released.store(true, Ordering::SeqCst);
                handle.release().expect("release cannot fail");
            }
            15 if handle.backend() == Backend::Pidfd => self.reap_externally(),
            16 => drop(handle.exit_status().map(|status| self.check_status(status))),
            17 => {
                let group = self.check(handle.process_group());
                *self.group.lock().expect("no panic") = group;
            }
            18 => self.drop_group(),
            19 => {
                // Before it is named: another thread may call `release` in between.
                self.log().signals.extend([libc::SIGTERM, libc::SIGKILL]);
                if let Some(group) = self.check(handle.process_group()) {
                    self.record_shared(group.terminate(short));
                }
            }
            20 => {
                self.close_stdin();
                self.record_shared(handle.wait_shared());
            }
            21 => {
                if let Some(Some(status)) = self.check(handle.wait_shared_timeout(short)) {
                    self.log().shared.push(status);
                }
            }
            _ => self.close_stdin(),
        }
    }

    /// Ends the process and asserts that exactly one wait got its status; at most one, if the kernel
    /// may have discarded it.
    pub(crate) fn check_reaped_once(&self, may_be_lost: bool) {
        self.close_stdin();
        self.drop_group();
        let mut log = self.log();
        // One of the shared calls may have reaped it.
        if log.returned.is_empty() && log.reaped_externally.is_empty() {
            let first = log.shared.first().copied();
            log.returned.extend(first);
        }
        let count = log.returned.len() + log.reaped_externally.len();
        assert!(
            !log.echild || count == 1 || may_be_lost,
            "ECHILD for an unreaped child: {log:?}"
        );
        drop(log);
        // An unreaped child of ours, so the PID is still its own.
        if count == 0 && peek(libc::P_PID, self.handle.id()).is_ok() {
            common::kill(self.handle.id(), libc::SIGKILL);
            let status = reap(self.handle.id(), 0);
            self.log().reaped_externally.extend(status);
        }
        let log = self.log();
        let statuses: Vec<_> = log
            .returned
            .iter()
            .chain(&log.reaped_externally)
            .copied()
            .collect();
        let at_least = usize::from(!may_be_lost);
        assert!(
            (at_least..=1).contains(&statuses.len()),
            "{:?}: {log:?}",
            self.handle
        );
        assert!(log.shared.iter().all(|it| statuses.contains(it)), "{log:?}");
        drop(log);
        for status in &statuses {
            self.check_status(*status);
        }
        let status = self.handle.exit_status();
        if let Some(returned) = self.log().returned.first() {
            assert_eq!(status.as_ref(), Some(returned));
        }
        if let (Some(status), [reaped]) = (status, statuses.as_slice()) {
            assert_eq!(status, *reaped);
        }
    }

    fn drop_group(&self) {
        let group = self.group.lock().expect("no panic").take();
        drop(group);
    }

    fn record_shared(&self, result: io::Result<ExitStatus>) {
        let status = self.check(result);
        self.log().shared.extend(status);
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
