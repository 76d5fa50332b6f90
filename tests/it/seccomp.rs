//! Old kernels and strict sandboxes, simulated by seccomp filters. A process for each filter, because a
//! thread cannot remove it.

use std::io::ErrorKind;
use std::os::unix::process::ExitStatusExt;
use std::process::Child;
use std::thread;

use crate::common::isolated::{current_part, run_isolated};
use crate::common::seccomp::{deny, deny_in, DeniedCall, NO_GROUP_SIGNALS};
use crate::common::smoke::check_core_calls;
use crate::common::{
    await_gone, errno, exists, fork_and_exit, pidfds_supported, reap_externally, rounds, skip,
    sleeper, zombie,
};
use nix::libc::{self, ECHILD, EINVAL, ENOSYS, ENOTTY, EPERM, SIGKILL};
use pidwait::{support, Backend, ChildExt, KillOnDrop, PidHandle, Spawned};

const fn fails_with(call: libc::c_long, errno: i32) -> DeniedCall {
    DeniedCall {
        call,
        only_if: None,
        errno,
    }
}

/// `waitid(P_PIDFD)` before Linux 5.4.
const NO_P_PIDFD: DeniedCall = DeniedCall {
    call: libc::SYS_waitid,
    only_if: Some((0, libc::P_PIDFD)),
    errno: EINVAL,
};

/// `ioctl(PIDFD_GET_INFO)` before Linux 6.13.
const NO_INFO: DeniedCall = DeniedCall {
    call: libc::SYS_ioctl,
    only_if: Some((1, 0xC040_FF0B)),
    errno: ENOTTY,
};

/// A simulated system, and what the probe must find missing there.
struct System {
    name: &'static str,
    denied: &'static [DeniedCall],
    missing: Option<(&'static str, i32)>,
}

const SYSTEMS: &[System] = &[
    System {
        name: "Linux before 5.1",
        denied: &[
            fails_with(libc::SYS_pidfd_send_signal, ENOSYS),
            fails_with(libc::SYS_pidfd_open, ENOSYS),
            NO_P_PIDFD,
        ],
        missing: Some(("pidfd_open", ENOSYS)),
    },
    System {
        name: "Linux 5.1 and 5.2",
        denied: &[fails_with(libc::SYS_pidfd_open, ENOSYS), NO_P_PIDFD],
        missing: Some(("pidfd_open", ENOSYS)),
    },
    System {
        name: "Linux 5.3",
        denied: &[NO_P_PIDFD],
        missing: Some(("waitid", EINVAL)),
    },
    System {
        name: "a sandbox without pidfds",
        denied: &[
            fails_with(libc::SYS_pidfd_open, EPERM),
            fails_with(libc::SYS_pidfd_send_signal, EPERM),
        ],
        missing: Some(("pidfd_open", EPERM)),
    },
    System {
        name: "a sandbox without pidfd_send_signal",
        denied: &[fails_with(libc::SYS_pidfd_send_signal, EPERM)],
        missing: Some(("pidfd_send_signal", EPERM)),
    },
    // Where there is no `poll`, libc's is `ppoll`.
    #[cfg(target_arch = "x86_64")]
    System {
        name: "a sandbox without ppoll",
        denied: &[fails_with(libc::SYS_ppoll, EPERM)],
        missing: None,
    },
    System {
        name: "Linux before 6.9",
        denied: &[NO_GROUP_SIGNALS, NO_INFO],
        missing: None,
    },
    System {
        name: "Linux before 6.13",
        denied: &[NO_INFO],
        missing: None,
    },
];

/// Runs a test once on each simulated system, in a process that has the filter from the start.
fn run_on_each_system(test: &str, value: Option<&str>) {
    if !filters_work() {
        return;
    }
    for system in SYSTEMS {
        run_isolated(test, system.name, |command| {
            match value {
                None => command.env_remove("PIDWAIT_BACKEND"),
                Some(value) => command.env("PIDWAIT_BACKEND", value),
            };
            deny_in(command, system.denied);
        });
    }
}

/// Whether this system has pidfds and allows filters. Otherwise no older system can be simulated.
fn filters_work() -> bool {
    if !pidfds_supported() {
        return false;
    }
    // In a separate thread, because the filter lasts as long as the thread.
    let result = std::thread::spawn(|| deny(&[])).join().unwrap();
    if let Err(error) = &result {
        skip(&format!("no seccomp filters: {error}"));
    }
    result.is_ok()
}

/// Returns true in a process that runs only the calling test, with the default backend and a filter that
/// denies calls. Elsewhere starts that process, waits for it to pass and returns false.
fn enter_without(test: &str, denied: &[DeniedCall]) -> bool {
    if current_part().is_some() {
        return true;
    }
    if filters_work() {
        run_isolated(test, "alone", |command| {
            command.env_remove("PIDWAIT_BACKEND");
            deny_in(command, denied);
        });
    }
    false
}

/// The system that this process simulates.
fn current_system() -> Option<&'static System> {
    let name = current_part()?;
    SYSTEMS.iter().find(|system| system.name == name)
}

