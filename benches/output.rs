//! What a child writes, read to the end, with a limit that is far away.
//!
//! From starting the child, with both of its outputs piped, until its status and all of its
//! output are there.

#![allow(clippy::cast_possible_wrap)] // Pids are not that large.

mod common;

use std::io;
use std::os::fd::AsFd;
use std::process::{Command, Stdio};
use std::time::Duration;

use async_io::Timer;
use criterion::{BenchmarkId, Criterion};
use futures_lite::FutureExt;
use nix::libc::pid_t;
use nix::poll::{poll, PollFd, PollFlags, PollTimeout};
use pidwait::ChildExt as _;
use process_control::{ChildExt as _, Control};
use subprocess::{Exec, Redirection};

use common::{bare, peers::RUNTIME};

const LIMIT: Duration = Duration::from_secs(3600);

/// Each line takes the program's arguments, and gives what the program wrote.
type Line = fn(&[&str]) -> io::Result<Vec<u8>>;

const LINES: [(&str, Line); 7] = [
    ("bare poll and read", bare_poll_and_read),
    ("pidwait ChildExt", pidwait_child_ext),
    ("std Child, no limit", std_child),
    ("process_control", process_control),
    ("subprocess", subprocess),
    ("async-process", async_process),
    ("tokio", tokio),
];

fn main() {
    let mut c: Criterion = common::criterion();
    let mut group = c.benchmark_group("output");
    for size in [1024, 64 * 1024 * 1024] {
        group.sample_size(if size > 1024 { 20 } else { 50 });
        for (name, line) in LINES {
            let bytes = size.to_string();
            group.bench_function(BenchmarkId::new(name, size), |b| {
                b.iter(|| {
                    let output = line(&["-c", &bytes, "/dev/zero"]).expect("an output");
                    assert_eq!(output.len(), size);
                });
            });
        }
    }
    group.finish();
    c.final_summary();
}

const PROGRAM: &str = "head";

fn command(args: &[&str]) -> Command {
    let mut command = Command::new(PROGRAM);
    command
        .args(args)
        .stdout(Stdio::piped())
        .stderr(Stdio::piped());
    command
}

/// Both pipes to their ends, 64 KiB at a time, and then the status.
fn bare_poll_and_read(args: &[&str]) -> io::Result<Vec<u8>> {
    let child = command(args).spawn()?;
    let mut pipes = [
        child.stdout.as_ref().map(AsFd::as_fd),
        child.stderr.as_ref().map(AsFd::as_fd),
    ];
    let mut outputs = [Vec::new(), Vec::new()];
    while pipes.iter().any(Option::is_some) {
        let mut polled = Vec::with_capacity(2);
        for pipe in pipes.iter().flatten() {
            polled.push(PollFd::new(*pipe, PollFlags::POLLIN));
        }
        poll(&mut polled, PollTimeout::NONE)?;
        let ready = polled.iter().map(|pipe| pipe.any() == Some(true));
        let open = pipes.iter_mut().zip(&mut outputs);
        for ((pipe, output), ready) in open.filter(|(pipe, _)| pipe.is_some()).zip(ready) {
            if ready && bare::read_on(pipe.expect("open"), output) == 0 {
                *pipe = None;
            }
        }
    }
    bare::waitpid(child.id() as pid_t, 0);
    let [stdout, _] = outputs;
    Ok(stdout)
}

fn pidwait_child_ext(args: &[&str]) -> io::Result<Vec<u8>> {
    let captured = command(args).spawn()?.pidfd_output_timeout(LIMIT)?;
    Ok(captured.into_output()?.stdout)
}

fn std_child(args: &[&str]) -> io::Result<Vec<u8>> {
    Ok(command(args).spawn()?.wait_with_output()?.stdout)
}

fn process_control(args: &[&str]) -> io::Result<Vec<u8>> {
    let child = command(args).spawn()?;
    let output = child.controlled_with_output().time_limit(LIMIT).wait()?;
    Ok(output.ok_or(io::ErrorKind::TimedOut)?.stdout)
}

fn subprocess(args: &[&str]) -> io::Result<Vec<u8>> {
    let exec = Exec::cmd(PROGRAM).args(args);
    let exec = exec.stdout(Redirection::Pipe).stderr(Redirection::Pipe);
    Ok(exec.start()?.capture_timeout(LIMIT)?.stdout)
}

fn async_process(args: &[&str]) -> io::Result<Vec<u8>> {
    let mut command = async_process::Command::new(PROGRAM);
    let command = command.args(args);
    let piped = command.stdout(Stdio::piped()).stderr(Stdio::piped());
    let output = piped.spawn()?.output();
    let limit = async {
        Timer::after(LIMIT).await;
        Err(io::ErrorKind::TimedOut.into())
    };
    Ok(async_io::block_on(output.or(limit))?.stdout)
}

fn tokio(args: &[&str]) -> io::Result<Vec<u8>> {
    RUNTIME.block_on(async {
        let child = tokio::process::Command::from(command(args)).spawn()?;
        let output = tokio::time::timeout(LIMIT, child.wait_with_output());
        Ok(output.await??.stdout)
    })
}
