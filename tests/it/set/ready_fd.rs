//! `ready_fd` is readable if, and only if, there is an exit to report.
#![cfg(all(any(target_os = "linux", target_os = "android"), not(pidwait_poll)))]

use std::os::unix::process::ExitStatusExt;
use std::time::Duration;

use pidwait::{Backend, Exited, PidHandle, WaitKey, WaitSet};
use proptest::prelude::*;
use proptest::sample::select;

use super::{handle, kill_traced, own_process, traced_child};
use crate::common::{
    assert_idle, backends, closes_on_exec, errno, readable, rounds, sleeper, LONG,
};
use nix::libc::{ECHILD, SIGKILL};

fn is_ready<T>(set: &WaitSet<T>) -> bool {
    readable(&set.ready_fd().unwrap(), 0)
}

#[track_caller]
fn await_ready<T>(set: &WaitSet<T>) {
    assert!(readable(&set.ready_fd().unwrap(), LONG));
}

/// Kills a child and waits until its exit descriptor is readable: without pidfds, the watcher needs
/// some time for that.
fn kill_and_await(child: &PidHandle) {
    let exit = child.exit_fd().unwrap();
    child.kill().unwrap();
    assert!(readable(&exit, LONG));
}

#[derive(Clone, Copy, Debug)]
enum Step {
    Insert(usize),
    Exit(usize),
    Remove(usize),
    Wait,
    WaitExited,
}

fn steps() -> impl Strategy<Value = Vec<Step>> {
    let step = prop_oneof![
        3 => (0..CHILDREN).prop_map(Step::Insert),
        3 => (0..CHILDREN).prop_map(Step::Exit),
        1 => (0..CHILDREN).prop_map(Step::Remove),
        2 => Just(Step::Wait),
        1 => Just(Step::WaitExited),
    ];
    proptest::collection::vec(step, 1..40)
}

const CHILDREN: usize = 4;

/// What is expected of a child and of its entry.
struct Child {
    handle: PidHandle,
    key: Option<WaitKey>,
    exited: bool,
    reaped: bool,
}

struct Model {
    set: WaitSet<usize>,
    children: Vec<Child>,
}

impl Model {
    fn new(backend: Backend) -> Self {
        let child = |_| Child {
            handle: handle(sleeper(), backend),
            key: None,
            exited: false,
            reaped: false,
        };
        Self {
            set: WaitSet::new().unwrap(),
            children: (0..CHILDREN).map(child).collect(),
        }
    }

    fn run(&mut self, step: Step) {
        match step {
            Step::Insert(number) => self.insert(number),
            Step::Exit(number) => {
                let child = &mut self.children[number];
                if !child.exited {
                    kill_and_await(&child.handle);
                    child.exited = true;
                }
            }
            Step::Remove(number) => {
                if let Some(key) = self.children[number].key.take() {
                    assert_eq!(self.set.remove(key).unwrap().1, number);
                    assert!(self.set.remove(key).is_none());
                }
            }
            Step::Wait => self.fetched(WaitSet::wait_timeout, true),
            Step::WaitExited => self.fetched(WaitSet::wait_exited_timeout, false),
        }
        let left = self.children.iter().filter(|it| it.key.is_some()).count();
        assert_eq!(self.set.len(), left);
        let expected = self.is_exit_left();
        if expected && self.children[0].handle.backend() == Backend::Waitpid {
            await_ready(&self.set); // A watcher may have just been started.
        }
        assert_eq!(is_ready(&self.set), expected, "after {step:?}");
    }

    fn insert(&mut self, number: usize) {
        let child = &mut self.children[number];
        if child.key.is_some() {
            return;
        }
        match self.set.insert(child.handle.clone(), number) {
            Ok(key) if !child.reaped => child.key = Some(key),
            Ok(_) => panic!("inserted after it was reaped"),
            Err(failed) => assert!(child.reaped && errno(Err::<(), _>(failed.error)) == ECHILD),
        }
    }

    fn fetched(&mut self, wait: Wait, reaps: bool) {
        let expected = self.is_exit_left();
        let Some(exited) = wait(&mut self.set, Duration::ZERO).unwrap() else {
            return assert!(!expected, "an exit was left");
        };
        let child = &mut self.children[exited.value];
        assert!(child.exited);
        assert_eq!(child.key.take(), Some(exited.key));
        assert_eq!(exited.status.is_some(), reaps);
        child.reaped |= reaps;
    }

