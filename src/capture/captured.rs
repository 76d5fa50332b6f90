// Tests: tests/it/capture.rs, tests/it/capture/leak.rs

//! What a capture returns.

use std::error::Error;
use std::fmt;
use std::io;
use std::panic::{RefUnwindSafe, UnwindSafe};
use std::process::{ExitStatus, Output};

use crate::exit::ResourceUsage;

/// One of the two streams that a child writes to.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Pipe {
    /// The standard output.
    Stdout,
    /// The standard error.
    Stderr,
}

/// Why a [`Capture`](crate::Capture) was stopped before the child exited.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum StoppedBy {
    /// The [`timeout`](crate::Capture::timeout) has passed.
    Timeout,
    /// There was no output for the [`idle_timeout`](crate::Capture::idle_timeout).
    IdleTimeout,
    /// The future of `AsyncCapture::until` was ready.
    Cancel,
    /// The condition of [`run_until`](crate::Capture::run_until) is true.
    Condition,
}

/// How a [`Capture`](crate::Capture) ended, and what it read.
///
/// | | `status` | `stopped_by` | `leaked` |
/// |---|---|---|---|
/// | the child has exited, and its output is complete | `Some` | `None` | no |
/// | the child has exited, and another process may still write | `Some` | `None` | yes |
/// | the run was stopped, and the child runs on | `None` | `Some` | no |
/// | the run was stopped, and the child was ended | `Some` | `Some` | if another process may still write |
/// | the run was stopped, and the child outlives SIGKILL | `None` | `Some` | no |
#[derive(Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct Captured {
    /// How the child ended. `None` if it runs on.
    pub status: Option<ExitStatus>,
    /// The resources that the child has used. `Some` on Linux, if this run has got the status first.
    ///
    /// Its [`max_rss`](ResourceUsage::max_rss) starts at the peak of the process that spawned the child.
    pub usage: Option<ResourceUsage>,
    /// Why the run was stopped before the child exited.
    pub stopped_by: Option<StoppedBy>,
    /// Whether another process still had a pipe open when reading stopped: the output may be
    /// incomplete.
    pub leaked: bool,
    /// What was kept of the child's standard output.
    pub stdout: Vec<u8>,
    /// What was kept of the child's standard error.
    pub stderr: Vec<u8>,
    /// The number of bytes that are missing in `stdout`, because of
    /// [`max_bytes`](crate::Capture::max_bytes) and [`tail_bytes`](crate::Capture::tail_bytes). 0 if a sink
    /// gets the output and neither is set.
    pub stdout_discarded: u64,
    /// The number of bytes that are missing in `stderr`.
    pub stderr_discarded: u64,
    /// The number of bytes of [`input`](crate::Capture::input) that were written to the child's pipe.
    pub input_written: usize,
    /// How many bytes of `stdout` are first ones.
    pub(super) stdout_first: usize,
    pub(super) stderr_first: usize,
}

impl Captured {
    /// Returns whether the child has exited with code 0 and the run was not stopped. A leak does not count.
    ///
    /// # Examples
    ///
    /// ```
    /// use pidwait::Capture;
    /// use std::process::Command;
    ///
    /// assert!(Capture::new().output(&mut Command::new("true"))?.success());
    /// assert!(!Capture::new().output(&mut Command::new("false"))?.success());
    /// # Ok::<(), std::io::Error>(())
    /// ```
    pub fn success(&self) -> bool {
        self.stopped_by.is_none() && self.status.is_some_and(|status| status.success())
    }

    /// Returns the first and the last bytes of the standard output.
    ///
    /// Between them, [`stdout_discarded`](Self::stdout_discarded) bytes are missing. The last bytes are empty
    /// without [`tail_bytes`](crate::Capture::tail_bytes), or if the stream is not longer than the first ones.
    ///
    /// # Examples
    ///
    /// ```
    /// use pidwait::Capture;
    /// use std::process::Command;
    ///
    /// let capture = Capture::new().max_bytes(6).tail_bytes(8);
    /// let captured = capture.output(Command::new("seq").arg("1000"))?;
    /// let (first, last) = captured.stdout_parts();
    /// assert_eq!((first, last), (&b"1\n2\n3\n"[..], &b"99\n1000\n"[..]));
    /// println!("... {} bytes ...", captured.stdout_discarded);
    /// # Ok::<(), std::io::Error>(())
    /// ```
    pub fn stdout_parts(&self) -> (&[u8], &[u8]) {
        parts(&self.stdout, self.stdout_first)
    }

    /// Returns the first and the last bytes of the standard error, like
    /// [`stdout_parts`](Self::stdout_parts).
    ///
    /// # Examples
    ///
    /// See [`stdout_parts`](Self::stdout_parts).
    pub fn stderr_parts(&self) -> (&[u8], &[u8]) {
        parts(&self.stderr, self.stderr_first)
    }

