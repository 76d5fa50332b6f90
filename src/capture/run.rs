// Tests: tests/it/capture.rs, tests/it/capture/limits.rs

//! The calls that capture, and block.

use std::io;
use std::process::{Command, Stdio};

use super::blocking;
use super::kept::Kept;
use super::session::{Observer, Plan, Session};
use super::stream::{Sink, CHUNK};
use super::target::{SpawnedTarget, Target};
use super::{Capture, CaptureError, Captured, Pipe, Piped};
use crate::escalation::Escalation;
use crate::handle::{PidHandle, Spawned};
use crate::kill_on_drop::KillOnDrop;

/// The most that a call that blocks reads from a pipe at once.
const BUDGET: usize = 16 * CHUNK;

/// The output is only kept.
pub(super) struct OnlyKept;

impl Observer for OnlyKept {}

/// A sink gets the output.
pub(super) struct ToSink<F>(pub(super) F);

impl<F: FnMut(Pipe, &[u8]) -> io::Result<()>> Observer for ToSink<F> {
    fn sink(&mut self) -> Option<Sink<'_>> {
        Some(&mut self.0)
    }
}

/// A condition on the output ends the run.
pub(super) struct Until<F>(pub(super) F);

impl<F: FnMut(&[u8], &[u8]) -> bool> Observer for Until<F> {
    fn is_enough(&mut self, stdout: &mut Kept, stderr: &mut Kept) -> bool {
        self.0(stdout.so_far(), stderr.so_far())
    }
}

impl Capture {
    /// Spawns a command, captures its output, and reaps it, like std's [`Command::output`].
    ///
    /// It sets the command's standard streams: output and error are piped, and input is piped if there
    /// is [`input`](Self::input), otherwise null. That replaces what the command had, where std's call
    /// keeps it. For a stream that is a file, or is inherited, spawn the command and [`run`](Self::run).
    ///
    /// No child is left behind. If the run is stopped, the child, or the process group that it leads, is
    /// ended by [`terminate_on_timeout`](Self::terminate_on_timeout), or killed if that is not set. The child
    /// is reaped, and what it wrote until then is returned.
    ///
    /// # Errors
    ///
    /// Those of [`PidHandle::spawn`] and of [`run`](Self::run). On an error the child, or its process group,
    /// is killed, and the child is reaped. One that may not be signalled (EPERM) runs on, and is reaped in
    /// the background.
    ///
    /// # Examples
    ///
    /// ```
    /// use pidwait::{Capture, StoppedBy};
    /// use std::process::Command;
    /// use std::time::Duration;
    ///
    /// let capture = Capture::new().timeout(Duration::from_millis(500));
    /// let captured = capture.output(Command::new("sh").args(["-c", "echo ready; exec sleep 60"]))?;
    /// assert_eq!(captured.stopped_by, Some(StoppedBy::Timeout));
    /// assert!(captured.status.is_some_and(|status| !status.success()));
    /// assert_eq!(captured.stdout, b"ready\n");
    /// # Ok::<(), std::io::Error>(())
    /// ```
    pub fn output(&self, command: &mut Command) -> Result<Captured, CaptureError> {
        self.output_to(command, OnlyKept)
    }

    /// Captures like [`output`](Self::output), and passes the output to `sink` as it arrives.
    ///
    /// The sink is that of [`run_with`](Self::run_with).
    ///
    /// # Errors
    ///
    /// Those of [`output`](Self::output), and of the sink.
    ///
    /// # Examples
    ///
    /// A command whose output is shown as it comes, while the last 4 KiB are kept for an error message:
    ///
    /// ```
    /// use pidwait::Capture;
    /// use std::io::Write;
    /// use std::process::Command;
    ///
    /// let mut command = Command::new("sh");
    /// command.args(["-c", "echo building; echo failed >&2; exit 1"]);
    /// let captured = Capture::new().tail_bytes(4096).output_with(&mut command, |_, bytes| {
    ///     std::io::stdout().write_all(bytes)
    /// })?;
    /// assert!(!captured.success());
    /// assert_eq!(captured.stderr, b"failed\n");
    /// # Ok::<(), std::io::Error>(())
    /// ```
    pub fn output_with(
        &self,
        command: &mut Command,
        sink: impl FnMut(Pipe, &[u8]) -> io::Result<()>,
    ) -> Result<Captured, CaptureError> {
        self.output_to(command, ToSink(sink))
    }

