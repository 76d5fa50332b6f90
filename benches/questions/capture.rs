//! Captured output, with a timeout that is far away (std has none): from starting the child, with
//! both outputs piped, until its status and its output are there.

use std::io;
use std::process::{Command, Stdio};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::Arc;
use std::thread;

use async_io::Timer;
use futures_lite::future::{yield_now, zip, Boxed};
use futures_lite::FutureExt;
use futures_util::future::join_all;
use nix::libc::CLOCK_THREAD_CPUTIME_ID;
use pidwait::Capture;
use subprocess::{Exec, Redirection};
use tokio_process_tools::{
    AutoName, NumBytesExt, Process, RawCollectionOptions, RawOutputOptions,
    DEFAULT_MAX_BUFFERED_CHUNKS, DEFAULT_OUTPUT_EOF_TIMEOUT, DEFAULT_READ_CHUNK_SIZE,
};

use crate::child::{LONG, RUNTIME};
use crate::counts::time;
use crate::harness::{Bench, Sample};
use crate::raw;

/// Captures a command's output, and returns its length.
#[derive(Clone, Copy)]
enum How {
    Blocking(fn(Command) -> io::Result<usize>),
    Tokio(fn(Command) -> Boxed<io::Result<usize>>),
    AsyncIo(fn(Command) -> Boxed<io::Result<usize>>),
}

use How::{AsyncIo, Blocking, Tokio};

const CONTENDERS: &[(&str, How)] = &[
    ("std", Blocking(|mut head| Ok(head.output()?.stdout.len()))),
    (
        "pidwait",
        Blocking(|mut head| {
            let capture = Capture::new().timeout(LONG);
            Ok(capture.output(&mut head)?.into_output()?.stdout.len())
        }),
    ),
    (
        "subprocess",
        Blocking(|head| {
            let exec = Exec::cmd(head.get_program()).args(head.get_args());
            let exec = exec
                .stdin(Redirection::Null)
                .stdout(Redirection::Pipe)
                .stderr(Redirection::Pipe);
            Ok(exec.start()?.capture_timeout(LONG)?.stdout.len())
        }),
    ),
    (
        "tokio",
        Tokio(|head| {
            Box::pin(async {
                let child = tokio::process::Command::from(head).spawn()?;
                let output = tokio::time::timeout(LONG, child.wait_with_output());
                Ok(output.await??.stdout.len())
            })
        }),
    ),
    #[cfg(feature = "runtimes")]
    (
        "pidwait on tokio",
        Tokio(|head| {
            let capture = Capture::new().timeout(LONG).on(pidwait::Tokio);
            Box::pin(async { Ok(capture.output(head).await?.into_output()?.stdout.len()) })
        }),
    ),
    ("tokio-process-tools", Tokio(|head| Box::pin(tools(head)))),
    (
        "async-process",
        AsyncIo(|head| {
            Box::pin(async {
                let mut command = async_process::Command::from(head);
                // The conversion loses these.
                let command = command
                    .stdin(Stdio::null())
                    .stdout(Stdio::piped())
                    .stderr(Stdio::piped());
                let output = command.spawn()?.output();
                let timeout = async {
                    Timer::after(LONG).await;
                    Err(io::ErrorKind::TimedOut.into())
                };
                Ok(output.or(timeout).await?.stdout.len())
            })
        }),
    ),
    #[cfg(feature = "runtimes")]
    (
        "pidwait on async-io",
        AsyncIo(|head| {
            let capture = Capture::new().timeout(LONG).on(pidwait::AsyncIo);
            Box::pin(async { Ok(capture.output(head).await?.into_output()?.stdout.len()) })
        }),
    ),
];

/// The streams are those of its examples, except that none loses output.
async fn tools(head: Command) -> io::Result<usize> {
    let process = Process::new(head.into()).name(AutoName::program_only());
    let process = process.stdout_and_stderr(|stream| {
        stream
            .single_subscriber()
            .reliable_with_backpressure()
            .replay_last_bytes(1.megabytes())
            .read_chunk_size(DEFAULT_READ_CHUNK_SIZE)
            .max_buffered_chunks(DEFAULT_MAX_BUFFERED_CHUNKS)
    });
    let options = RawOutputOptions::symmetric(RawCollectionOptions::TrustedUnbounded);
    let mut process = process.spawn().map_err(io::Error::other)?;
    let output = process.wait_for_completion(LONG);
    let output = output.with_raw_output(DEFAULT_OUTPUT_EOF_TIMEOUT, options);
    let output = output.await.map_err(io::Error::other)?.into_completed();
    Ok(output.ok_or(io::ErrorKind::TimedOut)?.stdout.bytes.len())
}

