// Tests: tests/it/capture/pipes.rs, tests/it/capture/input.rs, tests/it/capture/limits.rs

//! This process's ends of the child's pipes: two to read from, one to write to. They are non-blocking
//! during the capture, so that no poll is needed before each read or write.

use std::io::{self, IsTerminal};
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::sync::Arc;

use nix::errno::Errno;
use nix::libc::{c_int, O_NONBLOCK};

use super::captured::Pipe;
use super::kept::Kept;
use crate::sys;

/// The callback of `run_with`.
pub(super) type Sink<'a> = &'a mut dyn FnMut(Pipe, &[u8]) -> io::Result<()>;

/// The usual capacity of a pipe.
pub(super) const CHUNK: usize = 64 * 1024;

/// A pipe, and the flags that its open file description had before.
#[derive(Debug)]
pub(super) struct Fd {
    /// Shared with a reactor while that has it.
    fd: Arc<OwnedFd>,
    flags: c_int,
}

impl Fd {
    pub(super) fn new(fd: OwnedFd, flags: c_int) -> Self {
        Self {
            fd: Arc::new(fd),
            flags,
        }
    }

    pub(super) fn flags_of(pipe: &Option<impl AsFd>) -> nix::Result<c_int> {
        let flags = pipe.as_ref().map(|pipe| sys::status_flags(pipe.as_fd()));
        flags.unwrap_or(Ok(0))
    }

    pub(super) fn set_nonblocking(&self) -> nix::Result<()> {
        if self.flags & O_NONBLOCK != 0 {
            return Ok(());
        }
        sys::set_status_flags(self.as_fd(), self.flags | O_NONBLOCK)
    }

    pub(super) fn restore(&self) {
        if self.flags & O_NONBLOCK == 0 {
            // Flags that could be set can be set back. An error is one that passes, and this call
            // cannot report it: hence a second try.
            let restore = || sys::set_status_flags(self.as_fd(), self.flags);
            let _ = restore().or_else(|_| restore());
        }
    }

    pub(super) fn shared(&self) -> &Arc<OwnedFd> {
        &self.fd
    }

    /// `None`: a reactor has it, which it has only while a run is driven.
    pub(super) fn into_inner(self) -> Option<OwnedFd> {
        Arc::into_inner(self.fd)
    }
}

impl AsFd for Fd {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.fd.as_fd()
    }
}

/// One stream of the child's output.
#[derive(Debug)]
pub(super) struct Stream {
    pub(super) fd: Option<Fd>,
    pipe: Pipe,
    pub(super) kept: Kept,
    /// What a sink has failed on.
    refused: Vec<u8>,
    pub(super) has_ended: bool,
    /// There may be something to read.
    pub(super) is_ready: bool,
}

impl Stream {
    pub(super) fn new(pipe: Pipe, fd: Option<Fd>, kept: Kept) -> Self {
        Self {
            has_ended: fd.is_none(),
            fd,
            pipe,
            kept,
            refused: Vec::new(),
            is_ready: false,
        }
    }

    /// The descriptor, if the stream has not ended.
    pub(super) fn open(&self) -> Option<&Fd> {
        self.fd.as_ref().filter(|_| !self.has_ended)
    }

    /// Reads a piece, and gives it to the sink. `None`: there is nothing to read now, or the stream has
    /// ended.
    pub(super) fn read(
        &mut self,
        scratch: &mut Vec<u8>,
        sink: Option<Sink<'_>>,
    ) -> io::Result<Option<usize>> {
        let Some(fd) = self.fd.as_ref().filter(|_| !self.has_ended) else {
            self.is_ready = false;
            return Ok(None);
        };
        let in_place = if sink.is_none() {
            self.kept.spare()?
        } else {
            None
        };
        let is_in_place = in_place.is_some();
        let (buffer, most) = match in_place {
            Some(spare) => spare,
            None => {
                scratch.clear();
                scratch
                    .try_reserve_exact(CHUNK)
                    .map_err(|_| Errno::ENOMEM)?;
                (&mut *scratch, CHUNK)
            }
        };
        let read = match sys::read_spare(fd.as_fd(), buffer, most) {
            Ok(read) => read,
            Err(Errno::EAGAIN) => {
                self.is_ready = false;
                return Ok(None);
            }
            // A socket whose other end was closed with unread data.
            Err(Errno::ECONNRESET) => 0,
            // How Linux reports the end of a pseudoterminal.
            Err(Errno::EIO) if fd.as_fd().is_terminal() => 0,
            Err(errno) => return Err(errno.into()),
        };
        if read == 0 {
            self.has_ended = true;
            self.is_ready = false;
            return Ok(None);
        }
        if !is_in_place {
            if let Some(sink) = sink {
                if let Err(error) = sink(self.pipe, scratch) {
                    self.refused = std::mem::take(scratch);
                    return Err(error);
                }
            }
            self.kept.push(scratch)?;
        }
        Ok(Some(read))
    }

    /// Takes out what was kept, and what a sink has refused.
    pub(super) fn take_bytes(&mut self) -> (Vec<u8>, usize) {
        let (mut bytes, first) = self.kept.take();
        bytes.append(&mut self.refused);
        (bytes, first)
    }
}

/// The child's input.
#[derive(Debug)]
pub(super) struct Input<'a> {
    pub(super) fd: Option<Fd>,
    bytes: &'a [u8],
    pub(super) written: usize,
    /// There may be room.
    pub(super) is_ready: bool,
}

impl<'a> Input<'a> {
    pub(super) fn new(fd: Option<Fd>, bytes: &'a [u8]) -> Self {
        Self {
            fd,
            bytes,
            written: 0,
            is_ready: false,
        }
    }

    /// Writes as much as the pipe takes now, or about `enough`. True: everything is written, or no process
    /// has the other end.
    pub(super) fn write(&mut self, enough: usize) -> io::Result<bool> {
        let mut so_far = 0;
        while let Some(fd) = self.fd.as_ref() {
            let left = self.bytes.get(self.written..).unwrap_or_default();
            if left.is_empty() {
                break;
            }
            if so_far >= enough {
                return Ok(false);
            }
            match sys::write_no_sigpipe(fd.as_fd(), left) {
                Ok(written) => {
                    self.written += written;
                    so_far += written;
                }
                // A pseudoterminal that no process has open, and that is full: a poll would not block.
                Err(Errno::EAGAIN) if is_hung_up(fd) => break,
                Err(Errno::EAGAIN) => {
                    self.is_ready = false;
                    return Ok(false);
                }
                Err(Errno::EPIPE | Errno::ECONNRESET) => break,
                // A pseudoterminal that no process has open, on Linux.
                Err(Errno::EIO) if fd.as_fd().is_terminal() => break,
                Err(errno) => return Err(errno.into()),
            }
        }
        self.is_ready = false;
        Ok(true)
    }
}

/// Whether no process has the other end of a pipe. False if that cannot be found out, because no
/// descriptor may be polled.
pub(super) fn is_hung_up(fd: &Fd) -> bool {
    sys::is_hung_up(fd.as_fd()).unwrap_or(false)
}
