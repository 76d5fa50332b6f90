// Tests: tests/it/capture.rs, tests/it/capture/leak.rs

//! What a capture returns.

use std::error::Error;
use std::fmt;
use std::io;
use std::panic::{RefUnwindSafe, UnwindSafe};
use std::process::{ExitStatus, Output};

/// One of the two streams that a child writes to.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Pipe {
    /// The standard output.
    Stdout,
    /// The standard error.
    Stderr,
}

/// How a [`Capture`](crate::Capture) ended, and what it read.
///
/// | | `status` | `timed_out` | `leaked` |
/// |---|---|---|---|
/// | the child has exited, and its output is complete | `Some` | no | no |
/// | the child has exited, and another process may still write | `Some` | no | yes |
/// | the time ran out, and the child runs on | `None` | yes | no |
/// | the time ran out, and the child was ended | `Some` | yes | if another process may still write |
#[derive(Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct Captured {
    /// How the child ended. `None` if the time ran out and the child runs on.
    pub status: Option<ExitStatus>,
    /// Whether the time ran out before the child exited.
    pub timed_out: bool,
    /// Whether another process still had a pipe open when reading stopped: the output may be
    /// incomplete.
    pub leaked: bool,
    /// The number of bytes that were read and discarded because of
    /// [`max_bytes`](crate::Capture::max_bytes), of both streams together.
    pub discarded: u64,
    /// The number of bytes of [`input`](crate::Capture::input) that were written to the child's pipe.
    pub input_written: usize,
    /// What the child wrote to its standard output. Empty after
    /// [`run_with`](crate::Capture::run_with).
    pub stdout: Vec<u8>,
    /// What the child wrote to its standard error. Empty after
    /// [`run_with`](crate::Capture::run_with).
    pub stderr: Vec<u8>,
}

impl Captured {
    /// Converts this into std's [`Output`], for code that expects one.
    ///
    /// The output may be incomplete: check [`leaked`](Self::leaked) and [`discarded`](Self::discarded)
    /// first if that matters.
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
    ///
    /// # Errors
    ///
    /// [`TimedOut`](io::ErrorKind::TimedOut): the time ran out, even if the child then exited with
    /// code 0. The output is dropped: to keep it, check [`timed_out`](Self::timed_out) first.
    pub fn into_output(self) -> io::Result<Output> {
        match self.status {
            Some(status) if !self.timed_out => Ok(Output {
                status,
                stdout: self.stdout,
                stderr: self.stderr,
            }),
            _ => {
                let text = "the time ran out before the child exited";
                Err(io::Error::new(io::ErrorKind::TimedOut, text))
            }
        }
    }
}

impl fmt::Debug for Captured {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Captured")
            .field("status", &self.status)
            .field("timed_out", &self.timed_out)
            .field("leaked", &self.leaked)
            .field("discarded", &self.discarded)
            .field("input_written", &self.input_written)
            .field("stdout", &Text(&self.stdout))
            .field("stderr", &Text(&self.stderr))
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
/// child.wait()?; // Reaped before the capture.
/// let failed = Capture::new().run(&mut child).unwrap_err();
/// assert!(pidwait::is_echild(&failed.error));
/// assert_eq!(failed.stdout, b"hello\n");
/// # Ok::<(), std::io::Error>(())
/// ```
#[non_exhaustive]
pub struct CaptureError {
    /// What went wrong.
    pub error: io::Error,
    /// What was read from the standard output, except what a sink has accepted.
    pub stdout: Vec<u8>,
    /// What was read from the standard error, except what a sink has accepted.
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
