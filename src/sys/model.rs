//! What the library's own tests have instead of `sys.rs`: its names, on a kernel in memory and
//! under shuttle's scheduler, which can try every order in which threads may run.
//!
//! Each call is one step, before which others may run; so a call that is not one step in the
//! kernel, because it looks somebody up and then acts, is two. A pid is looked up when a call
//! begins, and what is then waited for is that process, whoever has the pid later. What no test
//! here is about, `real` does.

#[path = "model/files.rs"]
mod files;
#[path = "model/kernel.rs"]
mod kernel;
#[allow(dead_code, unused_imports)] // What is modelled here is not used there.

mod real;
#[path = "model/stage.rs"]
mod stage;
#[path = "model/story.rs"]
mod story;
#[path = "model/tests.rs"]
mod tests;

use std::fs::File as RealFile;
use std::io;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd, RawFd};
use std::sync::OnceLock;
use std::time::{Duration, Instant};

use nix::errno::Errno;
use nix::libc::{c_int, pid_t, WNOHANG, WNOWAIT};
use nix::Result;
use shuttle::rand::{thread_rng, Rng};

use crate::exit::{Event, ResourceUsage};
use files::File;
use kernel::{block_until, step, with, Life, Sabotage};

pub(crate) use real::*;
pub(crate) use shuttle::sync::{Condvar, Mutex, MutexGuard};

pub(crate) type Pidfd = Descriptor;
pub(crate) type Readable = Descriptor;
pub(crate) type Dropped = Descriptor;

/// A real descriptor, so that it can be borrowed as one; but of /dev/null, and only the kernel of
/// the tests knows what it stands for.
#[derive(Debug)]
pub(crate) struct Descriptor(OwnedFd);

impl Descriptor {
    fn open(file: File) -> Result<Self> {
        static NULL: OnceLock<RealFile> = OnceLock::new();
        if with(|kernel| kernel.rules.exhausted) {
            return Err(Errno::EMFILE);
        }
        let null = NULL.get_or_init(|| RealFile::open("/dev/null").expect("there is a /dev/null"));
        let descriptor = Self(null.as_fd().try_clone_to_owned().expect("it can be opened"));
        with(|kernel| kernel.files.open(descriptor.number(), file));
        Ok(descriptor)
    }

    fn number(&self) -> RawFd {
        self.0.as_raw_fd()
    }

    fn process(&self) -> kernel::Id {
        match with(|kernel| kernel.files.get(self.number())) {
            File::Pidfd(id) => id,
            other => panic!("{other:?} is no pidfd"),
        }
    }
}

impl Drop for Descriptor {
    fn drop(&mut self) {
        step();
        if !std::thread::panicking() {
            with(|kernel| kernel.close(self.number()));
        }
    }
}

impl AsFd for Descriptor {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.0.as_fd()
    }
}

impl AsRawFd for Descriptor {
    fn as_raw_fd(&self) -> RawFd {
        self.number()
    }
}

// ---- processes by pid ----

pub(crate) fn look_by_pid(pid: pid_t, block: bool) -> Result<Event> {
    step();
    if let Some(event) = with(|kernel| kernel.taken_early(false)) {
        return Ok(event);
    }
    let id = with(|kernel| kernel.child(pid))?;
    step();
    if !block {
        return with(|kernel| kernel.look(id));
    }
    block_until(|kernel| {
        let found = match kernel.rules.sabotage {
            Some(Sabotage::ReapBeforeLook) => kernel.take_early(id),
            _ => kernel.look(id),
        };
        (found != Ok(Event::Running)).then_some(found)
    })
}

pub(crate) fn reap_by_pid(pid: pid_t, _usage: Option<&mut ResourceUsage>) -> Result<Event> {
    step();
    if let Some(event) = with(|kernel| kernel.taken_early(true)) {
        return Ok(event);
    }
    let id = with(|kernel| kernel.child(pid))?;
    step();
    let found = with(|kernel| kernel.take(id));
    end_of_reap(found, id)
}

pub(crate) fn kill(pid: pid_t, signal: c_int) -> Result<()> {
    let send = move || {
        step();
        with(|kernel| kernel.owner(pid).map(|id| kernel.deliver(id, signal)))
    };
    if with(|kernel| kernel.rules.sabotage) == Some(Sabotage::SignalWithoutLock) {
        kernel::spawn(move || _ = send());
        return Ok(());
    }
    send()
}

pub(crate) fn kill_group(pid: pid_t, signal: c_int) -> Result<()> {
    kill(pid, signal) // Nobody else is in it.
}

pub(crate) fn leads_group(pid: pid_t) -> Result<bool> {
    step();
    with(|kernel| kernel.owner(pid)).map(|_| true)
}

pub(crate) fn usage_by_pid(pid: pid_t) -> Option<ResourceUsage> {
    let event = look_by_pid(pid, false).ok()?;
    event.exited().map(|_| ResourceUsage::default())
}

