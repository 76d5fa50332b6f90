//! Captured output with a timeout that is far away: from starting the child, with stdout and stderr
//! piped, until its status and its output are there.

mod capped;
#[cfg(feature = "runtimes")]
mod futures;
mod through_cat;

use std::future::Future;
use std::io;
use std::os::fd::AsFd;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use async_io::Timer;
use futures_lite::FutureExt;
use nix::libc::pid_t;
use nix::poll::{poll, PollFd, PollFlags, PollTimeout};
#[cfg(feature = "runtimes")]
use pidwait::Capture;
use process_control::{ChildExt as _, Control};
use subprocess::{Exec, Redirection};

use crate::harness::{Bench, Question};
use crate::peers::RUNTIME;
use crate::{api, raw};

const TIMEOUT: Duration = Duration::from_secs(3600);

const KIB: usize = 1024;
const MIB: usize = 1024 * KIB;

pub(crate) fn ask(bench: &Bench) {
    output(bench, "capture/1KiB", KIB, 20);
    output(bench, "capture/64MiB", 64 * MIB, 1);
    capped::ask(bench, "capture/64MiB_capped", 64 * MIB, 64 * KIB);
    through_cat::ask(bench, "capture/4MiB_through_cat", 4 * MIB);
    #[cfg(feature = "runtimes")]
    {
        futures::many_at_once(bench, "capture/200_at_once", 200, KIB);
        futures::beside_a_flood(bench, "capture/delay_beside_a_flood");
    }
}

fn add<'a>(
    question: &mut Question<'a>,
    contender: &'static str,
    bytes: usize,
    capture: impl Fn() -> io::Result<Vec<u8>> + 'a,
) {
    question.add(contender, move || {
        let start = Instant::now();
        let output = capture().expect("an output");
        let time = start.elapsed();
        assert_eq!(output.len(), bytes, "{contender}");
        time.as_nanos() as f64
    });
}

fn output(bench: &Bench, name: &str, bytes: usize, samples: usize) {
    let size: &str = &bytes.to_string();
    let Some(question) = bench.question(name) else {
        return;
    };
    let mut question = question.shape(20, samples);
    let head = move || piped("head", &["-c", size, "/dev/zero"]);
    add(&mut question, "std", bytes, move || {
        Ok(head().spawn()?.wait_with_output()?.stdout)
    });
    add(&mut question, "raw poll and read", bytes, move || {
        poll_and_read(&mut head(), usize::MAX)
    });
    add(&mut question, "pidwait", bytes, move || {
        api::capture(&mut head(), TIMEOUT)
    });
    #[cfg(feature = "runtimes")]
    add(&mut question, "pidwait on tokio", bytes, move || {
        let capture = Capture::new().timeout(TIMEOUT).on(pidwait::Tokio);
        Ok(RUNTIME.block_on(capture.output(head()))?.stdout)
    });
    #[cfg(feature = "runtimes")]
    add(&mut question, "pidwait on async-io", bytes, move || {
        let capture = Capture::new().timeout(TIMEOUT).on(pidwait::AsyncIo);
        Ok(async_io::block_on(capture.output(head()))?.stdout)
    });
    add(&mut question, "process_control", bytes, move || {
        process_control(head().spawn()?)
    });
    add(&mut question, "subprocess", bytes, move || {
        subprocess(Exec::cmd("head").args(["-c", size, "/dev/zero"]))
    });
    add(&mut question, "duct", bytes, move || {
        duct(duct::cmd!("head", "-c", size, "/dev/zero"))
    });
    add(&mut question, "async-process", bytes, move || {
        let mut command = async_process::Command::from(head());
        // The conversion loses what is piped.
        let child = command
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()?;
        in_time(async { Ok(child.output().await?.stdout) })
    });
    add(&mut question, "tokio", bytes, move || {
        RUNTIME.block_on(async {
            let child = tokio::process::Command::from(head()).spawn()?;
            let output = tokio::time::timeout(TIMEOUT, child.wait_with_output());
            Ok(output.await??.stdout)
        })
    });
    question.run();
}

fn piped(program: &str, args: &[&str]) -> Command {
    let mut command = Command::new(program);
    command
        .args(args)
        .stdout(Stdio::piped())
        .stderr(Stdio::piped());
    command
}

/// Both pipes to their ends, 64 KiB at a time, and then the status.
fn poll_and_read(command: &mut Command, max_bytes: usize) -> io::Result<Vec<u8>> {
    let child = command.spawn()?;
    let mut pipes = [
        child.stdout.as_ref().map(AsFd::as_fd),
        child.stderr.as_ref().map(AsFd::as_fd),
    ];
    let mut outputs = [Vec::new(), Vec::new()];
    let mut rest = Vec::new();
    while pipes.iter().any(Option::is_some) {
        let mut polled = Vec::with_capacity(2);
        for pipe in pipes.iter().flatten() {
            polled.push(PollFd::new(*pipe, PollFlags::POLLIN));
        }
        poll(&mut polled, PollTimeout::NONE)?;
        let ready = polled.iter().map(|pipe| pipe.any() == Some(true));
        let open = pipes.iter_mut().zip(&mut outputs);
        for ((pipe, output), ready) in open.filter(|(pipe, _)| pipe.is_some()).zip(ready) {
            rest.clear();
            let buffer = if output.len() < max_bytes {
                &mut *output
            } else {
                &mut rest
            };
            if ready && raw::read_append(pipe.expect("open"), buffer) == 0 {
                *pipe = None;
            }
            output.truncate(max_bytes);
        }
    }
    raw::waitpid(child.id() as pid_t, 0);
    let [stdout, _] = outputs;
    Ok(stdout)
}

fn process_control(child: Child) -> io::Result<Vec<u8>> {
    let output = child.controlled_with_output().time_limit(TIMEOUT).wait()?;
    Ok(output.ok_or(io::ErrorKind::TimedOut)?.stdout)
}

fn subprocess(exec: Exec) -> io::Result<Vec<u8>> {
    let exec = exec.stdout(Redirection::Pipe).stderr(Redirection::Pipe);
    Ok(exec.start()?.capture_timeout(TIMEOUT)?.stdout)
}

fn duct(expression: duct::Expression) -> io::Result<Vec<u8>> {
    let handle = expression.stdout_capture().stderr_capture().start()?;
    handle.wait_timeout(TIMEOUT)?;
    Ok(handle.into_output()?.stdout)
}

/// Blocks on a future of async-process, with the timeout.
fn in_time(output: impl Future<Output = io::Result<Vec<u8>>>) -> io::Result<Vec<u8>> {
    let timeout = async {
        Timer::after(TIMEOUT).await;
        Err(io::ErrorKind::TimedOut.into())
    };
    async_io::block_on(output.or(timeout))
}
