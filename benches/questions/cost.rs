//! What a call costs beyond its time: system calls, threads and memory.
//!
//! System calls are counted by strace. Each call is made in a process of its own, between two marks.

use std::fs;
use std::path::Path;
use std::process::Command;
use std::thread;
use std::time::Duration;

use nix::libc;
use pidwait_benches::Answer;

use crate::contender::{
    make_zombie, Contender, Ext, Pidfd, Program, RawPidfd, RawWaitpid, Signal, Std, TryWait,
    WaitTimeout, Waitpid,
};
use crate::harness::Bench;
use crate::peers::{AsyncProcess, ProcessControl, Shared, Subprocess, Tokio, WaitTimeoutCrate};
use crate::process::{path_of_this_program, run, status_field, this_program};
use crate::{multi, raw};

const CALLS: [&str; 5] = [
    "wait",
    "try_wait",
    "signal",
    "timed_wait_zombie",
    "timed_wait_running",
];

pub(crate) fn ask(bench: &Bench) {
    calls(bench);
    let numbers: &[usize] = if bench.quick { &[100] } else { &[100, 10_000] };
    for n in numbers {
        let question = format!("cost/bytes_each/{n}");
        if bench.wants(&question) && multi::too_many(*n).is_none() {
            let bytes = |name| run(&mut this_program(&[BYTES_EACH, name, &n.to_string()]));
            let bytes = multi::names().map(|name| (name.to_owned(), vec![bytes(name)]));
            let contenders = bytes.collect();
            bench.record(&Answer {
                question,
                contenders,
            });
        }
    }
}

fn calls(bench: &Bench) {
    let wanted = CALLS.map(|call| bench.wants(&format!("cost/syscalls/{call}")));
    let threads = bench.wants("cost/threads");
    if !threads && !wanted.contains(&true) {
        return;
    }
    if Command::new("strace").arg("--version").output().is_err() {
        eprintln!("skipped: system calls: strace is not installed");
        return;
    }
    let log = std::env::temp_dir().join(format!("pidwait-bench-{}", std::process::id()));
    let mut most_threads: Vec<(String, Vec<f64>)> = Vec::new();
    for (call, wanted) in CALLS.iter().zip(wanted) {
        let mut answer = Answer {
            question: format!("cost/syscalls/{call}"),
            contenders: Vec::new(),
        };
        for name in contenders(call).iter().copied() {
            let mut strace = Command::new("strace");
            let strace = strace.args(["-f", "-o"]).arg(&log);
            let threads = run(strace.arg(path_of_this_program()).args([CALL, name, call]));
            answer
                .contenders
                .push((name.to_owned(), vec![between_marks(&log)]));
            match most_threads.iter_mut().find(|(known, _)| known == name) {
                Some((_, most)) => most[0] = most[0].max(threads),
                None => most_threads.push((name.to_owned(), vec![threads])),
            }
        }
        if wanted {
            bench.record(&answer);
        }
    }
    let _ = fs::remove_file(log);
    if threads {
        bench.record(&Answer {
            question: "cost/threads".to_owned(),
            contenders: most_threads,
        });
    }
}

/// The system calls of a process and its threads between the two marks; its children sleep then.
fn between_marks(log: &Path) -> f64 {
    let log = fs::read_to_string(log).expect("strace's output");
    let mut inside = false;
    let mut calls = 0;
    for line in log.lines() {
        if line.contains("getsid(2147483647") {
            inside = !inside;
        } else if inside
            && !["resumed>", "+++", "---", "restart_syscall"]
                .iter()
                .any(|it| line.contains(it))
        {
            calls += 1;
        }
    }
    f64::from(calls)
}

// ---- the processes that are measured ----

/// The arguments that make this program such a process.
pub(crate) const CALL: &str = "cost-call";
pub(crate) const BYTES_EACH: &str = "cost-bytes-each";

/// The names and the types of the contenders that can make a call.
macro_rules! calls {
    ($(($call:literal, $run:ident($exited:literal): $($contender:ty),* $(,)?))*) => {
        fn contenders(call: &str) -> &'static [&'static str] {
            match call {
                $($call => &[$(<$contender>::NAME),*],)*
                _ => unreachable!("{call}"),
            }
        }

        /// Makes a call, and prints how many threads the process has afterwards.
        pub(crate) fn print_call(contender: &str, call: &str) {
            match call {
                $($call => {
                    $(if contender == <$contender>::NAME {
                        $run::<$contender>($exited);
                    })*
                })*
                _ => unreachable!("{call}"),
            }
        }
    };
}

calls! {
    ("wait", wait(true):
        RawPidfd, Pidfd, RawWaitpid, Waitpid, Std, Ext,
        Shared, ProcessControl, Subprocess, AsyncProcess, Tokio)
    ("try_wait", try_wait(false):
        RawPidfd, Pidfd, RawWaitpid, Waitpid, Std, Ext, Shared, Subprocess, AsyncProcess, Tokio)
    ("signal", signal(false):
        RawPidfd, Pidfd, RawWaitpid, Waitpid, Ext, Shared, Subprocess)
    ("timed_wait_zombie", wait_timeout(true):
        RawPidfd, Pidfd, Waitpid, Ext,
        WaitTimeoutCrate, Shared, ProcessControl, Subprocess, AsyncProcess, Tokio)
    ("timed_wait_running", wait_timeout(false):
        RawPidfd, Pidfd, Waitpid, Ext,
        WaitTimeoutCrate, Shared, ProcessControl, Subprocess, AsyncProcess, Tokio)
}

/// Makes the call for two children: the first time, a crate may do what it does once in a process.
fn twice<C: Contender>(exited: bool, mut call: impl FnMut(&mut C::Process)) {
    for counted in [false, true] {
        let mut process = C::start(Program::sleeper());
        thread::sleep(Duration::from_millis(200)); // Until the child has made its own calls.
        if exited {
            make_zombie(C::pid(&process));
        }
        if counted {
            raw::mark();
        }
        call(&mut process);
        if counted {
            raw::mark();
            println!("{}", status_field("Threads:"));
        }
        if !exited {
            make_zombie(C::pid(&process));
            C::wait(&mut process);
        }
    }
}

fn wait<C: Contender>(exited: bool) {
    twice::<C>(exited, C::wait);
}

fn try_wait<C: TryWait>(exited: bool) {
    twice::<C>(exited, |process| assert_eq!(C::try_wait(process), exited));
}

fn signal<C: Signal>(exited: bool) {
    twice::<C>(exited, |process| C::signal(process, libc::SIGURG));
}

fn wait_timeout<C: WaitTimeout>(exited: bool) {
    let timeout = Duration::from_millis(if exited { 60_000 } else { 20 });
    twice::<C>(exited, |process| {
        assert_eq!(C::wait_timeout(process, timeout), exited);
    });
}
