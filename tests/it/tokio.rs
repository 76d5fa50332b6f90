//! `TokioPidHandle`, on both of tokio's runtimes.

use std::future::Future;
use std::io;
use std::os::unix::process::{CommandExt, ExitStatusExt};
use std::panic::{catch_unwind, AssertUnwindSafe};
use std::time::Duration;

use nix::libc::{ECHILD, SIGKILL};
use pidwait::{PidHandle, Tokio, TokioPidHandle};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::unix::pipe::{Receiver, Sender};
use tokio::runtime::{Builder, Runtime};

use crate::common::isolated::enter;
use crate::common::{backends, errno, has_no_children, sleep, sleeper, zombie};
use crate::reactor::{self, test_on};

struct OnTokio<const MULTI_THREAD: bool>;

impl<const MULTI_THREAD: bool> reactor::Runtime for OnTokio<MULTI_THREAD> {
    type Reactor = Tokio;

    fn block_on<T>(future: impl Future<Output = T>) -> T {
        let mut builder = if MULTI_THREAD {
            Builder::new_multi_thread()
        } else {
            Builder::new_current_thread()
        };
        builder.enable_all().build().unwrap().block_on(future)
    }
    async fn sleep(time: Duration) {
        tokio::time::sleep(time).await;
    }
    async fn read(pipe: &mut Receiver) -> String {
        let mut text = String::new();
        pipe.read_to_string(&mut text).await.unwrap();
        text
    }
    async fn write(pipe: &mut Sender, text: &str) {
        pipe.write_all(text.as_bytes()).await.unwrap();
    }
}

type CurrentThread = OnTokio<false>;
type MultiThread = OnTokio<true>;

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
        let child = <CurrentThread as reactor::Runtime>::block_on(async {
            TokioPidHandle::new(&handle).unwrap()
        });
        let waited = <CurrentThread as reactor::Runtime>::block_on(child.wait());
        assert!(waited.is_err(), "it does not block forever");
        child.handle().kill().unwrap();
        assert_eq!(child.handle().wait().unwrap().signal(), Some(SIGKILL));
    }
}

/// A future that waits on another runtime than that of its handle is woken, with an error.
#[test]
fn a_pending_wait_fails_when_the_runtime_of_its_handle_shuts_down() {
    for builder in [Builder::new_current_thread, Builder::new_multi_thread] {
        for backend in backends() {
            let handle = PidHandle::open_with(sleeper().id(), backend).unwrap();
            let owner = builder().enable_all().build().unwrap();
            let child = owner.block_on(async { TokioPidHandle::new(&handle).unwrap() });
            let other = builder().enable_all().build().unwrap();
            let shut_down = async { tokio::task::spawn_blocking(move || drop(owner)).await };
            let (wait, exited, shared, shut_down) = other.block_on(async {
                tokio::join!(
                    child.wait(),
                    child.wait_exited(),
                    child.wait_shared(),
                    shut_down
                )
            });
            shut_down.unwrap();
            assert!(wait.is_err() && exited.is_err() && shared.is_err());
            // The status is not lost: another async handle of the same `PidHandle` gets it.
            let again = other.block_on(async { TokioPidHandle::new(child.handle()).unwrap() });
            handle.kill().unwrap();
            let status = other.block_on(again.wait()).unwrap();
            assert_eq!(status.signal(), Some(SIGKILL));
        }
    }
}

