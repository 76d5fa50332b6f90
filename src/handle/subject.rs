// Tests: tests/it/wait.rs, tests/it/race.rs, tests/it/together.rs, tests/contract/handle.rs

//! The process of a handle as the engine sees it.

use std::io;
use std::process::ExitStatus;
use std::time::Instant;

use nix::errno::Errno;
use nix::libc::{c_int, pid_t};

use super::{finish, settle, store, with_process, ExitFd, Phase, PidHandle, State};
use crate::backend::{Process, Seen};
use crate::engine::Subject;
use crate::exit::{Event, ResourceUsage};
use crate::support::{unsupported, Backend};
use crate::sys::{self, Arc};

/// The process of a handle, for a call on it.
pub(crate) struct HandleSubject<'a> {
    handle: &'a PidHandle,
    /// The process, once the call has taken it. From then on the call continues even if the handle is
    /// released.
    process: Option<Process>,
    wants_usage: bool,
    /// The usage, if it is wanted and this call has got the status.
    usage: Option<ResourceUsage>,
}

impl<'a> HandleSubject<'a> {
    pub(crate) fn new(handle: &'a PidHandle) -> Self {
        Self {
            handle,
            process: None,
            wants_usage: false,
            usage: None,
        }
    }

    pub(crate) fn with_usage(handle: &'a PidHandle) -> Self {
        Self {
            wants_usage: true,
            ..Self::new(handle)
        }
    }

    pub(crate) fn usage(&self) -> Option<ResourceUsage> {
        self.usage
    }

    /// From now on the usage is not wanted.
    pub(crate) fn forgo_usage(&mut self) {
        self.wants_usage = false;
    }

    /// Whether `try_reap` would return the status.
    pub(crate) fn is_waitable(&mut self) -> io::Result<bool> {
        if self.handle.lock().is_reaped_early() {
            return Ok(true);
        }
        let event = self.with(|process, seen| process.peek(seen, None))?;
        Ok(event.exited().is_some())
    }

    /// With a process that was taken earlier.
    pub(crate) fn of(handle: &'a PidHandle, process: Process) -> Self {
        Self {
            process: Some(process),
            ..Self::new(handle)
        }
    }

    /// Takes the process now. ECHILD: the handle is done. EINVAL: it is released.
    pub(crate) fn take_process(&mut self) -> nix::Result<&Process> {
        let process = match self.process.take() {
            Some(process) => process,
            None => self.handle.lock().parts()?.0.clone(),
        };
        Ok(self.process.insert(process))
    }

    /// Runs a call that does not block, under the lock.
    fn with<T>(
        &mut self,
        call: impl FnOnce(&Process, &mut Seen) -> nix::Result<T>,
    ) -> nix::Result<T> {
        let mut guard = self.handle.lock();
        let Some(process) = &self.process else {
            return with_process(guard, call);
        };
        let result = call(process, &mut guard.seen);
        settle(guard);
        result
    }
}

impl Subject for HandleSubject<'_> {
    fn pid(&self) -> pid_t {
        pid_t::try_from(self.handle.pid).unwrap_or(0) // `open` has checked it.
    }

    fn backend(&self) -> Backend {
        self.handle.backend
    }

    #[inline]
    fn try_reap(&mut self) -> io::Result<Option<ExitStatus>> {
        let mut guard = self.handle.lock();
        let is_kept = guard.keeps_zombie();
        if is_kept && self.wants_usage && !sys::PEEK_HAS_USAGE {
            if guard.has_group() {
                let text =
                    "a zombie that a ProcessGroup keeps has no resource usage on this system";
                return Err(unsupported(text));
            }
            return Ok(None); // Once the peeks of other threads have returned, a reap gets it.
        }
        let State {
            phase,
            status,
            seen,
            owed,
            ..
        } = &mut *guard;
        let process = match (&*phase, &self.process) {
            (Phase::Live(process), _) => process,
            (Phase::ReapedEarly(_, kept), _) => {
                if self.wants_usage {
                    self.usage = Some(**kept.as_ref().ok_or_else(usage_is_lost)?);
                }
                let status = *status;
                finish(guard);
                return Ok(status);
            }
            (Phase::Done, _) => return Err(Errno::ECHILD.into()),
            // Released during this call, which continues, unless another call has the status.
            (Phase::Released, Some(process)) if status.is_none() => process,
            (Phase::Released, _) => return Err(Errno::EINVAL.into()),
        };
        let mut usage = self.wants_usage.then(ResourceUsage::default);
        let found = if is_kept {
            process.peek(seen, usage.as_mut())
        } else {
            process.try_reap(seen, usage.as_mut())
        };
        match found {
            Ok(Event::Exited(status)) => {
                self.usage = usage;
                if is_kept {
                    process.note_kept(seen);
                    *owed = Some((process.clone(), self.handle.clone()));
                }
                store(guard, status);
                Ok(Some(status))
            }
            Ok(Event::Running | Event::Trapped) => Ok(None),
            Err(errno) => {
                settle(guard);
                Err(errno.into())
            }
        }
    }

    fn known_status(&mut self) -> Option<ExitStatus> {
        let mut guard = self.handle.lock();
        if guard.status.is_some() {
            return guard.status;
        }
        let process = match (&guard.phase, &self.process) {
            (_, Some(process)) | (Phase::Live(process), None) => process.clone(),
            _ => return None,
        };
        drop(guard);
        let recorded = process.exit_record()?; // It can take a moment.
        guard = self.handle.lock();
        if guard.status.is_none() {
            store(guard, recorded);
        }
        Some(recorded)
    }

    fn has_exited(&mut self) -> io::Result<bool> {
        if self.handle.lock().is_reaped_early() {
            return Ok(true);
        }
        Ok(self.with(Process::has_exited)?)
    }

    fn signal(&mut self, signal: c_int) -> nix::Result<()> {
        self.with(|process, seen| process.signal(seen, signal))
    }

    fn signal_group(&mut self, signal: c_int) -> nix::Result<()> {
        self.with(|process, seen| process.signal_group(seen, signal))
    }

    fn group_outlives_leader(&mut self) -> bool {
        self.with(|process, _| Ok(process.group_outlives_leader()))
            .unwrap_or(false)
    }

    fn block(&mut self, deadline: Option<Instant>) -> io::Result<bool> {
        let handle = self.handle;
        handle.block_on(self.take_process()?, deadline)
    }

    fn exit_fd(&mut self) -> Option<ExitFd> {
        let pidfd = self.take_process().ok()?.pidfd()?;
        Some(ExitFd::of_pidfd(Arc::clone(pidfd)))
    }
}

fn usage_is_lost() -> io::Error {
    unsupported("the child had exited before its handle was made: its resource usage is lost")
}