/// `support` names the missing call and its errno, and the core calls work without it.
#[test]
fn the_probe_names_the_missing_call() {
    let Some(system) = current_system() else {
        return run_on_each_system("seccomp::the_probe_names_the_missing_call", None);
    };
    let found = support().unwrap();
    let missing = found
        .missing()
        .map(|missing| (missing.call, missing.errno.unwrap()));
    assert_eq!(missing, system.missing);
    let backend = match system.missing {
        None => Backend::Pidfd,
        Some((call, _)) => {
            assert!(found.to_string().starts_with(&format!("waitpid: {call}: ")));
            let error = PidHandle::open_with(1, Backend::Pidfd).unwrap_err();
            assert_eq!(error.kind(), ErrorKind::Unsupported);
            Backend::Waitpid
        }
    };
    assert_eq!(found.backend(), backend);
    check_core_calls(backend);
    let explicit = PidHandle::open_with(1, Backend::Waitpid).unwrap();
    assert_eq!(explicit.backend(), Backend::Waitpid);
}

/// With PIDWAIT_BACKEND=pidfd and a missing call, `support` and `open` fail with `Unsupported`, which
/// names the call. Children still work.
#[test]
fn requiring_missing_pidfds_is_unsupported() {
    let Some(system) = current_system() else {
        return run_on_each_system(
            "seccomp::requiring_missing_pidfds_is_unsupported",
            Some("pidfd"),
        );
    };
    let Some((call, _)) = system.missing else {
        assert_eq!(support().unwrap().backend(), Backend::Pidfd);
        return check_core_calls(Backend::Pidfd);
    };
    let opened = PidHandle::open(std::process::id()).unwrap_err();
    let spawned = PidHandle::spawn(&mut crate::common::sleep()).unwrap_err();
    assert!(crate::common::has_no_children(), "it fails before the fork");
    for error in [support().unwrap_err(), opened, spawned] {
        assert_eq!(error.kind(), ErrorKind::Unsupported);
        assert!(error.to_string().contains(call), "{error}");
    }
    let handle = Spawned::from(zombie("exit 3")).handle;
    assert_eq!(handle.backend(), Backend::Waitpid);
    assert_eq!(handle.wait().unwrap().code(), Some(3));
    assert_eq!(zombie("exit 3").pidfd_wait().unwrap().code(), Some(3));
}

/// With PIDWAIT_BACKEND=waitpid nothing is probed, so nothing is missing.
#[test]
fn forcing_the_fallback_probes_nothing() {
    if current_system().is_none() {
        return run_on_each_system(
            "seccomp::forcing_the_fallback_probes_nothing",
            Some("waitpid"),
        );
    }
    assert_eq!(support().unwrap().missing(), None);
    check_core_calls(Backend::Waitpid);
}

/// Calls that a filter denies after the probe fail with an error: no child is reaped, and no process
/// is signalled.
#[test]
fn denied_calls_after_the_probe_fail_without_side_effects() {
    let Some(part) = current_part() else {
        if filters_work() {
            for part in ["waitid", "pidfd_send_signal", "pidfd_open", "EINVAL"] {
                run_isolated(
                    "seccomp::denied_calls_after_the_probe_fail_without_side_effects",
                    part,
                    |command| {
                        command.env_remove("PIDWAIT_BACKEND");
                    },
                );
            }
        }
        return;
    };
    assert_eq!(support().unwrap().backend(), Backend::Pidfd);
    match &*part {
        "waitid" => waitid_denied(),
        "pidfd_send_signal" => pidfd_send_signal_denied(),
        "pidfd_open" => pidfd_open_denied(),
        _ => pidfd_open_einval(),
    }
}

fn waitid_denied() {
    let (exited, mut child) = (zombie("exit 3"), zombie("exit 4"));
    let handle = PidHandle::open(exited.id()).unwrap();
    deny(&[NO_P_PIDFD]).unwrap();
    assert_eq!(errno(handle.wait()), EINVAL);
    assert_eq!(errno(handle.try_wait()), EINVAL);
    handle.signal(0).unwrap();
    assert_eq!(handle.exit_status(), None);
    assert_eq!(reap_externally(exited.id()), 3 << 8);

    // `ChildExt` waits by PID: std reaps by PID, too.
    assert_eq!(child.pidfd_wait().unwrap().code(), Some(4));
    assert_eq!(child.wait().unwrap().code(), Some(4));
}

