// Tests: tests/it/background.rs, tests/contract/group.rs

//! Reaping and ending processes in the background, by one thread for the whole program.
//!
//! Processes with a pidfd are registered with a poller, in which the thread blocks. Those without a
//! pidfd, those that could not be registered, and those whose check failed with an error that may
//! pass, are checked repeatedly.

mod task;

use std::collections::BTreeMap;
use std::io;
use std::sync::atomic::{AtomicBool, Ordering::Relaxed};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use once_cell::race::OnceBox;

use self::task::{Task, Work};
use crate::backend::Process;
use crate::ending::{Ending, WaitFor};
use crate::engine::{earlier, rest_after, Backoff};
use crate::errno::is_final;
use crate::handle::ExitFd;
use crate::per_process::PerProcess;
use crate::process_group::ProcessGroup;
use crate::support::Backend;
use crate::sys::{self, Events, Poller};
use crate::PidHandle;

impl PidHandle {
    /// Lets the child run on, and reaps it in a background thread when it exits. Never blocks.
    ///
    /// Use it for a child that no code waits for, so that it does not stay a zombie. This handle can be
    /// dropped or released. One thread serves the whole program. The first call starts it, with a small
    /// stack and all signals blocked.
    ///
    /// Once the thread has reaped the child, the handle and its clones are done, and
    /// [`exit_status`](Self::exit_status) returns the status. A wait in another thread may get the status
    /// first; otherwise it fails with ECHILD. [`wait_shared`](Self::wait_shared) returns it in any case.
    ///
    /// It has no effect on a non-child, or if the handle is done or released.
    ///
    /// # Examples
    ///
    /// ```
    /// use pidwait::PidHandle;
    /// use std::process::Command;
    ///
    /// let child = PidHandle::spawn(Command::new("sleep").arg("0.01"))?.handle;
    /// child.reap_in_background();
    /// child.wait_exited()?;
    /// # Ok::<(), std::io::Error>(())
    /// ```
    ///
    /// # Platform notes
    ///
    /// The thread waits in [epoll_wait(2)], and needs two descriptors besides the pidfds of the
    /// children. With [`Backend::Waitpid`] it checks the children repeatedly,
    /// at first 1 ms and later up to 50 ms apart, or less often if there are thousands.
    ///
    /// If the thread cannot be started, the children stay zombies when they exit. The next call, for any
    /// child, reaps those and tries again.
    ///
    /// [epoll_wait(2)]: https://man7.org/linux/man-pages/man2/epoll_wait.2.html
    pub fn reap_in_background(&self) {
        let found = match self.try_wait() {
            Err(error) if is_final(&error) => return,
            found => found,
        };
        let reaper = REAPERS.get();
        if !matches!(found, Ok(Some(_))) {
            reaper.reap(self);
        }
        reaper.ensure_running();
    }

    /// Reaps a zombie whose status was given out, and which cannot be reaped now.
    pub(crate) fn reap_owed_in_background(&self) {
        let reaper = REAPERS.get();
        reaper.add_unpolled(Arc::new(Task::new(self.clone(), None, None, None)));
        reaper.ensure_running();
    }
}

/// Takes the first step of an end, and leaves the rest to the thread. Nothing is sent if that cannot be
/// started.
pub(crate) fn end_process(handle: &PidHandle, process: Process, ending: Ending) -> io::Result<()> {
    begin(Task::new(handle.clone(), Some(process), None, Some(ending)))
}

/// The same for a group.
pub(crate) fn end_group(group: &ProcessGroup, ending: Ending) -> io::Result<()> {
    let (handle, process) = group.leader_parts();
    let task = Task::new(
        handle.clone(),
        Some(process.clone()),
        Some(group.clone()),
        Some(ending),
    );
    begin(task)
}

fn begin(task: Task) -> io::Result<()> {
    let reaper = REAPERS.get();
    reaper.start()?;
    let mut work = task.lock();
    let mut subject = task.subject();
    let has_ended = match &mut work.ending {
        Some(ending) => ending.step(&mut subject, false)?,
        None => true,
    };
    drop(work);
    if has_ended {
        task.handle.reap_in_background();
    } else {
        reaper.add(Arc::new(task));
    }
    Ok(())
}

/// The reaper of this process, whose thread does not exist in a forked one.
static REAPERS: PerProcess<Reaper> = PerProcess::new();

#[derive(Default)]
struct Reaper {
    poller: OnceBox<Poller<ExitFd>>,
    state: Mutex<State>,
}

