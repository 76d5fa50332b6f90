//! What a simulated run consists of.

use super::kernel::{Fault, Reuse};
use crate::Backend;

/// The process that the handle refers to, and which other code reaps it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Scenario {
    /// A child that is reaped through the handle only.
    OwnChild,
    /// The same when no descriptor can be opened: a handle to a std `Child` needs none.
    NoDescriptors,
    /// The same when no thread can be started.
    NoThreads,
    /// A zombie that was reaped when its handle was made.
    ReapedEarly,
    /// Gone before the handle was opened.
    Missing,
    /// A child that other code reaps too.
    ReapedExternally,
    /// A child whose status is thrown away.
    SigchldIgnored,
    /// The child of another process.
    NonChild,
    /// The child of another process, which exits, so that this process adopts its child.
    Adopted,
}

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
    /// A wait, after which a descriptor from before is readable.
    ExitFdBesideWait,
    ExitStatus,
    TryWaitShared,
    WaitShared,
    WaitSharedTimeout,
    TerminateUnreaped,
    Release,
    /// Names the group, and keeps it.
    Group,
    /// Drops the group that the thread named last.
    DropGroup,
    // Calls of the group that the thread named last, or of one that it names for this call.
    GroupSignal,
    GroupKill,
    GroupHasExited,
    GroupWaitExited,
    GroupWaitExitedTimeout,
    GroupTerminate,
    GroupTerminateUnreaped,
    /// Opens another handle, to the process that has the PID now.
    OpenAgain,
    /// Opens the process and peeks until it has exited, as the waits for a std `Child` do.
    Peek,
    /// Not a call of the handle: other code waits for the exit and reaps.
    ReapExternally,
    /// Not a call of the handle: the PID, which is free, is given to a process that runs on.
    ReusePid,
    /// The same, to a child that is a zombie.
    ReusePidByZombie,
}

impl Call {
    pub(super) const ALL: [Call; 19] = [
        Call::Signal,
        Call::SignalGroup,
        Call::Kill,
        Call::Release,
        Call::Wait,
        Call::WaitUsage,
        Call::TryWait,
        Call::WaitTimeout,
        Call::Terminate,
        Call::HasExited,
        Call::WaitExited,
        Call::WaitExitedTimeout,
        Call::ExitFd,
        Call::ExitFdBesideWait,
        Call::ExitStatus,
        Call::TryWaitShared,
        Call::WaitShared,
        Call::WaitSharedTimeout,
        Call::TerminateUnreaped,
    ];

    /// Those that reap, and fail with ECHILD for a non-child.
    pub(super) const WAITS: [Call; 8] = [
        Call::Wait,
        Call::WaitUsage,
        Call::TryWait,
        Call::WaitTimeout,
        Call::TryWaitShared,
        Call::WaitShared,
        Call::WaitSharedTimeout,
        Call::Terminate,
    ];

    /// Those that return only with the status, or with an error.
    pub(super) const WAITS_TO_THE_END: [Call; 4] = [
        Call::Wait,
        Call::WaitUsage,
        Call::WaitShared,
        Call::Terminate,
    ];

    /// Those that end the process or its group.
    pub(super) const ENDS: [Call; 4] = [
        Call::Terminate,
        Call::TerminateUnreaped,
        Call::GroupTerminate,
        Call::GroupTerminateUnreaped,
    ];

    /// Those of a group.
    pub(super) const OF_GROUP: [Call; 9] = [
        Call::Group,
        Call::DropGroup,
        Call::GroupSignal,
        Call::GroupKill,
        Call::GroupHasExited,
        Call::GroupWaitExited,
        Call::GroupWaitExitedTimeout,
        Call::GroupTerminate,
        Call::GroupTerminateUnreaped,
    ];

    /// Those that return even if the process never exits.
    pub(super) const SHORT: [Call; 9] = [
        Call::Signal,
        Call::SignalGroup,
        Call::Release,
        Call::TryWait,
        Call::WaitTimeout,
        Call::HasExited,
        Call::WaitExitedTimeout,
        Call::ExitFd,
        Call::ExitStatus,
    ];

