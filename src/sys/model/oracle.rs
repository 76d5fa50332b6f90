//! Where a story is played: every answer is held against what is true in the kernel.

use std::io;
use std::process::ExitStatus;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering::SeqCst};
use std::sync::Arc;
use std::time::{Duration, Instant};

use nix::errno::Errno;
use nix::libc::SIGUSR1;

use super::kernel::{self, with, Id, Life, Sabotage, PID};
use super::story::{Call, Story, World};
use crate::backend::{Limit, Process};
use crate::exit::Event;
use crate::{Backend, PidHandle};

const LIMIT: Duration = Duration::from_millis(5);

/// What all that share the handle have seen.
#[derive(Debug)]
pub(super) struct Stage {
    pub(super) process: Id,
    world: World,
    backend: Backend,
    stays: bool,
    /// How many the kernel had counted when the handle was there.
    steps: usize,
    /// How many waits got one.
    statuses: AtomicUsize,
    /// Somebody was told that it is reaped.
    refused: AtomicBool,
    /// The handle was done before it could be released, and stays so.
    done: AtomicBool,
    releasing: AtomicBool,
    released: AtomicBool,
}

/// What was true when a call began.
struct Before {
    life: Life,
    released: bool,
    /// When a time limit has passed.
    limit: Instant,
}

impl Stage {
    pub(super) fn new(story: &Story, process: Id, steps: usize) -> Self {
        Self {
            process,
            world: story.world,
            backend: story.backend,
            stays: story.stays,
            steps,
            statuses: AtomicUsize::new(0),
            refused: AtomicBool::new(false),
            done: AtomicBool::new(false),
            releasing: AtomicBool::new(false),
            released: AtomicBool::new(false),
        }
    }

    pub(super) fn play(&self, handle: &PidHandle, call: Call) {
        let before = Before {
            life: self.life(),
            released: self.released.load(SeqCst),
            limit: super::now() + LIMIT,
        };
        match call {
            Call::Wait => _ = self.waited(&before, handle.wait().map(Some)),
            Call::WaitUsage => {
                let result = handle.wait_usage().map(|(status, _)| Some(status));
                self.waited(&before, result);
            }
            Call::Terminate => _ = self.waited(&before, handle.terminate(LIMIT).map(Some)),
            Call::TryWait => {
                let running = !self.waited(&before, handle.try_wait());
                assert!(!running || before.life == Life::Running, "not seen");
            }
            Call::WaitTimeout => {
                let late = !self.waited(&before, handle.wait_timeout(LIMIT));
                assert!(!late || super::now() >= before.limit, "cut short");
            }
            Call::Signal => self.signalled(&before, handle.signal(SIGUSR1)),
            Call::Kill => self.signalled(&before, handle.kill()),
            Call::SignalGroup => {
                if self.answer(handle.signal_group(SIGUSR1)).is_ok() {
                    assert!(!before.released && before.life != Life::Reaped);
                }
            }
            Call::HasExited => {
                let running = !self.exited(&before, handle.has_exited());
                assert!(!running || !self.is_plain(before.life), "not seen");
            }
            Call::WaitExited => {
                let exited = self.exited(&before, handle.wait_exited().map(|()| true));
                assert!(exited);
            }
            Call::WaitExitedTimeout => {
                let late = !self.exited(&before, handle.wait_exited_timeout(LIMIT));
                assert!(!late || super::now() >= before.limit, "cut short");
            }
            Call::ExitFd => {
                if let Ok(fd) = self.answer(handle.exit_fd()) {
                    assert!(!before.released);
                    let limit = self.stays.then_some(before.limit);
                    let readable = super::poll_readable(&fd, limit);
                    assert_eq!(readable, Ok(!self.stays));
                    assert_eq!(self.life() == Life::Running, self.stays);
                }
            }
            Call::ExitStatus => {
                if let Some(status) = handle.exit_status() {
                    self.is_the_status(status);
                }
            }
            Call::Release => {
                if !self.done.load(SeqCst) {
                    self.releasing.store(true, SeqCst);
                }
                handle.release().expect("it never fails");
                with(|kernel| {
                    if kernel.rules.sabotage == Some(Sabotage::CloseAtRelease) {
                        kernel.files.close_pidfds();
                    }
                });
                self.released.store(true, SeqCst);
            }
            Call::OpenAgain => {
                self.opened(&before, PidHandle::open_with(handle.id(), self.backend))
            }
            Call::Look => self.looked(before.limit),
        }
        if self.refused.load(SeqCst) {
            self.is_on_record(handle);
        }
    }

    /// Whoever was told that it is reaped can ask how it ended, at once.
    fn is_on_record(&self, handle: &PidHandle) {
        let status = handle.exit_status();
        let any = !matches!(self.world, World::Missing | World::Stranger);
        let kept = any && self.backend == Backend::Pidfd && with(|kernel| kernel.rules.recorded);
        let released = self.releasing.load(SeqCst);
        assert!(!kept || released || status.is_some(), "no record of it");
    }

    /// Of a wait; false if it came back without status or error.
    fn waited(&self, before: &Before, result: io::Result<Option<ExitStatus>>) -> bool {
        match self.answer(result) {
            Ok(answer) => {
                assert!(!before.released, "a released handle waited");
                let Some(status) = answer else { return false };
                self.is_the_status(status);
                let earlier = self.statuses.fetch_add(1, SeqCst);
                assert_eq!(earlier, 0, "two waits got the status");
                self.done.store(true, SeqCst);
            }
            Err(Errno::ECHILD) => {
                self.refused.store(true, SeqCst);
                // A pidfd is kept, for what the kernel may tell later; and so is a stranger's pid.
                let is_done = self.backend == Backend::Waitpid && self.world != World::Stranger;
                self.done.fetch_or(is_done, SeqCst);
            }
            Err(_) => {}
        }
        true
    }

