//! The runs that the tests explore. Calls that are not given are drawn at random, anew for each
//! schedule.

use shuttle::rand::{thread_rng, Rng};

use super::kernel::Reuse;
use super::scenario::{Call, Group, Run, Scenario};
use crate::Backend;

pub(super) fn any_calls(backend: Backend, scenario: Scenario) -> Run {
    random_calls(&Call::ALL, backend, scenario)
}

pub(super) fn only_waits(backend: Backend, scenario: Scenario) -> Run {
    random_calls(&Call::WAITS, backend, scenario)
}

pub(super) fn exits_last(backend: Backend, scenario: Scenario) -> Run {
    Run {
        exits_last: true,
        ..random_calls(&Call::SHORT, backend, scenario)
    }
}

/// A thread of the process execs that is not its main thread. The process runs on.
pub(super) fn exec_in_a_thread(scenario: Scenario) -> Run {
    Run {
        exits_last: true,
        early_poll: true,
        ..random_calls(&Call::LOOK_TWICE, Backend::Pidfd, scenario)
    }
}

/// A fork at a random moment. The process may run on until all calls have returned.
pub(super) fn fork(backend: Backend, scenario: Scenario) -> Run {
    let run = match thread_rng().gen() {
        true => exits_last(backend, scenario),
        false => any_calls(backend, scenario),
    };
    Run {
        fork: Some(draw(&Call::SHORT)),
        ..run
    }
}

/// A call sees that a non-child is gone before its PID is reused. Its start time is not known.
pub(super) fn non_child_seen_gone() -> Run {
    let mut calls = vec![Call::ReapExternally];
    calls.push(pick(&[Call::HasExited, Call::WaitExited, Call::ExitFd]));
    calls.push(Call::ReusePid);
    calls.extend(draw(&Call::without_release()));
    let others = Call::without_release();
    let threads = vec![calls, draw(&others), draw(&others)];
    Run {
        procfs: Some(false),
        ..Run::new(Backend::Waitpid, Scenario::NonChild, threads)
    }
}

/// A call sees that a child has exited before other code reaps it and its PID is reused.
pub(super) fn child_seen_to_exit() -> Run {
    let mut calls = vec![pick(&Call::SEE_EXIT)];
    calls.extend([Call::ReapExternally, Call::ReusePid]);
    calls.extend(draw(&Call::ALL));
    let threads = vec![calls, draw(&Call::CHECKS), draw(&Call::CHECKS)];
    Run::new(Backend::Waitpid, Scenario::ReapedExternally, threads)
}

/// A non-child's PID is reused before any call has seen that it is gone. Its start time is known.
pub(super) fn non_child_with_start_time() -> Run {
    let mut calls = vec![Call::ReapExternally, Call::ReusePid];
    calls.extend(draw(&Call::ALL));
    let threads = vec![calls, draw(&Call::ALL), draw(&Call::ALL)];
    Run {
        procfs: Some(true),
        ..Run::new(Backend::Waitpid, Scenario::NonChild, threads)
    }
}

pub(super) fn signal_beside_wait(backend: Backend) -> Run {
    let threads = vec![
        vec![Call::Wait],
        vec![Call::Signal],
        vec![Call::SignalGroup],
    ];
    Run::new(backend, Scenario::OwnChild, threads)
}

pub(super) fn terminate_beside_waits(backend: Backend) -> Run {
    let threads = vec![vec![Call::Terminate], vec![Call::Wait], draw(&Call::WAITS)];
    Run::new(backend, Scenario::OwnChild, threads)
}

pub(super) fn release_beside_wait(backend: Backend) -> Run {
    let threads = vec![
        vec![Call::WaitTimeout],
        vec![Call::Wait],
        vec![Call::Release],
    ];
    Run {
        reuse: Some(Reuse::ByRunningChild),
        ..Run::new(backend, Scenario::OwnChild, threads)
    }
}

