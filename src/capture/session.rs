// Tests: tests/it/capture/

//! The state machine of a capture: up to three pipes, the exit and the clock, in one poll loop.
//!
//! Each [`Stage`] has one deadline:
//!
//! | stage | until | then |
//! |---|---|---|
//! | reading | the exit | draining |
//! | | the timeout | ending, killed, or done |
//! | draining: the child has exited | all pipes have ended | done |
//! | | the leak timeout, or the timeout | ending the group, or done |
//! | ending: SIGTERM was sent | the exit of the child, and of its group | draining, the last time |
//! | | the grace | killed |
//! | killed: SIGKILL was sent | the exit | draining, the last time |
//!
//! The child is reaped last, so that its PID and the number of its group cannot be reused before.

mod ending;
mod ready;

use std::io;
use std::process::ExitStatus;
use std::time::Instant;

use super::captured::{CaptureError, Captured, Pipe};
use super::stream::{Fd, Input, Sink, Stream, BUDGET};
use super::target::Target;
use super::{AtTimeout, Capture};
use crate::sys;
use crate::wait::Timeout;
use ready::{earlier, Ready, Recheck};

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Stage {
    Reading,
    Draining,
    Ending,
    Killed,
}

pub(super) struct Session<'a> {
    options: &'a Capture,
    target: Box<dyn Target + 'a>,
    sink: Option<Sink<'a>>,
    input: Input<'a>,
    stdout: Stream,
    stderr: Stream,
    stage: Stage,
    at_timeout: AtTimeout,
    /// The deadline of the stage. `None`: never.
    deadline: Option<Instant>,
    /// The deadline of the capture, without the time to end the child.
    timeout: Option<Instant>,
    exited: bool,
    /// The exit cannot be polled for: there is no descriptor, or a tracer holds the zombie.
    no_exit_fd: bool,
    recheck: Recheck,
    /// The child or its group was signalled to end.
    asked: bool,
    /// The signals go to the group that the child leads.
    group: bool,
    timed_out: bool,
    leaked: bool,
    /// The child was reaped. Otherwise pipes that have not ended go back into it.
    reaped: bool,
}

impl<'a> Session<'a> {
    /// Takes the pipes out of the child. On an error the child is as it was.
    pub(super) fn start(
        options: &'a Capture,
        mut target: Box<dyn Target + 'a>,
        at_timeout: AtTimeout,
        sink: Option<Sink<'a>>,
    ) -> io::Result<Self> {
        let bytes = options.input.as_slice();
        if target.pipes().stdin.is_none() && !bytes.is_empty() {
            let text = "there is input, but the child's standard input is not piped";
            return Err(io::Error::new(io::ErrorKind::InvalidInput, text));
        }
        let [stdin, stdout, stderr] = target.pipes().take()?;
        let timeout = Timeout::after(options.timeout).deadline();
        let session = Self {
            options,
            no_exit_fd: target.exit_fd().is_none(),
            target,
            sink,
            input: Input::new(stdin, bytes),
            stdout: Stream::new(Pipe::Stdout, stdout, options.max_bytes),
            stderr: Stream::new(Pipe::Stderr, stderr, options.max_bytes),
            stage: Stage::Reading,
            at_timeout,
            deadline: timeout,
            timeout,
            exited: false,
            recheck: Recheck::new(),
            asked: false,
            group: false,
            timed_out: false,
            leaked: false,
            reaped: false,
        };
        session.set_nonblocking()?;
        Ok(session)
    }

    pub(super) fn run(mut self) -> Result<Captured, CaptureError> {
        let ended = match self.drive() {
            Ok(()) if self.exited => self.target.reap().map(Some),
            Ok(()) => Ok(None),
            Err(error) => Err(error),
        };
        let (stdout, stderr) = (self.stdout.take_bytes(), self.stderr.take_bytes());
        match ended {
            Ok(status) => {
                self.reaped = status.is_some();
                Ok(self.captured(status, stdout, stderr))
            }
            Err(error) => Err(CaptureError {
                error,
                stdout,
                stderr,
            }),
        }
    }

    fn captured(&self, status: Option<ExitStatus>, stdout: Vec<u8>, stderr: Vec<u8>) -> Captured {
        Captured {
            status,
            timed_out: self.timed_out,
            leaked: self.leaked,
            discarded: self.stdout.discarded.saturating_add(self.stderr.discarded),
            input_written: self.input.written,
            stdout,
            stderr,
        }
    }

