//! Futures of captures: dropped after any number of polls, beside other tasks, without a runtime.

use std::future::{poll_fn, Future};
use std::io::{self, Write};
use std::os::unix::process::CommandExt;
use std::pin::Pin;
use std::process::Command;
use std::task::Poll;
use std::time::Duration;

use futures_lite::future::or;
use nix::libc::SIGTERM;
use pidwait::{AsyncCapture, Capture, PidHandle, Pipe, Reactor, Spawned};

use super::subject::{each_reactor, AnyChild, Timers};
use super::{code, LONG, SHORT};
use crate::common::{eventually, exists, is_blocking, kill, shell, state_of};

/// Polls a future at most `polls` times. `None`: it was pending then, and was dropped.
async fn drop_after<F: Future>(polls: usize, future: F) -> Option<F::Output> {
    let mut future = Box::pin(future);
    let mut so_far = 0;
    poll_fn(|context| {
        if so_far == polls {
            return Poll::Ready(None);
        }
        so_far += 1;
        future.as_mut().poll(context).map(Some)
    })
    .await
}

/// Prints how often a future was pending. The harness would capture the output of `eprintln`.
fn report(what: &str, polls: usize) {
    let _ = writeln!(
        io::stderr(),
        "{what}: pending after 0 to {} polls",
        polls - 1
    );
}

/// The child writes the next line when the sink has got the one before.
#[test]
fn run_that_is_dropped_at_any_poll_loses_nothing() {
    const SCRIPT: &str = "for i in 1 2 3 4; do echo $i; echo e$i >&2; read go; done; exit 3";
    each_reactor!(|kind, reactor| {
        for polls in 0.. {
            let (mut child, mut opener) = kind.gated(SCRIPT);
            let mut bytes = [Vec::new(), Vec::new()];
            let mut sink = |pipe, piece: &[u8]| {
                bytes[usize::from(pipe == Pipe::Stderr)].extend_from_slice(piece);
                if pipe == Pipe::Stderr {
                    opener.write_all(b"\n")?;
                }
                Ok(())
            };
            let run = Capture::new().on(reactor);
            let first = match &mut child.child {
                AnyChild::Child(it) => drop_after(polls, run.run_with(it, &mut sink)).await,
                AnyChild::Spawned(it) => drop_after(polls, run.run_with(it, &mut sink)).await,
            };
            let is_dropped = first.is_none();
            let captured = match first {
                Some(captured) => captured.unwrap(),
                None => {
                    let pipes = child.pipes();
                    assert!(pipes[1..].iter().flatten().all(is_blocking), "{polls}");
                    child.run_with(&Capture::new(), &mut sink).unwrap()
                }
            };
            assert_eq!(code(&captured), Some(3), "{polls}");
            assert_eq!(bytes[0], b"1\n2\n3\n4\n", "{polls}");
            assert_eq!(bytes[1], b"e1\ne2\ne3\ne4\n", "{polls}");
            if !is_dropped {
                report(&format!("run, {kind:?}, {reactor:?}"), polls);
                break;
            }
        }
    });
}

/// It kills the group. A future that was never polled has spawned nothing.
#[test]
fn output_that_is_dropped_at_any_poll_leaves_nothing() {
    const SCRIPT: &str = "sleep 600 & echo $$ $!; sleep 0.01; echo 1; sleep 0.01; echo 2; exit 3";
    each_reactor!(|kind, reactor| {
        if !kind.is_child() {
            return; // `output` spawns the child, on the default backend.
        }
        for polls in 0.. {
            let mut bytes = Vec::new();
            let mut command = Command::new("sh");
            command.args(["-c", SCRIPT]).process_group(0);
            let sink = |_, piece: &[u8]| {
                bytes.extend_from_slice(piece);
                Ok(())
            };
            let capture = Capture::new().leak_timeout(SHORT).terminate_on_leak(LONG);
            let run = capture.on(reactor).output_with(command, sink);
            let captured = drop_after(polls, run).await;
            let text = String::from_utf8(bytes).unwrap();
            assert_gone(text.lines().next().unwrap_or_default());
            if let Some(captured) = captured {
                assert_eq!(code(&captured.unwrap()), Some(3));
                report(&format!("output, {reactor:?}"), polls);
                break;
            }
        }
        // Nor a child that has not written its PID yet.
        eventually("no child is left", || own_children().is_empty());
    });
}

/// A child and a member of its group, in a line. The parent of the member may not reap it.
#[track_caller]
fn assert_gone(pids: &str) {
    let mut pids = pids.split(' ').filter_map(|pid| pid.parse().ok());
    if let Some(child) = pids.next() {
        eventually("the child is reaped", || !exists(child));
    }
    if let Some(member) = pids.next() {
        eventually("the member is gone", || {
            matches!(state_of(member), None | Some('Z' | 'X'))
        });
    }
}

/// The children that this thread has spawned.
fn own_children() -> String {
    let thread = nix::unistd::gettid();
    let path = format!("/proc/self/task/{thread}/children");
    std::fs::read_to_string(path).unwrap_or_default()
}

