//! The calls of pidwait whose names or shapes depend on its version, all in one place.

use std::io;
use std::process::{Child, Command};
use std::time::Duration;

use pidwait::{Backend, Captured, ChildExt, PidHandle};

/// A handle of a child that was spawned before. A fork copies the table of descriptors, so a bench
/// with thousands of children opens their handles after it has started all of them.
pub(crate) fn open_child(child: &Child) -> PidHandle {
    PidHandle::open(child.id()).expect("the child is unreaped")
}

pub(crate) fn spawn_with(command: &mut Command, backend: Backend) -> PidHandle {
    let handle = match backend {
        Backend::Pidfd => PidHandle::spawn(command).map(|spawned| spawned.handle),
        other => {
            let child = command.spawn().expect("the program starts");
            PidHandle::open_with(child.id(), other)
        }
    };
    let handle = handle.expect("the program starts");
    assert_eq!(handle.backend(), backend);
    handle
}

/// The standard output of a command that has both outputs piped.
pub(crate) fn capture(command: &mut Command, timeout: Duration) -> io::Result<Vec<u8>> {
    match command.spawn()?.pidfd_output_timeout(timeout)? {
        Captured::Exited(output) => Ok(output.stdout),
        Captured::TimedOut(_) => Err(io::ErrorKind::TimedOut.into()),
    }
}

/// As `capture`, with input: the command, what it reads, and the timeout.
pub(crate) type CaptureInput = fn(&mut Command, Vec<u8>, Duration) -> io::Result<Vec<u8>>;
pub(crate) const CAPTURE_INPUT: Option<CaptureInput> = None;

/// As `capture`, but keeps only the first bytes: the command, how many, and the timeout.
pub(crate) type CaptureCapped = fn(&mut Command, usize, Duration) -> io::Result<Vec<u8>>;
pub(crate) const CAPTURE_CAPPED: Option<CaptureCapped> = None;

#[cfg(feature = "runtimes")]
pub(crate) async fn wait_on_tokio(handle: PidHandle) -> io::Result<()> {
    let handle = pidwait::TokioPidHandle::new(&handle)?;
    handle.wait().await.map(|_| ())
}

#[cfg(feature = "runtimes")]
pub(crate) async fn wait_on_async_io(handle: PidHandle) -> io::Result<()> {
    let handle = pidwait::AsyncIoPidHandle::new(&handle)?;
    handle.wait().await.map(|_| ())
}
