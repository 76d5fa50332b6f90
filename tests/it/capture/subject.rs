//! What the tests capture: each type of child, on each backend, by each driver.

use std::io;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::os::unix::net::UnixStream;
use std::os::unix::process::ExitStatusExt;
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use nix::libc::SIGKILL;
use pidwait::{
    Backend, Capture, CaptureError, Captured, PidHandle, Pipe, Piped, Spawned, StoppedBy,
};

use super::LONG;
use crate::common::{backends, has_exit_records, kill, shell};

/// A child to capture, and the driver that captures it.
pub(crate) struct Subject {
    pub(crate) child: AnyChild,
    driver: Driver,
}

pub(crate) enum AnyChild {
    Child(Child),
    Spawned(Spawned),
}

/// Which child, on which driver.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Kind {
    /// `None`: a std `Child`.
    backend: Option<Backend>,
    pub(crate) driver: Driver,
}

/// The calls that block, and those on each reactor: the one switch between them.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Driver {
    Blocking,
    #[cfg(feature = "tokio")]
    Tokio,
    #[cfg(feature = "async-io")]
    AsyncIo,
}

pub(crate) const DRIVERS: &[Driver] = &[
    Driver::Blocking,
    #[cfg(feature = "tokio")]
    Driver::Tokio,
    #[cfg(feature = "async-io")]
    Driver::AsyncIo,
];

/// Each type of child, each backend of the one that can choose, and each driver.
pub(crate) fn kinds() -> impl Iterator<Item = Kind> {
    kinds_of(std::iter::once(None).chain(backends().into_iter().map(Some)))
}

/// Those with a handle.
pub(crate) fn kinds_of_spawned() -> impl Iterator<Item = Kind> {
    kinds_of(backends().into_iter().map(Some))
}

fn kinds_of(backends: impl Iterator<Item = Option<Backend>>) -> impl Iterator<Item = Kind> {
    backends.flat_map(|backend| DRIVERS.iter().map(move |&driver| Kind { backend, driver }))
}

/// Runs one of the calls, on the driver.
macro_rules! on {
    ($driver:expr, $capture:expr, |$run:ident| $call:expr) => {
        match $driver {
            Driver::Blocking => {
                let $run = $capture;
                $call
            }
            #[cfg(feature = "tokio")]
            Driver::Tokio => {
                let $run = $capture.clone().on(pidwait::Tokio);
                tokio_runtime().block_on(async { $call.await })
            }
            #[cfg(feature = "async-io")]
            Driver::AsyncIo => {
                let $run = $capture.clone().on(pidwait::AsyncIo);
                async_io::block_on(async { $call.await })
            }
        }
    };
}

/// The timers of a reactor.
#[cfg(any(feature = "tokio", feature = "async-io"))]
pub(crate) trait Timers: pidwait::Reactor {
    fn sleep(self, time: Duration) -> impl std::future::Future<Output = ()> + Send;
}

#[cfg(feature = "tokio")]
impl Timers for pidwait::Tokio {
    async fn sleep(self, time: Duration) {
        tokio::time::sleep(time).await;
    }
}

#[cfg(feature = "async-io")]
impl Timers for pidwait::AsyncIo {
    async fn sleep(self, time: Duration) {
        async_io::Timer::after(time).await;
    }
}

/// Runs async code on each kind of child and each reactor. In it, captures of `kind` block.
#[cfg(any(feature = "tokio", feature = "async-io"))]
macro_rules! each_reactor {
    (|$kind:ident, $reactor:ident| $body:block) => {
        for $kind in crate::capture::subject::kinds() {
            match $kind.driver {
                crate::capture::subject::Driver::Blocking => {}
                #[cfg(feature = "tokio")]
                crate::capture::subject::Driver::Tokio => {
                    let ($kind, $reactor) = ($kind.blocking(), pidwait::Tokio);
                    let runtime = crate::capture::subject::tokio_runtime();
                    runtime.block_on(async $body);
                }
                #[cfg(feature = "async-io")]
                crate::capture::subject::Driver::AsyncIo => {
                    let ($kind, $reactor) = ($kind.blocking(), pidwait::AsyncIo);
                    async_io::block_on(async $body);
                }
            }
        }
    };
}

#[cfg(any(feature = "tokio", feature = "async-io"))]
pub(crate) use each_reactor;

#[cfg(feature = "tokio")]
pub(crate) fn tokio_runtime() -> tokio::runtime::Runtime {
    let mut builder = tokio::runtime::Builder::new_current_thread();
    builder.enable_all().build().unwrap()
}

impl Driver {
    pub(crate) fn run(
        self,
        capture: &Capture,
        child: &mut impl Piped,
    ) -> Result<Captured, CaptureError> {
        on!(self, capture, |run| run.run(child))
    }

    pub(crate) fn run_with(
        self,
        capture: &Capture,
        child: &mut impl Piped,
        sink: impl FnMut(Pipe, &[u8]) -> io::Result<()>,
    ) -> Result<Captured, CaptureError> {
        on!(self, capture, |run| run.run_with(child, sink))
    }

    pub(crate) fn run_until(
        self,
        capture: &Capture,
        child: &mut impl Piped,
        condition: impl FnMut(&[u8], &[u8]) -> bool,
    ) -> Result<Captured, CaptureError> {
        on!(self, capture, |run| run.run_until(child, condition))
    }

    pub(crate) fn output(
        self,
        capture: &Capture,
        command: &mut Command,
    ) -> Result<Captured, CaptureError> {
        on!(self, capture, |run| run.output(command))
    }

