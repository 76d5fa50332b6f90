// Tests: tests/it/capture/ (on each driver), tests/it/capture/dropped.rs

//! `AsyncCapture`: a capture as a future, and the driver of a session on a reactor.

use std::borrow::BorrowMut;
use std::fmt;
use std::future::{pending, poll_fn, Future, Pending};
use std::io;
use std::os::fd::OwnedFd;
use std::pin::pin;
use std::process::Command;
use std::sync::Arc;
use std::task::{Context, Poll};

use nix::errno::Errno;

use super::run::{give_up, OnlyKept, ToSink, Until};
use super::session::{Observer, Session, Source};
use super::stream::CHUNK;
use super::target::SpawnedTarget;
use super::{Capture, CaptureError, Captured, Pipe, Piped};
use crate::errno::errno_of;
use crate::handle::{ExitFd, Spawned};
use crate::kill_on_drop::{self, Guarded, KillOnDrop, Target};
use crate::reactor::{Direction, Exit, Reactor};
use crate::sys;

/// The most to read from a pipe before other tasks run.
const BUDGET: usize = 2 * CHUNK;

impl Capture {
    /// Makes the calls of this capture futures on a [`Reactor`]: `Tokio` or `AsyncIo`.
    ///
    /// # Examples
    ///
    /// See [`AsyncCapture`].
    pub fn on<R: Reactor>(self, reactor: R) -> AsyncCapture<R> {
        AsyncCapture {
            capture: self,
            reactor,
            cancel: pending(),
        }
    }
}

/// A [`Capture`] whose calls are futures on a [`Reactor`]. [`Capture::on`] makes one.
///
/// All options are those of `Capture`, and so are the results. Besides, [`until`](Self::until) stops a run
/// when a future is ready: a cancellation token, a signal, a channel.
///
/// A future uses neither threads nor a multi-threaded runtime. It is `Send` if the sink and the `until`
/// future are. It reads at most 128 KiB of a pipe before other tasks run, so a child that floods its output
/// starves no task. A sink that blocks does.
///
/// **A future that is dropped leaves nothing behind.** That of `run` puts the pipes back into the child, as
/// they were; bytes that were read and not given to a sink are lost. That of `output` kills the child, or the
/// process group that it leads, and the child is reaped in the background. A drop never blocks. The same
/// holds if the runtime shuts down. To stop a run and keep what was read, use `until`.
///
/// # Panics
///
/// tokio panics at the first poll if its runtime was built without I/O or time. Nothing was spawned then.
///
/// # Examples
///
/// A command with a time limit and a cancellation, which ends with all processes that it has started:
///
#[cfg_attr(feature = "tokio", doc = "```")]
#[cfg_attr(not(feature = "tokio"), doc = "```ignore")]
/// use pidwait::{Capture, StoppedBy, Tokio};
/// use std::os::unix::process::CommandExt;
/// use std::process::Command;
/// use std::time::Duration;
///
/// # #[tokio::main(flavor = "current_thread")]
/// # async fn main() -> std::io::Result<()> {
/// # let (_sender, token) = tokio::sync::oneshot::channel::<()>();
/// let mut command = Command::new("sh");
/// command.args(["-c", "echo ready; sleep 60 & exec sleep 60"]).process_group(0);
/// let captured = Capture::new()
///     .timeout(Duration::from_millis(500))
///     .terminate_on_timeout(Duration::from_secs(5))
///     .on(Tokio)
///     .until(token)
///     .output(&mut command)
///     .await?;
/// assert_eq!(captured.stopped_by, Some(StoppedBy::Timeout));
/// assert_eq!(captured.stdout, b"ready\n");
/// # Ok(())
/// # }
/// ```
///
/// # Platform notes
///
/// Regular files, and other descriptors that the reactor refuses, are read and written directly. Without
/// pidfds the exit is checked repeatedly, at first every 1 ms and later every 50 ms.
#[derive(Clone)]
#[must_use = "it does nothing until it is run"]
pub struct AsyncCapture<R: Reactor, C = Pending<()>> {
    capture: Capture,
    reactor: R,
    cancel: C,
}