    fn drive(&mut self) -> io::Result<()> {
        let mut ready = Ready::ALL;
        loop {
            if ready.stdin {
                self.write()?;
            }
            let before = self.all_ended();
            if ready.stdout {
                self.stdout.read(BUDGET, &mut self.sink)?;
            }
            if ready.stderr {
                self.stderr.read(BUDGET, &mut self.sink)?;
            }
            if self.no_exit_fd && self.all_ended() && !before {
                // The pipes end a moment before the child becomes a zombie.
                self.recheck = Recheck::new();
                ready.exit = true;
            }
            // At the deadline, too: the child may have exited in time, and the sink be slow.
            let check = ready.exit || self.is_over();
            if check {
                self.check_exit()?;
            }
            if self.advance(check)? {
                return Ok(());
            }
            ready = self.poll()?;
        }
    }

    fn write(&mut self) -> io::Result<()> {
        let Some(fd) = self.input.write()? else {
            return Ok(());
        };
        fd.restore();
        drop(fd);
        // It may share an open file description with another pipe, whose flags were restored, too.
        Ok(self.set_nonblocking()?)
    }

    fn check_exit(&mut self) -> io::Result<()> {
        if self.exited {
            return Ok(());
        }
        self.exited = self.target.has_exited()?;
        let readable = |fd| sys::is_readable(&fd);
        if !self.exited && !self.no_exit_fd {
            // If the descriptor is readable, a tracer holds the zombie, and poll would not block.
            self.no_exit_fd = self.target.exit_fd().map_or(Ok(true), readable)?;
        }
        Ok(())
    }

    /// Moves on to the next stages whose time has come. True when the capture is done.
    fn advance(&mut self, checked: bool) -> io::Result<bool> {
        loop {
            let over = self.is_over();
            let stage = self.stage;
            match stage {
                Stage::Reading if self.exited => self.drain_until(self.timeout),
                Stage::Draining if self.all_ended() => return Ok(true),
                Stage::Killed if self.exited => self.drain_until(None),
                Stage::Ending if checked && self.has_ended() => self.drain_until(None),
                _ if !over => return Ok(false),
                Stage::Reading => {
                    self.timed_out = true;
                    match self.at_timeout {
                        AtTimeout::Leave => return Ok(true),
                        AtTimeout::Terminate(grace) => self.ask_to_end(grace)?,
                        AtTimeout::Kill => self.kill()?,
                    }
                }
                Stage::Draining => {
                    self.stdout.read_rest(&mut self.sink)?;
                    self.stderr.read_rest(&mut self.sink)?;
                    self.leaked |= !self.all_ended();
                    match self.at_timeout {
                        AtTimeout::Terminate(grace) if self.leaked && !self.asked => {
                            self.ask_group_to_end(grace);
                        }
                        _ => return Ok(true),
                    }
                }
                Stage::Ending => self.kill()?,
                Stage::Killed => return Ok(false), // It has no deadline.
            }
        }
    }

    fn is_over(&self) -> bool {
        self.deadline.is_some_and(|at| sys::now() >= at)
    }

    fn all_ended(&self) -> bool {
        self.stdout.ended && self.stderr.ended
    }

    fn drain_until(&mut self, latest: Option<Instant>) {
        self.stage = Stage::Draining;
        let leak = Timeout::after(self.options.leak_timeout).deadline();
        self.deadline = earlier(leak, latest);
    }

    fn set_nonblocking(&self) -> nix::Result<()> {
        self.fds().try_for_each(Fd::set_nonblocking)
    }

    fn fds(&self) -> impl Iterator<Item = &Fd> {
        [&self.input.fd, &self.stdout.fd, &self.stderr.fd]
            .into_iter()
            .flatten()
    }
}

impl Drop for Session<'_> {
    /// Puts the pipes back. This also runs if the sink panics.
    fn drop(&mut self) {
        self.fds().for_each(Fd::restore);
        if self.reaped {
            return;
        }
        let open = |stream: &mut Stream| stream.fd.take().filter(|_| !stream.ended);
        let fds = [
            self.input.fd.take(),
            open(&mut self.stdout),
            open(&mut self.stderr),
        ];
        self.target
            .pipes()
            .put(fds.map(|fd| fd.map(Fd::into_inner)));
    }
}