#[test]
fn drop_during_an_escalation_sends_nothing_more_and_puts_the_pipes_back() {
    each_reactor!(|kind, reactor| {
        let script = "trap 'echo term' TERM; echo ready; while :; do sleep 0.02; done";
        let mut child = kind.script(script);
        while child.timed_out(SHORT).stdout.is_empty() {}
        let grace = Duration::from_secs(2);
        let capture = Capture::new().timeout(SHORT).terminate_on_timeout(grace);
        let term = std::cell::Cell::new(false);
        let sink = |_, _: &[u8]| {
            term.set(true);
            Ok(())
        };
        let run = async {
            match &mut child.child {
                AnyChild::Child(child) => capture.on(reactor).run_with(child, sink).await,
                AnyChild::Spawned(it) => capture.on(reactor).run_with(it, sink).await,
            }
        };
        let limit = async {
            while !term.get() {
                reactor.sleep(Duration::from_millis(1)).await;
            }
        };
        or(limit, async { drop(run.await) }).await;
        assert!(term.get());
        let pipes = child.pipes();
        assert!(pipes[1..]
            .iter()
            .all(|fd| fd.is_some_and(|fd| is_blocking(&fd))));
        // It still runs, and handles signals.
        kill(child.pid(), SIGTERM);
        while child.timed_out(SHORT).stdout.is_empty() {}
        child.end();
    });
}

/// A pipe that is never empty.
#[test]
fn flood_starves_no_other_task() {
    each_reactor!(|kind, reactor| {
        let mut child = kind.script("exec yes");
        let capture = Capture::new().max_bytes(0).on(reactor);
        let flood = async {
            match &mut child.child {
                AnyChild::Child(child) => capture.run(child).await.map(drop),
                AnyChild::Spawned(spawned) => capture.run(spawned).await.map(drop),
            }
        };
        let ticks = async {
            for _ in 0..100 {
                reactor.sleep(Duration::from_millis(1)).await;
            }
            Ok(())
        };
        or(ticks, flood).await.unwrap();
        child.end();
    });
}

#[test]
fn many_captures_run_at_the_same_time() {
    each_reactor!(|kind, reactor| {
        if !kind.is_child() {
            return;
        }
        let runs = (0..30).map(|number| {
            let command = shell(&format!("sleep 0.05; echo {number}; exit 3"));
            Box::pin(Capture::new().on(reactor).output(command))
        });
        let captured = all(runs.collect()).await;
        for (number, captured) in captured.into_iter().enumerate() {
            let captured = captured.unwrap();
            assert_eq!(captured.stdout, format!("{number}\n").into_bytes());
            assert_eq!(code(&captured), Some(3));
        }
    });
}

/// The results of all futures, which are polled by one task.
async fn all<F: Future + Unpin>(mut futures: Vec<F>) -> Vec<F::Output> {
    let mut results: Vec<Option<F::Output>> = futures.iter().map(|_| None).collect();
    poll_fn(|context| {
        for (future, result) in futures.iter_mut().zip(&mut results) {
            if result.is_none() {
                if let Poll::Ready(output) = Pin::new(future).poll(context) {
                    *result = Some(output);
                }
            }
        }
        match results.iter().all(Option::is_some) {
            true => Poll::Ready(()),
            false => Poll::Pending,
        }
    })
    .await;
    results.into_iter().flatten().collect()
}

#[cfg(feature = "tokio")]
mod runtimes {
    use std::io::ErrorKind;
    use std::os::fd::OwnedFd;
    use std::panic::{catch_unwind, AssertUnwindSafe};

    use futures_lite::future::block_on;
    use pidwait::Tokio;
    use tokio::runtime::Builder;
    use tokio::sync::mpsc;

    use super::super::both_piped;
    use super::*;
    use crate::common::file_of_zeros;
    use crate::common::isolated::enter;

    #[test]
    fn no_runtime_is_unsupported_and_spawns_nothing() {
        // A spawn would fail with ENOENT.
        let output = Capture::new().on(Tokio).output(Command::new("/no/such"));
        let failed = block_on(output).unwrap_err();
        assert_eq!(failed.error.kind(), ErrorKind::Unsupported);

        let mut child = PidHandle::spawn(&mut both_piped("echo out")).unwrap();
        let failed = block_on(Capture::new().on(Tokio).run(&mut child)).unwrap_err();
        assert_eq!(failed.error.kind(), ErrorKind::Unsupported);
        assert_eq!(Capture::new().run(&mut child).unwrap().stdout, b"out\n");
    }

    #[test]
    fn runtime_without_a_part_panics_before_the_spawn() {
        if !enter("capture::dropped::runtimes::runtime_without_a_part_panics_before_the_spawn") {
            return;
        }
        for runtime in [
            Builder::new_current_thread().enable_io().build().unwrap(),
            Builder::new_current_thread().enable_time().build().unwrap(),
        ] {
            let output = Capture::new().on(Tokio).output(Command::new("/no/such"));
            let run = || runtime.block_on(output);
            catch_unwind(AssertUnwindSafe(run)).unwrap_err();
        }
    }

