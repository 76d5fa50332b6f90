//! Waits on async-io for any process, with a timeout.
//!
//! ```text
//! cargo run --features async-io --example async_io -- PID SECONDS
//! ```

use std::env;
use std::error::Error;
use std::process::ExitCode;
use std::time::Duration;

use async_io::{block_on, Timer};
use futures_lite::FutureExt;
use pidwait::{is_echild, AsyncIoPidHandle, PidHandle};

fn main() -> ExitCode {
    match block_on(wait()) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("async_io: {error}");
            ExitCode::FAILURE
        }
    }
}

async fn wait() -> Result<(), Box<dyn Error>> {
    let mut numbers = env::args().skip(1).map_while(|arg| arg.parse().ok());
    let (Some(pid), Some(seconds)) = (numbers.next(), numbers.next()) else {
        return Err("usage: async_io PID SECONDS".into());
    };
    let process = AsyncIoPidHandle::new(&PidHandle::open(pid)?)
        .map_err(|error| format!("process {pid}: {error}"))?;
    // A process that is gone is one that has exited, so `wait_exited` would succeed.
    if matches!(process.signal(0), Err(error) if is_echild(&error)) {
        return Err(format!("process {pid} does not exist").into());
    }
    let timer = Timer::after(Duration::from_secs(seconds.into()));
    let timeout = async {
        timer.await;
        Err(format!("process {pid} still runs after {seconds} s").into())
    };
    async { Ok(process.wait_exited().await?) }.or(timeout).await
}
