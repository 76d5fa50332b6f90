//! One process, its handle, and the book of what became of it.

#![allow(unsafe_code)] // The thief and the undertaker use the bare system calls.

use std::io;
use std::os::unix::process::{CommandExt, ExitStatusExt};
use std::process::{ChildStdin, ExitStatus, Stdio};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Mutex, MutexGuard};
use std::time::{Duration, Instant};

use nix::libc::{self, c_int, pid_t};
use pidwait::{Backend, PidHandle};

use crate::common::{self, readable, LONG};
use crate::random::Random;

#[derive(Debug)]
pub(crate) struct Subject {
    handle: PidHandle,
    /// It exits with this, once the gate is gone.
    code: i32,
    gate: Mutex<Option<ChildStdin>>,
    book: Mutex<Book>,
    released: AtomicBool,
}

#[derive(Debug, Default)]
struct Book {
    /// Noted before they are sent.
    signals: Vec<c_int>,
    /// What the waits of the handle have given.
    given: Vec<ExitStatus>,
    /// What others have reaped.
    reaped_externally: Vec<ExitStatus>,
    /// Some call said that it was reaped.
    said_gone: bool,
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
            gate: Mutex::new(child.stdin.take()),
            book: Mutex::default(),
            released: AtomicBool::new(false),
        }
    }

    /// Does something to it, and judges the answer.
    pub(crate) fn act(&self, random: &mut Random) {
        let handle = &self.handle;
        let soon = Duration::from_micros(random.next() % 3000);
        match random.below(18) {
            0..=1 => {
                self.open_gate();
                self.give(handle.wait());
            }
            2 => {
                self.open_gate();
                self.give(handle.wait_usage().map(|(status, _)| status));
            }
            3..=4 => self.try_to_give(handle.try_wait()),
            5..=6 => {
                let end = Instant::now() + soon;
                let answer = handle.wait_timeout(soon);
                assert!(
                    !matches!(answer, Ok(None)) || Instant::now() >= end,
                    "early"
                );
                self.try_to_give(answer);
            }
            7 => {
                if let Some(true) = self.judge(handle.wait_exited_timeout(soon)) {
                    self.must_have_exited();
                }
            }
            8 => {
                self.open_gate();
                if self.judge(handle.wait_exited()).is_some() {
                    self.must_have_exited();
                }
            }
            9 => self.poll_exit(),
            10..=11 => {
                let signal = self.some_signal(random);
                self.judge(handle.signal(signal));
            }
            12 => {
                let signal = self.some_signal(random);
                self.judge(handle.signal_group(signal));
            }
            13 => {
                self.book().signals.extend([libc::SIGTERM, libc::SIGKILL]);
                self.give(handle.terminate(soon));
            }
            14 => {
                // Known before it is done: others act meanwhile.
                self.released.store(true, Ordering::SeqCst);
                handle.release().expect("release cannot fail");
            }
            15 if handle.backend() == Backend::Pidfd => self.reap_externally(),
            16 => drop(handle.exit_status().map(|status| self.check(status))),
            _ => self.open_gate(),
        }
    }

    /// Sees to it that the process has come to its end, and that exactly one knows how; where
    /// statuses may have been thrown away, at most one.
    pub(crate) fn account(&self, lossy: bool) {
        self.open_gate();
        let early = self.book();
        let known = early.given.len() + early.reaped_externally.len();
        assert!(
            !early.said_gone || known == 1 || lossy,
            "said to be gone: {early:?}"
        );
        drop(early);
        // Ours and unreaped, so that the pid is its own.
        if known == 0 && look(libc::P_PID, self.handle.id()).is_ok() {
            common::kill(self.handle.id(), libc::SIGKILL);
            let status = reap(self.handle.id(), 0);
            self.book().reaped_externally.extend(status);
        }
        let book = self.book();
        let known: Vec<_> = book
            .given
            .iter()
            .chain(&book.reaped_externally)
            .copied()
            .collect();
        let at_least = usize::from(!lossy);
        assert!(
            (at_least..=1).contains(&known.len()),
            "{:?}: {book:?}",
            self.handle
        );
        drop(book);
        for status in &known {
            self.check(*status);
        }
        let status = self.handle.exit_status();
        if let Some(given) = self.book().given.first() {
            assert_eq!(status.as_ref(), Some(given));
        }
        if let (Some(status), [known]) = (status, known.as_slice()) {
            assert_eq!(status, *known);
        }
    }

    fn open_gate(&self) {
        drop(self.gate.lock().expect("no panic").take());
    }

    fn some_signal(&self, random: &mut Random) -> c_int {
        let signals = [
            0,
            libc::SIGTERM,
            libc::SIGUSR2,
            libc::SIGKILL,
            libc::SIGRTMAX(),
        ];
        let signal = signals[random.below(signals.len())];
        self.book().signals.push(signal);
        signal
    }

    fn poll_exit(&self) {
        let Some(exit) = self.judge(self.handle.exit_fd()) else {
            return;
        };
        self.open_gate();
        assert!(readable(&exit, LONG));
        self.must_have_exited();
    }

    fn must_have_exited(&self) {
        if let Some(exited) = self.judge(self.handle.has_exited()) {
            assert!(exited, "another call said so before");
        }
    }

    fn reap_externally(&self) {
        let status = reap(self.handle.id(), libc::WNOHANG);
        self.book().reaped_externally.extend(status);
    }

    fn give(&self, answer: io::Result<ExitStatus>) {
        let status = self.judge(answer);
        self.book().given.extend(status);
    }

    fn try_to_give(&self, answer: io::Result<Option<ExitStatus>>) {
        let status = self.judge(answer).flatten();
        self.book().given.extend(status);
    }

    /// A live handle answers, a done one says ECHILD, a released one EINVAL: nothing else.
    #[track_caller]
    fn judge<T>(&self, answer: io::Result<T>) -> Option<T> {
        match answer.map_err(|error| (error.raw_os_error(), error)) {
            Ok(answer) => return Some(answer),
            Err((Some(libc::ECHILD), _)) => self.book().said_gone = true,
            Err((Some(libc::EINVAL), _)) => {
                assert!(self.released.load(Ordering::SeqCst), "EINVAL, not released");
            }
            Err((_, error)) => panic!("no answer of the contract's: {error}"),
        }
        None
    }

    fn check(&self, status: ExitStatus) {
        let by = status.signal();
        // SIGKILL: the thread that spawned it has ended.
        let known =
            by == Some(libc::SIGKILL) || by.is_some_and(|by| self.book().signals.contains(&by));
        assert!(
            known || status.code() == Some(self.code),
            "{status}, of {self:?}"
        );
    }

    fn book(&self) -> MutexGuard<'_, Book> {
        self.book.lock().expect("no panic")
    }
}