    /// Whether the set has an exit to report.
    fn is_exit_left(&self) -> bool {
        let mut children = self.children.iter();
        children.any(|child| child.key.is_some() && child.exited)
    }
}

type Wait = fn(&mut WaitSet<usize>, Duration) -> std::io::Result<Option<Exited<usize>>>;

impl Drop for Model {
    fn drop(&mut self) {
        for child in &self.children {
            let _ = child.handle.kill();
            let _ = child.handle.wait();
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig {
        cases: u32::try_from(rounds(40)).unwrap(),
        failure_persistence: None,
        ..ProptestConfig::default()
    })]

    #[test]
    fn ready_fd_agrees_with_a_plain_model(steps in steps(), backend in select(backends())) {
        let mut model = Model::new(backend);
        for step in steps {
            model.run(step);
        }
    }
}

/// More exits than one call of `epoll_wait` fetches: those that are fetched and not reported count.
#[test]
fn ready_fd_stays_readable_until_the_last_report() {
    const MANY: usize = 300;
    let own = PidHandle::open(std::process::id()).unwrap();
    let backend = own.backend();
    if backend != Backend::Pidfd {
        return; // So many watcher threads only slow the test down.
    }
    let child = handle(sleeper(), backend);
    let pid = child.id();
    let mut set = WaitSet::new().unwrap();
    for number in 0..MANY {
        let again = PidHandle::open_with(pid, backend).unwrap();
        set.insert(again, number).unwrap();
    }
    assert!(!is_ready(&set));
    kill_and_await(&child);
    for left in (0..MANY).rev() {
        assert!(is_ready(&set), "with {left} left");
        set.wait_timeout(Duration::ZERO).unwrap().unwrap();
    }
    assert!(!is_ready(&set));
    assert!(set.is_empty());
}

/// The descriptor may be readable once without an exit to report, and then not until the tracer ends.
#[test]
fn ready_fd_is_quiet_while_tracer_holds_zombie() {
    for backend in backends() {
        let Some((child, tracer)) = traced_child(backend) else {
            return;
        };
        let mut set = WaitSet::new().unwrap();
        set.insert(child.clone(), "traced").unwrap();
        set.insert(own_process(backend), "running").unwrap();
        kill_traced(&child);
        if is_ready(&set) {
            assert!(set.wait_timeout(Duration::ZERO).unwrap().is_none());
        }
        assert!(!is_ready(&set));
        assert_idle(|| assert!(!readable(&set.ready_fd().unwrap(), 300)));
        // The exit of another process is still seen, and both are reported in any order.
        let other = handle(sleeper(), backend);
        set.insert(other.clone(), "other").unwrap();
        kill_and_await(&other);
        tracer.end();
        assert!(readable(&child.exit_fd().unwrap(), LONG));
        for left in [1, 0] {
            await_ready(&set);
            let exited = set.wait().unwrap().unwrap();
            assert_eq!(exited.status.unwrap().signal(), Some(SIGKILL));
            assert_eq!(set.len(), 1 + left);
        }
        assert!(!is_ready(&set));
    }
}

/// If only waits with a zero timeout are made, the zombie becomes quiet as well.
#[test]
fn zero_timeouts_quieten_a_traced_zombie() {
    for backend in backends() {
        let Some((child, tracer)) = traced_child(backend) else {
            return;
        };
        let mut set = WaitSet::new().unwrap();
        set.insert(child.clone(), ()).unwrap();
        kill_traced(&child);
        assert!(set.wait_exited_timeout(Duration::ZERO).unwrap().is_none());
        assert!(!is_ready(&set));
        tracer.end();
        await_ready(&set);
        assert!(set.wait_exited().unwrap().is_some());
    }
}

/// As in an event loop: the descriptor is taken before the first insert.
#[test]
fn one_ready_fd_serves_for_all_later_entries() {
    for backend in backends() {
        let mut set = WaitSet::new().unwrap();
        let ready = set.ready_fd().unwrap();
        assert!(closes_on_exec(&ready));
        assert!(!readable(&ready, 0), "an empty set's is not readable");
        for round in 0..3 {
            let child = handle(sleeper(), backend);
            set.insert(child.clone(), round).unwrap();
            assert!(!readable(&ready, 0), "a running child in round {round}");
            child.kill().unwrap();
            assert!(readable(&ready, LONG));
            assert_eq!(set.wait().unwrap().unwrap().value, round);
            assert!(!readable(&ready, 0), "nothing is left in round {round}");
        }
    }
}