    pub(crate) fn output_with(
        self,
        capture: &Capture,
        command: &mut Command,
        sink: impl FnMut(Pipe, &[u8]) -> io::Result<()>,
    ) -> Result<Captured, CaptureError> {
        on!(self, capture, |run| run.output_with(command, sink))
    }
}

impl Kind {
    pub(crate) fn spawn(self, command: &mut Command) -> Subject {
        let child = match self.backend {
            None => AnyChild::Child(command.spawn().unwrap()),
            Some(backend) => {
                let mut spawned = PidHandle::spawn(command).unwrap();
                spawned.handle = PidHandle::open_with(spawned.handle.id(), backend).unwrap();
                AnyChild::Spawned(spawned)
            }
        };
        Subject {
            child,
            driver: self.driver,
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
        let default = || pidwait::support().unwrap().backend();
        has_exit_records(self.backend.unwrap_or_else(default))
    }

    /// The same child, captured by calls that block.
    #[cfg(any(feature = "tokio", feature = "async-io"))]
    pub(crate) fn blocking(self) -> Self {
        Self {
            driver: Driver::Blocking,
            ..self
        }
    }

    pub(crate) fn is_child(self) -> bool {
        self.backend.is_none()
    }
}

impl Subject {
    pub(crate) fn run(&mut self, capture: &Capture) -> Result<Captured, CaptureError> {
        match &mut self.child {
            AnyChild::Child(child) => self.driver.run(capture, child),
            AnyChild::Spawned(spawned) => self.driver.run(capture, spawned),
        }
    }

    pub(crate) fn run_with(
        &mut self,
        capture: &Capture,
        sink: impl FnMut(Pipe, &[u8]) -> io::Result<()>,
    ) -> Result<Captured, CaptureError> {
        match &mut self.child {
            AnyChild::Child(child) => self.driver.run_with(capture, child, sink),
            AnyChild::Spawned(spawned) => self.driver.run_with(capture, spawned, sink),
        }
    }

    pub(crate) fn run_until(
        &mut self,
        capture: &Capture,
        condition: impl FnMut(&[u8], &[u8]) -> bool,
    ) -> Result<Captured, CaptureError> {
        match &mut self.child {
            AnyChild::Child(child) => self.driver.run_until(capture, child, condition),
            AnyChild::Spawned(spawned) => self.driver.run_until(capture, spawned, condition),
        }
    }

    /// Captures until the child has exited.
    #[track_caller]
    pub(crate) fn exited(&mut self, timeout: Duration) -> Captured {
        let captured = self.run(&Capture::new().timeout(timeout)).unwrap();
        assert!(captured.status.is_some(), "timed out: {captured:?}");
        assert_eq!(captured.stopped_by, None, "{captured:?}");
        captured
    }

    /// Captures until the time has run out.
    #[track_caller]
    pub(crate) fn timed_out(&mut self, timeout: Duration) -> Captured {
        let captured = self.run(&Capture::new().timeout(timeout)).unwrap();
        assert_eq!(captured.status, None, "{captured:?}");
        assert_eq!(captured.stopped_by, Some(StoppedBy::Timeout));
        assert!(!captured.leaked, "{captured:?}");
        captured
    }

    /// Of a kind with a handle.
    pub(crate) fn spawned(&mut self) -> &mut Spawned {
        match &mut self.child {
            AnyChild::Spawned(spawned) => spawned,
            AnyChild::Child(_) => unreachable!("a std Child"),
        }
    }

    pub(crate) fn pid(&self) -> u32 {
        match &self.child {
            AnyChild::Child(child) => child.id(),
            AnyChild::Spawned(spawned) => spawned.handle.id(),
        }
    }

    /// Standard input, output and error.
    pub(crate) fn pipes(&self) -> [Option<BorrowedFd<'_>>; 3] {
        fn fd(pipe: &Option<impl AsFd>) -> Option<BorrowedFd<'_>> {
            pipe.as_ref().map(AsFd::as_fd)
        }
        match &self.child {
            AnyChild::Child(it) => [fd(&it.stdin), fd(&it.stdout), fd(&it.stderr)],
            AnyChild::Spawned(it) => [fd(&it.stdin), fd(&it.stdout), fd(&it.stderr)],
        }
    }

    pub(crate) fn set_stdin(&mut self, fd: impl Into<OwnedFd>) {
        let fd = Some(fd.into().into());
        match &mut self.child {
            AnyChild::Child(child) => child.stdin = fd,
            AnyChild::Spawned(spawned) => spawned.stdin = fd,
        }
    }

    pub(crate) fn set_stdout(&mut self, fd: impl Into<OwnedFd>) {
        let fd = Some(fd.into().into());
        match &mut self.child {
            AnyChild::Child(child) => child.stdout = fd,
            AnyChild::Spawned(spawned) => spawned.stdout = fd,
        }
    }

    pub(crate) fn set_stderr(&mut self, fd: impl Into<OwnedFd>) {
        let fd = Some(fd.into().into());
        match &mut self.child {
            AnyChild::Child(child) => child.stderr = fd,
            AnyChild::Spawned(spawned) => spawned.stderr = fd,
        }
    }

    /// Kills the child and reaps it, which shows that it was not reaped before.
    #[track_caller]
    pub(crate) fn end(mut self) {
        kill(self.pid(), SIGKILL);
        let status = match &mut self.child {
            AnyChild::Child(child) => child.wait().unwrap(),
            AnyChild::Spawned(spawned) => spawned.handle.wait().unwrap(),
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