// ---- processes by descriptor ----

pub(crate) fn pidfd_open(pid: pid_t) -> Result<Pidfd> {
    step();
    let id = with(|kernel| kernel.owner(pid))?;
    step();
    // Reaped meanwhile: then the kernel takes the number for a thread's.
    match with(|kernel| kernel.life(id)) {
        Life::Reaped => Err(Errno::EINVAL),
        Life::Running | Life::Zombie | Life::Dead => Descriptor::open(File::Pidfd(id)),
    }
}

pub(crate) fn pidfd_send_signal(fd: &Pidfd, signal: c_int, _flags: u32) -> Result<()> {
    step();
    let id = fd.process();
    with(|kernel| match kernel.life(id) {
        Life::Reaped => Err(Errno::ESRCH), // Its group, too: nobody else is in it.
        Life::Running | Life::Zombie | Life::Dead => {
            kernel.deliver(id, signal);
            Ok(())
        }
    })
}

pub(crate) fn waitid_pidfd(
    fd: &Pidfd,
    options: c_int,
    _usage: Option<&mut ResourceUsage>,
) -> Result<Event> {
    step();
    let id = fd.process();
    step();
    let take = options & WNOWAIT == 0;
    let found = block_until(|kernel| {
        let found = if take {
            kernel.take(id)
        } else {
            kernel.look(id)
        };
        (found != Ok(Event::Running) || options & WNOHANG != 0).then_some(found)
    });
    if take {
        return end_of_reap(found, id);
    }
    found
}

/// A call that reaps comes back when all is done; others may see it half done.
fn end_of_reap(found: Result<Event>, id: kernel::Id) -> Result<Event> {
    if let Ok(Event::Exited(_)) = found {
        step();
        with(|kernel| kernel.bury(id));
    }
    found
}

pub(crate) fn pidfd_info(fd: &Pidfd, wanted: u64) -> Result<PidfdInfo> {
    step();
    let id = fd.process();
    let mut info = PidfdInfo::default();
    with(|kernel| match kernel.life(id) {
        Life::Running | Life::Zombie | Life::Dead => {
            info.pid = kernel.pid(id).unsigned_abs();
            info.tgid = info.pid;
            info.ppid = kernel.parent(id);
            Ok(info)
        }
        Life::Reaped if kernel.rules.recorded && wanted & INFO_EXIT != 0 => {
            info.mask = INFO_EXIT;
            info.exit_code = std::os::unix::process::ExitStatusExt::into_raw(kernel.status(id));
            Ok(info)
        }
        Life::Reaped => Err(Errno::ESRCH),
    })
}

pub(crate) fn adopt(fd: OwnedFd) -> Pidfd {
    Descriptor(fd)
}

pub(crate) fn is_of_a_thread(_fd: &Pidfd) -> Result<bool> {
    Ok(false)
}

pub(crate) fn fdinfo(_fd: &Pidfd) -> io::Result<String> {
    Err(io::ErrorKind::Unsupported.into())
}

// ---- descriptors, clock and threads ----

pub(crate) fn poll_readable(fd: &impl AsFd, deadline: Option<Instant>) -> Result<bool> {
    step();
    let file = with(|kernel| kernel.files.get(fd.as_fd().as_raw_fd()));
    let Some(deadline) = deadline else {
        return Ok(block_until(|kernel| {
            kernel.is_readable(file).then_some(true)
        }));
    };
    while !with(|kernel| kernel.is_readable(file)) {
        if now() >= deadline {
            return Ok(false);
        }
        shuttle::thread::yield_now();
        if thread_rng().gen_ratio(1, 4) {
            with(|kernel| kernel.pass_time_until(deadline));
        }
    }
    Ok(true)
}

/// However late it is by the clock: real kernels never take as long as real callers wait.
pub(crate) fn poll_reaped(fd: &Pidfd, _deadline: Option<Instant>) -> Result<()> {
    let id = fd.process();
    while with(|kernel| kernel.life(id)) != Life::Reaped {
        step();
    }
    Ok(())
}

pub(crate) fn channel() -> Result<(Readable, Dropped)> {
    let channel = with(|kernel| kernel.files.add_channel());
    let readable = Descriptor::open(File::Readable(channel))?;
    Ok((readable, Descriptor::open(File::Dropped(channel))?))
}

pub(crate) fn now() -> Instant {
    with(|kernel| kernel.now())
}

pub(crate) fn sleep(time: Duration) {
    let end = now() + time;
    shuttle::thread::yield_now();
    with(|kernel| kernel.pass_time_until(end));
}

pub(crate) fn spawn_watcher(run: impl FnOnce() + Send + 'static) -> Result<()> {
    with(|kernel| kernel.watchers += 1);
    kernel::spawn(run);
    Ok(())
}
