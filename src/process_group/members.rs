// Tests: tests/it/process_group/

//! The members of a process group: who is alive, and how to wait until no process is.

use std::io;
use std::time::{Duration, Instant};

use nix::errno::Errno;
use nix::libc::{c_int, pid_t};

use crate::ending::WaitFor;
use crate::engine::{earlier, Subject, Timeout};
use crate::errno::{is_denied, is_shortage};
use crate::support::{unsupported, Backend};
use crate::sys::{self, Arc, Given, NewPids, Pidfd};

/// What a look at the members has found. A zombie is not alive.
#[derive(Debug)]
pub(crate) enum Look {
    Gone,
    Alive,
    /// The members cannot be listed, or it cannot be proved that there is none.
    Unknown(io::Error),
}

/// Signals a group. Succeeds if only zombies are left, as for a single zombie.
pub(crate) fn signal_group(leader: &mut (impl Subject + ?Sized), signal: c_int) -> io::Result<()> {
    match leader.signal_group(signal) {
        // What macOS returns for a group of zombies, and every system for zombies of another user.
        Err(errno) if is_denied(errno) && leader.has_exited()? => {
            match Members::of(leader).look(leader, true)? {
                Look::Gone => Ok(()),
                Look::Alive | Look::Unknown(_) => Err(errno.into()),
            }
        }
        sent => Ok(sent?),
    }
}

/// The PIDs of the members that are alive.
pub(crate) fn list(leader: &mut (impl Subject + ?Sized)) -> io::Result<Vec<u32>> {
    if !sys::HAS_PROCFS {
        return Err(unsupported(
            "the members of a process group cannot be listed on this system",
        ));
    }
    let members = Members::of(leader);
    match members.scan(leader)? {
        Scan::None => Ok(Vec::new()),
        Scan::Unknown(error) => Err(error),
        Scan::Alive(alive) => match leader.signal_group(0) {
            Err(Errno::ESRCH) => Ok(Vec::new()), // They are in a later group with its number.
            Err(Errno::ECHILD) if members.outlives_leader() => Ok(Vec::new()),
            Err(Errno::ECHILD) => Err(Errno::ECHILD.into()),
            Ok(()) | Err(_) => Ok(alive.iter().map(|it| it.pid.unsigned_abs()).collect()),
        },
    }
}

/// Waits until no member is alive. False once the time has passed.
pub(crate) fn wait_exited(leader: &mut impl Subject, timeout: Timeout) -> io::Result<bool> {
    let deadline = timeout.deadline();
    let mut members = Members::of(leader);
    let mut is_ready = false;
    loop {
        match members.look(leader, is_ready)? {
            // Members that were not seen before may be alive.
            Look::Gone if members.has_lost_leader => return Err(Errno::ECHILD.into()),
            Look::Gone => return Ok(true),
            Look::Unknown(error) => return Err(error),
            Look::Alive => {}
        }
        if deadline.is_some_and(|at| at <= sys::now()) {
            return Ok(false);
        }
        is_ready = members
            .wait_for()
            .block(leader, earlier(members.next_check(), deadline));
    }
}

/// The members of a group. [`look`](Self::look) never blocks; the caller waits until
/// [`next_check`](Self::next_check) or for [`wait_for`](Self::wait_for) before the next one.
///
/// All members have to exit, so it does not matter which of them is waited for first. A scan of `/proc`
/// finds those that are alive; they are waited for one at a time; then comes the next scan.
#[derive(Debug)]
pub(crate) struct Members {
    group: pid_t,
    by_pidfd: bool,
    /// Found by the last scan. The last of them is waited for.
    left: Vec<Member>,
    watched: Watched,
    start: Instant,
    interval: Duration,
    next_check: Option<Instant>,
    /// All that scans have found, if the group cannot be signalled once its leader is reaped.
    seen: Option<Vec<Member>>,
    /// Other code has reaped the leader, so that only those members can still be signalled.
    has_lost_leader: bool,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Member {
    pid: pid_t,
    /// Unknown if `/proc` denies access to it.
    start_time: Option<u64>,
}

#[derive(Debug)]
enum Watched {
    Nothing,
    Leader,
    Other(Arc<Pidfd>),
}

/// So many PIDs that were given out before a scan are checked again: a fork can have its PID already and
/// not be in `/proc` yet.
const RECENT: pid_t = 64;

impl Members {
    pub(crate) fn of(subject: &mut (impl Subject + ?Sized)) -> Self {
        let seen = (!subject.group_outlives_leader()).then(Vec::new);
        let start = sys::now();
        let mut members = Self {
            group: subject.pid(),
            by_pidfd: subject.backend() == Backend::Pidfd,
            left: Vec::new(),
            watched: Watched::Nothing,
            start,
            interval: Duration::ZERO,
            next_check: Some(start),
            seen,
            has_lost_leader: false,
        };
        // A leader that runs is enough to know that the group is alive.
        if members.seen.is_none() && matches!(subject.has_exited(), Ok(false)) {
            members.left.push(Member {
                pid: members.group,
                start_time: None,
            });
            members.watch_last();
        }
        members
    }

