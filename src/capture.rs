//! `Capture`: a child's output, its input and the time, in one call.

mod captured;
mod run;
mod session;
mod spawned;
mod stream;
mod target;

use std::fmt;
use std::time::Duration;

pub use captured::{CaptureError, Captured, Pipe};
pub use target::Piped;
pub(crate) use target::{sealed, PipesMut, Target};

/// Runs a child to its end and captures its output, within a time.
///
/// [`output`](Self::output) spawns a command, as [`Command::output`](std::process::Command::output)
/// does. [`run`](Self::run) takes a child that was spawned already, and leaves it with the caller:
/// whatever happens, nothing is lost. It is one poll loop, without threads, over the pipes, the exit
/// and the clock.
///
/// # Examples
///
/// ```
/// use pidwait::Capture;
/// use std::process::Command;
/// use std::time::Duration;
///
/// let captured = Capture::new()
///     .timeout(Duration::from_secs(10))
///     .max_bytes(1 << 20)
///     .input("two\none\n")
///     .output(&mut Command::new("sort"))?;
/// assert_eq!(captured.stdout, b"one\ntwo\n");
/// assert!(!captured.timed_out && !captured.leaked);
/// # Ok::<(), std::io::Error>(())
/// ```
///
/// # Which call to use
///
/// [`ChildExt::pidfd_output_timeout`](crate::ChildExt::pidfd_output_timeout) is `run` with a timeout
/// and nothing else. Use it where std's `wait_with_output` stood; use `Capture` if the child also has
/// to be ended at the timeout, gets input, or writes more than fits into memory.
///
/// # When the child has exited and its output has not ended
///
/// A pipe ends when *every* process that can write to it has closed it. A background process that
/// the child started has the pipe too. So after the child has exited, there are two cases, and no
/// way to tell them apart:
///
/// - The rest of the output is still on its way. In `bash -c 'exec > >(tee log) && make'` the child
///   is `bash`, but all output comes through `tee`, which writes the last of it after `bash` has
///   exited.
/// - Nothing more will come. A test starts a daemon, which keeps the pipe open for days.
///
/// The **leak timeout** decides: reading continues until the pipes end, but only for so long after
/// the exit (500 ms by default, and never past the timeout). `tee` needs a few milliseconds of it.
/// The daemon uses it up; then the call returns the child's status and what was read, and
/// [`leaked`](Captured::leaked) is set. A leak is no error of the child. It tells that the output
/// may be incomplete, and that a process was left behind.
///
/// How others do it:
///
/// - std's `wait_with_output` reads until the pipes end, for days if need be.
/// - Go's `Cmd.WaitDelay` also bounds the time between the exit and the end of the pipes, and makes
///   `Wait` fail with `ErrWaitDelay` if it passes. It is off by default.
/// - The test runner nextest calls it *leak timeout*, and a test whose pipes outlive it *leaky*. The
///   two words are taken from there.
///
/// # One pipe for both streams
///
/// To keep the order in which a child writes to its two streams, make both of them one pipe:
///
/// ```
/// use pidwait::Capture;
/// use std::os::fd::OwnedFd;
/// use std::os::unix::net::UnixStream;
/// use std::process::Command;
///
/// let (reader, writer) = UnixStream::pair()?; // Or `std::io::pipe()`, since Rust 1.87.
/// let mut child = Command::new("sh")
///     .args(["-c", "echo one; echo two >&2; echo three"])
///     .stdout(OwnedFd::from(writer.try_clone()?))
///     .stderr(OwnedFd::from(writer))
///     .spawn()?; // The command is dropped here, and with it this process's ends to write to.
/// child.stdout = Some(OwnedFd::from(reader).into());
/// let captured = Capture::new().run(&mut child)?;
/// assert_eq!(captured.stdout, b"one\ntwo\nthree\n");
/// # Ok::<(), std::io::Error>(())
/// ```
///
/// # In async programs
///
/// This call blocks. In `tokio::task::spawn_blocking` it would keep the runtime from shutting down
/// until it returns. With tokio, read from tokio's own pipes and wait with a `TokioPidHandle`. All of
/// that ends when the future is dropped, and here the child with it:
///
/// ```
/// # #[cfg(feature = "tokio")]
/// # fn main() -> std::io::Result<()> {
/// use pidwait::{KillOnDrop, PidHandle, TokioPidHandle};
/// use std::process::{Command, Stdio};
/// use std::time::Duration;
/// use tokio::io::AsyncReadExt;
/// use tokio::process::ChildStdout;
///
/// # let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
/// # runtime.block_on(async {
/// let mut command = Command::new("sh");
/// command.args(["-c", "echo ready; exec sleep 60"]).stdout(Stdio::piped());
/// let spawned = PidHandle::spawn(&mut command)?;
/// let child = KillOnDrop::new(TokioPidHandle::new(&spawned.handle)?);
/// let mut output = Vec::new();
/// let run = async {
///     if let Some(stdout) = spawned.stdout {
///         ChildStdout::from_std(stdout)?.read_to_end(&mut output).await?;
///     }
///     child.wait().await
/// };
/// match tokio::time::timeout(Duration::from_millis(500), run).await {
///     Ok(status) => println!("{} after {} bytes", status?, output.len()),
///     Err(_) => println!("timed out after {} bytes", output.len()),
/// } // `child` is killed and reaped here, at the latest.
/// # Ok(())
/// # })
/// # }
/// # #[cfg(not(feature = "tokio"))]
/// # fn main() {}
/// ```
///
/// For a child that leaves its pipe to another process, put a timeout around the read alone, after
/// `child.wait_exited()`: that is the leak timeout.
///
/// # Platform notes
///
/// The exit is polled for with a pidfd. Without pidfds the call looks for it repeatedly, at first
/// every 1 ms and later every 50 ms. It starts no thread. During the call the pipes are
/// non-blocking, and so is whatever shares their open file descriptions; before it returns, they are
/// as they were.
#[derive(Clone)]
#[must_use = "it does nothing until it is run"]
pub struct Capture {
    timeout: Duration,
    leak_timeout: Duration,
    max_bytes: usize,
    input: Vec<u8>,
    at_timeout: AtTimeout,
}

