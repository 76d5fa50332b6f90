//! What the tests capture: each type of child, on each backend.

use std::io;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::os::unix::net::UnixStream;
use std::os::unix::process::ExitStatusExt;
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use nix::libc::SIGKILL;
use pidwait::{Backend, Capture, CaptureError, Captured, PidHandle, Pipe, Spawned};

use super::LONG;
use crate::common::{backends, has_exit_records, kill, shell};

/// A child to capture: each type, and each backend of the one that can choose.
pub(crate) enum Subject {
    Child(Child),
    Spawned(Spawned),
}

#[derive(Clone, Copy, Debug)]
pub(crate) enum Kind {
    Child,
    Spawned(Backend),
}

pub(crate) fn kinds() -> Vec<Kind> {
    let mut kinds = vec![Kind::Child];
    kinds.extend(backends().into_iter().map(Kind::Spawned));
    kinds
}

impl Kind {
    pub(crate) fn spawn(self, command: &mut Command) -> Subject {
        match self {
            Kind::Child => Subject::Child(command.spawn().unwrap()),
            Kind::Spawned(backend) => {
                let mut spawned = PidHandle::spawn(command).unwrap();
                spawned.handle = PidHandle::open_with(spawned.handle.id(), backend).unwrap();
                Subject::Spawned(spawned)
            }
        }
    }

    /// Spawns a script with both outputs piped.
    pub(crate) fn script(self, script: &str) -> Subject {
        self.spawn(&mut both_piped(script))
    }

    /// Starts a child with both output pipes. Its standard input ends when the returned socket is
    /// dropped. It is not the child's own `stdin`, because the call under test closes that.
    pub(crate) fn gated(self, script: &str) -> (Subject, UnixStream) {
        let (gate, opener) = gate();
        (self.spawn(both_piped(script).stdin(gate)), opener)
    }

    /// Whether the status of a child that other code reaped can be read.
    pub(crate) fn has_exit_records(self) -> bool {
        has_exit_records(match self {
            Kind::Child => pidwait::support().unwrap().backend(),
            Kind::Spawned(backend) => backend,
        })
    }
}

impl Subject {
    pub(crate) fn run(&mut self, capture: &Capture) -> Result<Captured, CaptureError> {
        match self {
            Subject::Child(child) => capture.run(child),
            Subject::Spawned(spawned) => capture.run(spawned),
        }
    }

    pub(crate) fn run_with(
        &mut self,
        capture: &Capture,
        sink: impl FnMut(Pipe, &[u8]) -> io::Result<()>,
    ) -> Result<Captured, CaptureError> {
        match self {
            Subject::Child(child) => capture.run_with(child, sink),
            Subject::Spawned(spawned) => capture.run_with(spawned, sink),
        }
    }

    /// Captures until the child has exited.
    #[track_caller]
    pub(crate) fn exited(&mut self, timeout: Duration) -> Captured {
        let captured = self.run(&Capture::new().timeout(timeout)).unwrap();
        assert!(captured.status.is_some(), "timed out: {captured:?}");
        assert!(!captured.timed_out, "{captured:?}");
        captured
    }

    /// Captures until the time has run out.
    #[track_caller]
    pub(crate) fn timed_out(&mut self, timeout: Duration) -> Captured {
        let captured = self.run(&Capture::new().timeout(timeout)).unwrap();
        assert_eq!(captured.status, None, "{captured:?}");
        assert!(captured.timed_out && !captured.leaked, "{captured:?}");
        captured
    }

    pub(crate) fn pid(&self) -> u32 {
        match self {
            Subject::Child(child) => child.id(),
            Subject::Spawned(spawned) => spawned.handle.id(),
        }
    }

    /// Standard input, output and error.
    pub(crate) fn pipes(&self) -> [Option<BorrowedFd<'_>>; 3] {
        fn fd(pipe: &Option<impl AsFd>) -> Option<BorrowedFd<'_>> {
            pipe.as_ref().map(AsFd::as_fd)
        }
        match self {
            Subject::Child(it) => [fd(&it.stdin), fd(&it.stdout), fd(&it.stderr)],
            Subject::Spawned(it) => [fd(&it.stdin), fd(&it.stdout), fd(&it.stderr)],
        }
    }

    pub(crate) fn set_stdin(&mut self, fd: impl Into<OwnedFd>) {
        let fd = Some(fd.into().into());
        match self {
            Subject::Child(child) => child.stdin = fd,
            Subject::Spawned(spawned) => spawned.stdin = fd,
        }
    }

    pub(crate) fn set_stdout(&mut self, fd: impl Into<OwnedFd>) {
        let fd = Some(fd.into().into());
        match self {
            Subject::Child(child) => child.stdout = fd,
            Subject::Spawned(spawned) => spawned.stdout = fd,
        }
    }

    pub(crate) fn set_stderr(&mut self, fd: impl Into<OwnedFd>) {
        let fd = Some(fd.into().into());
        match self {
            Subject::Child(child) => child.stderr = fd,
            Subject::Spawned(spawned) => spawned.stderr = fd,
        }
    }

    /// Kills the child and reaps it, which shows that it was not reaped before.
    #[track_caller]
    pub(crate) fn end(mut self) {
        kill(self.pid(), SIGKILL);
        let status = match &mut self {
            Subject::Child(child) => child.wait().unwrap(),
            Subject::Spawned(spawned) => spawned.handle.wait().unwrap(),
        };
        assert_eq!(status.signal(), Some(SIGKILL));
    }
}

pub(crate) fn both_piped(script: &str) -> Command {
    let mut command = shell(script);
    command.stdout(Stdio::piped()).stderr(Stdio::piped());
    command
}

pub(crate) fn gate() -> (OwnedFd, UnixStream) {
    let (gate, opener) = UnixStream::pair().unwrap();
    (gate.into(), opener)
}

/// Runs a script to its end on each kind of child.
pub(crate) fn each(script: &str, check: impl Fn(Captured)) {
    for kind in kinds() {
        check(kind.script(script).exited(LONG));
    }
}

#[track_caller]
pub(crate) fn code(captured: &Captured) -> Option<i32> {
    captured.status.expect("it has exited").code()
}
