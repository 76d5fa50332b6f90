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
/// | the child has exited, and its output is complete | `Some` | | |
/// | the child has exited, and another process may still write | `Some` | | yes |
/// | the time ran out, and the child runs on | `None` | yes | |
/// | the time ran out, and the child was ended | `Some` | yes | if another process may still write |
#[derive(Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct Captured {
    /// How the child ended. `None`: the time ran out, and the child runs on.
    pub status: Option<ExitStatus>,
    /// The time ran out before the child exited.
    pub timed_out: bool,
    /// Another process still held a pipe when reading stopped, so that there may be more output.
    pub leaked: bool,
    /// How many bytes were read and dropped because of
    /// [`max_bytes`](crate::Capture::max_bytes), of both streams together.
    pub discarded: u64,
    /// How many bytes of [`input`](crate::Capture::input) were written to the child's pipe.
    pub input_written: usize,
    /// What the child wrote to its standard output. Empty after
    /// [`run_with`](crate::Capture::run_with).
    pub stdout: Vec<u8>,
    /// What the child wrote to its standard error. Empty after
    /// [`run_with`](crate::Capture::run_with).
    pub stderr: Vec<u8>,
}

impl Captured {
    /// Turns this into std's [`Output`], for code that has no use for a timeout.
    ///
    /// It is as complete as `leaked` and `discarded` say.
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
    /// code 0. The output is lost with it: look at [`timed_out`](Self::timed_out) first to keep it.
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

/// A [`Capture`](crate::Capture) that failed, with what it had read by then.
///
/// It displays as its [`error`](Self::error), and converts into it.
#[non_exhaustive]
pub struct CaptureError {
    /// What went wrong.
    pub error: io::Error,
    /// What was read of the standard output, except what a sink has taken.
    pub stdout: Vec<u8>,
    /// What was read of the standard error, except what a sink has taken.
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

// A panic cannot leave it half changed: the error is plain data, and only its owner changes the rest.
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

/// Output in a debug format: as text, and of long output only the beginning.
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