impl<R: Reactor, C: Future> AsyncCapture<R, C> {
    /// Stops a run once a future is ready. Its output is dropped. A second call replaces the first.
    ///
    /// Then [`stopped_by`](Captured::stopped_by) is [`StoppedBy::Cancel`](crate::StoppedBy::Cancel), and
    /// what was read is returned. The child is ended as at a timeout: see
    /// [`terminate_on_timeout`](Capture::terminate_on_timeout).
    ///
    /// # Examples
    ///
    #[cfg_attr(feature = "tokio", doc = "```")]
    #[cfg_attr(not(feature = "tokio"), doc = "```ignore")]
    /// use pidwait::{Capture, StoppedBy, Tokio};
    /// use std::process::Command;
    ///
    /// # #[tokio::main(flavor = "current_thread")]
    /// # async fn main() -> std::io::Result<()> {
    /// let (sender, cancelled) = tokio::sync::oneshot::channel::<()>();
    /// drop(sender);
    /// let mut command = Command::new("sleep");
    /// let run = Capture::new().on(Tokio).until(cancelled).output(command.arg("60"));
    /// assert_eq!(run.await?.stopped_by, Some(StoppedBy::Cancel));
    /// # Ok(())
    /// # }
    /// ```
    pub fn until<F: Future>(self, cancel: F) -> AsyncCapture<R, F> {
        AsyncCapture {
            capture: self.capture,
            reactor: self.reactor,
            cancel,
        }
    }

    /// Spawns a command, captures its output, and reaps it, like [`Capture::output`].
    ///
    /// Takes a `&mut Command`, or a `Command`, so that the future can become a task.
    ///
    /// # Errors
    ///
    /// - Those of [`Capture::output`]. The child is reaped in the background.
    /// - [`Unsupported`](io::ErrorKind::Unsupported): the future is not polled in a tokio runtime. Nothing
    ///   was spawned.
    ///
    /// # Examples
    ///
    /// See [`AsyncCapture`].
    pub async fn output(self, command: impl BorrowMut<Command>) -> Result<Captured, CaptureError> {
        self.output_to(command, OnlyKept).await
    }

    /// Captures like [`output`](Self::output), and passes the output to `sink` as it arrives, like
    /// [`Capture::output_with`].
    ///
    /// # Errors
    ///
    /// Those of [`output`](Self::output), and of the sink.
    ///
    /// # Examples
    ///
    #[cfg_attr(feature = "tokio", doc = "```")]
    #[cfg_attr(not(feature = "tokio"), doc = "```ignore")]
    /// use pidwait::{Capture, Tokio};
    /// use std::io::Write;
    /// use std::process::Command;
    ///
    /// # #[tokio::main(flavor = "current_thread")]
    /// # async fn main() -> std::io::Result<()> {
    /// let mut command = Command::new("echo");
    /// let capture = Capture::new().tail_bytes(4096).on(Tokio);
    /// let pass_on = |_, bytes: &[u8]| std::io::stdout().write_all(bytes);
    /// let captured = capture.output_with(command.arg("hello"), pass_on).await?;
    /// assert_eq!(captured.stdout, b"hello\n");
    /// # Ok(())
    /// # }
    /// ```
    pub async fn output_with(
        self,
        command: impl BorrowMut<Command>,
        sink: impl FnMut(Pipe, &[u8]) -> io::Result<()>,
    ) -> Result<Captured, CaptureError> {
        self.output_to(command, ToSink(sink)).await
    }

    /// Captures the output of a child that was spawned already, and reaps it when it has exited, like
    /// [`Capture::run`].
    ///
    /// # Errors
    ///
    /// - Those of [`Capture::run`].
    /// - [`Unsupported`](io::ErrorKind::Unsupported): the future is not polled in a tokio runtime.
    ///
    /// # Examples
    ///
    #[cfg_attr(feature = "tokio", doc = "```")]
    #[cfg_attr(not(feature = "tokio"), doc = "```ignore")]
    /// use pidwait::{Capture, Tokio};
    /// use std::process::{Command, Stdio};
    ///
    /// # #[tokio::main(flavor = "current_thread")]
    /// # async fn main() -> std::io::Result<()> {
    /// let mut child = Command::new("echo").arg("hello").stdout(Stdio::piped()).spawn()?;
    /// let captured = Capture::new().on(Tokio).run(&mut child).await?;
    /// assert_eq!(captured.stdout, b"hello\n");
    /// # Ok(())
    /// # }
    /// ```
    pub async fn run(self, child: &mut impl Piped) -> Result<Captured, CaptureError> {
        self.run_to(child, OnlyKept).await
    }

