//! Out of descriptors at the worst moment: EMFILE at every system call of every public call in
//! turn. Each time there is an error or a right answer, nothing is left open, and no status is
//! lost.

#[path = "../common/mod.rs"]
mod common;

mod child;
mod emfile;
mod handle;
mod set;

use std::fmt::Debug;
use std::io;
use std::time::Duration;

use nix::libc::{self, c_long};
use pidwait::{Backend, PidHandle};

use common::isolated;
use emfile::Emfile;

/// A public call, on a process of its own. Makes it under the given fate, and sees to it that the
/// status of that process, a 3 where it exits, is had by somebody in the end.
type Case = fn(&Emfile, Backend);

const LONG: Duration = Duration::MAX;
const SHORT: Duration = Duration::from_millis(2);

#[test]
fn every_call_in_turn() {
    if !isolated::enter("every_call_in_turn") {
        return; // Descriptors are counted, and the probe is done once in a process.
    }
    if let Err(error) = emfile::check() {
        return common::skip(&format!("no seccomp listener: {error}"));
    }
    // Should a call block for good, this ends it.
    nix::unistd::alarm::set(60);
    probe();
    set::start_reactors();
    for backend in common::backends() {
        let cases = handle::CASES.iter().chain(set::CASES);
        cases.for_each(|(name, case)| sweep(name, *case, backend));
    }
    // These choose their backend themselves.
    let chosen = pidwait::support().expect("it was had before").backend();
    let cases = child::CASES.iter();
    cases.for_each(|(name, case)| sweep(name, *case, chosen));
}

fn sweep(name: &str, case: Case, backend: Backend) {
    for at in 0.. {
        eprintln!("{name}, {backend}, at call {at}");
        let before = common::open_descriptors();
        let emfile = Emfile::at(at);
        case(&emfile, backend);
        emfile.lift();
        // What a watcher has open it closes when it ends, a moment after the process.
        common::eventually("nothing is left open", || {
            common::open_descriptors() == before
        });
        if emfile.struck().is_none() {
            return;
        }
    }
}

/// `support` says so, and asks again the next time.
fn probe() {
    std::env::remove_var("PIDWAIT_BACKEND");
    let mut times = 0;
    loop {
        let emfile = Emfile::at(times);
        let answer = emfile.during(pidwait::support);
        emfile.lift();
        if emfile.struck().is_none() {
            answer.expect("the kernel's word");
            break;
        }
        assert_eq!(common::errno(answer), libc::EMFILE);
        times += 1;
    }
    assert_eq!(times, 3, "a probe is three calls and a close");
}

/// What was answered, unless that there are no descriptors.
#[track_caller]
fn unless_emfile<T: Debug>(answer: io::Result<T>) -> Option<T> {
    match answer {
        Ok(answer) => Some(answer),
        Err(error) => {
            assert_eq!(error.raw_os_error(), Some(libc::EMFILE), "{error}");
            None
        }
    }
}

/// What only asks for the exit before it happens: without it, looking again does.
fn is_for_a_watcher(call: Option<c_long>) -> bool {
    [libc::SYS_socketpair, libc::SYS_clone3, libc::SYS_clone]
        .map(Some)
        .contains(&call)
}

fn open(pid: u32, backend: Backend) -> PidHandle {
    PidHandle::open_with(pid, backend).expect("open")
}

/// Has exited with 3.
fn zombie(backend: Backend) -> PidHandle {
    open(common::zombie("exit 3").id(), backend)
}

fn running(backend: Backend) -> PidHandle {
    open(common::sleeper().id(), backend)
}

/// The status was had, or is still to be had.
#[track_caller]
fn settle(handle: &PidHandle, had: Option<std::process::ExitStatus>) {
    let status = had.unwrap_or_else(|| {
        handle.kill().expect("nobody else has reaped it");
        handle.wait().expect("a status for the first to ask")
    });
    let killed = std::os::unix::process::ExitStatusExt::signal(&status);
    assert!(status.code() == Some(3) || killed.is_some(), "{status}");
    assert_eq!(common::errno(handle.wait()), libc::ECHILD);
}
