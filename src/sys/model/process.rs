//! A process of the model kernel: plain data.

use nix::libc::{c_int, pid_t};

/// The PID of the target, and of the processes that get it next.
pub(super) const PID: pid_t = 100;

/// The process of the test itself, whose group has all processes that lead none.
pub(super) const THIS: Id = Id(0);

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Life {
    Running,
    Zombie,
    /// Being reaped: waits do not find it any more, but the PID is not free and there is no record.
    Dead,
    Reaped,
}

impl Life {
    /// Whether waits fail with ECHILD.
    pub(super) fn is_gone(self) -> bool {
        matches!(self, Life::Dead | Life::Reaped)
    }
}

/// One process, even if another process has its PID now.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Id(pub(super) usize);

#[derive(Debug)]
pub(super) struct Process {
    pub(super) pid: pid_t,
    pub(super) child: bool,
    /// Its group, by the process that made it. The number is that one's PID.
    pub(super) group: Id,
    /// The process that the handles were opened for.
    pub(super) target: bool,
    /// It was started in the target's group. All others are unrelated.
    pub(super) member: bool,
    pub(super) life: Life,
    pub(super) status: c_int,
    pub(super) reaped_by_us: bool,
}

impl Process {
    /// The process of the test itself.
    pub(super) fn this() -> Self {
        Self {
            pid: pid_t::try_from(std::process::id()).unwrap_or(pid_t::MAX),
            child: false,
            group: THIS,
            target: false,
            member: false,
            life: Life::Running,
            status: 0,
            reaped_by_us: false,
        }
    }
}