    /// Captures the output of a child that was spawned already, and reaps it when it has exited.
    ///
    /// It reads only the streams that are piped. If there is no [`input`](Self::input), it closes the
    /// child's standard input first, as std's `wait_with_output` does.
    ///
    /// The child keeps the pipes that have not ended: after a stop or an error a further run continues
    /// where this one stopped, and after a leak it reads what the other process writes.
    ///
    /// If another wait gets the status, before the run or during it, the run returns that status.
    ///
    /// # Errors
    ///
    /// The error contains the bytes that were read before it. The child keeps its pipes.
    ///
    /// - [`InvalidInput`](io::ErrorKind::InvalidInput): there is `input`, and the child's standard
    ///   input is not piped. Nothing was read.
    /// - ECHILD: the child was reaped by other code, or its status was thrown away because SIGCHLD is
    ///   ignored. The output was read. On Linux 6.15 and later with pidfds, if that happens during the
    ///   run, the status is taken from the kernel's record instead.
    /// - ENOMEM: the output does not fit into memory. Set [`max_bytes`](Self::max_bytes).
    /// - EPERM: the child may not be signalled when it is to be ended.
    /// - EINVAL: the handle of a [`Spawned`](crate::Spawned) is released, or an escalation has an unknown
    ///   signal.
    /// - Those of the sink of [`run_with`](Self::run_with), and of reads if a stream is not a pipe.
    ///
    /// # Examples
    ///
    /// ```
    /// use pidwait::{Capture, StoppedBy};
    /// use std::process::{Command, Stdio};
    /// use std::time::Duration;
    ///
    /// let script = "echo ready; exec sleep 60";
    /// let mut child = Command::new("sh").args(["-c", script]).stdout(Stdio::piped()).spawn()?;
    /// let capture = Capture::new().timeout(Duration::from_millis(500));
    /// let first = capture.run(&mut child)?;
    /// assert_eq!((first.status, first.stopped_by), (None, Some(StoppedBy::Timeout)));
    ///
    /// child.kill()?;
    /// let second = capture.timeout(Duration::from_secs(60)).run(&mut child)?;
    /// assert!(second.status.is_some_and(|status| !status.success()));
    /// assert_eq!([first.stdout, second.stdout].concat(), b"ready\n");
    /// # Ok::<(), std::io::Error>(())
    /// ```
    #[doc(alias = "wait_with_output")]
    pub fn run(&self, child: &mut impl Piped) -> Result<Captured, CaptureError> {
        self.run_to(child, OnlyKept)
    }

    /// Captures like [`run`](Self::run), and passes the output to `sink` as it arrives.
    ///
    /// The sink gets every byte, in pieces of any length. Besides, [`max_bytes`](Self::max_bytes) and
    /// [`tail_bytes`](Self::tail_bytes) say what is kept; without them nothing is. While the sink runs,
    /// nothing is read and no timeout is checked. If it fails, the run fails with its error, which contains
    /// what was kept and then the piece that the sink failed on.
    ///
    /// # Errors
    ///
    /// Those of [`run`](Self::run), and of the sink.
    ///
    /// # Examples
    ///
    /// ```
    /// use pidwait::{Capture, Pipe};
    /// use std::io::Write;
    /// use std::process::{Command, Stdio};
    ///
    /// let mut child = Command::new("echo").arg("hello").stdout(Stdio::piped()).spawn()?;
    /// Capture::new().run_with(&mut child, |pipe, bytes| match pipe {
    ///     Pipe::Stdout => std::io::stdout().write_all(bytes),
    ///     Pipe::Stderr => std::io::stderr().write_all(bytes),
    /// })?;
    /// # Ok::<(), std::io::Error>(())
    /// ```
    pub fn run_with(
        &self,
        child: &mut impl Piped,
        sink: impl FnMut(Pipe, &[u8]) -> io::Result<()>,
    ) -> Result<Captured, CaptureError> {
        self.run_to(child, ToSink(sink))
    }