    fn signalled(&self, before: &Before, result: io::Result<()>) {
        match self.answer(result) {
            Ok(()) => {
                assert!(!before.released, "a released handle signalled");
                assert!(before.life != Life::Reaped || self.world == World::Kept);
            }
            Err(Errno::ECHILD) => {
                assert!(self.life().is_nobodys(), "not signalled");
                self.refused.store(true, SeqCst);
            }
            Err(_) => {}
        }
    }

    /// Of a question for the exit; false if it was not seen.
    fn exited(&self, before: &Before, result: io::Result<bool>) -> bool {
        match self.answer(result) {
            Ok(true) => {
                assert_ne!(self.life(), Life::Running, "no exit");
                assert!(!before.released || self.life().is_nobodys());
                true
            }
            Ok(false) => {
                assert!(!before.released, "a released handle looked");
                false
            }
            Err(errno) => {
                assert_eq!(errno, Errno::EINVAL);
                true
            }
        }
    }

    fn opened(&self, before: &Before, result: io::Result<PidHandle>) {
        let somebody_has_it = || with(|kernel| kernel.owner(PID)).is_ok();
        match result {
            Ok(_) if somebody_has_it() => {}
            Ok(handle) if before.life == Life::Reaped => {
                let error = handle.wait().expect_err("there is nobody to wait for");
                assert_eq!(error.raw_os_error(), Some(Errno::ECHILD as i32));
            }
            Ok(_) => {}
            // It went while it was looked at, and a look for the reason saw its successor.
            Err(error) => assert!(somebody_has_it(), "{error}"),
        }
    }

    fn looked(&self, limit: Instant) {
        let Ok(process) = Process::open(PID, self.backend) else {
            return;
        };
        for limit in [Limit::Until(limit), Limit::Never] {
            match process.look_until_reapable(limit) {
                Ok(true) => {}
                Ok(false) => assert!(super::now() >= limit.deadline().expect("it had one")),
                Err(errno) => assert_eq!(errno, Errno::ECHILD),
            }
        }
        assert_ne!(process.look(), Ok(Event::Running));
    }

    /// Whether no error says what is not so.
    fn answer<T>(&self, result: io::Result<T>) -> Result<T, Errno> {
        let error = match result {
            Ok(answer) => return Ok(answer),
            Err(error) => error,
        };
        let errno = error.raw_os_error().map(Errno::from_raw);
        match errno {
            Some(Errno::ECHILD) if self.life().is_nobodys() => {}
            Some(Errno::ECHILD) if self.world == World::Stranger => {}
            Some(Errno::EINVAL) if self.releasing.load(SeqCst) => {}
            Some(Errno::EMFILE) if self.world == World::Exhausted => {}
            _ => panic!("{error} is wrong: {:?}, {self:?}", self.life()),
        }
        Err(errno.unwrap_or(Errno::UnknownErrno))
    }

    fn is_the_status(&self, status: ExitStatus) {
        assert_eq!(status, with(|kernel| kernel.status(self.process)));
        assert_ne!(self.life(), Life::Running, "a status before the exit");
    }

    /// Whether it is plain to see that it has exited. By pid, a stranger's zombie is not.
    fn is_plain(&self, life: Life) -> bool {
        match life {
            Life::Running => false,
            Life::Zombie | Life::Dead => {
                self.world != World::Stranger || self.backend == Backend::Pidfd
            }
            Life::Reaped => true,
        }
    }

    pub(super) fn life(&self) -> Life {
        with(|kernel| kernel.life(self.process))
    }

    /// Once nobody listens; nor is it over before that.
    pub(super) fn nobody_watches_a_stranger(&self) {
        if self.world == World::Stranger {
            kernel::everybody_is_done();
            assert_eq!(self.life(), Life::Running);
        }
    }

    /// When all have left, and if there is one left, with the handle.
    pub(super) fn end(&self, handle: Option<Arc<PidHandle>>) {
        kernel::everybody_is_done();
        if self.world != World::Stranger {
            assert!(with(|kernel| kernel.watchers) <= 1, "one watcher is enough");
        }
        with(|kernel| kernel.bury(self.process));
        let had = self.statuses.load(SeqCst) == 1;
        match self.world {
            World::Kept => assert!(had || !self.refused.load(SeqCst), "lost"),
            World::Missing => {
                let asked = with(|kernel| kernel.steps) - self.steps;
                assert_eq!(asked, 0, "a handle that is done asked the kernel");
            }
            World::Own | World::Exhausted | World::Robbed | World::Ignored | World::Stranger => {
                let reaped = with(|kernel| kernel.reaped_by_us(self.process));
                assert_eq!(had, reaped, "lost");
            }
        }
        if let Some(handle) = handle {
            let released = self.released.load(SeqCst);
            if had || released {
                assert_eq!(with(|kernel| kernel.files.number_open()), 0, "open still");
            }
            let recorded = with(|kernel| kernel.rules.recorded)
                && self.backend == Backend::Pidfd
                && self.world != World::Missing
                && self.life() == Life::Reaped
                && !released;
            let known = had || recorded || self.world == World::Kept;
            let status = with(|kernel| kernel.status(self.process));
            assert_eq!(handle.exit_status(), known.then_some(status));
        }
        kernel::everybody_is_done();
        assert_eq!(
            with(|kernel| kernel.files.number_open()),
            0,
            "open for good"
        );
    }
}