    /// Converts this into std's [`Output`], for code that expects one.
    ///
    /// The output may be incomplete: check [`leaked`](Self::leaked) and
    /// [`stdout_discarded`](Self::stdout_discarded) first if that matters.
    ///
    /// # Errors
    ///
    /// The output is dropped: to keep it, check [`stopped_by`](Self::stopped_by) first.
    ///
    /// - [`TimedOut`](io::ErrorKind::TimedOut): the run was stopped by a timeout, even if the child then
    ///   exited with code 0.
    /// - [`Other`](io::ErrorKind::Other): it was stopped by a cancel or a condition.
    ///
    /// # Examples
    ///
    /// ```
    /// use pidwait::Capture;
    /// use std::process::Command;
    ///
    /// let output = Capture::new().output(Command::new("echo").arg("hello"))?.into_output()?;
    /// assert!(output.status.success());
    /// assert_eq!(output.stdout, b"hello\n");
    /// # Ok::<(), std::io::Error>(())
    /// ```
    pub fn into_output(self) -> io::Result<Output> {
        let (kind, text) = match (self.stopped_by, self.status) {
            (None, Some(status)) => {
                return Ok(Output {
                    status,
                    stdout: self.stdout,
                    stderr: self.stderr,
                })
            }
            (Some(StoppedBy::Cancel), _) => (io::ErrorKind::Other, "the run was cancelled"),
            (Some(StoppedBy::Condition), _) => (io::ErrorKind::Other, "the child runs on"),
            (Some(StoppedBy::IdleTimeout), _) => {
                (io::ErrorKind::TimedOut, "there was no output for too long")
            }
            (Some(StoppedBy::Timeout) | None, _) => (
                io::ErrorKind::TimedOut,
                "the time ran out before the child exited",
            ),
        };
        Err(io::Error::new(kind, text))
    }
}

fn parts(bytes: &[u8], first: usize) -> (&[u8], &[u8]) {
    // Both fields are public, so the caller can have shortened the bytes.
    bytes.split_at(first.min(bytes.len()))
}

impl fmt::Debug for Captured {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Captured")
            .field("status", &self.status)
            .field("usage", &self.usage)
            .field("stopped_by", &self.stopped_by)
            .field("leaked", &self.leaked)
            .field("stdout", &Text(&self.stdout))
            .field("stderr", &Text(&self.stderr))
            .field("stdout_discarded", &self.stdout_discarded)
            .field("stderr_discarded", &self.stderr_discarded)
            .field("input_written", &self.input_written)
            .finish()
    }
}

/// The error of a [`Capture`](crate::Capture), with the output that was read before it.
///
/// It displays as its [`error`](Self::error), and `?` converts it into that.
///
/// # Examples
///
/// ```
/// use pidwait::Capture;
/// use std::process::{Command, Stdio};
///
/// let mut child = Command::new("echo").arg("hello").stdout(Stdio::piped()).spawn()?;
/// let failed = Capture::new().run_with(&mut child, |_, _| Err(std::io::ErrorKind::BrokenPipe.into()));
/// assert_eq!(failed.unwrap_err().stdout, b"hello\n");
/// assert!(Capture::new().run(&mut child)?.success());
/// # Ok::<(), std::io::Error>(())
/// ```
#[non_exhaustive]
pub struct CaptureError {
    /// What went wrong.
    pub error: io::Error,
    /// What was kept of the standard output, and what a sink has refused.
    pub stdout: Vec<u8>,
    /// What was kept of the standard error, and what a sink has refused.
    pub stderr: Vec<u8>,
}

impl CaptureError {
    /// An error before anything was read.
    pub(super) fn at_start(error: io::Error) -> Self {
        Self {
            error,
            stdout: Vec::new(),
            stderr: Vec::new(),
        }
    }
}

// A panic cannot leave it in a wrong state: the error is plain data, and only its owner changes the
// rest.
impl UnwindSafe for CaptureError {}
impl RefUnwindSafe for CaptureError {}

impl fmt::Debug for CaptureError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("CaptureError")
            .field("error", &self.error)
            .field("stdout", &Text(&self.stdout))
            .field("stderr", &Text(&self.stderr))
            .finish()
    }
}

impl fmt::Display for CaptureError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.error.fmt(f)
    }
}

impl Error for CaptureError {
    fn source(&self) -> Option<&(dyn Error + 'static)> {
        self.error.source()
    }
}

impl From<CaptureError> for io::Error {
    fn from(failed: CaptureError) -> Self {
        failed.error
    }
}

/// Formats output as text for `Debug`, and of long output only the beginning.
struct Text<'a>(&'a [u8]);

impl fmt::Debug for Text<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        const LONGEST: usize = 1024;
        match self.0.get(..LONGEST) {
            Some(beginning) if self.0.len() > LONGEST => {
                let length = self.0.len();
                write!(f, "\"{}\"... ({length} bytes)", beginning.escape_ascii())
            }
            _ => write!(f, "\"{}\"", self.0.escape_ascii()),
        }
    }
}
