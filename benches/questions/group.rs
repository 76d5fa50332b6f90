//! Ending a process group: from the first signal until the call returns.
//!
//! The members are forks of this program that sleep. Each turn of a contender is a process of its
//! own, and this one reaps the orphans, as init does: a slow init would leave the next turn thousands
//! of zombies.

use std::io::Read;
use std::os::fd::AsRawFd;
use std::os::unix::net::UnixStream;
use std::os::unix::process::CommandExt;
use std::process::{Child, Command, Stdio};
use std::thread;
use std::time::{Duration, Instant};

use nix::libc::{self, pid_t};
use pidwait::{Backend, PidHandle};
use process_wrap::std::{ChildWrapper, CommandWrap, ProcessGroup};

use crate::harness::{median, Bench};
use crate::process::{self, Turn};
use crate::{api, raw};

const CONTENDERS: &[Turn] = &[
    ("raw kill(-pgid)", |n| {
        turn(n, spawn, Child::id, |leader, _| {
            raw::kill_group(leader.id() as pid_t, libc::SIGKILL);
            raw::waitpid(leader.id() as pid_t, 0);
        })
    }),
    ("raw kill(-pgid), all gone", |n| {
        turn(n, spawn, Child::id, |leader, members| {
            raw::kill_group(leader.id() as pid_t, libc::SIGKILL);
            wait_until_gone(members);
            raw::waitpid(leader.id() as pid_t, 0);
        })
    }),
    ("pidwait pidfd", |n| {
        let spawn = |command| spawn_handle(command, Backend::Pidfd);
        turn(n, spawn, PidHandle::id, terminate)
    }),
    ("pidwait waitpid", |n| {
        let spawn = |command| spawn_handle(command, Backend::Waitpid);
        turn(n, spawn, PidHandle::id, terminate)
    }),
    ("process-wrap", |n| {
        turn(n, spawn_wrapped, Wrapped::id, |Wrapped(leader), _| {
            leader.kill().expect("the group is killed");
        })
    }),
];

fn spawn(mut command: Command) -> Child {
    let leader = command.process_group(0).spawn();
    leader.expect("the leader starts")
}

fn spawn_handle(mut command: Command, backend: Backend) -> PidHandle {
    api::spawn_with(command.process_group(0), backend)
}

fn terminate(leader: &mut PidHandle, _: &UnixStream) {
    const GRACE: Duration = Duration::from_secs(60);
    api::terminate_group(leader, GRACE).expect("the group is terminated");
}

struct Wrapped(Box<dyn ChildWrapper>);

impl Wrapped {
    fn id(&self) -> u32 {
        self.0.id()
    }
}

fn spawn_wrapped(command: Command) -> Wrapped {
    let mut command = CommandWrap::from(command);
    let leader = command.wrap(ProcessGroup::leader()).spawn();
    Wrapped(leader.expect("the leader starts"))
}

pub(crate) fn ask(bench: &Bench) {
    for n in [1, 100] {
        let question = format!("group/terminate/{n}");
        if bench.wants(&question) {
            raw::set_subreaper(true);
            let names = CONTENDERS.iter().map(|(name, _)| *name);
            bench.in_processes(question, names, |name| run_turn(name, n));
            raw::set_subreaper(false);
        }
    }
}

/// The argument that makes this program the process of one turn.
pub(crate) const TURN: &str = "group-turn";

fn run_turn(contender: &str, n: usize) -> f64 {
    let mut command = process::this_program(&[TURN, contender, &n.to_string()]);
    let turn = command.stdout(Stdio::piped()).spawn();
    let turn = turn.expect("this program starts");
    let status = loop {
        match raw::waitpid(-1, 0) {
            Some((pid, status)) if pid as u32 == turn.id() => break status,
            _orphan => {}
        }
    };
    assert_eq!(status, 0, "{contender}, {n} members");
    let output = std::io::read_to_string(turn.stdout.expect("piped"));
    let output = output.expect("a number");
    output.trim().parse().expect("a number")
}

/// What the process of one turn does.
pub(crate) fn print_turn(contender: &str, n: &str) {
    process::print_turn(CONTENDERS, contender, n);
}

/// The first time is not counted.
fn turn<Leader>(
    n: usize,
    start: impl Fn(Command) -> Leader,
    id: impl Fn(&Leader) -> u32,
    end: impl Fn(&mut Leader, &UnixStream),
) -> f64 {
    let measure = || {
        let (ours, theirs) = UnixStream::pair().expect("a socket pair");
        let mut leader = start(group(&theirs, n));
        drop(theirs);
        let start = Instant::now();
        end(&mut leader, &ours);
        let time = start.elapsed();
        // Not all contenders have waited for all members.
        while raw::kill_group(id(&leader) as pid_t, 0) {
            thread::sleep(Duration::from_micros(100));
        }
        time.as_nanos() as f64
    };
    measure();
    let samples = if n == 1 { 15 } else { 5 };
    median((0..samples).map(|_| measure()).collect())
}

/// The leader of a group of N. It has started the other members before the spawn returns, because
/// each of them holds the pipe open through which std learns that the program was executed.
fn group(socket: &UnixStream, n: usize) -> Command {
    let socket = socket.as_raw_fd();
    let mut command = Command::new("never executed");
    let sleep = move || {
        for _ in 1..n {
            if raw::fork() == 0 {
                break;
            }
        }
        raw::sleep_until_closed(socket)
    };
    // SAFETY: the child and its children make system calls only.
    unsafe { command.pre_exec(sleep) };
    command
}

/// The other end of the socket is closed when the last member has ended.
fn wait_until_gone(mut members: &UnixStream) {
    assert_eq!(members.read(&mut [0]).expect("no error"), 0);
}
