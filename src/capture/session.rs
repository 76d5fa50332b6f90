// Tests: tests/it/capture/

//! The state machine of a capture. It makes no call that blocks.
//!
//! A driver waits until one of the descriptors is ready or the time has come, says which are ready, and
//! calls [`Session::work`]. It does so until the run is over, and then calls [`Session::finish`]. The
//! blocking driver is in `blocking.rs`, that of the reactors in `on.rs`.
//!
//! | stage | until | then |
//! |---|---|---|
//! | reading | the exit | draining |
//! | | a stop: the timeout, the idle timeout, a cancel, the condition | ending, or over |
//! | draining: the child has exited | both streams have ended | over |
//! | | the leak timeout, the timeout, or a cancel | ending the rest of the group, or over |
//! | ending | the end | draining, the last time |
//!
//! The child is reaped last, so that its PID and the number of its group cannot be reused before.

use std::io;
use std::os::fd::{AsFd, OwnedFd};
use std::process::ExitStatus;
use std::sync::Arc;
use std::time::Instant;

use super::captured::{CaptureError, Captured, Pipe, StoppedBy};
use super::kept::Kept;
use super::stream::{is_hung_up, Fd, Input, Sink, Stream, CHUNK};
use super::target::Target;
use super::Capture;
use crate::ending::{Ending, WaitFor};
use crate::engine::{earlier, Backoff, Timeout};
use crate::errno::is_echild;
use crate::escalation::Escalation;
use crate::handle::ExitFd;
use crate::sys;

/// Who looks at the output while it is read.
pub(super) trait Observer {
    /// Gets each piece.
    fn sink(&mut self) -> Option<Sink<'_>> {
        None
    }

    /// Whether what was kept so far is enough.
    fn is_enough(&mut self, _stdout: &mut Kept, _stderr: &mut Kept) -> bool {
        false
    }
}

/// What a session does, besides the options.
#[derive(Debug)]
pub(super) struct Plan {
    /// Ends the child at a stop. `None`: it runs on.
    pub(super) at_stop: Option<Escalation>,
    /// The child was spawned for this run, and its pipes are not needed afterwards.
    pub(super) is_new: bool,
    /// The most to read from a pipe before the other ones, the exit and the clock are checked again.
    pub(super) budget: usize,
}

/// A descriptor to wait for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Source {
    Stdin,
    Stdout,
    Stderr,
    Exit,
}

impl Source {
    pub(super) const ALL: [Self; 4] = [Self::Stdin, Self::Stdout, Self::Stderr, Self::Exit];
}

#[derive(Debug)]
enum Stage {
    Reading,
    /// The child has exited. Reading goes on until then.
    Draining(Option<Instant>),
    Ending(Box<Ending>),
    Over,
}

pub(super) struct Session<'a> {
    options: &'a Capture,
    plan: Plan,
    target: Box<dyn Target + 'a>,
    input: Input<'a>,
    stdout: Stream,
    stderr: Stream,
    scratch: Vec<u8>,
    stage: Stage,
    timeout: Option<Instant>,
    /// When the last output was read, or the start.
    last_read: Instant,
    is_enough: bool,
    is_cancelled: bool,
    exit_fd: Option<ExitFd>,
    exit_is_ready: bool,
    /// There is no descriptor to poll for the exit, or it is readable although a tracer holds the zombie.
    recheck: Option<Recheck>,
    has_exited: bool,
    /// An escalation was begun: what remains open after it leaks.
    has_ended_it: bool,
    stopped_by: Option<StoppedBy>,
    leaked: bool,
    status: Option<ExitStatus>,
}

/// Checks that are repeated.
struct Recheck {
    backoff: Backoff,
    at: Instant,
}

impl Recheck {
    fn now() -> Self {
        Self {
            backoff: Backoff::new(),
            at: sys::now(),
        }
    }

    fn plan_next(&mut self) {
        self.at = self.backoff.next_deadline(None).unwrap_or(self.at);
    }
}

