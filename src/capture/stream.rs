// Tests: tests/it/capture/pipes.rs, tests/it/capture/input.rs, tests/it/capture/limits.rs

//! This process's ends of the child's pipes: two to read from, one to write to. They are non-blocking
//! during the capture, so that no poll is needed before each read or write.

use std::io::{self, IsTerminal};
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};

use nix::errno::Errno;
use nix::libc::{c_int, O_NONBLOCK};

use super::captured::Pipe;
use crate::sys;

/// The callback of `run_with`.
pub(super) type Sink<'a> = &'a mut dyn FnMut(Pipe, &[u8]) -> io::Result<()>;

/// The usual capacity of a pipe.
pub(super) const CHUNK: usize = 64 * 1024;
/// The most to read or write before the other pipes, the exit and the clock are checked again.
pub(super) const BUDGET: usize = 16 * CHUNK;
/// If less capacity is spare, the buffer grows. Small enough that a small output and its end are read
/// into the first allocation.
const LEAST_SPARE: usize = 8 * 1024;

/// A pipe, and the flags that its open file description had before.
#[derive(Debug)]
pub(super) struct Fd {
    fd: OwnedFd,
    flags: c_int,
}

impl Fd {
    pub(super) fn new(fd: OwnedFd, flags: c_int) -> Self {
        Self { fd, flags }
    }

    pub(super) fn set_nonblocking(&self) -> nix::Result<()> {
        if self.flags & O_NONBLOCK != 0 {
            return Ok(());
        }
        sys::set_status_flags(self.as_fd(), self.flags | O_NONBLOCK)
    }

    pub(super) fn restore(&self) {
        if self.flags & O_NONBLOCK == 0 {
            // Flags that could be set can be set back.
            let _ = sys::set_status_flags(self.as_fd(), self.flags);
        }
    }

    pub(super) fn into_inner(self) -> OwnedFd {
        self.fd
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
    /// What was read and not given to a sink.
    pub(super) bytes: Vec<u8>,
    /// How many more bytes to keep; the rest is discarded.
    room: usize,
    scratch: Vec<u8>,
    pub(super) discarded: u64,
    pub(super) ended: bool,
}

impl Stream {
    pub(super) fn new(pipe: Pipe, fd: Option<Fd>, max_bytes: usize) -> Self {
        Self {
            ended: fd.is_none(),
            fd,
            pipe,
            bytes: Vec::new(),
            room: max_bytes,
            scratch: Vec::new(),
            discarded: 0,
        }
    }

    /// The descriptor, if the stream has not ended.
    pub(super) fn open(&self) -> Option<BorrowedFd<'_>> {
        let fd = self.fd.as_ref().filter(|_| !self.ended);
        fd.map(AsFd::as_fd)
    }

    /// Reads until it has `enough` bytes or more, or there is nothing to read now.
    pub(super) fn read(&mut self, enough: usize, sink: &mut Option<Sink<'_>>) -> io::Result<()> {
        let mut so_far = 0;
        while so_far < enough {
            let Some(read @ 1..) = self.read_chunk()? else {
                break;
            };
            so_far += read;
            if let Some(sink) = sink.as_mut().filter(|_| !self.bytes.is_empty()) {
                sink(self.pipe, &self.bytes)?;
                self.bytes.clear();
            }
        }
        Ok(())
    }

    /// Reads what is in the pipe now. Reads on only if all writers are gone: another process may write
    /// forever.
    pub(super) fn read_rest(&mut self, sink: &mut Option<Sink<'_>>) -> io::Result<()> {
        let Some(fd) = self.open() else { return Ok(()) };
        let held = sys::readable_bytes(fd).unwrap_or(CHUNK);
        self.read(held, sink)?;
        let Some(fd) = self.open() else { return Ok(()) };
        match sys::is_hung_up(fd)? {
            true => self.read(usize::MAX, sink),
            false => self.read(1, sink), // A file has no hang-up; only a read finds its end.
        }
    }

    /// `None`: there is nothing to read now. 0: the stream has ended.
    fn read_chunk(&mut self) -> io::Result<Option<usize>> {
        let Some(fd) = self.fd.as_ref().filter(|_| !self.ended) else {
            return Ok(Some(0));
        };
        let discard = self.room == 0;
        let (buffer, most) = match discard {
            true => (&mut self.scratch, CHUNK),
            false => (&mut self.bytes, self.room),
        };
        if buffer.capacity() - buffer.len() < LEAST_SPARE.min(most) {
            let reserved = buffer.try_reserve(CHUNK.min(most));
            reserved.map_err(|_| Errno::ENOMEM)?;
        }
        let read = match sys::read_spare(fd.as_fd(), buffer, most) {
            Ok(read) => read,
            Err(Errno::EAGAIN) => return Ok(None),
            // A socket whose other end was closed with unread data.
            Err(Errno::ECONNRESET) => 0,
            // How Linux reports the end of a pseudoterminal.
            Err(Errno::EIO) if fd.as_fd().is_terminal() => 0,
            Err(errno) => return Err(errno.into()),
        };
        self.ended |= read == 0;
        if discard {
            self.scratch.clear();
            self.discarded = self.discarded.saturating_add(read as u64);
        } else {
            self.room -= read;
        }
        Ok(Some(read))
    }

    /// Takes the bytes out, without much unused capacity.
    pub(super) fn take_bytes(&mut self) -> Vec<u8> {
        let mut bytes = std::mem::take(&mut self.bytes);
        if bytes.capacity() / 2 > bytes.len() {
            bytes.shrink_to_fit();
        }
        bytes
    }
}

/// The child's input.
#[derive(Debug)]
pub(super) struct Input<'a> {
    pub(super) fd: Option<Fd>,
    bytes: &'a [u8],
    pub(super) written: usize,
}

impl<'a> Input<'a> {
    pub(super) fn new(fd: Option<Fd>, bytes: &'a [u8]) -> Self {
        Self {
            fd,
            bytes,
            written: 0,
        }
    }

    pub(super) fn open(&self) -> Option<BorrowedFd<'_>> {
        self.fd.as_ref().map(AsFd::as_fd)
    }

    /// Writes as much as the pipe takes now. Returns the pipe when everything is written, or the child
    /// has closed its end.
    pub(super) fn write(&mut self) -> io::Result<Option<Fd>> {
        let mut so_far = 0;
        while let Some(fd) = self.fd.as_ref() {
            let left = self.bytes.get(self.written..).unwrap_or_default();
            if left.is_empty() {
                break;
            }
            if so_far >= BUDGET {
                return Ok(None);
            }
            match sys::write_no_sigpipe(fd.as_fd(), left) {
                Ok(written) => {
                    self.written += written;
                    so_far += written;
                }
                // A pseudoterminal that no process has open, and that is full. Poll would not block.
                Err(Errno::EAGAIN) if sys::is_hung_up(fd.as_fd())? => break,
                Err(Errno::EAGAIN) => return Ok(None),
                Err(Errno::EPIPE | Errno::ECONNRESET) => break,
                // One that has room, on Linux.
                Err(Errno::EIO) if fd.as_fd().is_terminal() => break,
                Err(errno) => return Err(errno.into()),
            }
        }
        Ok(self.fd.take())
    }
}