/// Tasks that wait are dropped with their runtime.
#[test]
fn a_runtime_with_waiting_tasks_shuts_down_and_loses_nothing() {
    for builder in [Builder::new_current_thread, Builder::new_multi_thread] {
        for backend in backends() {
            let handle = PidHandle::open_with(sleeper().id(), backend).unwrap();
            let runtime = builder().enable_all().build().unwrap();
            runtime.block_on(async {
                let child = TokioPidHandle::new(&handle).unwrap();
                for _ in 0..10 {
                    let child = child.clone();
                    tokio::spawn(async move { child.wait().await });
                }
                let child = child.clone();
                tokio::spawn(async move { child.wait_shared().await });
                tokio::task::yield_now().await;
            });
            drop(runtime);
            handle.kill().unwrap();
            assert_eq!(handle.wait().unwrap().signal(), Some(SIGKILL));
        }
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn a_thousand_spawned_tasks_share_one_status() {
    for backend in backends() {
        let handle = PidHandle::open_with(sleeper().id(), backend).unwrap();
        let child = TokioPidHandle::new(&handle).unwrap();
        let waits: Vec<_> = (0..1000)
            .map(|_| {
                let child = child.clone();
                tokio::spawn(async move { child.wait_shared().await })
            })
            .collect();
        handle.kill().unwrap();
        for wait in waits {
            let status = wait.await.unwrap().unwrap();
            assert_eq!(status.signal(), Some(SIGKILL));
        }
    }
}

/// Runs a future on a runtime, and returns whether it panics.
fn panics<T>(runtime: &Runtime, future: impl Future<Output = T>) -> bool {
    catch_unwind(AssertUnwindSafe(|| runtime.block_on(future))).is_err()
}

/// Without the I/O driver or the timer tokio panics, before anything is sent. In a process of its own: the
/// backtrace of a panic reads the debug information of this binary, and each later fork copies that.
#[test]
fn a_runtime_without_its_drivers_panics() {
    if !enter("tokio::a_runtime_without_its_drivers_panics") {
        return;
    }
    for backend in backends() {
        let leader = sleep().process_group(0).spawn().unwrap();
        let handle = PidHandle::open_with(leader.id(), backend).unwrap();
        let bare = Builder::new_current_thread().build().unwrap();
        assert!(panics(&bare, async { TokioPidHandle::new(&handle) }));

        let no_timer = Builder::new_current_thread().enable_io().build().unwrap();
        let child = no_timer.block_on(async { TokioPidHandle::new(&handle).unwrap() });
        let group = child.process_group().unwrap();
        let no_io = Builder::new_current_thread().enable_time().build().unwrap();
        for runtime in [&no_timer, &no_io] {
            assert!(panics(runtime, child.terminate(Duration::ZERO)));
            assert!(panics(runtime, child.terminate_unreaped(Duration::ZERO)));
            assert!(panics(runtime, group.terminate(Duration::ZERO)));
            assert!(panics(runtime, group.terminate_unreaped(Duration::ZERO)));
            assert!(panics(runtime, group.wait_exited()));
        }
        assert!(!handle.has_exited().unwrap(), "nothing was sent");
        drop(group);
        handle.kill().unwrap();
        let status = no_timer.block_on(child.wait()).unwrap();
        assert_eq!(status.signal(), Some(SIGKILL), "waits need no timer");
    }
}

/// An end and a wait for a group need a runtime to sleep in.
#[test]
fn an_end_needs_a_runtime() {
    for backend in backends() {
        let leader = sleep().process_group(0).spawn().unwrap();
        let handle = PidHandle::open_with(leader.id(), backend).unwrap();
        let runtime = Builder::new_current_thread().enable_all().build().unwrap();
        let child = runtime.block_on(async { TokioPidHandle::new(&handle).unwrap() });
        let group = child.process_group().unwrap();
        let is_unsupported = |error: io::Error| error.kind() == io::ErrorKind::Unsupported;
        let ended = futures_lite::future::block_on(child.terminate(Duration::ZERO));
        assert!(ended.is_err_and(is_unsupported));
        let ended = futures_lite::future::block_on(group.terminate(Duration::ZERO));
        assert!(ended.is_err_and(is_unsupported));
        let waited = futures_lite::future::block_on(group.wait_exited());
        assert!(waited.is_err_and(is_unsupported));
        assert!(!handle.has_exited().unwrap(), "nothing was sent");
        handle.kill().unwrap();
        runtime.block_on(child.wait()).unwrap();
    }
}

/// `spawn` fails, or tokio panics, before the fork.
#[test]
fn spawn_needs_a_runtime_with_all_drivers() {
    if !enter("tokio::spawn_needs_a_runtime_with_all_drivers") {
        return;
    }
    let error = TokioPidHandle::spawn(&mut sleep()).unwrap_err();
    assert_eq!(error.kind(), io::ErrorKind::Unsupported);
    let bare = Builder::new_current_thread().build();
    let no_timer = Builder::new_current_thread().enable_io().build();
    let no_io = Builder::new_current_thread().enable_time().build();
    for runtime in [bare, no_timer, no_io] {
        let runtime = runtime.unwrap();
        assert!(panics(&runtime, async {
            TokioPidHandle::spawn(&mut sleep())
        }));
    }
    assert!(has_no_children());
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
