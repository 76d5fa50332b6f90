//! Captured output with a timeout that is far away: from starting the child, with stdout and stderr
//! piped, until its status and its output are there.

use std::future::Future;
use std::io::{self, Read, Write};
use std::os::fd::AsFd;
use std::process::{Child, Command, Stdio};
use std::thread;
use std::time::{Duration, Instant};

use async_io::Timer;
use futures_lite::future::zip;
use futures_lite::{AsyncRead, AsyncWriteExt as _, FutureExt};
use nix::libc::pid_t;
use nix::poll::{poll, PollFd, PollFlags, PollTimeout};
use process_control::{ChildExt as _, Control};
use subprocess::{Exec, Redirection};
use tokio::io::AsyncWriteExt as _;

use crate::harness::{Bench, Question};
use crate::peers::RUNTIME;
use crate::{api, raw};

const TIMEOUT: Duration = Duration::from_secs(3600);

const KIB: usize = 1024;
const MIB: usize = 1024 * KIB;

pub(crate) fn ask(bench: &Bench) {
    output(bench, "capture/1KiB", KIB, 20);
    output(bench, "capture/64MiB", 64 * MIB, 1);
    capped(bench, "capture/64MiB_capped", 64 * MIB, 64 * KIB);
    through_cat(bench, "capture/4MiB_through_cat", 4 * MIB);
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

// ---- output ----

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

// ---- output of which only the beginning is kept ----

fn capped(bench: &Bench, name: &str, bytes: usize, max_bytes: usize) {
    let size: &str = &bytes.to_string();
    let Some(question) = bench.question(name) else {
        return;
    };
    let mut question = question.shape(20, 1);
    let head = move || piped("head", &["-c", size, "/dev/zero"]);
    add(&mut question, "std and a thread", max_bytes, move || {
        let mut child = head().spawn()?;
        let (stdout, stderr) = (child.stdout.take(), child.stderr.take());
        let stderr = thread::spawn(move || read_capped(stderr.expect("piped"), max_bytes));
        let stdout = read_capped(stdout.expect("piped"), max_bytes)?;
        stderr.join().expect("no panic")?;
        child.wait()?;
        Ok(stdout)
    });
    add(&mut question, "raw poll and read", max_bytes, move || {
        poll_and_read(&mut head(), max_bytes)
    });
    add(&mut question, "pidwait", max_bytes, move || {
        api::capture_capped(&mut head(), max_bytes, TIMEOUT)
    });
    add(&mut question, "process_control", max_bytes, move || {
        let keep = || {
            let mut kept = 0;
            move |bytes: &[u8]| {
                let keep = kept < max_bytes;
                kept += bytes.len();
                Ok(keep)
            }
        };
        let control = head().spawn()?.controlled_with_output();
        let control = control.stdout_filter(keep()).stderr_filter(keep());
        let output = control.time_limit(TIMEOUT).wait()?;
        let mut output = output.ok_or(io::ErrorKind::TimedOut)?.stdout;
        output.truncate(max_bytes); // It keeps whole pieces.
        Ok(output)
    });
    add(&mut question, "subprocess", max_bytes, move || {
        let exec = Exec::cmd("head").args(["-c", size, "/dev/zero"]);
        let exec = exec.stdout(Redirection::Pipe).stderr(Redirection::Pipe);
        let mut job = exec.start()?;
        let mut pipes = job.communicate()?.limit_time(TIMEOUT);
        let (mut stdout, mut stderr) = (Capped::new(max_bytes), Capped::new(max_bytes));
        pipes.read_to(&mut stdout, &mut stderr)?;
        job.wait_timeout(TIMEOUT)?;
        Ok(stdout.kept)
    });
    add(&mut question, "duct", max_bytes, move || {
        // It has no cap for stderr, which is empty here, and no timeout.
        let head = duct::cmd!("head", "-c", size, "/dev/zero");
        read_capped(head.stderr_capture().reader()?, max_bytes)
    });
    add(&mut question, "async-process", max_bytes, move || {
        let mut command = async_process::Command::from(head());
        let command = command.stdout(Stdio::piped()).stderr(Stdio::piped());
        let mut child = command.spawn()?;
        let (stdout, stderr) = (child.stdout.take(), child.stderr.take());
        in_time(async {
            let stdout = read_capped_async(stdout.expect("piped"), max_bytes);
            let stderr = read_capped_async(stderr.expect("piped"), max_bytes);
            let (stdout, stderr) = zip(stdout, stderr).await;
            stderr?;
            child.status().await?;
            stdout
        })
    });
    add(&mut question, "tokio", max_bytes, move || {
        RUNTIME.block_on(async {
            let mut child = tokio::process::Command::from(head()).spawn()?;
            let (stdout, stderr) = (child.stdout.take(), child.stderr.take());
            let output = async {
                let stdout = read_capped_tokio(stdout.expect("piped"), max_bytes);
                let stderr = read_capped_tokio(stderr.expect("piped"), max_bytes);
                let (stdout, stderr) = zip(stdout, stderr).await;
                stderr?;
                child.wait().await?;
                stdout
            };
            tokio::time::timeout(TIMEOUT, output).await?
        })
    });
    question.run();
}

/// Keeps the first bytes that are written to it.
struct Capped {
    kept: Vec<u8>,
    max_bytes: usize,
}

impl Capped {
    fn new(max_bytes: usize) -> Self {
        Self {
            kept: Vec::new(),
            max_bytes,
        }
    }
}

impl Write for Capped {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let room = self.max_bytes - self.kept.len();
        self.kept.extend_from_slice(&bytes[..bytes.len().min(room)]);
        Ok(bytes.len())
    }
    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

async fn read_capped_async(
    mut pipe: impl AsyncRead + Unpin,
    max_bytes: usize,
) -> io::Result<Vec<u8>> {
    let mut kept = Vec::new();
    let mut beginning = futures_lite::AsyncReadExt::take(&mut pipe, max_bytes as u64);
    futures_lite::AsyncReadExt::read_to_end(&mut beginning, &mut kept).await?;
    futures_lite::io::copy(pipe, futures_lite::io::sink()).await?;
    Ok(kept)
}

async fn read_capped_tokio(
    mut pipe: impl tokio::io::AsyncRead + Unpin,
    max_bytes: usize,
) -> io::Result<Vec<u8>> {
    let mut kept = Vec::new();
    let mut beginning = tokio::io::AsyncReadExt::take(&mut pipe, max_bytes as u64);
    tokio::io::AsyncReadExt::read_to_end(&mut beginning, &mut kept).await?;
    tokio::io::copy(&mut pipe, &mut tokio::io::sink()).await?;
    Ok(kept)
}

fn read_capped(mut pipe: impl Read, max_bytes: usize) -> io::Result<Vec<u8>> {
    let mut kept = Vec::new();
    pipe.by_ref()
        .take(max_bytes as u64)
        .read_to_end(&mut kept)?;
    io::copy(&mut pipe, &mut io::sink())?;
    Ok(kept)
}

// ---- input and output ----

fn through_cat(bench: &Bench, name: &str, bytes: usize) {
    let input: &[u8] = &vec![b'x'; bytes];
    let Some(question) = bench.question(name) else {
        return;
    };
    let mut question = question.shape(20, 3);
    let cat = || {
        let mut command = piped("cat", &[]);
        command.stdin(Stdio::piped());
        command
    };
    add(&mut question, "std and a thread", bytes, move || {
        let (child, writer) = spawn_writer(&mut cat(), input)?;
        let output = child.wait_with_output()?;
        writer.join().expect("no panic")?;
        Ok(output.stdout)
    });
    add(&mut question, "pidwait", bytes, move || {
        api::capture_input(&mut cat(), input.to_vec(), TIMEOUT)
    });
    add(
        &mut question,
        "process_control and a thread",
        bytes,
        move || {
            let (child, writer) = spawn_writer(&mut cat(), input)?;
            let output = process_control(child)?;
            writer.join().expect("no panic")?;
            Ok(output)
        },
    );
    add(&mut question, "subprocess", bytes, move || {
        subprocess(Exec::cmd("cat").stdin(input.to_vec()))
    });
    add(&mut question, "duct", bytes, move || {
        duct(duct::cmd!("cat").stdin_bytes(input))
    });
    add(&mut question, "async-process", bytes, move || {
        let mut command = async_process::Command::from(cat());
        let command = command.stdin(Stdio::piped());
        let mut child = command
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()?;
        let mut stdin = child.stdin.take().expect("piped");
        let write = async move { stdin.write_all(input).await };
        in_time(async {
            let (output, written) = zip(child.output(), write).await;
            written?;
            Ok(output?.stdout)
        })
    });
    add(&mut question, "tokio", bytes, move || {
        RUNTIME.block_on(async {
            let mut child = tokio::process::Command::from(cat()).spawn()?;
            let mut stdin = child.stdin.take().expect("piped");
            let write = async move { stdin.write_all(input).await };
            let both = tokio::time::timeout(TIMEOUT, zip(child.wait_with_output(), write));
            let (output, written) = both.await?;
            written?;
            Ok(output?.stdout)
        })
    });
    question.run();
}

/// A child, and a thread that writes its input.
fn spawn_writer(
    command: &mut Command,
    input: &[u8],
) -> io::Result<(Child, thread::JoinHandle<io::Result<()>>)> {
    let mut child = command.spawn()?;
    let mut stdin = child.stdin.take().expect("piped");
    let input = input.to_vec(); // As the contenders that own their input.
    let writer = thread::spawn(move || stdin.write_all(&input));
    Ok((child, writer))
}
