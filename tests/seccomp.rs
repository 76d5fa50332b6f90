//! Old kernels and strict sandboxes, played by seccomp filters. A binary of its own, and a process
//! for each filter: no thread ever gets rid of one.

mod common;

use std::io::ErrorKind;
use std::os::unix::process::ExitStatusExt;

use common::isolated::{current_part, run_isolated};
use common::seccomp::{deny, deny_in, DeniedCall};
use common::smoke::check_core_calls;
use common::{errno, pidfds_supported, reap_externally, skip, sleeper, zombie};
use nix::libc::{self, ECHILD, EINVAL, ENOSYS, ENOTTY, EPERM, SIGKILL};
use pidwait::{support, Backend, ChildExt, PidHandle};

const fn all(call: libc::c_long, errno: i32) -> DeniedCall {
    DeniedCall {
        call,
        only_if: None,
        errno,
    }
}

/// `waitid(P_PIDFD)`, as a kernel that knows no such kind of id answers it.
const NO_WAITID: DeniedCall = DeniedCall {
    call: libc::SYS_waitid,
    only_if: Some((0, libc::P_PIDFD)),
    errno: EINVAL,
};
/// `ioctl(PIDFD_GET_INFO)`, as before Linux 6.13.
const NO_INFO: DeniedCall = DeniedCall {
    call: libc::SYS_ioctl,
    only_if: Some((1, 0xC040_FF0B)),
    errno: ENOTTY,
};

/// `pidfd_send_signal` with `PIDFD_SIGNAL_PROCESS_GROUP`, as before Linux 6.9.
const NO_GROUPS: DeniedCall = DeniedCall {
    call: libc::SYS_pidfd_send_signal,
    only_if: Some((3, 1 << 2)),
    errno: EINVAL,
};

/// What a system looks like, and what the probe must say to it.
struct Look {
    name: &'static str,
    refused: &'static [DeniedCall],
    missing: Option<(&'static str, i32)>,
}

const LOOKS: &[Look] = &[
    Look {
        name: "before 5.1",
        refused: &[
            all(libc::SYS_pidfd_send_signal, ENOSYS),
            all(libc::SYS_pidfd_open, ENOSYS),
            NO_WAITID,
        ],
        missing: Some(("pidfd_open", ENOSYS)),
    },
    Look {
        name: "5.1 and 5.2",
        refused: &[all(libc::SYS_pidfd_open, ENOSYS), NO_WAITID],
        missing: Some(("pidfd_open", ENOSYS)),
    },
    Look {
        name: "5.3",
        refused: &[NO_WAITID],
        missing: Some(("waitid", EINVAL)),
    },
    Look {
        name: "a strict profile",
        refused: &[
            all(libc::SYS_pidfd_open, EPERM),
            all(libc::SYS_pidfd_send_signal, EPERM),
        ],
        missing: Some(("pidfd_open", EPERM)),
    },
    Look {
        name: "a profile that forbids signals",
        refused: &[all(libc::SYS_pidfd_send_signal, EPERM)],
        missing: Some(("pidfd_send_signal", EPERM)),
    },
    Look {
        name: "before 6.9",
        refused: &[NO_GROUPS, NO_INFO],
        missing: None,
    },
    Look {
        name: "before 6.13",
        refused: &[NO_INFO],
        missing: None,
    },
];

/// Plays a test under each look, its filter on from the start.
fn play_looks(test: &str, value: Option<&str>) {
    if !filters_work() {
        return;
    }
    for look in LOOKS {
        run_isolated(test, look.name, |command| {
            match value {
                None => command.env_remove("PIDWAIT_BACKEND"),
                Some(value) => command.env("PIDWAIT_BACKEND", value),
            };
            deny_in(command, look.refused);
        });
    }
}

/// A system that has no pidfds, or no filters, cannot be made to look any older.
fn filters_work() -> bool {
    if !pidfds_supported() {
        return false;
    }
    // In a thread that ends with its filter.
    let tried = std::thread::spawn(|| deny(&[])).join().unwrap();
    if let Err(error) = &tried {
        skip(&format!("no seccomp filters here: {error}"));
    }
    tried.is_ok()
}

/// The look that this process was started under.
fn look() -> Option<&'static Look> {
    let name = current_part()?;
    LOOKS.iter().find(|look| look.name == name)
}

/// The probe names the call that is missing, with its errno, and everything works without it.
#[test]
fn the_probe() {
    let Some(look) = look() else {
        return play_looks("the_probe", None);
    };
    let found = support().unwrap();
    let missing = found.missing().map(|missing| (missing.call, missing.errno));
    assert_eq!(missing, look.missing);
    let backend = match look.missing {
        None => Backend::Pidfd,
        Some((call, _)) => {
            assert!(found.to_string().starts_with(&format!("waitpid: {call}: ")));
            let asked_for = PidHandle::open_with(1, Backend::Pidfd).unwrap_err();
            assert_eq!(asked_for.kind(), ErrorKind::Unsupported);
            Backend::Waitpid
        }
    };
    assert_eq!(found.backend(), backend);
    check_core_calls(backend);
    let by_name = PidHandle::open_with(1, Backend::Waitpid).unwrap();
    assert_eq!(by_name.backend(), Backend::Waitpid);
}

