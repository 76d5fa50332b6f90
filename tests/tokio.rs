//! `TokioPidHandle`, on both of tokio's runtimes.
#![cfg(feature = "tokio")]

mod common;
#[path = "common/reactor.rs"]
mod reactor;

use std::future::Future;
use std::io;
use std::os::unix::process::ExitStatusExt;
use std::time::Duration;

use nix::libc::{ECHILD, SIGKILL};
use pidwait::{PidHandle, TokioPidHandle};
use tokio::runtime::Builder;

use common::{backends, errno, sleeper, zombie};
use reactor::{assert_send, async_handle, test_on, Reactor};

async_handle!(TokioPidHandle);

struct CurrentThread;

impl Reactor for CurrentThread {
    type Handle = TokioPidHandle;

    fn block_on<T>(future: impl Future<Output = T>) -> T {
        let runtime = Builder::new_current_thread().enable_all().build().unwrap();
        runtime.block_on(future)
    }
    async fn sleep(time: Duration) {
        tokio::time::sleep(time).await;
    }
    assert_send!(TokioPidHandle);
}

struct MultiThread;

impl Reactor for MultiThread {
    type Handle = TokioPidHandle;

    fn block_on<T>(future: impl Future<Output = T>) -> T {
        let runtime = Builder::new_multi_thread().enable_all().build().unwrap();
        runtime.block_on(future)
    }
    async fn sleep(time: Duration) {
        tokio::time::sleep(time).await;
    }
    assert_send!(TokioPidHandle);
}

mod current_thread {
    super::test_on!(super::CurrentThread);
}

mod multi_thread {
    super::test_on!(super::MultiThread);
}

/// On worker threads, which poll the futures in parallel.
#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn one_of_several_tasks_gets_the_status() {
    for backend in backends() {
        let handle = PidHandle::open_with(sleeper().id(), backend).unwrap();
        let child = TokioPidHandle::new(&handle).unwrap();
        let waits: Vec<_> = (0..8)
            .map(|_| {
                let child = child.clone();
                tokio::spawn(async move { child.wait().await })
            })
            .collect();
        child.handle().kill().unwrap();
        let mut statuses = Vec::new();
        for wait in waits {
            match wait.await.unwrap() {
                Ok(status) => statuses.push(status),
                error => assert_eq!(errno(error), ECHILD),
            }
        }
        assert_eq!(statuses.len(), 1, "exactly one task gets the status");
        assert_eq!(child.handle().exit_status(), statuses.pop());
    }
}

#[tokio::test]
async fn a_wait_that_timed_out_can_be_repeated() {
    for backend in backends() {
        let handle = PidHandle::open_with(sleeper().id(), backend).unwrap();
        let child = TokioPidHandle::new(&handle).unwrap();
        for _ in 0..10 {
            let timeout = Duration::from_millis(1);
            assert!(tokio::time::timeout(timeout, child.wait()).await.is_err());
        }
        child.handle().kill().unwrap();
        let timeout = Duration::from_secs(600);
        let status = tokio::time::timeout(timeout, child.wait()).await.unwrap();
        assert_eq!(status.unwrap().signal(), Some(SIGKILL));
    }
}

#[test]
fn a_handle_needs_a_runtime() {
    for backend in backends() {
        let child = PidHandle::open_with(zombie("exit 3").id(), backend).unwrap();
        let error = TokioPidHandle::new(&child).unwrap_err();
        assert_eq!(error.kind(), io::ErrorKind::Unsupported);
        assert_eq!(child.wait().unwrap().code(), Some(3));
    }
}

#[test]
fn a_wait_fails_after_its_runtime_has_shut_down() {
    for backend in backends() {
        let handle = PidHandle::open_with(sleeper().id(), backend).unwrap();
        let child = CurrentThread::block_on(async { TokioPidHandle::new(&handle).unwrap() });
        let waited = CurrentThread::block_on(child.wait());
        assert!(waited.is_err(), "it does not block forever");
        child.handle().kill().unwrap();
        assert_eq!(child.handle().wait().unwrap().signal(), Some(SIGKILL));
    }
}

/// Both reactors see the exit; the first wait reaps.
#[cfg(feature = "async-io")]
#[tokio::test]
async fn works_beside_async_io_on_one_process() {
    for backend in backends() {
        let pid = sleeper().id();
        let open = || PidHandle::open_with(pid, backend).unwrap();
        let on_tokio = TokioPidHandle::new(&open()).unwrap();
        let on_async_io = pidwait::AsyncIoPidHandle::new(&open()).unwrap();
        let kill = async { on_tokio.handle().kill().unwrap() };
        let (first, second, ()) =
            tokio::join!(on_tokio.wait_exited(), on_async_io.wait_exited(), kill);
        first.unwrap();
        second.unwrap();
        assert_eq!(on_tokio.wait().await.unwrap().signal(), Some(SIGKILL));
        assert_eq!(errno(on_async_io.wait().await), ECHILD);
    }
}
