// Tests: tests/it/capture.rs, tests/it/capture/limits.rs

//! The calls that capture.

use std::io;
use std::process::{Command, Stdio};

use super::session::Session;
use super::stream::Sink;
use super::target::{sealed::Sealed, Target};
use super::{AtTimeout, Capture, CaptureError, Captured, Pipe, Piped};
use crate::handle::PidHandle;
use crate::kill_on_drop::KillOnDrop;

impl Capture {
    /// Spawns a command, captures its output, and reaps it, like std's [`Command::output`].
    ///
    /// It sets the command's standard streams: output and error are piped, and input is piped if there
    /// is [`input`](Self::input), otherwise null. That replaces what the command had, where std's call
    /// keeps it. For a stream that is a file, or is inherited, spawn the command and [`run`](Self::run).
    ///
    /// No child is left behind. If the time runs out, the child, or the process group that it leads, is
    /// terminated with the grace of [`terminate_on_timeout`](Self::terminate_on_timeout), or killed if
    /// that is not set. The child is reaped, and what it wrote until then is returned.
    ///
    /// # Examples
    ///
    /// ```
    /// use pidwait::Capture;
    /// use std::process::Command;
    /// use std::time::Duration;
    ///
    /// let capture = Capture::new().timeout(Duration::from_millis(500));
    /// let captured = capture.output(Command::new("sh").args(["-c", "echo ready; exec sleep 60"]))?;
    /// assert!(captured.timed_out);
    /// assert!(captured.status.is_some_and(|status| !status.success()));
    /// assert_eq!(captured.stdout, b"ready\n");
    /// # Ok::<(), std::io::Error>(())
    /// ```
    ///
    /// # Errors
    ///
    /// Those of [`PidHandle::spawn`] and of [`run`](Self::run). On an error the child, or its process group,
    /// is killed, and the child is reaped. One that may not be signalled (EPERM) runs on, and is reaped in
    /// the background.
    pub fn output(&self, command: &mut Command) -> Result<Captured, CaptureError> {
        let stdin = match self.input.is_empty() {
            true => Stdio::null(),
            false => Stdio::piped(),
        };
        command.stdin(stdin);
        command.stdout(Stdio::piped()).stderr(Stdio::piped());
        let mut spawned = PidHandle::spawn(command).map_err(CaptureError::at_start)?;
        // Kills the child on an error or a panic.
        let guard = KillOnDrop::process_group(spawned.handle.clone());
        let at_timeout = match self.at_timeout {
            AtTimeout::Leave => AtTimeout::Kill,
            other => other,
        };
        let captured = self.capture(spawned.target(), at_timeout, None)?;
        KillOnDrop::into_inner(guard); // It was reaped. The rest of its group runs on.
        Ok(captured)
    }

    /// Captures the output of a child that was spawned already, and reaps it when it has exited.
    ///
    /// It reads only the streams that are piped. If there is no [`input`](Self::input), it closes the
    /// child's standard input first, as std's `wait_with_output` does.
    ///
    /// After a timeout or an error, the child still has its pipes, and a further run continues where
    /// this one stopped.
    ///
    /// # Examples
    ///
    /// ```
    /// use pidwait::Capture;
    /// use std::process::{Command, Stdio};
    /// use std::time::Duration;
    ///
    /// let script = "echo ready; exec sleep 60";
    /// let mut child = Command::new("sh").args(["-c", script]).stdout(Stdio::piped()).spawn()?;
    /// let capture = Capture::new().timeout(Duration::from_millis(500));
    /// let first = capture.run(&mut child)?;
    /// assert!(first.timed_out && first.status.is_none());
    ///
    /// child.kill()?;
    /// let second = capture.timeout(Duration::from_secs(60)).run(&mut child)?;
    /// assert!(second.status.is_some_and(|status| !status.success()));
    /// assert_eq!([first.stdout, second.stdout].concat(), b"ready\n");
    /// # Ok::<(), std::io::Error>(())
    /// ```
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
    /// - EPERM: the child may not be signalled when the time is up.
    /// - EINVAL: the handle of a [`Spawned`](crate::Spawned) is released.
    /// - Those of the sink of [`run_with`](Self::run_with), and of reads if a stream is not a pipe.
    #[doc(alias = "wait_with_output")]
    pub fn run(&self, child: &mut impl Piped) -> Result<Captured, CaptureError> {
        self.capture(child.target(), self.at_timeout, None)
    }

    /// Captures like [`run`](Self::run), but passes the output to `sink` as it arrives instead of
    /// collecting it.
    ///
    /// The sink gets pieces of any length, and at most [`max_bytes`](Self::max_bytes) of each stream.
    /// While it runs, nothing is read and no timeout is checked. If it fails, the run fails with its
    /// error, which contains the piece that the sink failed on.
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
    ///
    /// # Errors
    ///
    /// Those of [`run`](Self::run), and of the sink.
    pub fn run_with(
        &self,
        child: &mut impl Piped,
        mut sink: impl FnMut(Pipe, &[u8]) -> io::Result<()>,
    ) -> Result<Captured, CaptureError> {
        self.capture(child.target(), self.at_timeout, Some(&mut sink))
    }

    fn capture<'a>(
        &'a self,
        target: io::Result<Box<dyn Target + 'a>>,
        at_timeout: AtTimeout,
        sink: Option<Sink<'a>>,
    ) -> Result<Captured, CaptureError> {
        let session = target.and_then(|target| Session::start(self, target, at_timeout, sink));
        session.map_err(CaptureError::at_start)?.run()
    }
}