#[derive(Default)]
struct State {
    /// Whether the thread was started; it does not end.
    is_running: bool,
    polled: BTreeMap<u64, Arc<Polled>>,
    last_key: u64,
    /// Tasks that are checked repeatedly.
    unpolled: Vec<Arc<Task>>,
    /// Tasks that end something, which are polled or not.
    endings: Vec<Arc<Task>>,
    /// A task was added to one of the lists.
    is_woken: bool,
}

/// A descriptor that the poller has, and the task that goes on once it is readable.
struct Polled {
    task: Arc<Task>,
    exit: ExitFd,
    /// Nothing could be done although it is readable: a tracer holds the zombie, or members of its group
    /// are alive.
    is_quiet: AtomicBool,
}

impl Reaper {
    /// No handle is used or dropped under this lock.
    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Adds a child that is not held yet.
    fn reap(&self, handle: &PidHandle) {
        if let Some(process) = handle.hold() {
            self.add(Arc::new(Task::new(
                handle.clone(),
                Some(process),
                None,
                None,
            )));
        } else if !self.lock().unpolled.is_empty() {
            self.wake(); // It may be one of those.
        }
    }

    fn add(&self, task: Arc<Task>) {
        let has_steps = task.lock().ending.is_some();
        if has_steps {
            self.lock().endings.push(Arc::clone(&task));
        }
        // By PID an exit descriptor needs a thread of its own.
        let is_polled = task.handle.backend() == Backend::Pidfd
            && (task.handle.exit_fd()).is_ok_and(|exit| self.poll(&task, exit).is_some());
        if !is_polled {
            self.add_unpolled(task);
        } else if has_steps {
            self.wake(); // For the time of the next step.
        }
    }

    fn add_unpolled(&self, task: Arc<Task>) {
        self.lock().unpolled.push(task);
        self.wake();
    }

    fn wake(&self) {
        self.lock().is_woken = true;
        if let Some(poller) = self.poller.get() {
            poller.wake();
        }
    }

    fn poller(&self) -> nix::Result<&Poller<ExitFd>> {
        let make = || Poller::with_waker().map(Box::new);
        self.poller.get_or_try_init(make)
    }

    /// Registers a descriptor. `None`: it cannot be polled, because no descriptor is available.
    fn poll(&self, task: &Arc<Task>, exit: ExitFd) -> Option<u64> {
        let poller = self.poller().ok()?;
        let entry = Arc::new(Polled {
            task: Arc::clone(task),
            exit,
            is_quiet: AtomicBool::new(false),
        });
        let mut state = self.lock();
        state.last_key += 1;
        let key = state.last_key;
        // Before the poller has it, so that the thread finds the entry of each event.
        state.polled.insert(key, Arc::clone(&entry));
        drop(state);
        if poller.add(&entry.exit, key).is_err() {
            drop(self.take_polled(key));
            return None;
        }
        Some(key)
    }

    fn stop_polling(&self, key: u64) {
        if let (Some(entry), Some(poller)) = (self.take_polled(key), self.poller.get()) {
            poller.remove(&entry.exit, key, entry.is_quiet.load(Relaxed));
        }
    }

    fn take_polled(&self, key: u64) -> Option<Arc<Polled>> {
        self.lock().polled.remove(&key)
    }

    fn start(&'static self) -> nix::Result<()> {
        let mut state = self.lock();
        if !state.is_running {
            let poller = self.poller()?;
            sys::spawn_thread(move || self.run(poller))?;
            state.is_running = true;
        }
        Ok(())
    }

    /// Starts the thread if there are children. If it cannot be started, reaps those that have exited
    /// now; the next call tries again.
    fn ensure_running(&'static self) {
        let state = self.lock();
        if state.is_running || state.polled.is_empty() && state.unpolled.is_empty() {
            return;
        }
        let keys: Vec<u64> = state.polled.keys().copied().collect();
        drop(state);
        if self.start().is_err() {
            keys.into_iter().for_each(|key| self.go_on_polled(key));
            self.go_on_unpolled();
        }
    }