    /// A leader that runs was found to be one just before: it is not checked again at once.
    pub(crate) fn trust_leader(&mut self) {
        if let Watched::Leader = self.watched {
            self.plan_next_check();
        }
    }

    /// Whether any member is alive.
    pub(crate) fn look(
        &mut self,
        subject: &mut (impl Subject + ?Sized),
        mut is_ready: bool,
    ) -> io::Result<Look> {
        loop {
            while let Some(&member) = self.left.last() {
                let is_due = self.next_check.map_or(true, |at| at <= sys::now());
                if !is_ready && !is_due {
                    return Ok(Look::Alive);
                }
                is_ready = false;
                if self.is_still_alive(subject, member)? {
                    self.plan_next_check();
                    return Ok(Look::Alive);
                }
                self.left.pop();
                self.watch_last();
            }
            match self.scan(subject)? {
                Scan::None => return Ok(Look::Gone),
                // There may be members that no scan saw before the leader was reaped. Those that are found
                // may as well be in a later group with its number.
                Scan::Alive(_) | Scan::Unknown(_) if self.has_lost_leader => {
                    return Err(Errno::ECHILD.into());
                }
                Scan::Unknown(error) => {
                    self.plan_next_check();
                    return Ok(Look::Unknown(error));
                }
                Scan::Alive(alive) => match subject.signal_group(0) {
                    // No process is in the group. Those that were found are in a later one with its number.
                    Err(Errno::ESRCH) => return Ok(Look::Gone),
                    Err(Errno::ECHILD) if self.outlives_leader() => return Ok(Look::Gone),
                    Err(Errno::ECHILD) => self.lose_leader()?,
                    Ok(()) | Err(_) => {
                        if let Some(seen) = &mut self.seen {
                            let new = alive.iter().filter(|member| !seen.contains(member));
                            let new: Vec<_> = new.copied().collect();
                            seen.extend(new);
                        }
                        self.left = alive;
                        self.watch_last();
                        if let Watched::Nothing = self.watched {
                            // Without a pidfd, which could be that of a later process.
                            self.plan_next_check();
                            return Ok(Look::Alive);
                        }
                    }
                },
            }
        }
    }

    pub(crate) fn next_check(&self) -> Option<Instant> {
        self.next_check
    }

    pub(crate) fn wait_for(&self) -> WaitFor {
        match &self.watched {
            Watched::Leader => WaitFor::Exit,
            Watched::Other(fd) => WaitFor::Member(Arc::clone(fd)),
            Watched::Nothing => WaitFor::Time,
        }
    }

    /// Sends a signal to the members that may be signalled.
    pub(crate) fn signal(
        &mut self,
        subject: &mut (impl Subject + ?Sized),
        signal: c_int,
    ) -> io::Result<()> {
        self.start = sys::now(); // Members may exit soon.
        if !self.has_lost_leader {
            match subject.signal_group(signal) {
                Ok(()) | Err(Errno::ESRCH) => return Ok(()),
                // No member may be signalled, or all are zombies.
                Err(errno) if is_denied(errno) => return Ok(()),
                Err(Errno::ECHILD) if self.outlives_leader() => return Ok(()),
                Err(Errno::ECHILD) => self.lose_leader()?,
                Err(errno) => return Err(errno.into()),
            }
        }
        for member in &self.left {
            if is_same(member) {
                // It may have exited, or may not be signalled.
                let _ = sys::kill(member.pid, signal);
            }
        }
        Ok(())
    }

    /// EPERM: members are left, and none of them may be signalled.
    pub(crate) fn check_denied(&mut self, subject: &mut (impl Subject + ?Sized)) -> io::Result<()> {
        let mut has_denied = false;
        for &member in &self.left {
            if !self.is_still_alive(subject, member)? {
                continue;
            }
            match sys::kill(member.pid, 0) {
                Err(errno) if is_denied(errno) => has_denied = true,
                _ => return Ok(()),
            }
        }
        if has_denied {
            return Err(Errno::EPERM.into());
        }
        Ok(())
    }

