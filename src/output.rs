//! A child's output with a time limit: one poll loop over both pipes and the exit.

use std::io;
use std::os::fd::{AsFd, BorrowedFd};
use std::process::{Child, ExitStatus, Output};
use std::time::Instant;

use nix::errno::Errno;
use nix::libc::{c_int, O_NONBLOCK};
use nix::poll::{PollFd, PollFlags};

use crate::backend::{Process, Seen};
use crate::child::{open_child, ReapChild};
use crate::sys;
use crate::wait::{Backoff, Timeout, Waitable};

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

pub(crate) fn capture(mut child: Child, timeout: Timeout) -> io::Result<Captured> {
    drop(child.stdin.take());
    let mut opened = open_child(&child)?;
    // ECHILD: another process has the PID.
    opened.0.peek(&mut opened.1)?;
    let mut stdout = Stream::new(child.stdout.take())?;
    let mut stderr = Stream::new(child.stderr.take())?;
    let status = match ReapChild::new(&mut child).try_reap()? {
        Some(status) => Some(status),
        None => read_until_exit(&mut child, &mut opened, &mut stdout, &mut stderr, timeout)?,
    };
    let Some(status) = status else {
        (child.stdout, child.stderr) = (stdout.give_back(), stderr.give_back());
        let (stdout, stderr) = (stdout.into_bytes(), stderr.into_bytes());
        return Ok(Captured::TimedOut(TimedOut {
            child,
            stdout,
            stderr,
        }));
    };
    stdout.drain()?;
    stderr.drain()?;
    let (stdout, stderr) = (stdout.into_bytes(), stderr.into_bytes());
    Ok(Captured::Exited(Output {
        status,
        stdout,
        stderr,
    }))
}

/// `None`: the time ran out.
fn read_until_exit(
    child: &mut Child,
    (process, seen): &mut (Process, Seen),
    stdout: &mut Stream<impl AsFd>,
    stderr: &mut Stream<impl AsFd>,
    timeout: Timeout,
) -> io::Result<Option<ExitStatus>> {
    let deadline = timeout.deadline();
    let mut exit = process.pidfd().map(|fd| fd.as_fd());
    let backoff = Backoff::new();
    loop {
        let until = match exit {
            Some(_) => deadline,
            None => backoff.next_deadline(deadline),
        };
        let fds = [stdout.open(), stderr.open(), exit];
        let [from_stdout, from_stderr, exited] = poll(fds, until)?;
        if from_stdout {
            stdout.read(TURN)?;
        }
        if from_stderr {
            stderr.read(TURN)?;
        }
        if exited || exit.is_none() {
            if process.peek(seen)?.exited().is_some() {
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
    Ok(fds.map(|fd| fd.and_then(|_| ready.next()).unwrap_or(false)))
}

/// As much as a pipe holds, as a rule.
const PIECE: usize = 64 * 1024;
/// After so much it is time to look at the other pipe, the exit and the clock.
const TURN: usize = 16 * PIECE;

/// One of the child's pipes, if it has one, and what came out of it. It is non-blocking meanwhile,
/// so that one need not poll before each piece.
struct Stream<P: AsFd> {
    pipe: Option<P>,
    /// The pipe's own.
    flags: c_int,
    bytes: Vec<u8>,
    ended: bool,
}

impl<P: AsFd> Stream<P> {
    fn new(pipe: Option<P>) -> io::Result<Self> {
        let mut flags = 0;
        if let Some(pipe) = &pipe {
            flags = sys::status_flags(pipe.as_fd())?;
            sys::set_status_flags(pipe.as_fd(), flags | O_NONBLOCK)?;
        }
        Ok(Self {
            pipe,
            flags,
            bytes: Vec::new(),
            ended: false,
        })
    }

    /// The pipe, as it was.
    fn give_back(&mut self) -> Option<P> {
        let pipe = self.pipe.take()?;
        // What could be set can be set back.
        let _ = sys::set_status_flags(pipe.as_fd(), self.flags);
        Some(pipe)
    }

    fn into_bytes(mut self) -> Vec<u8> {
        std::mem::take(&mut self.bytes)
    }

    /// What is still to be read from.
    fn open(&self) -> Option<BorrowedFd<'_>> {
        let pipe = self.pipe.as_ref().filter(|_| !self.ended);
        pipe.map(|pipe| pipe.as_fd())
    }

    /// Reads until it has enough, or there is no more for now.
    fn read(&mut self, enough: usize) -> io::Result<()> {
        let mut so_far = 0;
        while so_far < enough {
            match self.read_piece()? {
                0 => break,
                read => so_far += read,
            }
        }
        Ok(())
    }

    /// 0: there is nothing, not now or never again.
    fn read_piece(&mut self) -> io::Result<usize> {
        let Some(pipe) = self.pipe.as_ref() else {
            return Ok(0);
        };
        let reserved = self.bytes.try_reserve(PIECE);
        reserved.map_err(|_| io::ErrorKind::OutOfMemory)?;
        match sys::read_spare(pipe.as_fd(), &mut self.bytes) {
            Ok(read) => {
                self.ended |= read == 0;
                Ok(read)
            }
            Err(Errno::EAGAIN) => Ok(0),
            Err(errno) => Err(errno.into()),
        }
    }

    /// Reads what is there after the exit, and waits for no more: others may hold the pipe.
    fn drain(&mut self) -> io::Result<()> {
        match self.open() {
            Some(pipe) => self.read(sys::bytes_in(pipe)?),
            None => Ok(()),
        }
    }
}

/// Others may have the pipe too.
impl<P: AsFd> Drop for Stream<P> {
    fn drop(&mut self) {
        self.give_back();
    }
}