    /// Captures like [`run`](Self::run), and passes the output to `sink` as it arrives, like
    /// [`Capture::run_with`].
    ///
    /// # Errors
    ///
    /// Those of [`run`](Self::run), and of the sink.
    ///
    /// # Examples
    ///
    /// See [`output_with`](Self::output_with).
    pub async fn run_with(
        self,
        child: &mut impl Piped,
        sink: impl FnMut(Pipe, &[u8]) -> io::Result<()>,
    ) -> Result<Captured, CaptureError> {
        self.run_to(child, ToSink(sink)).await
    }

    /// Captures until a condition on the output is true, and leaves the child running, like
    /// [`Capture::run_until`].
    ///
    /// # Errors
    ///
    /// Those of [`run`](Self::run).
    ///
    /// # Examples
    ///
    #[cfg_attr(feature = "tokio", doc = "```")]
    #[cfg_attr(not(feature = "tokio"), doc = "```ignore")]
    /// use pidwait::{Capture, KillOnDrop, PidHandle, StoppedBy, Tokio};
    /// use std::process::{Command, Stdio};
    ///
    /// # #[tokio::main(flavor = "current_thread")]
    /// # async fn main() -> std::io::Result<()> {
    /// let mut command = Command::new("sh");
    /// command.args(["-c", "echo listening; exec sleep 60"]).stdout(Stdio::piped());
    /// let mut server = KillOnDrop::new(PidHandle::spawn(&mut command)?);
    /// let listens = |stdout: &[u8], _: &[u8]| stdout.ends_with(b"listening\n");
    /// let start = Capture::new().on(Tokio).run_until(&mut server, listens).await?;
    /// assert_eq!(start.stopped_by, Some(StoppedBy::Condition));
    /// # Ok(())
    /// # }
    /// ```
    pub async fn run_until(
        self,
        child: &mut impl Piped,
        condition: impl FnMut(&[u8], &[u8]) -> bool,
    ) -> Result<Captured, CaptureError> {
        self.run_to(child, Until(condition)).await
    }

    async fn output_to(
        self,
        mut command: impl BorrowMut<Command>,
        mut observer: impl Observer,
    ) -> Result<Captured, CaptureError> {
        R::check().map_err(CaptureError::at_start)?;
        let spawned = self.capture.spawn(command.borrow_mut())?;
        drop(command);
        // Kills the group on an error, a panic or a drop, and does not block.
        let mut guard = KillOnDrop::new(InBackground(spawned));
        let target = SpawnedTarget::of_new(&mut guard.0);
        let plan = self.capture.plan_for_new(BUDGET);
        let mut session = self.capture.start(target, plan, &mut observer)?;
        let driven = drive::<R>(&mut session, &mut observer, self.cancel).await;
        let captured = session.finish(driven)?;
        give_up(&KillOnDrop::into_inner(guard).0, &captured);
        Ok(captured)
    }

    async fn run_to(
        self,
        child: &mut impl Piped,
        mut observer: impl Observer,
    ) -> Result<Captured, CaptureError> {
        let checked = R::check().and_then(|()| self.capture.check());
        checked.map_err(CaptureError::at_start)?;
        let plan = self.capture.plan(BUDGET);
        let mut session = self.capture.start(child.target(), plan, &mut observer)?;
        let driven = drive::<R>(&mut session, &mut observer, self.cancel).await;
        session.finish(driven)
    }
}

impl<R: Reactor, C> fmt::Debug for AsyncCapture<R, C> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("AsyncCapture")
            .field("capture", &self.capture)
            .field("reactor", &self.reactor)
            .finish_non_exhaustive()
    }
}

/// A child whose guard does not block.
#[derive(Debug)]
struct InBackground(Spawned);

impl Guarded for InBackground {}

impl kill_on_drop::sealed::Sealed for InBackground {
    fn target(&self) -> Target {
        Target::new_async(&self.0.handle, self.0.group.as_ref())
    }
}