fn head(bytes: usize) -> Command {
    let mut command = Command::new("head");
    command.args(["-c", &bytes.to_string(), "/dev/zero"]);
    command.stdin(Stdio::null()); // std's output and pidwait's do that by default.
    command.stdout(Stdio::piped()).stderr(Stdio::piped());
    command
}

const KIB: usize = 1024;
const MIB: usize = 1024 * KIB;

pub(crate) fn ask(bench: &Bench) {
    put(bench, "capture/1KiB", (50, 20), |how| once(how, KIB));
    put(bench, "capture/64MiB", (30, 2), |how| once(how, 64 * MIB));
    put(bench, "capture/200_at_once", (30, 1), |how| {
        at_once(how, 200, KIB)
    });
    put(bench, "capture/delay", (30, 2), |how| delay(how, 64 * MIB));
}

fn put(
    bench: &Bench,
    name: &str,
    (rounds, samples): (usize, usize),
    task: fn(How) -> Option<Sample<'static>>,
) {
    let Some(mut question) = bench.question(name, rounds, samples) else {
        return;
    };
    for (contender, how) in CONTENDERS {
        if let Some(sample) = task(*how) {
            question.add(contender, sample);
        }
    }
    question.run();
}

fn once(how: How, bytes: usize) -> Option<Sample<'static>> {
    let check = move |length: io::Result<usize>| assert_eq!(length.expect("an output"), bytes);
    Some(Box::new(move || {
        time(|| match how {
            Blocking(capture) => check(capture(head(bytes))),
            Tokio(capture) => check(RUNTIME.block_on(async { capture(head(bytes)).await })),
            AsyncIo(capture) => check(async_io::block_on(capture(head(bytes)))),
        })
    }))
}

/// The samples that take one capture of 1 KiB.
pub(crate) fn small() -> impl Iterator<Item = (&'static str, Sample<'static>)> {
    let contenders = CONTENDERS.iter();
    contenders.filter_map(|(name, how)| Some((*name, once(*how, KIB)?)))
}

/// From the start of the first command until the output of all is there. Calls that block are made
/// by a thread each.
fn at_once(how: How, commands: usize, bytes: usize) -> Option<Sample<'static>> {
    let check = move |outputs: Vec<io::Result<usize>>| {
        for length in outputs {
            assert_eq!(length.expect("an output"), bytes);
        }
    };
    let all = move || (0..commands).map(move |_| head(bytes));
    Some(Box::new(move || {
        time(|| match how {
            Blocking(capture) => thread::scope(|scope| {
                let threads: Vec<_> = all().map(|it| scope.spawn(move || capture(it))).collect();
                check(
                    threads
                        .into_iter()
                        .map(|it| it.join().expect("no panic"))
                        .collect(),
                );
            }),
            Tokio(capture) => check(RUNTIME.block_on(async { join_all(all().map(capture)).await })),
            AsyncIo(capture) => check(async_io::block_on(join_all(all().map(capture)))),
        })
    }))
}

/// The longest time between two turns of another task, which always wants to run, on the thread that
/// captures. In CPU time of the thread: what other processes take from it is not the capture's doing.
fn delay(how: How, bytes: usize) -> Option<Sample<'static>> {
    let tasks = move |capture: Boxed<io::Result<usize>>| {
        let over = Arc::new(AtomicBool::new(false));
        let turns = longest_delay(Arc::clone(&over));
        let capture = async move {
            capture.await.expect("an output");
            over.store(true, Ordering::Relaxed);
        };
        (capture, turns)
    };
    match how {
        Blocking(_) => None,
        Tokio(capture) => Some(Box::new(move || {
            RUNTIME.block_on(async {
                let (capture, turns) = tasks(capture(head(bytes)));
                tokio::spawn(capture);
                tokio::spawn(turns).await.expect("no panic")
            })
        })),
        AsyncIo(capture) => Some(Box::new(move || {
            let (capture, turns) = tasks(capture(head(bytes)));
            async_io::block_on(zip(capture, turns)).1
        })),
    }
}

async fn longest_delay(over: Arc<AtomicBool>) -> f64 {
    let now = || raw::nanoseconds(CLOCK_THREAD_CPUTIME_ID);
    let (mut last, mut longest) = (now(), 0);
    loop {
        yield_now().await;
        // In its last turn, the capture also frees its output.
        if over.load(Ordering::Relaxed) {
            return longest as f64;
        }
        longest = longest.max(now() - last);
        last = now();
    }
}
