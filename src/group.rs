// Tests: tests/it/process_group.rs, tests/it/process_group/, tests/contract/group.rs

//! The steps of the calls on a process group, for a leader by a handle or by std's `Child`.

#[cfg_attr(
    any(target_os = "linux", target_os = "android"),
    path = "group/proc.rs"
)]
#[cfg_attr(
    not(any(target_os = "linux", target_os = "android")),
    path = "group/no_proc.rs"
)]
mod members;

use std::io;
use std::time::Duration;

use nix::errno::Errno;
use nix::libc::{c_int, pid_t, SIGCONT, SIGKILL};

use crate::support::Backend;
use crate::sys;
use crate::wait::Timeout;

use members::Members;

/// The leader of a process group: by a handle, or std's `Child`.
pub(crate) trait Leader {
    fn pid(&self) -> pid_t;

    // Only pidfds of members can be polled, and only Linux has them.
    #[cfg_attr(not(any(target_os = "linux", target_os = "android")), allow(dead_code))]
    fn backend(&self) -> Backend;

    /// ECHILD: it cannot be reaped, because it is a non-child or was reaped.
    fn check_waitable(&mut self) -> io::Result<()>;

    fn has_exited(&mut self) -> nix::Result<bool>;

    fn signal(&mut self, signal: c_int) -> nix::Result<()>;

    /// ESRCH: it leads no group. ECHILD: it was reaped.
    fn signal_group(&mut self, signal: c_int) -> nix::Result<()>;
}

/// Signals a group. Succeeds if only zombies are left, as for a single zombie.
pub(crate) fn signal_group(leader: &mut impl Leader, signal: c_int) -> io::Result<()> {
    match leader.signal_group(signal) {
        // What macOS returns for a group of zombies, and every system for zombies of another user.
        Err(Errno::EPERM) if leader.has_exited()? && only_zombies(leader) => Ok(()),
        sent => Ok(sent?),
    }
}

fn only_zombies(leader: &mut impl Leader) -> bool {
    let alive = Members::of(leader).and_then(|members| members.find(leader));
    alive.is_ok_and(|alive| alive.is_empty())
}

/// Waits until no member of the group is alive. False once the time has passed.
pub(crate) fn wait_exited(leader: &mut impl Leader, timeout: Timeout) -> io::Result<bool> {
    check_leads(leader)?;
    let members = Members::of(leader)?;
    let deadline = timeout.deadline();
    let mut alive = members.first(leader)?;
    loop {
        if alive.is_empty() {
            return Ok(true);
        }
        if !is_own(leader)? {
            // The members that were found may belong to a later group with the same number.
            return match members.find(leader)?.is_empty() {
                true => Ok(true),
                false => Err(Errno::ECHILD.into()),
            };
        }
        if !members.block(leader, &alive, deadline)? {
            return Ok(false);
        }
        alive = members.find(leader)?;
    }
}

/// Ends all members of a group, the leader included, and leaves the leader unreaped.
pub(crate) fn end(leader: &mut impl Leader, first: c_int, grace: Duration) -> io::Result<()> {
    if begin_end(leader, first)? {
        let members = Members::of(leader)?;
        let grace = Timeout::after(grace);
        if !await_end(leader, &members, grace, |_| Ok(()))? {
            await_end(leader, &members, Timeout::Infinite, kill)?;
        }
    }
    finish_end(leader)
}

/// The first step of [`end`]: sends the first signal. False: no member is alive.
pub(crate) fn begin_end(leader: &mut impl Leader, first: c_int) -> io::Result<bool> {
    leader.check_waitable()?;
    check_leads(leader)?;
    // It may have led a group and left it. On macOS the call fails with ESRCH for a zombie.
    if sys::group_of(leader.pid()).is_ok_and(|group| group != leader.pid()) {
        return Err(Errno::ESRCH.into());
    }
    if Members::of(leader)?.find(leader)?.is_empty() {
        return Ok(false);
    }
    send(leader, first)?;
    // A stopped member handles the first signal only when it continues.
    send(leader, SIGCONT)?;
    Ok(true)
}

/// One check of [`end`], without blocking: whether all members are gone.
#[cfg(any(feature = "tokio", feature = "async-io"))]
pub(crate) fn has_ended(leader: &mut impl Leader) -> io::Result<bool> {
    let members = Members::of(leader)?;
    await_end(leader, &members, Timeout::Poll, |_| Ok(()))
}

/// The same, once the grace is over.
#[cfg(any(feature = "tokio", feature = "async-io"))]
pub(crate) fn kill_and_has_ended(leader: &mut impl Leader) -> io::Result<bool> {
    let members = Members::of(leader)?;
    await_end(leader, &members, Timeout::Poll, kill)
}

/// The last step of [`end`].
pub(crate) fn finish_end(leader: &mut impl Leader) -> io::Result<()> {
    if !leader.has_exited()? {
        // It has left the group since.
        leader.signal(SIGKILL)?;
    }
    Ok(())
}

/// Before each check, not only once: a member that may not be signalled can fork one that may.
fn kill<L: Leader>(leader: &mut L) -> io::Result<()> {
    send(leader, SIGKILL)
}

/// Waits until no member is alive, and calls `before_check` before each check. False once the time
/// has passed. EPERM: only members that may not be signalled are alive.
fn await_end<L: Leader>(
    leader: &mut L,
    members: &Members,
    timeout: Timeout,
    mut before_check: impl FnMut(&mut L) -> io::Result<()>,
) -> io::Result<bool> {
    let deadline = timeout.deadline();
    loop {
        before_check(leader)?;
        let mut alive = members.find(leader)?;
        let all = alive.len();
        alive.retain(|pid| sys::kill(*pid, 0) != Err(Errno::EPERM));
        if alive.is_empty() {
            return match all {
                0 => Ok(true),
                _ => Err(Errno::EPERM.into()),
            };
        }
        if !members.block(leader, &alive, deadline)? {
            return Ok(false);
        }
    }
}

/// Signals the members that may be signalled.
fn send(leader: &mut impl Leader, signal: c_int) -> io::Result<()> {
    match leader.signal_group(signal) {
        // EPERM: no member may be signalled, or all are zombies. ESRCH: the leader has left the group,
        // and no other process is in it.
        Ok(()) | Err(Errno::EPERM | Errno::ESRCH) => Ok(()),
        Err(errno) => Err(errno.into()),
    }
}

/// ESRCH: it leads no group.
fn check_leads(leader: &mut impl Leader) -> io::Result<()> {
    match leader.signal_group(0) {
        Ok(()) | Err(Errno::EPERM) => Ok(()),
        Err(errno) => Err(errno.into()),
    }
}

/// Whether the group with that number is still the one that the leader made.
fn is_own(leader: &mut impl Leader) -> io::Result<bool> {
    match leader.signal_group(0) {
        Ok(()) | Err(Errno::EPERM | Errno::ESRCH) => Ok(true),
        Err(Errno::ECHILD) => Ok(false),
        Err(errno) => Err(errno.into()),
    }
}
