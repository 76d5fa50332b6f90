// Tests: tests/it/capture/, tests/it/capture/pipes.rs (RLIMIT_NOFILE)

//! The driver of a capture that blocks: it polls.

use std::io;
use std::os::fd::AsFd;

use nix::errno::Errno;
use nix::poll::{PollFd, PollFlags};

use super::session::{Observer, Session, Source};
use crate::engine::Backoff;
use crate::sys;

/// Runs a session until it is over.
pub(super) fn drive(session: &mut Session<'_>, observer: &mut dyn Observer) -> io::Result<()> {
    let mut backoff = None;
    loop {
        match wait(session) {
            Ok(ready) => ready
                .into_iter()
                .for_each(|source| session.set_ready(source)),
            // RLIMIT_NOFILE is below the number of descriptors. No read or write blocks, so everything can
            // be tried.
            Err(Errno::EMFILE) => {
                let backoff = backoff.get_or_insert_with(Backoff::new);
                backoff.sleep(session.until());
                Source::ALL
                    .into_iter()
                    .for_each(|source| session.set_ready(source));
            }
            Err(errno) => return Err(errno.into()),
        }
        if session.work(observer)? {
            return Ok(());
        }
    }
}

/// Waits until a descriptor is ready or the time has come, and returns which are ready.
fn wait(session: &Session<'_>) -> nix::Result<Vec<Source>> {
    let exit = session.exit();
    let (mut sources, mut polled) = (Vec::new(), Vec::new());
    for source in Source::ALL {
        let (fd, events) = match source {
            Source::Stdin => (session.pipe(source).map(AsFd::as_fd), PollFlags::POLLOUT),
            Source::Stdout | Source::Stderr => {
                (session.pipe(source).map(AsFd::as_fd), PollFlags::POLLIN)
            }
            Source::Exit => (exit.as_ref().map(AsFd::as_fd), PollFlags::POLLIN),
        };
        if let Some(fd) = fd {
            sources.push(source);
            polled.push(PollFd::new(fd, events));
        }
    }
    sys::poll(&mut polled, session.until())?;
    let mut ready = polled.iter().map(|fd| fd.any().unwrap_or(true));
    sources.retain(|_| ready.next().unwrap_or(false));
    Ok(sources)
}