    /// The task is dropped with its runtime.
    #[test]
    fn runtime_that_shuts_down_leaves_no_child() {
        for builder in [
            &mut Builder::new_current_thread(),
            Builder::new_multi_thread().worker_threads(2),
        ] {
            let runtime = builder.enable_all().build().unwrap();
            let (sender, mut receiver) = mpsc::unbounded_channel();
            let mut command = shell("sleep 600 & echo $$ $!; exec sleep 600");
            command.process_group(0);
            let run = Capture::new().on(Tokio);
            let task = runtime.spawn(run.output_with(command, move |_, bytes| {
                let _ = sender.send(String::from_utf8_lossy(bytes).into_owned());
                Ok(())
            }));
            let pids = runtime.block_on(receiver.recv()).unwrap();
            drop(runtime);
            assert_gone(pids.trim());
            drop(task);
        }
    }

    /// The future of `block_on` and the reactor have a turn after each poll of the task. If it only woke
    /// itself, tokio would poll it up to 61 times before that.
    #[test]
    fn flood_of_a_task_starves_no_future_of_block_on() {
        let runtime = Builder::new_current_thread().enable_all().build().unwrap();
        let (sender, mut receiver) = mpsc::unbounded_channel();
        // A file is always ready.
        let mut child = PidHandle::spawn(&mut both_piped("exit 0")).unwrap();
        child.stdout = Some(OwnedFd::from(file_of_zeros(20_000_000)).into());
        let task = runtime.spawn(async move {
            let sink = |_, _: &[u8]| {
                let _ = sender.send(());
                Ok(())
            };
            Capture::new().on(Tokio).run_with(&mut child, sink).await
        });
        let most = runtime.block_on(async {
            let mut most = 0;
            while receiver.recv().await.is_some() {
                let mut reads = 1;
                while receiver.try_recv().is_ok() {
                    reads += 1;
                }
                most = most.max(reads);
            }
            most
        });
        runtime.block_on(task).unwrap().unwrap();
        const FEW: usize = 20; // More than a poll makes, fewer than 61 polls make.
        assert!(most <= FEW, "{most} reads in one turn");
    }

    #[test]
    fn future_is_a_task_of_a_multi_threaded_runtime() {
        let runtime = Builder::new_multi_thread().enable_all().build().unwrap();
        let run = Capture::new().on(Tokio).output(shell("echo out; exit 3"));
        let captured = runtime.block_on(runtime.spawn(run)).unwrap().unwrap();
        assert_eq!(captured.stdout, b"out\n");
        assert_eq!(code(&captured), Some(3));
    }
}

/// The drop does not wait for a child that does not end.
#[test]
fn drop_of_output_does_not_block() {
    each_reactor!(|kind, reactor| {
        if !kind.is_child() {
            return;
        }
        // It takes as long as SIGKILL at most, and the child is in a group with a stopped member.
        let mut command = shell("sleep 600 & kill -STOP $!; echo $$ $!; exec sleep 600");
        let pids = std::cell::RefCell::new(Vec::new());
        let sink = |_, bytes: &[u8]| {
            pids.borrow_mut().extend_from_slice(bytes);
            Ok(())
        };
        let run = Capture::new()
            .terminate_on_timeout(LONG)
            .on(reactor)
            .output_with(command.process_group(0), sink);
        let printed = async {
            while !pids.borrow().ends_with(b"\n") {
                reactor.sleep(Duration::from_millis(1)).await;
            }
        };
        or(printed, async { drop(run.await) }).await;
        let pids = String::from_utf8(pids.into_inner()).unwrap();
        assert_gone(pids.trim());
    });
}

/// On every reactor, if the sink, the condition and the cancel are.
#[test]
fn futures_are_send() {
    fn is_send<T: Send>(_: T) {}
    fn check<R: Reactor>(
        new: impl Fn() -> AsyncCapture<R>,
        command: &mut Command,
        child: &mut Spawned,
    ) {
        let cancel = std::future::ready(1);
        is_send(new().output(&mut *command));
        is_send(new().until(cancel).output(Command::new("true")));
        is_send(new().output_with(command, |_, _| Ok(())));
        is_send(new().run(&mut *child));
        is_send(new().run_with(&mut *child, |_, _| Ok(())));
        is_send(new().run_until(child, |_, _| true));
    }
    let mut command = shell("exit 0");
    let mut child = PidHandle::spawn(&mut command).unwrap();
    #[cfg(feature = "tokio")]
    check(
        || Capture::new().on(pidwait::Tokio),
        &mut command,
        &mut child,
    );
    #[cfg(feature = "async-io")]
    check(
        || Capture::new().on(pidwait::AsyncIo),
        &mut command,
        &mut child,
    );
    child.handle.wait().unwrap();
}