    fn run(&self, poller: &Poller<ExitFd>) {
        let mut events = Events::new();
        let mut backoff = Backoff::new();
        let mut rest = Duration::ZERO;
        loop {
            let mut state = self.lock();
            if std::mem::take(&mut state.is_woken) {
                backoff = Backoff::new(); // New children may exit soon.
            }
            let has_unpolled = !state.unpolled.is_empty();
            let endings = state.endings.clone();
            drop(state);
            let delay = has_unpolled
                .then(|| backoff.next_delay(None))
                .flatten()
                .map(|delay| delay.max(rest));
            let check = delay.and_then(|delay| sys::now().checked_add(delay));
            let steps = endings.iter().map(|task| task.until());
            let deadline = steps.fold(check, earlier);
            match poller.wait(&mut events, deadline) {
                Ok(_) => events.by_ref().for_each(|key| self.go_on_polled(key)),
                // A sandbox denies the call.
                Err(_) => {
                    backoff.sleep(None);
                    let keys: Vec<u64> = self.lock().polled.keys().copied().collect();
                    keys.into_iter().for_each(|key| self.go_on_polled(key));
                }
            }
            for task in endings {
                if task.until().is_some_and(|at| at <= sys::now()) {
                    // It stays in the list, or among those that are reaped.
                    let _ = self.go_on(&task, false);
                }
            }
            rest = self.go_on_unpolled();
        }
    }

    /// The next step of a task. Returns whether nothing is left to do.
    fn go_on(&self, task: &Arc<Task>, is_ready: bool) -> io::Result<bool> {
        let mut work = task.lock();
        if let Some(ending) = &mut work.ending {
            let stepped = ending.step(&mut task.subject(), is_ready);
            let member = match (&stepped, ending.wait_for()) {
                (Ok(false), WaitFor::Member(fd)) => Some(ExitFd::of_pidfd(fd)),
                _ => None,
            };
            self.poll_member(task, &mut work, member);
            if let Ok(false) = stepped {
                return Ok(false);
            }
            // It has ended, or cannot be ended. In both cases it is reaped when it exits.
            work.ending = None;
            self.lock().endings.retain(|it| !Arc::ptr_eq(it, task));
            drop(work);
            let is_over = task.try_reap();
            if let Ok(true) = is_over {
                // No event follows if the leader had exited before its members. Its entry would keep the
                // group, and so the zombie.
                self.stop_polling_task(task);
            }
            return is_over;
        }
        drop(work);
        task.try_reap()
    }

    fn stop_polling_task(&self, task: &Arc<Task>) {
        let state = self.lock();
        let of_task = state
            .polled
            .iter()
            .filter(|(_, entry)| Arc::ptr_eq(&entry.task, task));
        let keys: Vec<u64> = of_task.map(|(key, _)| *key).collect();
        drop(state);
        keys.into_iter().for_each(|key| self.stop_polling(key));
    }

    /// Lets the poller have the member of the group that is waited for now.
    fn poll_member(&self, task: &Arc<Task>, work: &mut Work, member: Option<ExitFd>) {
        let polled = work
            .member
            .and_then(|key| self.lock().polled.get(&key).cloned());
        if let (Some(polled), Some(member)) = (&polled, &member) {
            if polled.exit.is_same(member) {
                return;
            }
        }
        if let Some(key) = work.member.take() {
            self.stop_polling(key);
        }
        // Without a descriptor the member is checked from time to time.
        work.member = member.and_then(|member| self.poll(task, member));
    }

    fn go_on_polled(&self, key: u64) {
        let entry = self.lock().polled.get(&key).map(Arc::clone);
        let (Some(entry), Some(poller)) = (entry, self.poller.get()) else {
            return;
        };
        let is_over = self.go_on(&entry.task, true);
        if !self.lock().polled.contains_key(&key) {
            return; // A member of a group, which is not waited for any more.
        }
        match is_over {
            // Another event follows, when the tracer releases the zombie. The end of a group goes on.
            Ok(false) => {
                if !entry.is_quiet.swap(true, Relaxed) {
                    poller.quieten(&entry.exit, key);
                }
                return;
            }
            Ok(true) => {}
            // No further event may follow.
            Err(_) => self.lock().unpolled.push(Arc::clone(&entry.task)),
        }
        self.stop_polling(key);
    }

    /// Returns how long to rest before the next call.
    fn go_on_unpolled(&self) -> Duration {
        let mut tasks = std::mem::take(&mut self.lock().unpolled);
        if tasks.is_empty() {
            return Duration::ZERO;
        }
        let is_over =
            |task: &Arc<Task>| task.may_have_exited() && self.go_on(task, false).unwrap_or(false);
        let rest = rest_after(|| tasks.retain(|task| !is_over(task)));
        self.lock().unpolled.append(&mut tasks);
        rest
    }
}
