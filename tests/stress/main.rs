//! Everything at once, at random: threads that spawn, wait, look, signal, release and steal on
//! shared handles, under a program's own SIGCHLD handler, or with SIGCHLD ignored, and in a storm
//! of signals that interrupt every call. In the end each process must be accounted for.
//!
//! `PIDWAIT_STRESS_SECONDS` is how long (1), `PIDWAIT_STRESS_SEED` repeats the dice of a run,
//! though not the order in which its threads got the processor.

#[path = "../common/mod.rs"]
mod common;

mod random;
mod storm;
mod subject;

use std::env;
use std::fs;
use std::io::{self, Write};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::thread;
use std::time::{Duration, Instant};

use nix::libc;
use pidwait::{Backend, PidHandle, WaitSet};

use common::{eventually, ignore_sigchld, interrupt_calls, isolated, open_descriptors};
use random::Random;
use storm::Storm;
use subject::Subject;

const THREADS: u64 = 6;
const STEPS: usize = 25;

#[test]
fn every_process_is_accounted_for() {
    if !isolated::enter("every_process_is_accounted_for") {
        return; // Descriptors, threads and children are counted.
    }
    let number = |name| env::var(name).ok().and_then(|text| text.parse().ok());
    let seconds = number("PIDWAIT_STRESS_SECONDS").unwrap_or(1);
    let seed = number("PIDWAIT_STRESS_SEED").unwrap_or_else(|| u64::from(std::process::id()));
    // At once: whether it fails or hangs, it is known.
    say(&format!("PIDWAIT_STRESS_SEED={seed}"));

    // Should somebody block for good, this ends it.
    nix::unistd::alarm::set(u32::try_from(seconds).map_or(u32::MAX, |seconds| seconds + 60));

    let backends = common::all_backends();
    interrupt_calls(libc::SIGCHLD);
    interrupt_calls(libc::SIGUSR1);
    let before = left_open();
    let end = Instant::now() + Duration::from_secs(seconds);
    let mut random = Random::new(seed);
    let mut processes = 0;
    while processes == 0 || Instant::now() < end {
        let round = Round {
            backends: &backends,
            ignored: AtomicBool::new(false),
            subjects: Mutex::default(),
        };
        round.run(&mut random);
        interrupt_calls(libc::SIGCHLD);
        processes += round.account();
        assert_eq!(subject::any_child(), None, "everything is reaped");
        // Watchers end soon after their process, and no sooner.
        eventually("threads and descriptors are given back", || {
            left_open() == before
        });
    }
    say(&format!("{processes} processes in {seconds} s"));
}

/// Past the test harness, which would keep it to itself.
fn say(what: &str) {
    let _ = writeln!(io::stderr(), "stress: {what}");
}

/// Some threads, and the processes that they share.
struct Round<'a> {
    backends: &'a [Backend],
    /// Whether SIGCHLD was set to be ignored: from then on statuses may be thrown away.
    ignored: AtomicBool,
    subjects: Mutex<Vec<Arc<Subject>>>,
}

impl Round<'_> {
    fn run(&self, random: &mut Random) {
        let dice: Vec<_> = (0..THREADS).map(|_| Random::new(random.next())).collect();
        let storm = Storm::new();
        thread::scope(|scope| {
            let raging = scope.spawn(|| storm.rage());
            let threads: Vec<_> = dice
                .into_iter()
                .map(|mut random| {
                    let storm = &storm;
                    scope.spawn(move || {
                        let _struck = storm.strike_me();
                        for _ in 0..STEPS {
                            self.step(&mut random);
                        }
                    })
                })
                .collect();
            let ended: Vec<_> = threads.into_iter().map(|thread| thread.join()).collect();
            storm.calm();
            raging.join().expect("a storm ends");
            assert!(ended.iter().all(Result::is_ok), "a thread has panicked");
        });
    }

    fn step(&self, random: &mut Random) {
        match random.below(16) {
            0..=2 => return self.spawn(random),
            3 if random.below(60) == 0 => {
                self.ignored.store(true, Ordering::SeqCst);
                return ignore_sigchld();
            }
            4 => return self.wait_for_a_set(random),
            _ => {}
        }
        let subject = {
            let subjects = self.subjects();
            match subjects.len() {
                0 => return,
                // The later half: of the others most are over.
                length => subjects[length - 1 - random.below(length / 2 + 1)].clone(),
            }
        };
        subject.act(random);
    }

    fn spawn(&self, random: &mut Random) {
        let backend = self.backends[random.below(self.backends.len())];
        let subject = Subject::spawn(backend, random);
        self.subjects().push(Arc::new(subject));
    }

    /// Three processes of its own, and which of them comes first.
    fn wait_for_a_set(&self, random: &mut Random) {
        let mut set = WaitSet::new().expect("a set");
        let mut here = Vec::new();
        for place in 0..3 {
            let backend = self.backends[random.below(self.backends.len())];
            let code = random.below(200);
            let child = common::sh(&format!("exit {code}"));
            match set.insert(open(child.id(), backend), (place, code)) {
                Ok(_) => here.push(place),
                Err(refused) => assert!(self.may_be_lost(&refused.error), "{refused:?}"),
            }
        }
        while let Some(exited) = set.wait().expect("epoll waits") {
            let (place, code) = exited.value;
            here.retain(|other| *other != place);
            match exited.status {
                Some(status) => assert_eq!(status.code(), i32::try_from(code).ok()),
                None => assert!(self.ignored.load(Ordering::SeqCst), "a status is lost"),
            }
        }
        assert!(here.is_empty(), "not reported: {here:?}");
    }

    fn may_be_lost(&self, error: &io::Error) -> bool {
        pidwait::is_already_reaped(error) && self.ignored.load(Ordering::SeqCst)
    }

    fn account(&self) -> usize {
        let lossy = self.ignored.load(Ordering::SeqCst);
        let subjects = std::mem::take(&mut *self.subjects());
        subjects.iter().for_each(|subject| subject.account(lossy));
        subjects.len()
    }

    fn subjects(&self) -> MutexGuard<'_, Vec<Arc<Subject>>> {
        self.subjects.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

fn open(pid: u32, backend: Backend) -> PidHandle {
    PidHandle::open_with(pid, backend).expect("open")
}

/// How many threads and descriptors this process has.
fn left_open() -> (usize, usize) {
    let threads = fs::read_dir("/proc/self/task").expect("/proc/self/task");
    (threads.count(), open_descriptors())
}
