// Tests: tests/it/child.rs, tests/it/timeout.rs, tests/contract/child.rs

//! Reaping through std's `Child`.
//!
//! std's `Child` caches the status that it reaped itself, and signals by PID until it has one. So
//! this crate never reaps by other means: it peeks, and lets `Child::try_wait` reap.
//!
//! No method of `Child` tells a status that was just reaped from one that was cached. Peeks before
//! and after `try_wait` do: the first fails with ECHILD if there is no such child. If the second
//! still finds one, the status is a cached one, and the PID now belongs to another child.

use std::io;
use std::process::{Child, ExitStatus};
use std::time::Instant;

use nix::errno::Errno;
use nix::libc::{c_int, pid_t};

use crate::backend::Process;
use crate::capture::{leads_group, sealed, Piped, PipesMut, Target};
use crate::engine::{check_until, try_share, Subject};
use crate::errno::{errno_of, is_echild};
use crate::exit::{Event, ResourceUsage};
use crate::handle::{default_backend, ExitFd, HandleSubject, PidHandle, Spawned};
use crate::process_group::ProcessGroup;
use crate::support::{unsupported, Backend};
use crate::sys;

/// A std `Child`, for a call on it.
pub(super) struct ChildSubject<'a> {
    child: &'a mut Child,
    /// std had no status at the last `try_wait`, so the next one that it returns is new.
    status_is_new: bool,
    /// The status that std had before, while another child has the PID.
    cached: Option<ExitStatus>,
    /// A blocking peek has found the zombie, so `try_wait` will reap it.
    is_zombie: bool,
    /// The process that has the child's PID, once it is needed. It does all but the reap.
    opened: Option<PidHandle>,
    wants_usage: bool,
    /// The usage, if it is wanted and a peek has found the zombie.
    usage: Option<ResourceUsage>,
}

impl<'a> ChildSubject<'a> {
    pub(super) fn new(child: &'a mut Child) -> Self {
        Self {
            child,
            status_is_new: false,
            cached: None,
            is_zombie: false,
            opened: None,
            wants_usage: false,
            usage: None,
        }
    }

    /// Unsupported: std reaps without the usage, so it has to come from a peek.
    pub(super) fn with_usage(child: &'a mut Child) -> io::Result<Self> {
        if !sys::PEEK_HAS_USAGE {
            let text =
                "the resource usage of a std Child: use PidHandle::wait_usage on this system";
            return Err(unsupported(text));
        }
        Ok(Self {
            wants_usage: true,
            ..Self::new(child)
        })
    }

    pub(super) fn usage(&self) -> ResourceUsage {
        self.usage.unwrap_or_default()
    }

    /// ECHILD: it was reaped, or other code has reaped it and another process has the PID.
    pub(super) fn open(&mut self) -> io::Result<&PidHandle> {
        if self.opened.is_none() {
            let opened = open_unreaped(self.child)?;
            return Ok(self.opened.insert(opened));
        }
        self.opened.as_ref().ok_or_else(|| Errno::ECHILD.into())
    }

    /// The status that std has already.
    fn cached_status(&mut self) -> Option<ExitStatus> {
        match self.peek() {
            Err(error) if is_echild(&error) => self.child.try_wait().ok().flatten(),
            _ => None,
        }
    }

    fn peek(&mut self) -> io::Result<Event> {
        let mut usage = self.wants_usage.then(ResourceUsage::default);
        let event = match (&self.opened, usage.as_mut()) {
            (Some(opened), usage) => {
                opened.with_process(|process, seen| process.peek(seen, usage))?
            }
            (None, None) => sys::peek_by_pid(pid_of(self.child)?)?,
            (None, Some(usage)) => sys::peek_usage_by_pid(pid_of(self.child)?, usage)?,
        };
        self.usage = usage.filter(|_| event.exited().is_some());
        Ok(event)
    }
}

/// The process of a child, which is unreaped.
pub(super) fn open_unreaped(child: &Child) -> io::Result<PidHandle> {
    let opened = open(child)?;
    opened.with_process(|process, seen| process.peek(seen, None))?;
    Ok(opened)
}

