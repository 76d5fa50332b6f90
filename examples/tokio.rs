//! Waits on tokio for any process, with a timeout. With async-io only the handle, `AsyncIoPidHandle`, and
//! the timer differ.
//!
//! ```text
//! cargo run --features tokio --example tokio -- PID SECONDS
//! ```

mod common;

use std::env;
use std::error::Error;
use std::process::ExitCode;
use std::time::Duration;

use common::{asks_for_help, print_usage};
use pidwait::{is_echild, PidHandle, TokioPidHandle};
use tokio::time::timeout;

const USAGE: &str = "\
usage: tokio PID SECONDS

Exit code: 0 if the process has ended in time, 1 if not.
";

#[tokio::main(flavor = "current_thread")]
async fn main() -> ExitCode {
    if asks_for_help() {
        return ExitCode::from(print_usage(USAGE));
    }
    match wait().await {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("tokio: {error}");
            ExitCode::FAILURE
        }
    }
}

async fn wait() -> Result<(), Box<dyn Error>> {
    let mut numbers = env::args().skip(1).map_while(|arg| arg.parse().ok());
    let (Some(pid), Some(seconds)) = (numbers.next(), numbers.next()) else {
        return Err(USAGE.into());
    };
    let process = TokioPidHandle::new(&PidHandle::open(pid)?)
        .map_err(|error| format!("process {pid}: {error}"))?;
    // A process that is gone is one that has exited, so `wait_exited` would succeed.
    if matches!(process.signal(0), Err(error) if is_echild(&error)) {
        return Err(format!("process {pid} does not exist").into());
    }
    match timeout(Duration::from_secs(seconds.into()), process.wait_exited()).await {
        Ok(exited) => Ok(exited?),
        Err(_) => Err(format!("process {pid} still runs after {seconds} s").into()),
    }
}