impl<'a> Session<'a> {
    /// Takes the pipes out of the child. On an error the child is as it was.
    pub(super) fn start(
        options: &'a Capture,
        mut target: Box<dyn Target + 'a>,
        plan: Plan,
        [stdout_kept, stderr_kept]: [Kept; 2],
    ) -> io::Result<Self> {
        let bytes = options.input.as_slice();
        if target.pipes().stdin.is_none() && !bytes.is_empty() {
            let text = "there is input, but the child's standard input is not piped";
            return Err(io::Error::new(io::ErrorKind::InvalidInput, text));
        }
        let [stdin, stdout, stderr] = if plan.is_new {
            target.pipes().take_new()
        } else {
            target.pipes().take()?
        };
        let exit_fd = target.subject().exit_fd();
        let mut session = Self {
            options,
            recheck: exit_fd.is_none().then(Recheck::now),
            exit_fd,
            exit_is_ready: false,
            input: Input::new(stdin, bytes),
            stdout: Stream::new(Pipe::Stdout, stdout, stdout_kept),
            stderr: Stream::new(Pipe::Stderr, stderr, stderr_kept),
            plan,
            target,
            scratch: Vec::new(),
            stage: Stage::Reading,
            timeout: Timeout::after(options.timeout).deadline(),
            last_read: sys::now(),
            is_enough: false,
            is_cancelled: false,
            has_exited: false,
            has_ended_it: false,
            stopped_by: None,
            leaked: false,
            status: None,
        };
        session.set_nonblocking()?;
        if bytes.is_empty() {
            session.close_input()?;
        }
        Ok(session)
    }

    /// The pipe to wait for, if there is something to do with it.
    pub(super) fn pipe(&self, source: Source) -> Option<&Arc<OwnedFd>> {
        let fd = match source {
            Source::Stdin => self.input.fd.as_ref(),
            Source::Stdout => self.stdout.open(),
            Source::Stderr => self.stderr.open(),
            Source::Exit => None,
        };
        fd.map(Fd::shared)
    }

    /// The descriptor that tells of the exit that is waited for now.
    pub(super) fn exit(&self) -> Option<ExitFd> {
        match &self.stage {
            Stage::Ending(ending) => match ending.wait_for() {
                WaitFor::Exit => self.own_exit(),
                WaitFor::Member(fd) => Some(ExitFd::of_pidfd(fd)),
                WaitFor::Time => None,
            },
            Stage::Reading => self.own_exit(),
            Stage::Draining(_) | Stage::Over => None,
        }
    }

    fn own_exit(&self) -> Option<ExitFd> {
        self.exit_fd.clone().filter(|_| self.recheck.is_none())
    }

    /// The descriptor cannot be waited for: the exit is checked repeatedly.
    #[cfg(any(feature = "tokio", feature = "async-io"))]
    pub(super) fn recheck_exit(&mut self) {
        self.recheck.get_or_insert_with(Recheck::now);
    }

    /// When to check for the exit, if there is no descriptor to wait for.
    fn recheck_at(&self) -> Option<Instant> {
        let waits_for_exit = match &self.stage {
            Stage::Reading => true,
            Stage::Ending(ending) => matches!(ending.wait_for(), WaitFor::Exit),
            Stage::Draining(_) | Stage::Over => false,
        };
        let recheck = self.recheck.as_ref().filter(|_| waits_for_exit);
        recheck.map(|it| it.at)
    }

    /// When to call [`work`](Self::work) at the latest. `None`: there is no limit.
    pub(super) fn until(&self) -> Option<Instant> {
        if self.input.is_ready || self.stdout.is_ready || self.stderr.is_ready {
            return Some(self.last_read); // The budget was used up.
        }
        let until = match &self.stage {
            Stage::Reading => earlier(self.timeout, self.idle_until()),
            Stage::Draining(until) => *until,
            Stage::Ending(ending) => ending.until(),
            Stage::Over => Some(self.last_read),
        };
        earlier(until, self.recheck_at())
    }

    pub(super) fn set_ready(&mut self, source: Source) {
        match source {
            Source::Stdin => self.input.is_ready = true,
            Source::Stdout => self.stdout.is_ready = true,
            Source::Stderr => self.stderr.is_ready = true,
            Source::Exit => self.exit_is_ready = true,
        }
    }

    /// Stops the run.
    #[cfg(any(feature = "tokio", feature = "async-io"))]
    pub(super) fn cancel(&mut self) {
        match &mut self.stage {
            Stage::Reading => self.is_cancelled = true,
            Stage::Draining(until) => *until = Some(sys::now()),
            Stage::Ending(_) | Stage::Over => {} // A further stop changes nothing.
        }
    }

    /// Does what can be done now. Returns whether the run is over.
    pub(super) fn work(&mut self, observer: &mut dyn Observer) -> io::Result<bool> {
        if self.input.is_ready {
            self.write()?;
        }
        let had_ended = self.have_ended();
        self.read_ready(observer)?;
        if self.have_ended() && !had_ended && self.recheck.is_some() {
            // The pipes end a moment before the child becomes a zombie.
            self.recheck = Some(Recheck::now());
        }
        self.advance(observer)
    }

    fn write(&mut self) -> io::Result<()> {
        if self.input.write(self.plan.budget)? {
            self.close_input()?;
        }
        Ok(())
    }