/// Demanded and missing: `Unsupported`, with the reason; one's own children are served even so.
#[test]
fn pidfds_are_demanded() {
    let Some(look) = look() else {
        return play_looks("pidfds_are_demanded", Some("pidfd"));
    };
    let Some((call, _)) = look.missing else {
        assert_eq!(support().unwrap().backend(), Backend::Pidfd);
        return check_core_calls(Backend::Pidfd);
    };
    let opened = PidHandle::open(std::process::id()).unwrap_err();
    for error in [support().unwrap_err(), opened] {
        assert_eq!(error.kind(), ErrorKind::Unsupported);
        assert!(error.to_string().contains(call), "{error}");
    }
    let handle = PidHandle::from(zombie("exit 3"));
    assert_eq!(handle.backend(), Backend::Waitpid);
    assert_eq!(handle.wait().unwrap().code(), Some(3));
    assert_eq!(zombie("exit 3").pidfd_wait().unwrap().code(), Some(3));
}

/// Forced: nothing is missed, and nothing of it is even tried.
#[test]
fn the_fallback_is_forced() {
    if look().is_none() {
        return play_looks("the_fallback_is_forced", Some("waitpid"));
    }
    assert_eq!(support().unwrap().missing(), None);
    check_core_calls(Backend::Waitpid);
}

/// A filter that is put on after the probe makes errors, and no wrong answers: what was not
/// reaped can be reaped still, and nobody was signalled.
#[test]
fn after_the_probe() {
    let Some(part) = current_part() else {
        if filters_work() {
            for part in ["waitid", "pidfd_send_signal", "pidfd_open", "EINVAL"] {
                run_isolated("after_the_probe", part, |command| {
                    command.env_remove("PIDWAIT_BACKEND");
                });
            }
        }
        return;
    };
    assert_eq!(support().unwrap().backend(), Backend::Pidfd);
    match &*part {
        "waitid" => waitid_is_gone(),
        "pidfd_send_signal" => pidfd_send_signal_is_gone(),
        "pidfd_open" => pidfd_open_is_gone(),
        _ => pidfd_open_says_einval(),
    }
}

fn waitid_is_gone() {
    let (dead, mut child) = (zombie("exit 3"), zombie("exit 4"));
    let handle = PidHandle::open(dead.id()).unwrap();
    deny(&[NO_WAITID]).unwrap();
    assert_eq!(errno(handle.wait()), EINVAL);
    assert_eq!(errno(handle.try_wait()), EINVAL);
    handle.signal(0).unwrap();
    assert_eq!(handle.exit_status(), None);
    assert_eq!(reap_externally(dead.id()), 3 << 8);

    assert_eq!(errno(child.pidfd_wait()), EINVAL);
    assert_eq!(errno(child.pidfd_try_wait()), EINVAL);
    assert_eq!(child.wait().unwrap().code(), Some(4));
}

fn pidfd_send_signal_is_gone() {
    let running = sleeper();
    let handle = PidHandle::open(running.id()).unwrap();
    deny(&[all(libc::SYS_pidfd_send_signal, EPERM)]).unwrap();
    assert_eq!(errno(handle.kill()), EPERM);
    assert_eq!(errno(running.pidfd_signal(SIGKILL)), EPERM);
    assert_eq!(handle.try_wait().unwrap(), None);
    common::kill(running.id(), SIGKILL);
    assert_eq!(handle.wait().unwrap().signal(), Some(SIGKILL));
    assert_eq!(errno(handle.kill()), ECHILD);
}

fn pidfd_open_is_gone() {
    let (running, mut child) = (sleeper(), zombie("exit 4"));
    deny(&[all(libc::SYS_pidfd_open, EPERM)]).unwrap();
    assert_eq!(errno(PidHandle::open(running.id())), EPERM);
    // Children are as safe by pid.
    assert_eq!(child.pidfd_wait().unwrap().code(), Some(4));
    let handle = PidHandle::from(running);
    assert_eq!(handle.backend(), Backend::Waitpid);
    handle.kill().unwrap();
    assert_eq!(handle.wait().unwrap().signal(), Some(SIGKILL));
}

/// Row: `pidfd_open` says EINVAL for a pid that is just going away. Believed only while there is
/// somebody of that pid.
fn pidfd_open_says_einval() {
    let running = sleeper();
    let reaped = zombie("exit 3").id();
    reap_externally(reaped);
    deny(&[all(libc::SYS_pidfd_open, EINVAL)]).unwrap();
    assert_eq!(errno(PidHandle::open(running.id())), EINVAL);
    let gone = PidHandle::open(reaped).unwrap();
    assert_eq!(errno(gone.wait()), ECHILD);
    assert_eq!(errno(gone.signal(0)), ECHILD);
}