/// What becomes of a child that runs when the time is up.
#[derive(Clone, Copy, Debug)]
enum AtTimeout {
    Leave,
    Terminate(Duration),
    Kill,
}

impl Capture {
    /// A capture without a timeout, with a leak timeout of 500 ms, no limit of bytes and no input.
    ///
    /// # Examples
    ///
    /// See [`Capture`].
    pub fn new() -> Self {
        Self {
            timeout: Duration::MAX,
            leak_timeout: Duration::from_millis(500),
            max_bytes: usize::MAX,
            input: Vec::new(),
            at_timeout: AtTimeout::Leave,
        }
    }

    /// Returns after this time, even if the child runs on.
    ///
    /// The clock starts with each run. Zero reads what is there. A time too long for the clock, such
    /// as [`Duration::MAX`], is no limit.
    ///
    /// # Examples
    ///
    /// See [`run`](Self::run) and [`output`](Self::output).
    pub fn timeout(mut self, timeout: Duration) -> Self {
        self.timeout = timeout;
        self
    }

    /// How long to read on after the child has exited, if another process still has a pipe open.
    ///
    /// [Above](Self#when-the-child-has-exited-and-its-output-has-not-ended) is what it is for. The
    /// timeout ends reading earlier, if it passes first. Zero takes what is in the pipes at the exit.
    /// [`Duration::MAX`] waits for the end, as std does.
    ///
    /// If other threads spawn processes at the same time, their children have this child's pipes, too,
    /// from the fork to the exec. So with zero it can be `leaked` where nothing was left behind.
    ///
    /// # Examples
    ///
    /// ```
    /// use pidwait::Capture;
    /// use std::process::Command;
    /// use std::time::Duration;
    ///
    /// let captured = Capture::new()
    ///     .leak_timeout(Duration::from_millis(20))
    ///     .output(Command::new("sh").args(["-c", "echo started; sleep 5 &"]))?;
    /// assert!(captured.leaked); // The `sleep` has the pipe.
    /// assert_eq!(captured.stdout, b"started\n");
    /// # Ok::<(), std::io::Error>(())
    /// ```
    pub fn leak_timeout(mut self, timeout: Duration) -> Self {
        self.leak_timeout = timeout;
        self
    }