    fn read_ready(&mut self, observer: &mut dyn Observer) -> io::Result<()> {
        if self.stdout.is_ready {
            self.read(Pipe::Stdout, self.plan.budget, observer)?;
        }
        if self.stderr.is_ready {
            self.read(Pipe::Stderr, self.plan.budget, observer)?;
        }
        Ok(())
    }

    /// Reads until it has `enough` bytes or more, or there is nothing to read now.
    fn read(&mut self, pipe: Pipe, enough: usize, observer: &mut dyn Observer) -> io::Result<()> {
        let mut so_far = 0;
        while so_far < enough && !self.is_enough {
            let stream = match pipe {
                Pipe::Stdout => &mut self.stdout,
                Pipe::Stderr => &mut self.stderr,
            };
            let Some(read) = stream.read(&mut self.scratch, observer.sink())? else {
                break;
            };
            so_far += read;
            if let Stage::Reading = self.stage {
                self.is_enough = observer.is_enough(&mut self.stdout.kept, &mut self.stderr.kept);
            }
            self.last_read = sys::now(); // The time that the observer takes is not idle.
        }
        Ok(())
    }

    /// Reads what is in a pipe now. Reads on only if all writers are gone: another process may write
    /// forever.
    fn read_rest(&mut self, pipe: Pipe, observer: &mut dyn Observer) -> io::Result<()> {
        let source = match pipe {
            Pipe::Stdout => Source::Stdout,
            Pipe::Stderr => Source::Stderr,
        };
        let Some(fd) = self.pipe(source) else {
            return Ok(());
        };
        let held = sys::readable_bytes(fd.as_fd()).unwrap_or(CHUNK);
        self.read(pipe, held, observer)?;
        let is_hung_up = match pipe {
            Pipe::Stdout => self.stdout.open().is_some_and(is_hung_up),
            Pipe::Stderr => self.stderr.open().is_some_and(is_hung_up),
        };
        // A file has no hang-up; only a read finds its end.
        self.read(pipe, if is_hung_up { usize::MAX } else { 1 }, observer)
    }

    /// Goes on to the next stage if it is time. Returns whether the run is over.
    fn advance(&mut self, observer: &mut dyn Observer) -> io::Result<bool> {
        let is_due = self.recheck_at().is_some_and(|at| at <= sys::now());
        if is_due {
            self.recheck.as_mut().map(Recheck::plan_next);
        }
        let mut exit_is_ready = std::mem::take(&mut self.exit_is_ready) || is_due;
        loop {
            match &mut self.stage {
                Stage::Reading => {
                    if std::mem::take(&mut exit_is_ready) {
                        self.check_exit()?;
                    }
                    if !self.has_exited && self.due().is_some() {
                        // Output and an exit of the same moment win. A run of no time writes and reads, too.
                        self.write()?;
                        self.read(Pipe::Stdout, self.plan.budget, observer)?;
                        self.read(Pipe::Stderr, self.plan.budget, observer)?;
                        self.check_exit()?;
                    }
                    if self.has_exited {
                        self.drain();
                    } else if let Some(why) = self.due() {
                        self.stop(why);
                    } else {
                        return Ok(false);
                    }
                }
                Stage::Draining(until) => {
                    let is_late = until.is_some_and(|at| at <= sys::now());
                    if self.have_ended() {
                        self.stage = Stage::Over;
                    } else if is_late {
                        self.read_rest(Pipe::Stdout, observer)?;
                        self.read_rest(Pipe::Stderr, observer)?;
                        self.leaked |= self.has_exited && !self.have_ended();
                        self.end_leaking_group();
                    } else {
                        return Ok(false);
                    }
                }
                Stage::Ending(ending) => {
                    let is_ready = std::mem::take(&mut exit_is_ready);
                    match ending.step(self.target.subject(), is_ready) {
                        Ok(false) => return Ok(false),
                        Ok(true) => self.status = ending.status(),
                        // Other code has reaped it. What it wrote is read all the same.
                        Err(error) if is_echild(&error) => {}
                        // It does not end. What it wrote until now is read.
                        Err(error) if error.kind() == io::ErrorKind::TimedOut => {
                            self.stage = Stage::Draining(Some(sys::now()));
                            continue;
                        }
                        Err(error) => return Err(error),
                    }
                    self.has_exited = true;
                    let leak = Timeout::after(self.options.leak_timeout).deadline();
                    self.stage = Stage::Draining(leak);
                }
                Stage::Over => return Ok(true),
            }
        }
    }

