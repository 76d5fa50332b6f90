//! Starts a daemon, and finds it again by an identity in a file. With a bare PID it could mistake another
//! process for the daemon.
//!
//! ```text
//! cargo run --example pidfile -- /tmp/sleep.pid start sleep 600
//! cargo run --example pidfile -- /tmp/sleep.pid status
//! cargo run --example pidfile -- /tmp/sleep.pid stop
//! ```

mod common;

use std::error::Error;
use std::ffi::OsString;
use std::fs;
use std::io::{self, ErrorKind, Write};
use std::os::unix::process::CommandExt;
use std::path::Path;
use std::process::{self, Command, ExitCode, Stdio};
use std::time::Duration;

use common::{asks_for_help, print_usage};
use nix::libc::SIGTERM;
use pidwait::{is_echild, Identity, KillOnDrop, PidHandle};

const USAGE: &str = "\
usage: pidfile FILE start COMMAND [ARGUMENT]...
       pidfile FILE status
       pidfile FILE stop

Exit code: 0 if the daemon runs, was started or was stopped, 1 if pidfile failed, 3 if it does not run.
";

/// If the daemon ends within this time, it has failed to start.
const STARTED: Duration = Duration::from_secs(1);
/// How long the daemon may take to end after SIGTERM.
const GRACE: Duration = Duration::from_secs(10);

type Result<T> = std::result::Result<T, Box<dyn Error>>;

fn main() -> ExitCode {
    if asks_for_help() {
        return ExitCode::from(print_usage(USAGE));
    }
    let args: Vec<OsString> = std::env::args_os().skip(1).collect();
    match run(&args) {
        Ok(code) => ExitCode::from(code),
        Err(error) => {
            eprintln!("pidfile: {error}");
            ExitCode::from(1)
        }
    }
}

fn run(args: &[OsString]) -> Result<u8> {
    let [file, action, command @ ..] = args else {
        return Err(USAGE.into());
    };
    let file = Path::new(file);
    let (message, code) = match (action.to_str(), command) {
        (Some("start"), [program, args @ ..]) => start(file, Command::new(program).args(args))?,
        (Some("status"), []) => status(file)?,
        (Some("stop"), []) => stop(file)?,
        _ => return Err(USAGE.into()),
    };
    writeln!(io::stdout(), "{message}")?;
    Ok(code)
}

/// Two starts at the same moment would both succeed. If that can happen, take a lock first.
fn start(file: &Path, command: &mut Command) -> Result<(String, u8)> {
    if let Daemon::Running(daemon) = find(file)? {
        return Err(format!("already running: PID {}", daemon.id()).into());
    }
    let program = command.get_program().to_owned();
    command.process_group(0); // So that Ctrl-C at this terminal does not reach it.
    command
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .stderr(Stdio::null());
    let started = PidHandle::spawn(command).map_err(|error| format!("{program:?}: {error}"))?;
    // An error from here on kills it.
    let daemon = KillOnDrop::new(started.handle);
    write(file, &daemon.identity()?)?;
    if let Some(status) = daemon.wait_timeout(STARTED)? {
        fs::remove_file(file)?;
        return Err(format!("{program:?} ended at once: {status}").into());
    }
    let daemon = KillOnDrop::into_inner(daemon);
    Ok((format!("started: PID {}", daemon.id()), 0))
}

fn status(file: &Path) -> Result<(String, u8)> {
    Ok(match find(file)? {
        Daemon::Running(daemon) => (format!("running: PID {}", daemon.id()), 0),
        Daemon::NotRunning(why) => (format!("not running: {why}"), 3),
    })
}

fn stop(file: &Path) -> Result<(String, u8)> {
    let daemon = match find(file)? {
        Daemon::Running(daemon) => daemon,
        Daemon::NotRunning(why) => {
            remove(file)?;
            return Ok((format!("not running: {why}"), 3));
        }
    };
    // It is not a child of this program, so there is no status to wait for.
    daemon.signal(SIGTERM).or_else(unless_gone)?;
    let mut how = "stopped";
    if !daemon.wait_exited_timeout(GRACE)? {
        how = "killed";
        daemon.kill().or_else(unless_gone)?;
        daemon.wait_exited()?;
    }
    remove(file)?;
    Ok((format!("{how}: PID {}", daemon.id()), 0))
}

/// The daemon of a file.
enum Daemon {
    Running(PidHandle),
    /// With the reason.
    NotRunning(String),
}

fn find(file: &Path) -> Result<Daemon> {
    let name = file.display();
    let text = match fs::read_to_string(file) {
        Ok(text) => text,
        Err(error) if error.kind() == ErrorKind::NotFound => {
            return Ok(Daemon::NotRunning(format!("there is no {name}")));
        }
        Err(error) => return Err(format!("{name}: {error}").into()),
    };
    let identity: Identity = text
        .trim_end()
        .parse()
        .map_err(|error| format!("{name}: {error}"))?;
    let daemon = PidHandle::open_identity(&identity)?;
    if !daemon.has_exited()? {
        return Ok(Daemon::Running(daemon));
    }
    let pid = identity.pid();
    let own = PidHandle::open(process::id())?.identity()?;
    let new = PidHandle::open(pid)?.identity().ok();
    Ok(Daemon::NotRunning(if boot_of(&own) != boot_of(&identity) {
        format!("stale {name}: rebooted since")
    } else if new.is_some_and(|new| new != identity) {
        format!("stale {name}: another process has PID {pid} now")
    } else {
        format!("process {pid} has ended")
    }))
}

/// The boot ID, which is the last part of an identity's text.
fn boot_of(identity: &Identity) -> Option<String> {
    let text = identity.to_string();
    Some(text.rsplit_once(':')?.1.to_owned())
}

/// Replaces the file in one step, so that no reader sees half an identity.
fn write(file: &Path, identity: &Identity) -> Result<()> {
    let mut new = file.as_os_str().to_owned();
    new.push(".new");
    fs::write(&new, format!("{identity}\n")).and_then(|()| fs::rename(&new, file))?;
    Ok(())
}

fn remove(file: &Path) -> io::Result<()> {
    fs::remove_file(file).or_else(|error| match error.kind() {
        ErrorKind::NotFound => Ok(()),
        _ => Err(error),
    })
}

/// A process that is gone needs no signal.
fn unless_gone(error: io::Error) -> io::Result<()> {
    match is_echild(&error) {
        true => Ok(()),
        false => Err(error),
    }
}
