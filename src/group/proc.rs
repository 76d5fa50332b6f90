// Tests: tests/it/process_group/wait.rs, tests/it/namespaces.rs

//! The members of a group, read from `/proc`: for Linux.

use std::io;
use std::time::{Duration, Instant};

use nix::errno::Errno;
use nix::libc::pid_t;

use super::Leader;
use crate::support::{unsupported, Backend};
use crate::sys;
use crate::wait::poll_until;

/// A process group, and how to wait for its members.
#[derive(Debug)]
pub(super) struct Members {
    group: pid_t,
    backend: Backend,
}

/// If up to this many PIDs were given out during a scan, each of them is checked. If more, the scan
/// starts again.
const FEW: pid_t = 1000;

impl Members {
    /// Unsupported: `/proc` does not show the processes of this PID namespace.
    pub(super) fn of(leader: &impl Leader) -> io::Result<Self> {
        if !sys::proc_is_own()? {
            let text = "cannot list the members of a process group: /proc is missing or belongs \
                        to another PID namespace (mount a new proc file system on it)";
            return Err(unsupported(text));
        }
        Ok(Self {
            group: leader.pid(),
            backend: leader.backend(),
        })
    }

    /// The leader if it is alive, otherwise all members that are.
    pub(super) fn first(&self, leader: &mut impl Leader) -> io::Result<Vec<pid_t>> {
        match self.is_alive(leader, self.group)? {
            true => Ok(vec![self.group]),
            false => self.find(leader),
        }
    }

    /// The members that are alive.
    ///
    /// A chain of members that fork and exit at once can outrun a scan: A forks B, whose PID is in a
    /// part that was already scanned, and exits before the scan reaches A. So the result is that none
    /// is alive only if a scan finds none and no PID was given out during it. PIDs that were given out
    /// are checked, too.
    ///
    /// A leader that `/proc` hides is not in the list, and is checked last.
    pub(super) fn find(&self, leader: &mut impl Leader) -> io::Result<Vec<pid_t>> {
        let mut before = last_pid()?;
        let mut alive = self.alive_of(leader, sys::list_pids()?)?;
        while alive.is_empty() {
            let last = last_pid()?;
            alive = match last.wrapping_sub(before) {
                0 => break,
                1..=FEW => self.alive_of(leader, (before..=last).skip(1))?,
                // Many, or the numbers have wrapped around.
                _ => self.alive_of(leader, sys::list_pids()?)?,
            };
            before = last;
        }
        if alive.is_empty() {
            alive = self.alive_of(leader, [self.group])?;
        }
        Ok(alive)
    }

    fn alive_of(
        &self,
        leader: &mut impl Leader,
        pids: impl IntoIterator<Item = pid_t>,
    ) -> nix::Result<Vec<pid_t>> {
        let mut alive = Vec::new();
        for pid in pids {
            if self.is_alive(leader, pid)? {
                alive.push(pid);
            }
        }
        Ok(alive)
    }

    /// Whether the process with that PID is a member and alive. A zombie is not alive: its parent may
    /// never reap it.
    fn is_alive(&self, leader: &mut impl Leader, pid: pid_t) -> nix::Result<bool> {
        // Much faster than /proc, and nearly all processes are in other groups.
        let is_in_group = match sys::group_of(pid) {
            Ok(group) if group != self.group => return Ok(false),
            Err(Errno::ESRCH) => return Ok(false),
            found => found.is_ok(),
        };
        match sys::proc_stat(pid) {
            Ok(stat) => Ok(stat.group == self.group && !stat.is_zombie()),
            // Gone, or hidden: other ways are left to check the leader.
            Err(Errno::ESRCH | Errno::EPERM) if pid == self.group => Ok(!leader.has_exited()?),
            Err(Errno::ESRCH) => Ok(false),
            // With `hidepid=1` it is in /proc, but not whether it is a zombie.
            Err(Errno::EPERM) => Ok(is_in_group && self.may_run(pid)),
            Err(errno) => Err(errno),
        }
    }

    /// Whether a process that `/proc` does not describe may run. By PID it may until it is reaped.
    fn may_run(&self, pid: pid_t) -> bool {
        let has_exited = || sys::is_readable(&sys::pidfd_open(pid)?);
        self.backend != Backend::Pidfd || !has_exited().unwrap_or(false)
    }

    /// Blocks until none of these processes is an alive member. False once the deadline has passed.
    pub(super) fn block(
        &self,
        leader: &mut impl Leader,
        pids: &[pid_t],
        deadline: Option<Instant>,
    ) -> io::Result<bool> {
        let mut left = pids.to_vec();
        if self.backend == Backend::Pidfd {
            // All have to exit, so it does not matter which of them is waited for first.
            while let Some(&pid) = left.last() {
                match sys::pidfd_open(pid) {
                    Ok(fd) if self.block_by_pidfd(leader, pid, &fd, deadline)? => {}
                    Ok(_) => return Ok(false),
                    Err(Errno::ESRCH) => {}
                    Err(_) => break, // Out of descriptors.
                }
                left.pop();
            }
        }
        // One at a time here, too: to check all of a large group each time would take much of a CPU.
        let found = poll_until(deadline, || -> nix::Result<_> {
            while let Some(&pid) = left.last() {
                if self.is_alive(leader, pid)? {
                    return Ok(None);
                }
                left.pop();
            }
            Ok(Some(()))
        })?;
        Ok(found.is_some())
    }

    /// The same for one process. If the PID belongs to another process than the pidfd, that process is
    /// not a member, or the next scan finds it.
    fn block_by_pidfd(
        &self,
        leader: &mut impl Leader,
        pid: pid_t,
        fd: &sys::Pidfd,
        deadline: Option<Instant>,
    ) -> nix::Result<bool> {
        /// A member that leaves the group causes no event. So its group is checked at intervals,
        /// which are short at first, because a daemon leaves its group right after the fork.
        const FIRST_CHECK: Duration = Duration::from_millis(1);
        const LONGEST: Duration = Duration::from_secs(1);
        let mut until_check = FIRST_CHECK;
        while self.is_alive(leader, pid)? {
            let check = sys::now() + until_check;
            let next = deadline.map_or(check, |deadline| deadline.min(check));
            if sys::poll_readable(fd, Some(next))? {
                return Ok(true);
            }
            if deadline.is_some_and(|deadline| deadline <= sys::now()) {
                return Ok(false);
            }
            until_check = (until_check * 2).min(LONGEST);
        }
        Ok(true)
    }
}

fn last_pid() -> io::Result<pid_t> {
    sys::last_pid().map_err(|errno| match errno {
        Errno::ENOENT => unsupported(
            "cannot list the members of a process group: there is no /proc/loadavg (mount /proc \
             without subset=pid)",
        ),
        errno => errno.into(),
    })
}
