//! Random concurrent calls: threads spawn, wait, peek, signal, release and reap externally on shared
//! handles. The program has its own SIGCHLD handler or ignores SIGCHLD, and signals interrupt every
//! call all the time. At the end each process must have been reaped exactly once.
//!
//! `PIDWAIT_STRESS_SECONDS` sets the duration (default 1). `PIDWAIT_STRESS_SEED` repeats the random
//! numbers of a run, but not how its threads were scheduled.

#![cfg(target_os = "linux")]

#[path = "../common/mod.rs"]
mod common;

mod random;
mod signals;
mod subject;

use std::env;
use std::io::{self, Write};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::thread;
use std::time::{Duration, Instant};

use nix::libc;
use pidwait::{Backend, PidHandle, WaitSet};

use common::{
    eventually, ignore_sigchld, interrupt_calls, isolated, open_descriptors, thread_count,
};
use random::Random;
use signals::SignalSender;
use subject::Subject;

const THREADS: u64 = 6;
const STEPS: usize = 25;

#[test]
fn every_process_is_reaped_exactly_once() {
    if !isolated::enter("every_process_is_reaped_exactly_once") {
        return; // This process counts its descriptors, threads and children.
    }
    let number = |name| env::var(name).ok().and_then(|text| text.parse().ok());
    let seconds = number("PIDWAIT_STRESS_SECONDS").unwrap_or(1);
    let seed = number("PIDWAIT_STRESS_SEED").unwrap_or_else(|| u64::from(std::process::id()));
    // Printed first, so that it is known even if the run fails or hangs.
    print(&format!("PIDWAIT_STRESS_SEED={seed}"));

    // Ends the process if a call blocks forever.
    nix::unistd::alarm::set(u32::try_from(seconds).map_or(u32::MAX, |seconds| seconds + 60));

    let backends = common::all_backends();
    interrupt_calls(libc::SIGCHLD);
    interrupt_calls(libc::SIGUSR1);
    let before = open_resources();
    let end = Instant::now() + Duration::from_secs(seconds);
    let mut random = Random::new(seed);
    let mut processes = 0;
    while processes == 0 || Instant::now() < end {
        let round = Round {
            backends: &backends,
            sigchld_ignored: AtomicBool::new(false),
            subjects: Mutex::default(),
        };
        round.run(&mut random);
        interrupt_calls(libc::SIGCHLD);
        processes += round.check_all();
        assert_eq!(subject::any_child(), None, "everything is reaped");
        // A watcher ends shortly after its process.
        eventually("all watcher threads and descriptors are gone", || {
            open_resources() == before
        });
    }
    print(&format!("{processes} processes in {seconds} s"));
}

/// Prints to stderr directly, because the test harness captures `eprintln!`.
fn print(text: &str) {
    let _ = writeln!(io::stderr(), "stress: {text}");
}

/// Some threads and the processes they share.
struct Round<'a> {
    backends: &'a [Backend],
    /// Whether SIGCHLD was ignored at any time: from then on the kernel may discard statuses.
    sigchld_ignored: AtomicBool,
    subjects: Mutex<Vec<Arc<Subject>>>,
}

impl Round<'_> {
    fn run(&self, random: &mut Random) {
        let generators: Vec<_> = (0..THREADS).map(|_| Random::new(random.next())).collect();
        let signals = SignalSender::new();
        thread::scope(|scope| {
            let sender = scope.spawn(|| signals.run());
            let threads: Vec<_> = generators
                .into_iter()
                .map(|mut random| {
                    let signals = &signals;
                    scope.spawn(move || {
                        let _target = signals.target_this_thread();
                        for _ in 0..STEPS {
                            self.step(&mut random);
                        }
                    })
                })
                .collect();
            let results: Vec<_> = threads.into_iter().map(|thread| thread.join()).collect();
            signals.stop();
            sender.join().expect("the sender does not panic");
            assert!(results.iter().all(Result::is_ok), "a thread has panicked");
        });
    }

    fn step(&self, random: &mut Random) {
        match random.below(16) {
            0..=2 => return self.spawn(random),
            3 if random.below(60) == 0 => {
                self.sigchld_ignored.store(true, Ordering::SeqCst);
                return ignore_sigchld();
            }
            4 => return self.wait_in_a_set(random),
            _ => {}
        }
        let subject = {
            let subjects = self.subjects();
            match subjects.len() {
                0 => return,
                // From the later half: most of the others have exited.
                length => subjects[length - 1 - random.below(length / 2 + 1)].clone(),
            }
        };
        subject.call_something(random);
    }

    fn spawn(&self, random: &mut Random) {
        let backend = self.backends[random.below(self.backends.len())];
        let subject = Subject::spawn(backend, random);
        self.subjects().push(Arc::new(subject));
    }

    /// Spawns three processes and waits for them in a set.
    fn wait_in_a_set(&self, random: &mut Random) {
        let mut set = WaitSet::new().expect("a set");
        let mut members = Vec::new();
        for index in 0..3 {
            let backend = self.backends[random.below(self.backends.len())];
            let code = random.below(200);
            let child = common::sh(&format!("exit {code}"));
            match set.insert(open(child.id(), backend), (index, code)) {
                Ok(_) => members.push(index),
                Err(rejected) => assert!(self.status_may_be_lost(&rejected.error), "{rejected:?}"),
            }
        }
        while let Some(exited) = set.wait().expect("epoll waits") {
            let (index, code) = exited.value;
            members.retain(|member| *member != index);
            match exited.status {
                Some(status) => assert_eq!(status.code(), i32::try_from(code).ok()),
                None => assert!(
                    self.sigchld_ignored.load(Ordering::SeqCst),
                    "a status is lost"
                ),
            }
        }
        assert!(members.is_empty(), "not reported: {members:?}");
    }

    fn status_may_be_lost(&self, error: &io::Error) -> bool {
        pidwait::is_echild(error) && self.sigchld_ignored.load(Ordering::SeqCst)
    }

    fn check_all(&self) -> usize {
        let may_be_lost = self.sigchld_ignored.load(Ordering::SeqCst);
        let subjects = std::mem::take(&mut *self.subjects());
        subjects
            .iter()
            .for_each(|subject| subject.check_reaped_once(may_be_lost));
        subjects.len()
    }

    fn subjects(&self) -> MutexGuard<'_, Vec<Arc<Subject>>> {
        self.subjects.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

fn open(pid: u32, backend: Backend) -> PidHandle {
    PidHandle::open_with(pid, backend).expect("open")
}

/// The numbers of threads and descriptors of this process.
fn open_resources() -> (usize, usize) {
    (thread_count(), open_descriptors())
}