fn open(child: &Child) -> io::Result<PidHandle> {
    // It fails only if no process has the PID: then the child was reaped.
    let (process, seen) = Process::open_child(pid_of(child)?).map_err(|_| Errno::ECHILD)?;
    Ok(PidHandle::live(child.id(), process, seen))
}

fn pid_of(child: &Child) -> io::Result<pid_t> {
    pid_t::try_from(child.id()).map_err(|_| Errno::ECHILD.into())
}

impl Subject for ChildSubject<'_> {
    fn pid(&self) -> pid_t {
        pid_of(self.child).unwrap_or(0)
    }

    fn backend(&self) -> Backend {
        self.opened
            .as_ref()
            .map_or(Backend::Waitpid, PidHandle::backend)
    }

    fn try_reap(&mut self) -> io::Result<Option<ExitStatus>> {
        if std::mem::take(&mut self.is_zombie) && !self.wants_usage {
            return self.child.try_wait();
        }
        match (self.peek()?, self.status_is_new) {
            // std would mistake the trace stop for an exit.
            (Event::Trapped, _) => return Ok(None),
            (Event::Running, true) => return Ok(None),
            (Event::Exited(_), true) => return self.child.try_wait(),
            (Event::Running | Event::Exited(_), false) => {}
        }
        let Some(status) = self.child.try_wait()? else {
            self.status_is_new = true;
            return Ok(None);
        };
        match sys::peek_by_pid(pid_of(self.child)?) {
            // Also after an error that may pass: the status is this child's, and only this call can return it.
            Err(_) => Ok(Some(status)),
            Ok(_) => {
                self.cached = Some(status);
                self.usage = None; // Of the other child.
                Err(Errno::ECHILD.into())
            }
        }
    }

    fn known_status(&mut self) -> Option<ExitStatus> {
        if self.cached.is_some() {
            return self.cached;
        }
        HandleSubject::new(self.opened.as_ref()?).known_status()
    }

    fn has_exited(&mut self) -> io::Result<bool> {
        match self.open() {
            Ok(opened) => HandleSubject::new(opened).has_exited(),
            Err(error) if is_echild(&error) => Ok(true),
            Err(error) => Err(error),
        }
    }

    fn signal(&mut self, signal: c_int) -> nix::Result<()> {
        let opened = self.open().map_err(open_errno)?;
        HandleSubject::new(opened).signal(signal)
    }

    fn signal_group(&mut self, signal: c_int) -> nix::Result<()> {
        let opened = self.open().map_err(open_errno)?;
        HandleSubject::new(opened).signal_group(signal)
    }

    fn group_outlives_leader(&mut self) -> bool {
        self.open()
            .is_ok_and(|opened| HandleSubject::new(opened).group_outlives_leader())
    }

    fn block(&mut self, deadline: Option<Instant>) -> io::Result<bool> {
        if deadline.is_none() {
            let event = sys::block_by_pid(pid_of(self.child)?)?;
            self.is_zombie = event.exited().is_some();
            return Ok(true);
        }
        let opened = self.open()?;
        if opened.backend() == Backend::Pidfd {
            return HandleSubject::new(opened).block(deadline);
        }
        // By PID a timed wait of the handle would need a thread.
        let found = check_until(deadline, || -> io::Result<_> {
            Ok(opened.is_waitable()?.then_some(()))
        })?;
        Ok(found.is_some())
    }

    fn exit_fd(&mut self) -> Option<ExitFd> {
        HandleSubject::new(self.open().ok()?).exit_fd()
    }
}

/// Not ECHILD for every error: an end that finds ECHILD takes the child for reaped, and sends it nothing.
fn open_errno(error: io::Error) -> Errno {
    errno_of(&error).unwrap_or(Errno::ECHILD)
}

impl Piped for Child {}

impl sealed::Sealed for Child {
    fn target(&mut self) -> io::Result<Box<dyn Target + '_>> {
        let mut subject = ChildSubject {
            wants_usage: sys::PEEK_HAS_USAGE,
            ..ChildSubject::new(self)
        };
        let status = match subject.open() {
            Ok(opened) if opened.is_waitable()? => None,
            Ok(_) => try_share(&mut subject)?, // std may have the status, if another child has the PID.
            Err(error) if is_echild(&error) => subject.cached_status(),
            Err(error) => return Err(error),
        };
        Ok(Box::new(ChildTarget { subject, status }))
    }
}

