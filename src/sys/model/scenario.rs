//! A story: threads that share a handle, what they call, and what becomes of its process
//! meanwhile.

use std::sync::Arc;

use nix::errno::Errno;
use shuttle::rand::{thread_rng, Rng};
use shuttle::thread;

use super::kernel::{self, block_until, step, with, Id, Life, Rules, Sabotage, PID};
use super::stage::Stage;
use crate::backend::Process;
use crate::exit::ResourceUsage;
use crate::handle::Kept;
use crate::{Backend, PidHandle};

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Call {
    Wait,
    WaitUsage,
    TryWait,
    WaitTimeout,
    Terminate,
    Signal,
    SignalGroup,
    Kill,
    HasExited,
    WaitExited,
    WaitExitedTimeout,
    ExitFd,
    ExitStatus,
    Release,
    /// Another handle is opened for whoever has the pid now.
    OpenAgain,
    /// As `ChildExt` does, which lets std reap, and only looks.
    Look,
}

impl Call {
    pub(super) const ALL: [Call; 14] = [
        Call::Wait,
        Call::WaitUsage,
        Call::TryWait,
        Call::WaitTimeout,
        Call::Terminate,
        Call::Signal,
        Call::SignalGroup,
        Call::Kill,
        Call::HasExited,
        Call::WaitExited,
        Call::WaitExitedTimeout,
        Call::ExitFd,
        Call::ExitStatus,
        Call::Release,
    ];

    /// Those that go on to reap, and are nothing to any process but a child.
    pub(super) const WAITS: [Call; 5] = [
        Call::Wait,
        Call::WaitUsage,
        Call::TryWait,
        Call::WaitTimeout,
        Call::Terminate,
    ];

    /// Those that come back though the process never exit.
    pub(super) const SHORT: [Call; 9] = [
        Call::TryWait,
        Call::WaitTimeout,
        Call::Signal,
        Call::SignalGroup,
        Call::HasExited,
        Call::WaitExitedTimeout,
        Call::ExitFd,
        Call::ExitStatus,
        Call::Release,
    ];
}

/// Whose process it is, and who else has to do with it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum World {
    /// A child, reaped through the handle alone.
    Own,
    /// The same, where no descriptors are to be had: what a handle made of a `Child` is then.
    Exhausted,
    /// A zombie that was reaped, and kept, when its handle was made.
    Kept,
    /// Gone before it was looked for.
    Missing,
    /// A child that somebody else reaps if he can.
    Robbed,
    /// A child whose status nobody gets.
    Ignored,
    /// Somebody else's child.
    Stranger,
}

#[derive(Debug)]
pub(super) struct Story {
    pub(super) backend: Backend,
    pub(super) world: World,
    /// Whether it exits only when everybody has left.
    pub(super) stays: bool,
    pub(super) threads: Vec<Vec<Call>>,
    pub(super) sabotage: Option<Sabotage>,
}

impl Story {
    /// Plays it once, in the order that shuttle decides.
    pub(super) fn play(self) {
        let (handle, stage) = self.open();
        let handle = Arc::new(handle);
        let kept_to_the_end = thread_rng().gen::<bool>().then(|| Arc::clone(&handle));
        let mut cast = Vec::new();
        for calls in self.threads {
            let (handle, stage) = (Arc::clone(&handle), Arc::clone(&stage));
            cast.push(thread::spawn(move || {
                calls.iter().for_each(|call| stage.play(&handle, *call));
            }));
        }
        drop(handle);
        let process = stage.process;
        let exits = stage.life() == Life::Running && !self.stays;
        if exits {
            cast.push(thread::spawn(move || {
                step();
                with(|kernel| kernel.exit(process));
            }));
        }
        let others_wait = matches!(self.world, World::Robbed | World::Stranger);
        if others_wait && !self.stays {
            cast.push(thread::spawn(move || somebody_else_waits_for(process)));
        }
        for actor in cast {
            actor.join().expect("shuttle ends with the first panic");
        }
        if self.stays {
            stage.nobody_watches_a_stranger();
            with(|kernel| kernel.exit(process));
        }
        stage.end(kept_to_the_end);
    }

    fn open(&self) -> (PidHandle, Arc<Stage>) {
        kernel::boot(Rules {
            ignored: self.world == World::Ignored,
            recorded: thread_rng().gen(),
            sabotage: self.sabotage,
            ..Rules::default()
        });
        let process = with(|kernel| kernel.start(self.world != World::Stranger));
        let pid = PID.unsigned_abs();
        let handle = match self.world {
            World::Own | World::Robbed | World::Ignored | World::Stranger => {
                PidHandle::open_with(pid, self.backend).expect("it is there")
            }
            World::Exhausted => {
                with(|kernel| kernel.rules.exhausted = true);
                let made = Process::of_child(PID).expect("it needs no descriptor");
                PidHandle::of_child(pid, made)
            }
            World::Kept => PidHandle::of_kept(pid, keep(process, self.backend)),
            World::Missing => {
                with(|kernel| {
                    kernel.reap(process);
                    kernel.bury(process);
                });
                PidHandle::open_with(pid, self.backend).expect("it needs no process")
            }
        };
        assert_eq!(handle.backend(), self.backend);
        let steps = with(|kernel| {
            kernel.rules.reused = self.may_be_reused();
            if let World::Kept | World::Missing = self.world {
                kernel.reuse();
            }
            kernel.steps
        });
        let stage = Stage::new(self, process, steps);
        (handle, Arc::new(stage))
    }

    /// Whether the contract holds though the pid be given away. A pid that others free is beyond
    /// anybody's control: by pid only a wait for a stranger, which looks at nobody, is safe then,
    /// and a look that has to open it anew might wait for anybody.
    fn may_be_reused(&self) -> bool {
        let mut calls = self.threads.iter().flatten();
        match self.world {
            World::Own | World::Exhausted | World::Kept | World::Missing => true,
            World::Robbed | World::Ignored => {
                self.backend == Backend::Pidfd && !calls.any(|call| *call == Call::Look)
            }
            World::Stranger => {
                self.backend == Backend::Pidfd || calls.all(|call| Call::WAITS.contains(call))
            }
        }
    }
}

fn somebody_else_waits_for(process: Id) {
    block_until(|kernel| (kernel.life(process) != Life::Running).then_some(()));
    step();
    with(|kernel| {
        if kernel.life(process) == Life::Zombie {
            kernel.reap(process);
        }
    });
}

/// As std reaps a zombie when a handle is made of it.
fn keep(id: Id, backend: Backend) -> Kept {
    let process = Process::open(PID, backend).expect("it is there");
    let status = with(|kernel| {
        kernel.exit(id);
        kernel.reap(id);
        kernel.bury(id);
        kernel.status(id)
    });
    assert_eq!(process.look(), Err(Errno::ECHILD));
    Kept {
        process,
        status,
        usage: Some(ResourceUsage::default()),
    }
}
