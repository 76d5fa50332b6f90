// Tests: tests/it/capture.rs, tests/it/capture/

//! `Capture`: a child's output and input, with a timeout, in one call.

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

/// Captures a child's output until it exits, with a timeout and limits.
///
/// [`output`](Self::output) spawns a command, like [`Command::output`](std::process::Command::output).
/// [`run`](Self::run) borrows a child that was spawned already, so neither the child nor its output is
/// lost at a timeout or an error. A capture is one poll loop over the pipes and the exit, without
/// threads.
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
/// [`ChildExt::pidfd_output_timeout`](crate::ChildExt::pidfd_output_timeout) is `run` with only a
/// timeout, to replace std's `wait_with_output`. Use `Capture` if the child also has to be ended at
/// the timeout, gets input, or can write more than fits into memory.
///
/// # When the child has exited and its output has not ended
///
/// A pipe ends when *every* process that can write to it has closed it. Background processes that
/// the child started have the pipe, too. So after the child has exited there are two cases, and no
/// way to tell them apart:
///
/// - More output will come. In `bash -c 'exec > >(tee log) && make'` the child is `bash`, but all
///   output goes through `tee`, which writes the last of it after `bash` has exited.
/// - No more output will come. A test starts a daemon, which keeps the pipe open for days.
///
/// The **leak timeout** limits how long reading continues after the exit: 500 ms by default, and never
/// past the timeout. `tee` closes the pipe within a few milliseconds. The daemon does not: once the
/// leak timeout has passed, the call returns the child's status and what was read, and
/// [`leaked`](Captured::leaked) is set. A leak is not an error. It means that the output may be
/// incomplete, and that another process still has the pipe.
///
/// Others do it like this:
///
/// - std's `wait_with_output` reads until the pipes end, without a limit.
/// - Go's `Cmd.WaitDelay` also limits the time between the exit and the end of the pipes. Once it has
///   passed, `Wait` fails with `ErrWaitDelay`. It is off by default.
/// - The test runner nextest has a *leak timeout*, too, and calls a test whose pipes outlive it
///   *leaky*. The terms are taken from there.
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
/// A capture blocks. In `tokio::task::spawn_blocking` it keeps the runtime from shutting down until it
/// returns. With tokio, read from tokio's own pipes and wait with a `TokioPidHandle`. If that future is
/// dropped, reading stops; here a `KillOnDrop` then kills the child:
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
/// To get a leak timeout, put a second timeout around the read alone, after `child.wait_exited()`.
///
/// # Platform notes
///
/// The call polls a pidfd for the exit. Without pidfds it checks for the exit repeatedly, at first
/// every 1 ms and later every 50 ms. It starts no thread. During the call the pipes are non-blocking,
/// and so is every other descriptor of their open file descriptions. The flags are restored before it
/// returns.
#[derive(Clone)]
#[must_use = "it does nothing until it is run"]
pub struct Capture {
    timeout: Duration,
    leak_timeout: Duration,
    max_bytes: usize,
    input: Vec<u8>,
    at_timeout: AtTimeout,
}

/// What to do with a child that still runs when the time is up.
#[derive(Clone, Copy, Debug)]
enum AtTimeout {
    Leave,
    Terminate(Duration),
    Kill,
}

impl Capture {
    /// Makes a capture without a timeout, with a leak timeout of 500 ms, no limit of bytes and no input.
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

    /// Sets the time after which a run returns, even if the child runs on.
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

    /// Sets how long reading continues after the exit if another process still has a pipe open.
    ///
    /// See [above](Self#when-the-child-has-exited-and-its-output-has-not-ended). The default is 500 ms.
    /// Reading ends earlier if the timeout passes first. Zero reads only what is in the pipes at the
    /// exit. [`Duration::MAX`] reads until the pipes end, as std does.
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
    /// The rest is read and discarded, so that the child never blocks on a full pipe.
    /// [`discarded`](Captured::discarded) counts it.
    ///
    /// # Examples
    ///
    /// See [`Capture`].
    pub fn max_bytes(mut self, per_stream: usize) -> Self {
        self.max_bytes = per_stream;
        self
    }

    /// Sets the bytes to write to the child's standard input, which is then closed.
    ///
    /// For [`run`](Self::run) the standard input has to be piped. If the child closes it early, the
    /// rest is not written. That is not an error: [`input_written`](Captured::input_written) counts
    /// the bytes that were written. If the time runs out first and the child runs on, its `stdin` stays
    /// open, so that you can continue.
    ///
    /// This process never gets SIGPIPE from these writes.
    ///
    /// # Examples
    ///
    /// See [`Capture`].
    pub fn input(mut self, bytes: impl Into<Vec<u8>>) -> Self {
        self.input = bytes.into();
        self
    }

    /// Terminates the child when the time runs out: sends SIGTERM, waits for at most `grace`, then
    /// sends SIGKILL.
    ///
    /// If the child leads a process group (it was spawned with
    /// [`process_group(0)`](std::os::unix::process::CommandExt::process_group)), the whole group is
    /// terminated. The rest of the group is also terminated if the child has exited and the group still
    /// has a pipe open when the leak timeout has passed. Then the child's own status is returned, and
    /// `leaked` is set.
    ///
    /// Reading continues until the end. A run takes at most the sum of the timeout, the grace and the
    /// leak timeout, unless the child cannot be killed.
    ///
    /// # Examples
    ///
    /// ```
    /// use pidwait::Capture;
    /// use std::os::unix::process::CommandExt;
    /// use std::process::Command;
    /// use std::time::Duration;
    ///
    /// let captured = Capture::new()
    ///     .timeout(Duration::from_millis(20))
    ///     .terminate_on_timeout(Duration::from_secs(5))
    ///     .output(Command::new("sh").args(["-c", "sleep 60 & sleep 60"]).process_group(0))?;
    /// assert!(captured.timed_out && captured.status.is_some());
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