    /// Keeps only the first `per_stream` bytes of each stream.
    ///
    /// The rest is read and dropped, so that the child never blocks on a full pipe;
    /// [`discarded`](Captured::discarded) counts it.
    ///
    /// # Examples
    ///
    /// ```
    /// use pidwait::Capture;
    /// use std::process::Command;
    ///
    /// let captured = Capture::new().max_bytes(3).output(Command::new("echo").arg("hello"))?;
    /// assert_eq!(captured.stdout, b"hel");
    /// assert_eq!(captured.discarded, 3);
    /// # Ok::<(), std::io::Error>(())
    /// ```
    pub fn max_bytes(mut self, per_stream: usize) -> Self {
        self.max_bytes = per_stream;
        self
    }

    /// Writes this to the child's standard input, and then closes it.
    ///
    /// For [`run`](Self::run) the standard input has to be piped. If the child closes it early, the
    /// rest is not written, and that is no error: [`input_written`](Captured::input_written) tells
    /// how much was. If the time runs out first and the child runs on, its `stdin` stays open, to
    /// continue with.
    ///
    /// The child gets no SIGPIPE from this, and this process neither.
    ///
    /// # Examples
    ///
    /// See [`Capture`].
    pub fn input(mut self, bytes: impl Into<Vec<u8>>) -> Self {
        self.input = bytes.into();
        self
    }

    /// Ends the child when the time runs out, as
    /// [`PidHandle::terminate`](crate::PidHandle::terminate) does: SIGTERM, at most `grace` to exit,
    /// SIGKILL.
    ///
    /// If the child leads a process group (it was spawned with
    /// [`process_group(0)`](std::os::unix::process::CommandExt::process_group)), the whole group is
    /// ended. So is the rest of the group if it still holds a pipe when the leak timeout has passed;
    /// then the child's own status is returned, and it is `leaked`.
    ///
    /// Meanwhile reading continues. A run takes at most the timeout, the grace and the leak timeout
    /// together, unless the child cannot be killed.
    ///
    /// # Examples
    ///
    /// ```
    /// use pidwait::Capture;
    /// use std::os::unix::process::{CommandExt, ExitStatusExt};
    /// use std::process::Command;
    /// use std::time::Duration;
    ///
    /// let mut command = Command::new("sh");
    /// command.args(["-c", "sleep 60 & sleep 60"]).process_group(0);
    /// let captured = Capture::new()
    ///     .timeout(Duration::from_millis(20))
    ///     .terminate_on_timeout(Duration::from_secs(5))
    ///     .output(&mut command)?;
    /// assert!(captured.timed_out && !captured.leaked); // Both sleeps were ended.
    /// assert_eq!(captured.status.and_then(|status| status.signal()), Some(15)); // SIGTERM
    /// # Ok::<(), std::io::Error>(())
    /// ```
    pub fn terminate_on_timeout(mut self, grace: Duration) -> Self {
        self.at_timeout = AtTimeout::Terminate(grace);
        self
    }
}

impl Default for Capture {
    fn default() -> Self {
        Self::new()
    }
}

impl fmt::Debug for Capture {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut debug = f.debug_struct("Capture");
        debug
            .field("timeout", &self.timeout)
            .field("leak_timeout", &self.leak_timeout)
            .field("max_bytes", &self.max_bytes)
            .field("input", &format_args!("{} bytes", self.input.len()))
            .field("at_timeout", &self.at_timeout)
            .finish()
    }
}
