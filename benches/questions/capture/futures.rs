//! Captures as futures: many at once, and what a flood costs another task.

use std::future::Future;
use std::process::Command;
use std::time::{Duration, Instant};

use futures_lite::future::or;
use futures_util::future::try_join_all;
use pidwait::{AsyncIo, Capture, Tokio};

use crate::harness::Bench;
use crate::peers::RUNTIME;

/// From the start of the first command until the output of all is there.
pub(crate) fn many_at_once(bench: &Bench, name: &str, commands: usize, bytes: usize) {
    let size: &str = &bytes.to_string();
    let Some(question) = bench.question(name) else {
        return;
    };
    let mut question = question.shape(20, 1);
    let head = move || super::piped("head", &["-c", size, "/dev/zero"]);
    let all = move || (0..commands).map(move |_| head());
    question.add("pidwait on tokio", move || {
        RUNTIME.block_on(time(try_join_all(
            all().map(|command| Capture::new().on(Tokio).output(command)),
        )))
    });
    question.add("pidwait on async-io", move || {
        async_io::block_on(time(try_join_all(
            all().map(|command| Capture::new().on(AsyncIo).output(command)),
        )))
    });
    question.add("tokio", move || {
        RUNTIME.block_on(time(try_join_all(all().map(|command| async {
            tokio::process::Command::from(command).output().await
        }))))
    });
    question.add("async-process", move || {
        async_io::block_on(time(try_join_all(all().map(|command| async {
            async_process::Command::from(command).output().await
        }))))
    });
    question.add("pidwait, one after the other", move || {
        let start = Instant::now();
        for mut command in all() {
            Capture::new().output(&mut command).expect("an output");
        }
        start.elapsed().as_nanos() as f64
    });
    question.run();
}

/// The longest time between two turns of a task that always wants to run, beside a child that floods.
pub(crate) fn beside_a_flood(bench: &Bench, name: &str) {
    let Some(question) = bench.question(name) else {
        return;
    };
    let mut question = question.shape(10, 1);
    let yes = || Command::new("yes");
    question.add("pidwait on tokio", move || {
        let flood = Capture::new().max_bytes(0).on(Tokio).output(yes());
        RUNTIME.block_on(longest_delay(flood))
    });
    question.add("pidwait on async-io", move || {
        let flood = Capture::new().max_bytes(0).on(AsyncIo).output(yes());
        async_io::block_on(longest_delay(flood))
    });
    question.run();
}

async fn longest_delay(flood: impl Future) -> f64 {
    let turns = async {
        let (start, mut last, mut longest) = (Instant::now(), Instant::now(), Duration::ZERO);
        while start.elapsed() < Duration::from_millis(100) {
            futures_lite::future::yield_now().await;
            longest = longest.max(last.elapsed());
            last = Instant::now();
        }
        longest.as_nanos() as f64
    };
    let flood = async {
        flood.await;
        unreachable!("it never ends");
    };
    or(turns, flood).await
}

async fn time<T, E: std::fmt::Debug>(outputs: impl Future<Output = Result<Vec<T>, E>>) -> f64 {
    let start = Instant::now();
    outputs.await.expect("all outputs");
    start.elapsed().as_nanos() as f64
}