/// By PID, a reap that has let blocking waits end, while another one begins.
pub(super) fn try_wait_beside_waits(backend: Backend) -> Run {
    let threads = vec![vec![Call::Wait], vec![Call::Wait], vec![Call::TryWait; 3]];
    Run {
        reuse: Some(Reuse::ByRunningChild),
        ..Run::new(backend, Scenario::OwnChild, threads)
    }
}

pub(super) fn open_beside_reap(backend: Backend) -> Run {
    let threads = vec![
        vec![Call::OpenAgain; 2],
        vec![Call::OpenAgain],
        vec![Call::Wait],
    ];
    Run::new(backend, Scenario::ReapedExternally, threads)
}

pub(super) fn peek_beside_reap(backend: Backend) -> Run {
    let threads = vec![vec![Call::Peek], vec![Call::Peek], vec![Call::Wait]];
    Run::new(backend, Scenario::ReapedExternally, threads)
}

/// Any calls of a handle and of groups.
pub(super) fn any_calls_with_groups(backend: Backend, scenario: Scenario) -> Run {
    let all = Call::all_with_groups();
    Run {
        group: any_group(),
        ..random_calls(&all, backend, scenario)
    }
}

/// Calls of groups that live from the start, beside waits.
pub(super) fn waits_beside_groups(backend: Backend, scenario: Scenario) -> Run {
    let mut of_group = vec![Call::Group];
    of_group.extend(draw(&Call::OF_GROUP));
    let threads = vec![of_group, draw(&Call::WAITS), draw(&Call::all_with_groups())];
    Run {
        group: any_group(),
        ..Run::new(backend, scenario, threads)
    }
}

/// An end of a group beside a wait, another end, or a release.
pub(super) fn ends_beside_waits(backend: Backend) -> Run {
    let mut others = Call::WAITS.to_vec();
    others.extend(Call::ENDS);
    others.push(Call::Release);
    let end = vec![
        Call::Group,
        pick(&[Call::GroupTerminate, Call::GroupTerminateUnreaped]),
    ];
    let threads = vec![end, vec![pick(&Call::WAITS)], draw(&others)];
    Run {
        group: any_group(),
        ..Run::new(backend, Scenario::OwnChild, threads)
    }
}

/// The last drop of a group beside a wait, and another thread that names the group again.
pub(super) fn drop_beside_wait(backend: Backend) -> Run {
    let threads = vec![
        vec![Call::Group, Call::DropGroup, Call::Group],
        vec![Call::Wait],
        vec![Call::Group, pick(&Call::OF_GROUP), Call::DropGroup],
    ];
    Run {
        reuse: Some(Reuse::ByRunningChild),
        group: any_group(),
        ..Run::new(backend, Scenario::OwnChild, threads)
    }
}

/// A group keeps the zombie, other code reaps it, and the PID goes to another child that exits at once.
pub(super) fn kept_zombie_reaped_externally() -> Run {
    let mut calls = vec![Call::Group, pick(&Call::WAITS_TO_THE_END)];
    calls.extend([Call::ReapExternally, Call::ReusePidByZombie]);
    calls.extend([
        pick(&[Call::GroupSignal, Call::GroupKill, Call::ExitStatus]),
        Call::DropGroup,
    ]);
    Run {
        procfs: Some(true),
        ..Run::new(Backend::Waitpid, Scenario::ReapedExternally, vec![calls])
    }
}

fn any_group() -> Group {
    match thread_rng().gen_range(0..8) {
        0 => Group::None,
        1 => Group::Left,
        2 => Group::Alone,
        _ => Group::WithMembers,
    }
}

/// Three threads with one to three calls each.
fn random_calls(all: &[Call], backend: Backend, scenario: Scenario) -> Run {
    Run::new(backend, scenario, vec![draw(all), draw(all), draw(all)])
}

fn draw(all: &[Call]) -> Vec<Call> {
    let number = thread_rng().gen_range(1..=3);
    (0..number).map(|_| pick(all)).collect()
}

fn pick(all: &[Call]) -> Call {
    all[thread_rng().gen_range(0..all.len())]
}
