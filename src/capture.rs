// Tests: tests/it/capture.rs, tests/it/capture/

//! `Capture`: a child's output and input, with a timeout, in one call.

mod blocking;
mod captured;
mod kept;
#[cfg(any(feature = "tokio", feature = "async-io"))]
mod on;
mod run;
mod session;
mod stream;
mod target;

use std::fmt;
use std::time::Duration;

use crate::escalation::Escalation;

pub use captured::{CaptureError, Captured, Pipe, StoppedBy};
#[cfg(any(feature = "tokio", feature = "async-io"))]
pub use on::AsyncCapture;
pub use target::Piped;
pub(crate) use target::{leads_group, sealed, PipesMut, Target};

/// Captures a child's output until it exits, with timeouts and limits.
///
/// [`output`](Self::output) spawns a command, like [`Command::output`](std::process::Command::output).
/// [`run`](Self::run) borrows a child that was spawned already, so neither the child nor its output is
/// lost at a timeout or an error. In an async function, put `on(Tokio)` or `on(AsyncIo)` before the call.
/// A capture waits for the pipes and the exit at the same time, without threads.
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
/// assert!(captured.success() && !captured.leaked);
/// # Ok::<(), std::io::Error>(())
/// ```
///
/// # Which call to use
///
/// [`ChildExt::pidfd_output_timeout`](crate::ChildExt::pidfd_output_timeout) is `run` with only a
/// timeout, to replace std's `wait_with_output`. Use `Capture` if the child also has to be ended at
/// the timeout, gets input, or can write more than fits into memory.
///
/// | | spawns a command | of a child |
/// |---|---|---|
/// | collect the output | [`output`](Self::output) | [`run`](Self::run) |
/// | pass it on as it arrives | [`output_with`](Self::output_with) | [`run_with`](Self::run_with) |
/// | wait until it contains something | | [`run_until`](Self::run_until) |
///
/// # Stops
///
/// The [timeout](Self::timeout), the [idle timeout](Self::idle_timeout), and the cancel of an async capture
/// stop a run. [`stopped_by`](Captured::stopped_by) says which. Then
/// [`terminate_on_timeout`](Self::terminate_on_timeout) ends the child, or the process group that it leads.
/// Without that, `run` leaves the child running with its pipes, and `output` kills it, or its group. If the
/// child exits at the same moment, the exit wins.
///
/// Not covered: a child that the terminal stops, because it reads from it in the background (SIGTTIN), runs
/// into its timeout; and the time of a spawn itself, which can hang if the program is on a dead file system.
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
/// # Platform notes
///
/// It waits for a pidfd that tells of the exit. Without pidfds it checks for the exit repeatedly, at first
/// every 1 ms and later every 50 ms. It starts no thread. During the call the pipes are non-blocking,
/// and so is every other descriptor of their open file descriptions. The flags are restored before it
/// returns.
#[derive(Clone)]
#[must_use = "it does nothing until it is run"]
pub struct Capture {
    timeout: Duration,
    idle_timeout: Duration,
    leak_timeout: Duration,
    /// The first and the last bytes to keep of each stream.
    max_bytes: Option<usize>,
    tail_bytes: Option<usize>,
    input: Vec<u8>,
    /// Ends the child at a stop.
    at_stop: Option<Escalation>,
    /// Ends the rest of its group at a leak.
    at_leak: Option<Escalation>,
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
            idle_timeout: Duration::MAX,
            leak_timeout: Duration::from_millis(500),
            max_bytes: None,
            tail_bytes: None,
            input: Vec::new(),
            at_stop: None,
            at_leak: None,
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

