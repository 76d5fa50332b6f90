//! Output of which only the beginning is kept.

use std::io::{self, Read, Write};
use std::process::{Child, Stdio};
use std::thread;

use futures_lite::future::zip;
use futures_lite::AsyncRead;
use process_control::{ChildExt as _, Control};
use subprocess::{Exec, Redirection};

use super::{add, in_time, piped, poll_and_read, TIMEOUT};
use crate::api;
use crate::harness::Bench;
use crate::peers::RUNTIME;

pub(super) fn ask(bench: &Bench, name: &str, bytes: usize, max_bytes: usize) {
    let size: &str = &bytes.to_string();
    let Some(question) = bench.question(name) else {
        return;
    };
    let mut question = question.shape(20, 1);
    let head = move || piped("head", &["-c", size, "/dev/zero"]);
    add(&mut question, "std and a thread", max_bytes, move || {
        std_and_a_thread(head().spawn()?, max_bytes)
    });
    add(&mut question, "raw poll and read", max_bytes, move || {
        poll_and_read(&mut head(), max_bytes)
    });
    add(&mut question, "pidwait", max_bytes, move || {
        api::capture_capped(&mut head(), max_bytes, TIMEOUT)
    });
    add(&mut question, "process_control", max_bytes, move || {
        process_control(head().spawn()?, max_bytes)
    });
    add(&mut question, "subprocess", max_bytes, move || {
        let exec = Exec::cmd("head").args(["-c", size, "/dev/zero"]);
        subprocess(exec, max_bytes)
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

fn std_and_a_thread(mut child: Child, max_bytes: usize) -> io::Result<Vec<u8>> {
    let (stdout, stderr) = (child.stdout.take(), child.stderr.take());
    let stderr = thread::spawn(move || read_capped(stderr.expect("piped"), max_bytes));
    let stdout = read_capped(stdout.expect("piped"), max_bytes)?;
    stderr.join().expect("no panic")?;
    child.wait()?;
    Ok(stdout)
}

fn process_control(child: Child, max_bytes: usize) -> io::Result<Vec<u8>> {
    let keep = || {
        let mut kept = 0;
        move |bytes: &[u8]| {
            let keep = kept < max_bytes;
            kept += bytes.len();
            Ok(keep)
        }
    };
    let control = child.controlled_with_output();
    let control = control.stdout_filter(keep()).stderr_filter(keep());
    let output = control.time_limit(TIMEOUT).wait()?;
    let mut output = output.ok_or(io::ErrorKind::TimedOut)?.stdout;
    output.truncate(max_bytes); // It keeps whole pieces.
    Ok(output)
}

fn subprocess(exec: Exec, max_bytes: usize) -> io::Result<Vec<u8>> {
    let exec = exec.stdout(Redirection::Pipe).stderr(Redirection::Pipe);
    let mut job = exec.start()?;
    let mut pipes = job.communicate()?.limit_time(TIMEOUT);
    let (mut stdout, mut stderr) = (Capped::new(max_bytes), Capped::new(max_bytes));
    pipes.read_to(&mut stdout, &mut stderr)?;
    job.wait_timeout(TIMEOUT)?;
    Ok(stdout.kept)
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
