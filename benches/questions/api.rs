//! The calls of pidwait whose names or shapes depend on its version, all in one place.

use std::io;
use std::process::{Child, Command};
use std::time::Duration;

use pidwait::{Backend, Capture, ChildExt, PidHandle};

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

/// The child must have nothing else that reaps it.
pub(crate) fn reap_in_background(child: &Child, backend: Backend) {
    let handle = PidHandle::open_with(child.id(), backend);
    handle.expect("the child is unreaped").reap_in_background();
}

pub(crate) fn terminate_group(leader: &PidHandle, grace: Duration) -> io::Result<()> {
    leader.process_group()?.terminate(grace).map(drop)
}

/// The standard output of a command that has both outputs piped.
pub(crate) fn capture(command: &mut Command, timeout: Duration) -> io::Result<Vec<u8>> {
    let captured = command.spawn()?.pidfd_output_timeout(timeout)?;
    Ok(captured.into_output()?.stdout)
}

/// As `capture`, with input.
pub(crate) fn capture_input(
    command: &mut Command,
    input: Vec<u8>,
    timeout: Duration,
) -> io::Result<Vec<u8>> {
    let captured = Capture::new().timeout(timeout).input(input);
    Ok(captured.output(command)?.into_output()?.stdout)
}

/// As `capture`, but keeps only the first bytes.
pub(crate) fn capture_capped(
    command: &mut Command,
    most: usize,
    timeout: Duration,
) -> io::Result<Vec<u8>> {
    let captured = Capture::new().timeout(timeout).max_bytes(most);
    Ok(captured.output(command)?.into_output()?.stdout)
}

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