    fn check_exit(&mut self) -> io::Result<()> {
        self.has_exited = self.target.is_waitable()?;
        if !self.has_exited && self.recheck.is_none() {
            // If the descriptor is readable, a tracer holds the zombie, and a poll would not block.
            let readable = self.exit_fd.as_ref().map(sys::is_readable);
            if readable == Some(Ok(true)) {
                self.recheck = Some(Recheck::now());
            }
        }
        Ok(())
    }

    /// Why to stop now.
    fn due(&self) -> Option<StoppedBy> {
        let now = sys::now();
        let has_passed = |at: Option<Instant>| at.is_some_and(|at| at <= now);
        if self.is_enough {
            Some(StoppedBy::Condition)
        } else if self.is_cancelled {
            Some(StoppedBy::Cancel)
        } else if has_passed(self.timeout) {
            Some(StoppedBy::Timeout)
        } else if has_passed(self.idle_until()) {
            Some(StoppedBy::IdleTimeout)
        } else {
            None
        }
    }

    fn idle_until(&self) -> Option<Instant> {
        if self.have_ended() {
            return None; // There is no writer left.
        }
        self.last_read.checked_add(self.options.idle_timeout)
    }

    fn stop(&mut self, why: StoppedBy) {
        self.stopped_by = Some(why);
        self.stage = match self.plan.at_stop.take() {
            Some(escalation) if why != StoppedBy::Condition => {
                self.has_ended_it = true;
                let leads_group = self.target.leads_group();
                let subject = self.target.subject();
                let ending = if leads_group {
                    Ending::of_group(subject, escalation, true)
                } else {
                    Ending::reaping(escalation)
                };
                Stage::Ending(Box::new(ending))
            }
            _ => Stage::Over,
        };
    }

    /// The child has exited.
    fn drain(&mut self) {
        self.is_enough = false; // The exit at the same moment wins.
        let leak = Timeout::after(self.options.leak_timeout).deadline();
        let cut = self.is_cancelled.then(sys::now);
        self.stage = Stage::Draining(earlier(earlier(leak, self.timeout), cut));
    }

    /// Reading is over. If another process of the group has a pipe, the group may have to be ended.
    fn end_leaking_group(&mut self) {
        let escalation = self.options.at_leak.as_ref();
        self.stage = match escalation.filter(|_| self.leaked && !self.has_ended_it) {
            Some(escalation) if self.target.leads_group() => {
                self.has_ended_it = true;
                let subject = self.target.subject();
                let ending = Ending::of_group(subject, escalation.clone(), true);
                Stage::Ending(Box::new(ending))
            }
            // If it leads none, the pipe is another process's.
            _ => Stage::Over,
        };
    }

    fn have_ended(&self) -> bool {
        self.stdout.has_ended && self.stderr.has_ended
    }

    /// Takes the status, and returns what was read.
    pub(super) fn finish(mut self, driven: io::Result<()>) -> Result<Captured, CaptureError> {
        let status = match driven {
            Ok(()) if self.has_exited && self.status.is_none() => self.target.take_status(),
            Ok(()) => Ok(self.status),
            Err(error) => Err(error),
        };
        let (stdout, stdout_first) = self.stdout.take_bytes();
        let (stderr, stderr_first) = self.stderr.take_bytes();
        match status {
            Ok(status) => Ok(Captured {
                status,
                usage: self.target.usage(),
                stopped_by: self.stopped_by,
                leaked: self.leaked,
                stdout,
                stderr,
                stdout_discarded: self.stdout.kept.discarded(),
                stderr_discarded: self.stderr.kept.discarded(),
                input_written: self.input.written,
                stdout_first,
                stderr_first,
            }),
            Err(error) => Err(CaptureError {
                error,
                stdout,
                stderr,
            }),
        }
    }

    fn close_input(&mut self) -> io::Result<()> {
        match self.input.fd.take() {
            Some(fd) if !self.plan.is_new => fd.restore(),
            _ => return Ok(()),
        }
        // It may share an open file description with another pipe, whose flags were restored, too.
        Ok(self.set_nonblocking()?)
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
    /// Puts the pipes back that have not ended. This also runs if the sink panics, and if a future is
    /// dropped.
    fn drop(&mut self) {
        if self.plan.is_new {
            return;
        }
        self.fds().for_each(Fd::restore);
        let open = |stream: &mut Stream| stream.fd.take().filter(|_| !stream.has_ended);
        // Once the child has exited, no process may be left to read the input.
        let has_exited = self.has_exited;
        let is_read = |fd: &Fd| !has_exited || !is_hung_up(fd);
        let fds = [
            self.input.fd.take().filter(is_read),
            open(&mut self.stdout),
            open(&mut self.stderr),
        ];
        self.target.pipes().put(fds);
    }
}