    /// Whether the group can be signalled once its leader was reaped. ECHILD then means that the group is empty.
    fn outlives_leader(&self) -> bool {
        self.seen.is_none() && !self.has_lost_leader
    }

    /// From now on only the members that were seen can be signalled, by their PIDs. ECHILD: none was seen.
    fn lose_leader(&mut self) -> io::Result<()> {
        let seen = self.seen.take().unwrap_or_default();
        if seen.is_empty() {
            return Err(Errno::ECHILD.into());
        }
        let known = seen
            .into_iter()
            .filter(|it| it.start_time.is_some() && is_same(it));
        self.left = known.collect();
        self.has_lost_leader = true;
        self.watch_last();
        Ok(())
    }

    fn watch_last(&mut self) {
        self.interval = Duration::ZERO;
        self.next_check = Some(sys::now());
        self.watched = match self.left.last() {
            Some(_) if !self.by_pidfd => Watched::Nothing,
            Some(member) if member.pid == self.group => Watched::Leader,
            Some(member) => match sys::pidfd_open(member.pid) {
                // If another process has the PID now, the check that follows finds that.
                Ok(fd) => Watched::Other(Arc::new(fd)),
                Err(_) => Watched::Nothing, // It is gone, or no descriptor is available.
            },
            None => Watched::Nothing,
        };
    }

    /// A member that leaves the group causes no event, so it is checked from time to time: often at first,
    /// because a daemon leaves its group right after the fork.
    fn plan_next_check(&mut self) {
        const SHORTEST: Duration = Duration::from_millis(1);
        const LONGEST: Duration = Duration::from_secs(1);
        let now = sys::now();
        self.interval = if let Watched::Nothing = self.watched {
            // There is no other event either.
            let waited = now.saturating_duration_since(self.start);
            if waited < SHORTEST {
                Duration::from_micros(40)
            } else {
                (waited / 20).clamp(SHORTEST, LONGEST)
            }
        } else {
            (self.interval * 2).clamp(SHORTEST, LONGEST)
        };
        self.next_check = now.checked_add(self.interval);
    }

    fn is_still_alive(
        &self,
        subject: &mut (impl Subject + ?Sized),
        member: Member,
    ) -> io::Result<bool> {
        if sys::HAS_PROCFS && member.pid == self.group && subject.has_exited()? {
            return Ok(false);
        }
        let now = self.member(subject, member.pid)?;
        Ok(now.is_some_and(|now| {
            let is_known = now.start_time.is_some() && member.start_time.is_some();
            !is_known || now.start_time == member.start_time
        }))
    }

    /// Lists the members that are alive. None is if all of this holds:
    ///
    /// - Two scans have found none. One is not enough: A forks B, whose PID is in a part of `/proc` that
    ///   was already listed, and exits before the scan reaches A.
    /// - Every PID that was given out since the first scan began was checked, until none was given out
    ///   during the check. A chain of members that fork and exit at once can outrun a scan.
    fn scan(&self, subject: &mut (impl Subject + ?Sized)) -> io::Result<Scan> {
        if !sys::HAS_PROCFS {
            return self.ask(subject);
        }
        if !sys::proc_is_own()? {
            let text = "cannot list the members of a process group: /proc is missing or belongs \
                        to another PID namespace (mount a new proc file system on it)";
            return Ok(Scan::Unknown(unsupported(text)));
        }
        let new = NewPids::from_now();
        let mut list = match sys::list_pids() {
            Ok(list) => list,
            Err(errno) => return Ok(Scan::Unknown(errno.into())),
        };
        // A leader that has exited does not come back. Its zombie is kept, so it is in each list.
        let has_leader = !subject.has_exited()?;
        list.retain(|pid| has_leader || *pid != self.group);
        let alive = self.alive_of(subject, list.iter().copied())?;
        if !alive.is_empty() {
            return Ok(Scan::Alive(alive));
        }
        match new {
            Ok(new) => self.scan_again(subject, new, list),
            Err(errno) => Ok(Scan::Unknown(errno.into())),
        }
    }