    /// Captures like [`run`](Self::run) until a condition on the output is true, and leaves the child
    /// running.
    ///
    /// For a server that prints a line when it is ready. After each read, `condition` gets what was kept of
    /// stdout and of stderr so far. Once it returns true, the run returns all that was read, also what came
    /// behind the match, with [`StoppedBy::Condition`](crate::StoppedBy::Condition). The child runs on with its
    /// pipes, even if [`terminate_on_timeout`](Self::terminate_on_timeout) is set, and a further run reads on.
    ///
    /// If the child exits first or at the same moment, the run goes on to the end and returns its status,
    /// and `stopped_by` is `None`.
    ///
    /// # Errors
    ///
    /// Those of [`run`](Self::run).
    ///
    /// # Examples
    ///
    /// ```
    /// use pidwait::{Capture, KillOnDrop, PidHandle, StoppedBy};
    /// use std::process::{Command, Stdio};
    /// use std::time::Duration;
    ///
    /// let mut command = Command::new("sh");
    /// command.args(["-c", "echo listening on port 8080; exec sleep 60"]).stdout(Stdio::piped());
    /// let mut server = KillOnDrop::new(PidHandle::spawn(&mut command)?);
    ///
    /// let capture = Capture::new().timeout(Duration::from_secs(60));
    /// let start = capture.run_until(&mut server, |stdout, _| stdout.ends_with(b"8080\n"))?;
    /// assert_eq!(start.stopped_by, Some(StoppedBy::Condition));
    /// assert!(!server.handle.has_exited()?);
    /// # Ok::<(), std::io::Error>(())
    /// ```
    pub fn run_until(
        &self,
        child: &mut impl Piped,
        condition: impl FnMut(&[u8], &[u8]) -> bool,
    ) -> Result<Captured, CaptureError> {
        self.run_to(child, Until(condition))
    }

    fn output_to(
        &self,
        command: &mut Command,
        mut observer: impl Observer,
    ) -> Result<Captured, CaptureError> {
        // Kills the group on an error or a panic.
        let mut guard = KillOnDrop::new(self.spawn(command)?);
        let plan = self.plan_for_new(BUDGET);
        let captured = self.capture(SpawnedTarget::of_new(&mut guard), plan, &mut observer)?;
        give_up(&KillOnDrop::into_inner(guard), &captured);
        Ok(captured)
    }

    fn run_to(
        &self,
        child: &mut impl Piped,
        mut observer: impl Observer,
    ) -> Result<Captured, CaptureError> {
        self.check().map_err(CaptureError::at_start)?;
        self.capture(child.target(), self.plan(BUDGET), &mut observer)
    }

    fn capture<'a>(
        &'a self,
        target: io::Result<Box<dyn Target + 'a>>,
        plan: Plan,
        observer: &mut dyn Observer,
    ) -> Result<Captured, CaptureError> {
        let mut session = self.start(target, plan, observer)?;
        let driven = blocking::drive(&mut session, observer);
        session.finish(driven)
    }

    pub(super) fn start<'a>(
        &'a self,
        target: io::Result<Box<dyn Target + 'a>>,
        plan: Plan,
        observer: &mut dyn Observer,
    ) -> Result<Session<'a>, CaptureError> {
        let has_sink = observer.sink().is_some();
        let kept = [self.kept(has_sink), self.kept(has_sink)];
        let session = target.and_then(|target| Session::start(self, target, plan, kept));
        session.map_err(CaptureError::at_start)
    }

    /// Spawns a command for one run, with its pipes.
    pub(super) fn spawn(&self, command: &mut Command) -> Result<Spawned, CaptureError> {
        self.check().map_err(CaptureError::at_start)?;
        let stdin = if self.input.is_empty() {
            Stdio::null()
        } else {
            Stdio::piped()
        };
        command.stdin(stdin);
        command.stdout(Stdio::piped()).stderr(Stdio::piped());
        PidHandle::spawn(command).map_err(CaptureError::at_start)
    }

    /// EINVAL: an escalation has an unknown signal.
    pub(super) fn check(&self) -> io::Result<()> {
        let mut escalations = [&self.at_stop, &self.at_leak].into_iter().flatten();
        Ok(escalations.try_for_each(Escalation::check)?)
    }

    pub(super) fn plan(&self, budget: usize) -> Plan {
        Plan {
            at_stop: self.at_stop.clone(),
            is_new: false,
            budget,
        }
    }

    pub(super) fn plan_for_new(&self, budget: usize) -> Plan {
        let at_stop = self.at_stop.clone().unwrap_or_else(Escalation::kill);
        Plan {
            at_stop: Some(at_stop),
            is_new: true,
            budget,
        }
    }

    fn kept(&self, has_sink: bool) -> Kept {
        match (self.max_bytes, self.tail_bytes) {
            (None, None) if has_sink => Kept::off(),
            (None, None) => Kept::new(usize::MAX, 0),
            (first, last) => Kept::new(first.unwrap_or(0), last.unwrap_or(0)),
        }
    }
}

/// Leaves a child that could not be ended to the background. The rest of its group runs on.
pub(super) fn give_up(spawned: &Spawned, captured: &Captured) {
    if captured.status.is_none() {
        spawned.handle.reap_in_background();
    }
}
