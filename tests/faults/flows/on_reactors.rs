//! The async handles and captures, on each reactor.

use std::future::Future;
use std::io;
use std::os::unix::process::CommandExt;

use pidwait::{AsyncPidHandle, Capture, PidHandle, Reactor, StoppedBy};

use super::{
    assert_right, eventually, exits_soon, group, has_other_children, open, settle, settle_group,
    sleeper, unless_fault, with_output, GRACE, SECONDS, SHORT,
};

pub(crate) trait Runtime {
    type Reactor: Reactor;

    const REACTOR: Self::Reactor;

    fn block_on<T>(future: impl Future<Output = T>) -> T;
}

#[cfg(feature = "tokio")]
pub(crate) struct OnTokio;

#[cfg(feature = "tokio")]
impl Runtime for OnTokio {
    type Reactor = pidwait::Tokio;

    const REACTOR: Self::Reactor = pidwait::Tokio;

    fn block_on<T>(future: impl Future<Output = T>) -> T {
        let mut builder = tokio::runtime::Builder::new_current_thread();
        let runtime = builder.enable_all().build().expect("no fault");
        runtime.block_on(future)
    }
}

#[cfg(feature = "async-io")]
pub(crate) struct OnAsyncIo;

#[cfg(feature = "async-io")]
impl Runtime for OnAsyncIo {
    type Reactor = pidwait::AsyncIo;

    const REACTOR: Self::Reactor = pidwait::AsyncIo;

    fn block_on<T>(future: impl Future<Output = T>) -> T {
        async_io::block_on(future)
    }
}

/// Runs a future of which one call may fail, but not that start the runtime.
fn run<R: Runtime, T, F: Future<Output = io::Result<T>>>(
    call: impl FnOnce() -> F,
) -> io::Result<T> {
    R::block_on(async {
        crate::libc::arm();
        let result = call().await;
        crate::libc::disarm();
        result
    })
}

pub(crate) fn wait<R: Runtime>() {
    let handle = open(&exits_soon());
    let result = run::<R, _, _>(|| async {
        let handle = AsyncPidHandle::<R::Reactor>::new(&handle)?;
        handle.wait_exited().await?;
        handle.wait().await
    });
    settle(&handle, unless_fault(result));
}

pub(crate) fn terminate<R: Runtime>() {
    let handle = open(&sleeper());
    let result = run::<R, _, _>(|| async {
        let handle = AsyncPidHandle::<R::Reactor>::new(&handle)?;
        handle.terminate(GRACE).await
    });
    settle(&handle, unless_fault(result));
}

pub(crate) fn terminate_group<R: Runtime>() {
    let group = group();
    let result = run::<R, _, _>(|| async {
        let handle = AsyncPidHandle::<R::Reactor>::new(group.leader())?;
        handle.process_group()?.terminate(GRACE).await
    });
    settle_group(group, unless_fault(result));
}

pub(crate) fn capture<R: Runtime>() {
    let command = with_output("echo out; echo err >&2; exit 3");
    let result = run::<R, _, _>(|| async {
        let capture = Capture::new().timeout(SECONDS).on(R::REACTOR);
        Ok(capture.output(command).await?)
    });
    if let Some(captured) = unless_fault(result) {
        assert_eq!(
            (&captured.stdout[..], &captured.stderr[..]),
            (&b"out\n"[..], &b"err\n"[..])
        );
        assert_right(captured.status.expect("it has exited"));
    }
    eventually("the child is reaped", || !has_other_children());
}

pub(crate) fn capture_timeout<R: Runtime>() {
    let mut command = with_output("sleep 60 & exec sleep 60");
    command.process_group(0);
    let mut spawned = PidHandle::spawn(&mut command).expect("no fault");
    let group = spawned.group.take().expect("it leads a group");
    let result = run::<R, _, _>(|| async {
        let capture = Capture::new().timeout(SHORT).terminate_on_timeout(GRACE);
        Ok(capture.on(R::REACTOR).run(&mut spawned).await?)
    });
    if let Some(captured) = unless_fault(result) {
        assert_eq!(captured.stopped_by, Some(StoppedBy::Timeout));
        assert_right(captured.status.expect("it was ended"));
        assert!(group.has_exited().expect("no fault"), "a member is alive");
    }
    super::assert_blocking(&spawned.stdout);
    settle_group(group, None);
}