fn pidfd_send_signal_denied() {
    let running = sleeper();
    let handle = PidHandle::open(running.id()).unwrap();
    deny(&[fails_with(libc::SYS_pidfd_send_signal, EPERM)]).unwrap();
    assert_eq!(errno(handle.kill()), EPERM);
    assert_eq!(errno(running.pidfd_signal(SIGKILL)), EPERM);
    assert_eq!(handle.try_wait().unwrap(), None);
    crate::common::kill(running.id(), SIGKILL);
    assert_eq!(handle.wait().unwrap().signal(), Some(SIGKILL));
    assert_eq!(errno(handle.kill()), ECHILD);
}

fn pidfd_open_denied() {
    let (running, mut child) = (sleeper(), zombie("exit 4"));
    deny(&[fails_with(libc::SYS_pidfd_open, EPERM)]).unwrap();
    assert_eq!(errno(PidHandle::open(running.id())), EPERM);
    // For children the waitpid backend is as safe.
    assert_eq!(child.pidfd_wait().unwrap().code(), Some(4));
    let spawned = PidHandle::spawn(&mut crate::common::sleep()).unwrap();
    for handle in [Spawned::from(running).handle, spawned.handle] {
        assert_eq!(handle.backend(), Backend::Waitpid);
        handle.kill().unwrap();
        assert_eq!(handle.wait().unwrap().signal(), Some(SIGKILL));
    }
}

/// `pidfd_open` also fails with EINVAL for a process that is just exiting. `open` returns that error
/// only if the process still exists.
fn pidfd_open_einval() {
    let running = sleeper();
    let reaped = zombie("exit 3").id();
    reap_externally(reaped);
    deny(&[fails_with(libc::SYS_pidfd_open, EINVAL)]).unwrap();
    assert_eq!(errno(PidHandle::open(running.id())), EINVAL);
    let done = PidHandle::open(reaped).unwrap();
    assert_eq!(errno(done.wait()), ECHILD);
    assert_eq!(errno(done.signal(0)), ECHILD);
}

/// Without the kernel's record a status is known only once a wait has noted it. Whatever call sees
/// first that the process is gone, the status is there.
#[test]
fn call_that_fails_finds_the_status_at_once() {
    let test = "seccomp::call_that_fails_finds_the_status_at_once";
    if !enter_without(test, &[NO_INFO]) {
        return;
    }
    for backend in crate::common::all_backends() {
        for round in 0..rounds(1000) {
            let handle = PidHandle::open_with(fork_and_exit(5), backend).unwrap();
            let status = thread::scope(|scope| {
                scope.spawn(|| handle.wait());
                match round % 2 {
                    0 => while handle.signal(0).is_ok() {},
                    _ => drop(handle.wait()),
                }
                handle.exit_status()
            });
            assert_eq!(status.and_then(|it| it.code()), Some(5), "{backend}");
        }
    }
}

/// The kill fails, but the child has exited and is reaped.
#[test]
fn kill_on_drop_reaps_an_exited_child_without_pidfd_send_signal() {
    let test = "seccomp::kill_on_drop_reaps_an_exited_child_without_pidfd_send_signal";
    if !enter_without(test, &[]) {
        return;
    }
    let mut exited = zombie("exit 3");
    let running = sleeper();
    let open = |child: &Child| KillOnDrop::new(PidHandle::open(child.id()).unwrap());
    let guards = [open(&exited), open(&running)];
    deny(&[fails_with(libc::SYS_pidfd_send_signal, ENOSYS)]).unwrap();
    drop(guards);
    assert_eq!(errno(exited.try_wait()), ECHILD);
    assert!(exists(running.id()));
    crate::common::kill(running.id(), SIGKILL);
    await_gone(running.id());
}

/// The thread cannot wait for events, and must not spin.
#[cfg(target_arch = "x86_64")] // Elsewhere there may be no such call.
#[test]
fn background_reaper_works_without_epoll_wait() {
    let test = "seccomp::background_reaper_works_without_epoll_wait";
    let denied = [libc::SYS_epoll_wait, libc::SYS_epoll_pwait];
    if !enter_without(test, &denied.map(|call| fails_with(call, EPERM))) {
        return;
    }
    let child = sleeper();
    PidHandle::open(child.id()).unwrap().reap_in_background();
    crate::common::assert_other_threads_idle();
    crate::common::kill(child.id(), SIGKILL);
    await_gone(child.id());
}
