//! Input and output: through `cat`.

use std::io::{self, Write};
use std::process::{Child, Command, Stdio};
use std::thread;

use futures_lite::future::zip;
use futures_lite::AsyncWriteExt as _;
use subprocess::Exec;
use tokio::io::AsyncWriteExt as _;

use super::{add, duct, in_time, piped, process_control, subprocess, TIMEOUT};
use crate::api;
use crate::harness::Bench;
use crate::peers::RUNTIME;

pub(super) fn ask(bench: &Bench, name: &str, bytes: usize) {
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
