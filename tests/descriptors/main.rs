//! Every public call runs once for each of its system calls, with that one failing with EMFILE.
//! Each time the call must return that error or a correct result, leave no descriptor open and lose
//! no status.

// On 32-bit systems libc makes other system calls than those exempt here.
#![cfg(all(target_os = "linux", target_pointer_width = "64"))]

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

/// Makes one public call on a new process, with the given fault, and asserts that the status of the
/// process can still be collected.
type Case = fn(&Emfile, Backend);

const LONG: Duration = Duration::MAX;
const SHORT: Duration = Duration::from_millis(2);

/// A part of the test has a process of its own, which counts its descriptors, and probes only once.
type Part = (String, &'static [(&'static str, Case)], Option<Backend>);

#[test]
fn emfile_at_any_system_call_leaks_and_loses_nothing() {
    let Some(part) = isolated::current_part() else {
        return common::at_once(parts(), |(part, ..)| {
            let test = "emfile_at_any_system_call_leaks_and_loses_nothing";
            isolated::run_isolated(test, &part, |_| {});
        });
    };
    if let Err(error) = emfile::check() {
        return common::skip(&format!("no seccomp listener: {error}"));
    }
    // Ends the process if a call blocks forever.
    nix::unistd::alarm::set(60);
    fail_each_call_of_the_probe();
    set::start_reactors();
    start_background_reaper();
    let part = parts().into_iter().find(|it| it.0 == part);
    let (_, cases, backend) = part.expect("a part");
    let chosen = pidwait::support().expect("probed before").backend();
    let backend = backend.unwrap_or(chosen);
    let cases = cases.iter();
    cases.for_each(|(name, case)| sweep(name, *case, backend));
}

fn parts() -> Vec<Part> {
    // These calls choose the backend themselves.
    let mut parts: Vec<Part> = vec![("child".to_owned(), child::CASES, None)];
    for backend in common::backends() {
        parts.push((format!("handle, {backend}"), handle::CASES, Some(backend)));
        parts.push((format!("set, {backend}"), set::CASES, Some(backend)));
    }
    parts
}

fn sweep(name: &str, case: Case, backend: Backend) {
    for at in 0.. {
        eprintln!("{name}, {backend}, at call {at}");
        let before = common::open_descriptors();
        let emfile = Emfile::at(at);
        case(&emfile, backend);
        emfile.join();
        // A watcher thread closes its descriptors when it ends, shortly after the process does.
        common::eventually("no descriptor is left open", || {
            common::open_descriptors() == before
        });
        if emfile.failed_call().is_none() {
            return;
        }
    }
}

/// It keeps its descriptors, so it has them before the first count.
fn start_background_reaper() {
    let before = common::open_descriptors();
    for backend in common::backends() {
        let handle = running(backend);
        handle.reap_in_background();
        handle.kill().expect("it runs");
        // Not `exit_status`, which peeks at a zombie.
        common::eventually("it is reaped", common::has_no_children);
    }
    common::eventually("only the poller and its waker are left", || {
        common::open_descriptors() == before + 2
    });
}

/// `support` returns EMFILE and probes again at the next call.
fn fail_each_call_of_the_probe() {
    std::env::remove_var("PIDWAIT_BACKEND");
    let mut times = 0;
    loop {
        let emfile = Emfile::at(times);
        let result = emfile.during(pidwait::support);
        emfile.join();
        if emfile.failed_call().is_none() {
            result.expect("a definite result");
            break;
        }
        assert_eq!(common::errno(result), libc::EMFILE);
        times += 1;
    }
    assert_eq!(
        times, 3,
        "the probe makes three calls and a close, which is exempt"
    );
}

/// The value, or `None` if the call failed with EMFILE. Panics on any other error.
#[track_caller]
fn unless_emfile<T: Debug>(result: io::Result<T>) -> Option<T> {
    match result {
        Ok(value) => Some(value),
        Err(error) => {
            assert_eq!(error.raw_os_error(), Some(libc::EMFILE), "{error}");
            None
        }
    }
}

/// Whether this call is part of starting a watcher. Without a watcher, a timed wait polls instead.
fn starts_watcher(call: Option<c_long>) -> bool {
    [libc::SYS_socketpair, libc::SYS_clone3, libc::SYS_clone]
        .map(Some)
        .contains(&call)
}

fn open(pid: u32, backend: Backend) -> PidHandle {
    PidHandle::open_with(pid, backend).expect("open")
}

/// A zombie that exited with 3.
fn zombie(backend: Backend) -> PidHandle {
    open(common::zombie("exit 3").id(), backend)
}

fn running(backend: Backend) -> PidHandle {
    open(common::sleeper().id(), backend)
}

/// Asserts that the status was returned, or that a wait still returns it.
#[track_caller]
fn settle(handle: &PidHandle, returned: Option<std::process::ExitStatus>) {
    let status = returned.unwrap_or_else(|| {
        handle.kill().expect("it is not reaped");
        handle.wait().expect("the first wait returns the status")
    });
    let killed = std::os::unix::process::ExitStatusExt::signal(&status);
    assert!(status.code() == Some(3) || killed.is_some(), "{status}");
    assert_eq!(common::errno(handle.wait()), libc::ECHILD);
}