/// A std `Child` whose output is captured.
struct ChildTarget<'a> {
    subject: ChildSubject<'a>,
    /// Known from the start, because std has it.
    status: Option<ExitStatus>,
}

impl Target for ChildTarget<'_> {
    fn pipes(&mut self) -> PipesMut<'_> {
        let child = &mut *self.subject.child;
        PipesMut::new(&mut child.stdin, &mut child.stdout, &mut child.stderr)
    }

    fn subject(&mut self) -> &mut dyn Subject {
        &mut self.subject
    }

    fn leads_group(&mut self) -> bool {
        leads_group(&mut self.subject)
    }

    fn is_waitable(&mut self) -> io::Result<bool> {
        if self.status.is_some() {
            return Ok(true);
        }
        match self.subject.open().and_then(PidHandle::is_waitable) {
            Err(error) if is_echild(&error) => Ok(true),
            found => found,
        }
    }

    fn take_status(&mut self) -> io::Result<Option<ExitStatus>> {
        match self.status {
            Some(status) => Ok(Some(status)),
            None => try_share(&mut self.subject),
        }
    }

    fn usage(&self) -> Option<ResourceUsage> {
        self.subject.usage
    }
}

impl From<Child> for Spawned {
    /// Takes over a child that other code spawned, with its pipes. Never fails.
    ///
    /// [`group`](Spawned::group) is `Some` if the child runs and leads a process group now.
    ///
    /// From now on only the handle reaps the child. For commands that you spawn yourself, use
    /// [`PidHandle::spawn`], which leaves a zombie unreaped.
    ///
    /// If std has the status already, the handle is done. A zombie is reaped here, because only
    /// `try_wait` tells whether std has its status. The handle still treats it as a zombie: the first
    /// wait returns the status and, on Linux, the usage; signals succeed without effect. It leads no
    /// group: [`process_group`](PidHandle::process_group) fails with ECHILD.
    ///
    /// # Examples
    ///
    /// ```
    /// use pidwait::Spawned;
    /// use std::process::{Command, Stdio};
    ///
    /// let child = Command::new("cat").stdin(Stdio::piped()).spawn()?;
    /// let mut cat = Spawned::from(child);
    /// drop(cat.stdin.take()); // A wait of a handle does not close it.
    /// assert!(cat.handle.wait()?.success());
    /// # Ok::<(), std::io::Error>(())
    /// ```
    ///
    /// # Platform notes
    ///
    /// If no descriptor is available for a pidfd, this handle uses
    /// [`Backend::Waitpid`](crate::Backend::Waitpid), which is as safe for an unreaped child.
    fn from(child: Child) -> Self {
        Spawned::new(child, into_handle)
    }
}

/// Makes a handle of a child whose pipes were taken out. Never fails.
fn into_handle(mut child: Child) -> (PidHandle, Option<ProcessGroup>) {
    let pid = child.id();
    let done = || (PidHandle::done(pid, default_backend()), None);
    let Ok(Ok((process, mut seen))) = pid_of(&child).map(Process::open_child) else {
        return done();
    };
    let mut usage = ResourceUsage::default();
    let event = process.peek(&mut seen, Some(&mut usage));
    let status = match event {
        Err(Errno::ECHILD) => return done(),
        // The peek failed, so a status of std's may be a cached one, too.
        Err(_) => child.try_wait().ok().flatten(),
        Ok(Event::Trapped) => None,
        Ok(Event::Running | Event::Exited(_)) => match child.try_wait() {
            // Still there: the status was cached, and another child has the PID.
            Ok(Some(_)) if process.peek(&mut seen, None).is_ok() => return done(),
            Ok(status) => status,
            Err(error) if is_echild(&error) => return done(),
            Err(_) => None,
        },
    };
    let has_usage = sys::PEEK_HAS_USAGE && event.is_ok_and(|event| event.exited().is_some());
    match status {
        None => {
            let handle = PidHandle::live(pid, process, seen);
            let group = ProcessGroup::of_new_child(&handle);
            (handle, group)
        }
        Some(status) => {
            let usage = has_usage.then_some(usage);
            let handle = PidHandle::reaped_early(pid, (process, seen), status, usage);
            (handle, None)
        }
    }
}