/// Whether there is any child, zombie or not: `Some`, and the pid where it is a zombie's.
pub(crate) fn any_child() -> Option<pid_t> {
    look(libc::P_ALL, 0).ok()
}

/// A look at a child that leaves it as it is; an error, where it is none.
fn look(kind: libc::idtype_t, id: u32) -> io::Result<pid_t> {
    let mut info = std::mem::MaybeUninit::<libc::siginfo_t>::zeroed();
    let options = libc::WEXITED | libc::WNOHANG | libc::WNOWAIT;
    // SAFETY: `info` is valid for writes during the call, which WNOHANG keeps from EINTR.
    let seen = unsafe { libc::waitid(kind, id, info.as_mut_ptr(), options) };
    if seen != 0 {
        return Err(io::Error::last_os_error());
    }
    // SAFETY: zeroed, and zeroes are valid; the call may have filled it in.
    let info = unsafe { info.assume_init_ref() };
    // SAFETY: this field is filled in, or zero still.
    Ok(unsafe { info.si_pid() })
}

/// Reaps by pid, as anybody in this process could. In the short life of a round no pid comes
/// round again, so it is no other's.
fn reap(pid: u32, options: c_int) -> Option<ExitStatus> {
    let pid = pid_t::try_from(pid).expect("a pid");
    let mut status = 0;
    loop {
        // SAFETY: `status` is valid for writes during the call.
        match unsafe { libc::waitpid(pid, &mut status, options) } {
            -1 if io::Error::last_os_error().kind() == io::ErrorKind::Interrupted => {}
            reaped => return (reaped == pid).then(|| ExitStatus::from_raw(status)),
        }
    }
}