/// Runs a session until it is over.
async fn drive<R: Reactor>(
    session: &mut Session<'_>,
    observer: &mut impl Observer,
    cancel: impl Future,
) -> io::Result<()> {
    let mut sources = Sources::<R>::new();
    let (mut cancel, mut timer) = (pin!(Some(cancel)), pin!(None));
    let mut timer_ends = None;
    poll_fn(|context| {
        let cancelled = cancel.as_mut().as_pin_mut().map(|it| it.poll(context));
        if let Some(Poll::Ready(_)) = cancelled {
            cancel.set(None);
            session.cancel();
        }
        // After an event a source has no waker, until it is polled again.
        let mut has_event = sources.poll(session, context)?;
        if session.work(observer)? {
            return Poll::Ready(Ok(()));
        }
        let is_due = |session: &Session<'_>| session.until().is_some_and(|at| at <= sys::now());
        if has_event && !is_due(session) {
            has_event = sources.poll(session, context)?;
        }
        if has_event || is_due(session) || !sources.are_current(session) {
            R::yield_now(context);
            return Poll::Pending;
        }
        let until = session.until();
        // A timer that ends earlier stays: most of the time it only moves on, with each read.
        let is_late = until.is_some_and(|at| timer_ends.map_or(true, |ends| at < ends));
        if is_late {
            timer.set(Some(R::sleep_until(until)));
            timer_ends = until;
        }
        let timed = timer.as_mut().as_pin_mut().map(|it| it.poll(context));
        if let Some(Poll::Ready(())) = timed {
            timer.set(None);
            timer_ends = None;
            context.waker().wake_by_ref();
        }
        Poll::Pending
    })
    .await
}

/// What the reactor has of a session.
struct Sources<R: Reactor> {
    pipes: [(Source, Option<Registered<R>>); 3],
    /// The exit, and its registration. Without that, the session checks it from time to time.
    exit: Option<(ExitFd, Option<Exit<R>>)>,
}

enum Registered<R: Reactor> {
    Waiting(R::Source<Arc<OwnedFd>>),
    /// The reactor refuses it, because it is a regular file, for example.
    AlwaysReady,
}

impl<R: Reactor> Sources<R> {
    fn new() -> Self {
        Self {
            pipes: [Source::Stdin, Source::Stdout, Source::Stderr].map(|source| (source, None)),
            exit: None,
        }
    }

    /// Registers what the session waits for, gives up what it no longer waits for, and tells it what is
    /// ready. Returns whether there was an event.
    fn poll(&mut self, session: &mut Session<'_>, context: &mut Context<'_>) -> io::Result<bool> {
        let mut has_event = false;
        for (source, registered) in &mut self.pipes {
            let Some(fd) = session.pipe(*source) else {
                *registered = None;
                continue;
            };
            let direction = match source {
                Source::Stdin => Direction::Write,
                _ => Direction::Read,
            };
            let registered = match registered {
                Some(registered) => registered,
                None => registered.insert(Registered::new(fd, direction)?),
            };
            if registered.poll(direction, context)?.is_ready() {
                session.set_ready(*source);
                has_event = true;
            }
        }
        Ok(self.poll_exit(session, context)? || has_event)
    }

    fn poll_exit(
        &mut self,
        session: &mut Session<'_>,
        context: &mut Context<'_>,
    ) -> io::Result<bool> {
        if !self.is_current_exit(session) {
            self.exit = None;
            if let Some(fd) = session.exit() {
                let exit = Exit::register(fd.clone()).ok();
                if exit.is_none() {
                    session.recheck_exit();
                }
                self.exit = Some((fd, exit));
            }
        }
        if let Some((_, Some(exit))) = &self.exit {
            if let Poll::Ready(event) = exit.poll_event(context) {
                event?;
                session.set_ready(Source::Exit);
                return Ok(true);
            }
        }
        Ok(false)
    }

    /// Whether what is registered is what the session waits for.
    fn are_current(&self, session: &Session<'_>) -> bool {
        let mut pipes = self.pipes.iter();
        self.is_current_exit(session)
            && pipes.all(|(source, it)| it.is_some() == session.pipe(*source).is_some())
    }

    fn is_current_exit(&self, session: &Session<'_>) -> bool {
        match (&self.exit, session.exit()) {
            (Some((fd, _)), Some(wanted)) => fd.is_same(&wanted),
            (None, None) => true,
            _ => false,
        }
    }
}

impl<R: Reactor> Registered<R> {
    fn new(fd: &Arc<OwnedFd>, direction: Direction) -> io::Result<Self> {
        match R::register(Arc::clone(fd), direction) {
            Err(error) if errno_of(&error) == Some(Errno::EPERM) => Ok(Self::AlwaysReady),
            registered => Ok(Self::Waiting(registered?)),
        }
    }

    fn poll(&self, direction: Direction, context: &mut Context<'_>) -> io::Result<Poll<()>> {
        match self {
            Self::AlwaysReady => Ok(Poll::Ready(())),
            Self::Waiting(source) => match R::poll_event(source, direction, context) {
                Poll::Ready(event) => event.map(Poll::Ready),
                Poll::Pending => Ok(Poll::Pending),
            },
        }
    }
}
