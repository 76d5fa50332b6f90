//! A child's output with a time limit: one poll loop over both pipes and the exit.

use std::io;
use std::os::fd::{AsFd, BorrowedFd};
use std::process::{Child, ExitStatus, Output};
use std::time::Instant;

use nix::errno::Errno;
use nix::poll::{PollFd, PollFlags};

use crate::backend::{Limit, Pause, Process};
use crate::child::{first_try, process_of};
use crate::sys;

/// How [`ChildExt::pidfd_output_timeout`](crate::ChildExt::pidfd_output_timeout) ended.
#[derive(Debug)]
pub enum Captured {
    /// The child has exited: its status, and all that it wrote.
    Exited(Output),
    /// The time ran out first, and nothing is lost.
    TimedOut(TimedOut),
}

/// A child that was still running when the time ran out, with its pipes, and what it had written
/// until then.
#[derive(Debug)]
pub struct TimedOut {
    /// The child, as it was but for its standard input, which is closed.
    pub child: Child,
    /// What was read of its standard output.
    pub stdout: Vec<u8>,
    /// What was read of its standard error.
    pub stderr: Vec<u8>,
}

pub(crate) fn capture(mut child: Child, limit: Limit) -> io::Result<Captured> {
    drop(child.stdin.take());
    let process = process_of(&child)?;
    let mut stdout = Stream::new(child.stdout.take());
    let mut stderr = Stream::new(child.stderr.take());
    let status = match first_try(&mut child, &process)? {
        Some(status) => Some(status),
        None => read_until_exit(&mut child, &process, &mut stdout, &mut stderr, limit)?,
    };
    let Some(status) = status else {
        child.stdout = stdout.pipe;
        child.stderr = stderr.pipe;
        let (stdout, stderr) = (stdout.bytes, stderr.bytes);
        return Ok(Captured::TimedOut(TimedOut {
            child,
            stdout,
            stderr,
        }));
    };
    stdout.drain()?;
    stderr.drain()?;
    let (stdout, stderr) = (stdout.bytes, stderr.bytes);
    Ok(Captured::Exited(Output {
        status,
        stdout,
        stderr,
    }))
}

/// `None`: the time ran out.
fn read_until_exit(
    child: &mut Child,
    process: &Process,
    stdout: &mut Stream<impl AsFd>,
    stderr: &mut Stream<impl AsFd>,
    limit: Limit,
) -> io::Result<Option<ExitStatus>> {
    let deadline = limit.deadline();
    let mut exit = process.pidfd();
    let mut pause = Pause::new();
    loop {
        let until = match exit {
            Some(_) => deadline,
            None => pause.end(deadline),
        };
        let fds = [stdout.open(), stderr.open(), exit];
        let [from_stdout, from_stderr, exited] = poll(fds, until)?;
        if from_stdout {
            stdout.read()?;
        }
        if from_stderr {
            stderr.read()?;
        }
        if exited || exit.is_none() {
            if process.look()?.exited().is_some() {
                if let Some(status) = child.try_wait()? {
                    return Ok(Some(status));
                }
            }
            // No descriptor tells of the exit, or a tracer holds the zombie: look again.
            exit = None;
        }
        if deadline.is_some_and(|at| sys::now() >= at) {
            return Ok(None);
        }
    }
}

/// Which of them are ready, if any is before the deadline.
fn poll<const N: usize>(
    fds: [Option<BorrowedFd<'_>>; N],
    deadline: Option<Instant>,
) -> nix::Result<[bool; N]> {
    let there = fds.iter().flatten();
    let mut polled: Vec<_> = there
        .map(|fd| PollFd::new(*fd, PollFlags::POLLIN))
        .collect();
    sys::poll(&mut polled, deadline)?;
    let mut ready = polled.iter().map(|fd| fd.any().unwrap_or(true));
    Ok(fds.map(|fd| fd.is_some() && ready.next().unwrap_or(false)))
}

/// One of the child's pipes, if it has one, and what came out of it.
struct Stream<P> {
    pipe: Option<P>,
    bytes: Vec<u8>,
    ended: bool,
}

impl<P: AsFd> Stream<P> {
    /// As much as a pipe holds, as a rule.
    const PIECE: usize = 64 * 1024;

    fn new(pipe: Option<P>) -> Self {
        Self {
            pipe,
            bytes: Vec::new(),
            ended: false,
        }
    }

    /// What is still to be read from.
    fn open(&self) -> Option<BorrowedFd<'_>> {
        let pipe = self.pipe.as_ref().filter(|_| !self.ended);
        pipe.map(|pipe| pipe.as_fd())
    }

    /// Reads once what is there: from a pipe that is ready, and so does not block.
    fn read(&mut self) -> io::Result<usize> {
        let Some(pipe) = self.pipe.as_ref() else {
            return Ok(0);
        };
        let reserved = self.bytes.try_reserve(Self::PIECE);
        reserved.map_err(|_| io::ErrorKind::OutOfMemory)?;
        match sys::read_spare(pipe.as_fd(), &mut self.bytes) {
            Ok(read) => {
                self.ended |= read == 0;
                Ok(read)
            }
            // The pipe was made non-blocking, by somebody.
            Err(Errno::EAGAIN) => Ok(0),
            Err(errno) => Err(errno.into()),
        }
    }

    /// Reads what is there after the exit, and waits for no more: others may hold the pipe.
    fn drain(&mut self) -> io::Result<()> {
        let mut left = match self.open() {
            Some(pipe) => sys::bytes_in(pipe)?,
            None => 0,
        };
        while left > 0 {
            match self.read()? {
                0 => return Ok(()),
                read => left = left.saturating_sub(read),
            }
        }
        Ok(())
    }
}