    /// Sets the time without output after which a run returns, even if the child runs on.
    ///
    /// It counts from the last byte that was read of either stream, or from the start of the run. It does
    /// not count after the exit, while a sink runs, or if no stream is piped or both have ended. A time too
    /// long for the clock, such as [`Duration::MAX`], is no limit.
    ///
    /// # Examples
    ///
    /// ```
    /// use pidwait::{Capture, StoppedBy};
    /// use std::process::Command;
    /// use std::time::Duration;
    ///
    /// let captured = Capture::new()
    ///     .timeout(Duration::from_secs(600))
    ///     .idle_timeout(Duration::from_millis(500))
    ///     .output(Command::new("sh").args(["-c", "echo one; exec sleep 60"]))?;
    /// assert_eq!(captured.stopped_by, Some(StoppedBy::IdleTimeout));
    /// assert_eq!(captured.stdout, b"one\n");
    /// # Ok::<(), std::io::Error>(())
    /// ```
    pub fn idle_timeout(mut self, timeout: Duration) -> Self {
        self.idle_timeout = timeout;
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

    /// Keeps the first `per_stream` bytes of each stream.
    ///
    /// The rest is read and discarded, so that the child never blocks on a full pipe.
    /// [`stdout_discarded`](Captured::stdout_discarded) counts it. A sink gets it all the same. Without this,
    /// everything is kept, except with a sink or [`tail_bytes`](Self::tail_bytes).
    ///
    /// # Examples
    ///
    /// See [`Capture`].
    pub fn max_bytes(mut self, per_stream: usize) -> Self {
        self.max_bytes = Some(per_stream);
        self
    }

    /// Keeps the last `per_stream` bytes of each stream, behind the first [`max_bytes`](Self::max_bytes).
    ///
    /// Without `max_bytes` it keeps only the last ones. What is between them is discarded and counted.
    /// [`stdout_parts`](Captured::stdout_parts) returns both parts. The memory that a stream takes is limited
    /// to about their sum.
    ///
    /// # Examples
    ///
    /// ```
    /// use pidwait::Capture;
    /// use std::process::Command;
    ///
    /// let captured = Capture::new().tail_bytes(9).output(Command::new("seq").arg("100000"))?;
    /// assert_eq!(captured.stdout, b"9\n100000\n");
    /// # Ok::<(), std::io::Error>(())
    /// ```
    pub fn tail_bytes(mut self, per_stream: usize) -> Self {
        self.tail_bytes = Some(per_stream);
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

    /// Ends the child when the run is stopped: by a timeout, by silence, or by a cancel.
    ///
    /// Takes an [`Escalation`], or a [`Duration`]: SIGTERM with that grace period, then SIGKILL. If the child
    /// leads a process group (it was spawned with
    /// [`process_group(0)`](std::os::unix::process::CommandExt::process_group)), the whole group is ended.
    ///
    /// Reading continues until the end. A run takes at most the sum of the timeout, the times of the
    /// escalation and the leak timeout, unless the child cannot be killed. With a
    /// [`kill_timeout`](Escalation::kill_timeout) it returns also then: [`status`](Captured::status) is `None`.
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
    /// assert!(captured.stopped_by.is_some() && captured.status.is_some());
    /// # Ok::<(), std::io::Error>(())
    /// ```
    pub fn terminate_on_timeout(mut self, escalation: impl Into<Escalation>) -> Self {
        self.at_stop = Some(escalation.into());
        self
    }

    /// Ends the rest of the child's process group if it has a pipe open when the leak timeout has passed.
    ///
    /// Takes an [`Escalation`], or a [`Duration`]: SIGTERM with that grace period, then SIGKILL. The child's own
    /// status is returned, and [`leaked`](Captured::leaked) is set. It has no effect if the child leads no
    /// group: the pipe is another process's then.
    ///
    /// # Errors
    ///
    /// The run fails with EPERM if members that may not be signalled remain.
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
    ///     .leak_timeout(Duration::from_millis(20))
    ///     .terminate_on_leak(Duration::from_secs(5))
    ///     .output(Command::new("sh").args(["-c", "sleep 60 & echo done"]).process_group(0))?;
    /// assert!(captured.leaked && captured.success()); // The sleep was ended.
    /// # Ok::<(), std::io::Error>(())
    /// ```
    pub fn terminate_on_leak(mut self, escalation: impl Into<Escalation>) -> Self {
        self.at_leak = Some(escalation.into());
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
            .field("idle_timeout", &self.idle_timeout)
            .field("leak_timeout", &self.leak_timeout)
            .field("max_bytes", &self.max_bytes)
            .field("tail_bytes", &self.tail_bytes)
            .field("input", &format_args!("{} bytes", self.input.len()))
            .field("terminate_on_timeout", &self.at_stop)
            .field("terminate_on_leak", &self.at_leak)
            .finish()
    }
}
