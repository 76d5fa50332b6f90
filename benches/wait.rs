//! One child: what waiting for it costs, and what asking and signalling does.
//!
//! A group is a question, a line in it a crate, or the bare system calls: `bare pidfd` is the
//! least that `pidwait pidfd` can do with. All start the same programs, and what is not named in
//! the question is not timed.

mod common;

use std::io::{Read, Write};
use std::os::fd::AsFd;
use std::os::unix::net::UnixStream;
use std::time::{Duration, Instant};

use criterion::measurement::WallTime;
use criterion::{BatchSize, BenchmarkGroup};
use nix::libc;

use common::lines::{
    BareExt, BarePidfd, BareWaitpid, Ext, Line, Pidfd, Signal, Std, Timed, TryWait, Waitpid,
};
use common::peers::{AsyncProcess, ProcessControl, Shared, Subprocess, Tokio, WaitTimeout};
use common::{bare, end, with_own_handler, Program};

type Group<'a> = BenchmarkGroup<'a, WallTime>;

/// Asks a question of one line after the other.
macro_rules! ask {
    ($criterion:ident, $question:literal, $bench:ident: $($line:ty),* $(,)?) => {
        let mut group = $criterion.benchmark_group($question);
        $(with_own_handler(<$line>::NAME, || $bench::<$line>(&mut group));)*
        group.finish();
    };
}

const NEVER: Duration = Duration::from_secs(3600);

fn main() {
    if std::env::args().nth(1).as_deref() == Some(QUITTER) {
        quit_when_told();
    }
    let mut c = common::criterion();
    ask!(c, "wait, exited", wait_exited:
        BarePidfd, BareWaitpid, BareExt, Pidfd, Waitpid, Ext,
        Std, Shared, ProcessControl, Subprocess, AsyncProcess, Tokio);
    ask!(c, "spawn and wait", spawn_and_wait:
        BarePidfd, BareWaitpid, BareExt, Pidfd, Waitpid, Ext,
        Std, Shared, ProcessControl, Subprocess, AsyncProcess, Tokio);
    ask!(c, "from exit to return", exit_to_return:
        BarePidfd, BareWaitpid, BareExt, Pidfd, Waitpid, Ext,
        Std, Shared, ProcessControl, Subprocess, AsyncProcess, Tokio);
    ask!(c, "try_wait, running", try_wait:
        BarePidfd, BareWaitpid, BareExt, Pidfd, Waitpid, Ext,
        Std, Shared, Subprocess, AsyncProcess, Tokio);
    ask!(c, "signal, running", signal:
        BarePidfd, BareWaitpid, BareExt, Pidfd, Waitpid, Ext, Shared, Subprocess);
    ask!(c, "timed wait, exited", timed_exited:
        BarePidfd, BareExt, Pidfd, Waitpid, Ext,
        WaitTimeout, Shared, ProcessControl, Subprocess, AsyncProcess, Tokio);
    ask!(c, "timed wait, from exit to return", timed_exit_to_return:
        BarePidfd, BareExt, Pidfd, Waitpid, Ext,
        WaitTimeout, Shared, ProcessControl, Subprocess, AsyncProcess, Tokio);
    // Not wait-timeout: it comes back up to a millisecond before its limit.
    ask!(c, "timed wait, how late", how_late:
        BarePidfd, BareExt, Pidfd, Waitpid, Ext,
        Shared, ProcessControl, Subprocess, AsyncProcess, Tokio);
    c.final_summary();
}

fn zombie<L: Line>() -> L::Process {
    let process = L::start(Program::sleeper());
    end(L::pid(&process));
    process
}

fn wait_exited<L: Line>(group: &mut Group<'_>) {
    group.bench_function(L::NAME, |b| {
        b.iter_batched_ref(zombie::<L>, L::wait, BatchSize::SmallInput);
    });
}

fn timed_exited<L: Timed>(group: &mut Group<'_>) {
    group.bench_function(L::NAME, |b| {
        let wait = |process: &mut _| assert!(L::wait_timeout(process, NEVER));
        b.iter_batched_ref(zombie::<L>, wait, BatchSize::SmallInput);
    });
}

fn spawn_and_wait<L: Line>(group: &mut Group<'_>) {
    group.bench_function(L::NAME, |b| {
        b.iter(|| L::wait(&mut L::start(Program::new("true", &[]))));
    });
}

fn exit_to_return<L: Line>(group: &mut Group<'_>) {
    group.bench_function(L::NAME, |b| {
        b.iter_custom(|times| (0..times).map(|_| latency::<L>(L::wait)).sum());
    });
}

fn timed_exit_to_return<L: Timed>(group: &mut Group<'_>) {
    let wait = |process: &mut _| assert!(L::wait_timeout(process, NEVER));
    group.bench_function(L::NAME, |b| {
        b.iter_custom(|times| (0..times).map(|_| latency::<L>(wait)).sum());
    });
}

fn try_wait<L: TryWait>(group: &mut Group<'_>) {
    with_sleeper::<L>(|process| {
        group.bench_function(L::NAME, |b| b.iter(|| assert!(!L::try_wait(process))));
    });
}

/// One that nobody minds, and that is not even queued: the child sleeps on.
fn signal<L: Signal>(group: &mut Group<'_>) {
    with_sleeper::<L>(|process| {
        group.bench_function(L::NAME, |b| b.iter(|| L::signal(process, libc::SIGURG)));
    });
}

fn how_late<L: Timed>(group: &mut Group<'_>) {
    const LIMIT: Duration = Duration::from_millis(5);
    with_sleeper::<L>(|process| {
        group.bench_function(L::NAME, |b| {
            b.iter_custom(|times| {
                let late = (0..times).map(|_| {
                    let start = Instant::now();
                    assert!(!L::wait_timeout(process, LIMIT));
                    start.elapsed().checked_sub(LIMIT).expect("never early")
                });
                late.sum()
            });
        });
    });
}

fn with_sleeper<L: Line>(run: impl FnOnce(&mut L::Process)) {
    let mut process = L::start(Program::sleeper());
    run(&mut process);
    end(L::pid(&process));
    L::wait(&mut process);
}

// ---- from exit to return: the child itself says when it left ----

const QUITTER: &str = "quit-when-told";

/// How long after the last deed of a child its waiter came back.
fn latency<L: Line>(wait: impl Fn(&mut L::Process)) -> Duration {
    let (mut ours, theirs) = UnixStream::pair().expect("two descriptors");
    let me = std::env::current_exe().expect("a path");
    let mut process = L::start(Program::new(me, &[QUITTER]).stdin(theirs));
    ours.read_exact(&mut [0]).expect("it is ready");
    ours.write_all(&[0]).expect("it is told");
    wait(&mut process);
    let back = bare::nanoseconds(libc::CLOCK_MONOTONIC);
    let mut left = [0; 8];
    ours.read_exact(&mut left).expect("it said when");
    Duration::from_nanos(back - u64::from_ne_bytes(left))
}

fn quit_when_told() -> ! {
    let stdin = std::io::stdin().as_fd().try_clone_to_owned();
    let mut parent = UnixStream::from(stdin.expect("a descriptor"));
    parent.write_all(&[0]).expect("somebody listens");
    parent.read_exact(&mut [0]).expect("somebody tells");
    // Until then the parent is in its wait for sure.
    std::thread::sleep(Duration::from_micros(500));
    let now = bare::nanoseconds(libc::CLOCK_MONOTONIC);
    parent
        .write_all(&now.to_ne_bytes())
        .expect("somebody listens");
    bare::exit_now()
}