    /// Those that check for the exit without reaping, and return only when they have seen it.
    pub(super) const SEE_EXIT: [Call; 2] = [Call::WaitExited, Call::ExitFd];

    /// Those that check for the exit without reaping. By PID only the watcher blocks in a system call
    /// on the PID.
    pub(super) const CHECKS: [Call; 4] = [
        Call::HasExited,
        Call::WaitExitedTimeout,
        Call::ExitFd,
        Call::ExitStatus,
    ];

    /// Those that look more than once at what `poll` reports, and return even if the process never
    /// exits.
    pub(super) const LOOK_TWICE: [Call; 4] = [
        Call::TryWait,
        Call::WaitTimeout,
        Call::HasExited,
        Call::WaitExitedTimeout,
    ];

    pub(super) fn all_with_groups() -> Vec<Call> {
        let mut calls = Self::ALL.to_vec();
        calls.extend(Self::OF_GROUP);
        calls
    }

    pub(super) fn without_release() -> Vec<Call> {
        let mut calls = Self::ALL.to_vec();
        calls.retain(|call| *call != Call::Release);
        calls
    }
}

/// The group of the process.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Group {
    /// It leads a group, and is the only member.
    Alone,
    /// It leads none.
    None,
    /// It leads a group with other members, which exit and fork at any moment.
    WithMembers,
    /// The same, and it leaves that group.
    Left,
}

#[derive(Clone, Debug)]
pub(super) struct Run {
    pub(super) backend: Backend,
    pub(super) scenario: Scenario,
    pub(super) group: Group,
    pub(super) threads: Vec<Vec<Call>>,
    /// The calls of a forked process, which lives until the parent's threads have ended.
    pub(super) fork: Option<Vec<Call>>,
    /// Whether the process exits only after all threads have ended.
    pub(super) exits_last: bool,
    /// What happens to the free PID. At random if it is not given.
    pub(super) reuse: Option<Reuse>,
    /// Whether `/proc` is readable. At random if it is not given.
    pub(super) procfs: Option<bool>,
    /// Whether `poll` may report an exit too early, once.
    pub(super) early_poll: bool,
    pub(super) fault: Option<Fault>,
}

impl Run {
    pub(super) fn new(backend: Backend, scenario: Scenario, threads: Vec<Vec<Call>>) -> Self {
        Self {
            backend,
            scenario,
            group: Group::Alone,
            threads,
            fork: None,
            exits_last: false,
            reuse: None,
            procfs: None,
            early_poll: false,
            fault: None,
        }
    }

    pub(super) fn has(&self, call: Call) -> bool {
        self.threads.iter().flatten().any(|it| *it == call)
    }

    pub(super) fn has_members(&self) -> bool {
        matches!(self.group, Group::WithMembers | Group::Left)
    }

    pub(super) fn has_only(&self, calls: &[Call]) -> bool {
        self.threads.iter().flatten().all(|it| calls.contains(it))
    }

    /// Whether code other than the handle can free the PID. To a forked process its parent is such code.
    pub(super) fn is_reaped_by_others(&self) -> bool {
        self.fork.is_some()
            || matches!(
                self.scenario,
                Scenario::ReapedExternally
                    | Scenario::SigchldIgnored
                    | Scenario::NonChild
                    | Scenario::Adopted
            )
    }

    /// Whether the contract holds even if the PID is reused at any moment. By PID it does not if other
    /// code frees the PID, unless the start time is known. Without the start time, only waits for a
    /// non-child are safe, because they do not use the PID.
    pub(super) fn allows_reuse(&self, procfs: bool) -> bool {
        if self.backend == Backend::Pidfd {
            // A peek that opens the PID again may find any process.
            return !self.has(Call::Peek);
        }
        if self.fork.is_some() || self.has(Call::ReusePid) || self.has(Call::ReusePidByZombie) {
            return false;
        }
        match self.scenario {
            Scenario::OwnChild
            | Scenario::NoDescriptors
            | Scenario::NoThreads
            | Scenario::ReapedEarly
            | Scenario::Missing
            | Scenario::Adopted => true,
            Scenario::ReapedExternally | Scenario::SigchldIgnored => false,
            Scenario::NonChild => procfs || self.has_only(&Call::WAITS),
        }
    }
}