    /// The second scan, after one that has found none in the list.
    fn scan_again(
        &self,
        subject: &mut (impl Subject + ?Sized),
        mut new: NewPids,
        mut list: Vec<pid_t>,
    ) -> io::Result<Scan> {
        let recent = new.before(RECENT);
        let given = match new.take() {
            Ok(given) => given,
            Err(errno) => return Ok(Scan::Unknown(errno.into())),
        };
        if given != Given::None {
            list = sys::list_pids()?;
        }
        list.extend(recent);
        if let Given::Few(pids) = given {
            list.extend(pids);
        }
        loop {
            let alive = self.alive_of(subject, list)?;
            if !alive.is_empty() {
                return Ok(Scan::Alive(alive));
            }
            list = match new.take() {
                Ok(Given::None) => break,
                Ok(Given::Few(pids)) => pids.collect(),
                Ok(Given::Many) => sys::list_pids()?,
                Err(errno) => return Ok(Scan::Unknown(errno.into())),
            };
        }
        if subject.has_exited()? {
            return Ok(Scan::None);
        }
        // `/proc` may hide the leader.
        let leader = self.alive_of(subject, [self.group])?;
        if leader.is_empty() {
            Ok(Scan::None)
        } else {
            Ok(Scan::Alive(leader))
        }
    }

    /// Where members cannot be listed on any machine: whether the group can be signalled. The leader's
    /// PID stands for all of them.
    fn ask(&self, subject: &mut (impl Subject + ?Sized)) -> io::Result<Scan> {
        let is_alive = match subject.signal_group(0) {
            Ok(()) => true,
            // Only zombies are left, or only processes that may not be signalled.
            Err(errno) if is_denied(errno) => !subject.has_exited()?,
            Err(Errno::ESRCH) => false,
            Err(errno) => return Err(errno.into()),
        };
        if is_alive {
            let leader = Member {
                pid: self.group,
                start_time: None,
            };
            Ok(Scan::Alive(vec![leader]))
        } else {
            Ok(Scan::None)
        }
    }

    fn alive_of(
        &self,
        subject: &mut (impl Subject + ?Sized),
        pids: impl IntoIterator<Item = pid_t>,
    ) -> io::Result<Vec<Member>> {
        let mut alive = Vec::new();
        for pid in pids {
            alive.extend(self.member(subject, pid)?);
        }
        Ok(alive)
    }

    /// The process with that PID, if it is a member and alive. A zombie is not alive: its parent may
    /// never reap it.
    fn member(
        &self,
        subject: &mut (impl Subject + ?Sized),
        pid: pid_t,
    ) -> io::Result<Option<Member>> {
        if !sys::HAS_PROCFS {
            let found = self.ask(subject)?;
            return Ok(matches!(found, Scan::Alive(_)).then_some(Member {
                pid,
                start_time: None,
            }));
        }
        // Much faster than /proc, and nearly all processes are in other groups.
        let is_in_group = match sys::group_of(pid) {
            Ok(group) if group != self.group => return Ok(None),
            Ok(_) => true,
            Err(Errno::ESRCH) => return Ok(None),
            // By a security module. What may not be inspected does not count, unless it is known to be a
            // member.
            Err(_) => false,
        };
        let unknown = Member {
            pid,
            start_time: None,
        };
        match sys::proc_stat(pid) {
            Ok(stat) if stat.group == self.group && !stat.is_zombie() => Ok(Some(Member {
                pid,
                start_time: Some(stat.start_time),
            })),
            Ok(_) => Ok(None),
            Err(errno) if is_shortage(errno) => Err(errno.into()),
            // Gone, or hidden: other ways are left to check the leader.
            Err(_) if pid == self.group => Ok((!subject.has_exited()?).then_some(unknown)),
            // With `hidepid=1` it is in /proc, but not whether it is a zombie.
            Err(errno) if is_denied(errno) && is_in_group && self.may_run(pid) => Ok(Some(unknown)),
            Err(_) => Ok(None),
        }
    }

    /// Whether a process that `/proc` does not describe may run. By PID it may until it is reaped.
    fn may_run(&self, pid: pid_t) -> bool {
        let has_exited = || sys::is_readable(&sys::pidfd_open(pid)?);
        !self.by_pidfd || !has_exited().unwrap_or(false)
    }
}

#[derive(Debug)]
enum Scan {
    None,
    Alive(Vec<Member>),
    Unknown(io::Error),
}

/// Whether the PID still belongs to a member whose start time is known.
fn is_same(member: &Member) -> bool {
    match member.start_time {
        Some(then) => sys::proc_stat(member.pid).is_ok_and(|now| now.start_time == then),
        None => false,
    }
}
