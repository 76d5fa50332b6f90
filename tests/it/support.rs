//! `support`: the probe, and the environment variable that overrides it.

use std::ffi::OsStr;
use std::io::{Error, ErrorKind};
use std::os::unix::ffi::OsStrExt;

use crate::common::isolated::{current_part, enter, run_isolated, run_isolated_under};
use crate::common::{
    all_backends, errno, is_root, open_descriptors, sh, skip, sleeper, temp_dir, zombie,
    UNPRIVILEGED_UID,
};
use nix::libc;
use pidwait::{is_echild, support, Backend, ChildExt, PidHandle, Spawned};

const VARIABLE: &str = "PIDWAIT_BACKEND";

/// Runs one part of a test with the variable set, or without it.
fn run_with(test: &str, part: &str, value: Option<&[u8]>) {
    run_isolated(test, part, |command| {
        match value {
            None => command.env_remove(VARIABLE),
            Some(value) => command.env(VARIABLE, OsStr::from_bytes(value)),
        };
    });
}

/// Returns the backends of handles made in every way. All must be the same.
fn backends_of_new_handles() -> [Backend; 3] {
    let (mut first, second) = (sleeper(), sleeper());
    let opened = PidHandle::open(first.id()).unwrap();
    let converted = Spawned::from(second).handle;
    let missing = PidHandle::open(i32::MAX.unsigned_abs()).unwrap();
    converted.kill().unwrap();
    converted.wait().unwrap();
    first.kill().unwrap();
    first.pidfd_wait().unwrap();
    [opened.backend(), converted.backend(), missing.backend()]
}

/// An empty variable counts as unset. `open_with` detects pidfds independently of the probe.
#[test]
fn without_the_variable_support_reports_the_probe() {
    if current_part().is_none() {
        for value in [None, Some(b"".as_slice())] {
            run_with(
                "support::without_the_variable_support_reports_the_probe",
                "probe",
                value,
            );
        }
        return;
    }
    let found = support().unwrap();
    let expected = all_backends()[0];
    assert_eq!(found.backend(), expected);
    assert_eq!(backends_of_new_handles(), [expected; 3]);
    match found.missing() {
        None => assert_eq!(found.to_string(), "pidfd"),
        Some(missing) => {
            assert_eq!(expected, Backend::Waitpid);
            assert_eq!(found.to_string(), format!("waitpid: {missing}"));
        }
    }
}

/// Then `support` has no missing feature to report.
#[test]
fn the_variable_selects_the_backend() {
    const TEST: &str = "support::the_variable_selects_the_backend";
    let Some(part) = current_part() else {
        for backend in all_backends() {
            let name = backend.to_string();
            run_with(TEST, &name, Some(name.as_bytes()));
        }
        return;
    };
    let found = support().unwrap();
    assert_eq!(found.backend().to_string(), part);
    assert_eq!(found.missing(), None);
    assert!(found.to_string().contains(VARIABLE), "{found}");
    assert_eq!(backends_of_new_handles(), [found.backend(); 3]);
    for backend in all_backends() {
        let handle = PidHandle::open_with(1, backend).unwrap();
        assert_eq!(handle.backend(), backend, "open_with ignores the variable");
    }
}

/// The error names the value and the two valid ones. Calls that do not need the probe, or that take
/// a backend, still work.
#[test]
fn invalid_variable_fails_with_invalid_input() {
    const TEST: &str = "support::invalid_variable_fails_with_invalid_input";
    let Some(part) = current_part() else {
        for value in ["nonsense", "PIDFD", "pidfd ", " ", "0"] {
            run_with(TEST, value, Some(value.as_bytes()));
        }
        return run_with(TEST, "\\xFF", Some(b"\xff"));
    };
    let assert_named = |error: Error| {
        assert_eq!(error.kind(), ErrorKind::InvalidInput);
        let text = error.to_string();
        for word in [&*part, VARIABLE, "\"pidfd\"", "\"waitpid\""] {
            assert!(text.contains(word), "{text:?} lacks {word}");
        }
    };
    for _ in 0..2 {
        assert_named(support().unwrap_err());
    }
    assert_named(PidHandle::open(1).unwrap_err());
    for backend in all_backends() {
        assert_eq!(PidHandle::open_with(1, backend).unwrap().backend(), backend);
    }
    let handle = Spawned::from(sh("exit 3")).handle;
    assert_eq!(handle.backend(), Backend::Waitpid);
    assert_eq!(handle.wait().unwrap().code(), Some(3));
    let mut child = sh("exit 3");
    assert_eq!(child.pidfd_wait().unwrap().code(), Some(3));
    assert_eq!(errno(child.pidfd_wait()), libc::ECHILD);
}

/// There is a zombie that a careless probe could reap.
#[test]
fn the_probe_leaks_no_descriptor_and_reaps_nothing() {
    if !enter("support::the_probe_leaks_no_descriptor_and_reaps_nothing") {
        return;
    }
    let mut child = zombie("exit 3");
    let before = open_descriptors();
    let first = support().unwrap();
    assert_eq!(support().unwrap(), first);
    all_backends();
    assert_eq!(open_descriptors(), before);
    assert_eq!(child.wait().unwrap().code(), Some(3));
}

#[test]
fn is_echild_accepts_only_echild() {
    assert!(is_echild(&Error::from_raw_os_error(libc::ECHILD)));
    for other in [libc::ESRCH, libc::EINVAL, libc::EPERM] {
        assert!(!is_echild(&Error::from_raw_os_error(other)));
    }
    assert!(!is_echild(&Error::from(ErrorKind::NotFound)));
}

#[test]
fn public_types_are_send_sync_debug_and_handles_small() {
    fn assert_shareable<T: Send + Sync + std::fmt::Debug>(_: &T) {}
    let handle = PidHandle::open(1).unwrap();
    assert_shareable(&handle);
    assert_shareable(&handle.backend());
    let found = support().unwrap();
    assert_shareable(&found);
    assert_shareable(&found.missing());
    assert!(std::mem::size_of::<PidHandle>() <= 32);
}

/// As root, a setuid copy of this binary that belongs to another user.
#[test]
#[cfg(target_os = "linux")]
fn variable_is_ignored_in_a_program_with_more_privileges_than_its_caller() {
    use crate::common::is_privileged;
    const TEST: &str =
        "support::variable_is_ignored_in_a_program_with_more_privileges_than_its_caller";
    if current_part().is_some() {
        if !is_privileged() {
            return skip("no program can be setuid where the test puts it");
        }
        assert_eq!(support().unwrap().backend(), all_backends()[0]);
        return;
    }
    if !is_root() {
        return skip("needs root, to make a setuid program of another user");
    }
    let script = format!(
        r#"copy=$(mktemp -p '{}') || exit
        cp "$0" "$copy" && chown {UNPRIVILEGED_UID} "$copy" && chmod 4755 "$copy" && "$copy" "$@"
        code=$?
        rm "$copy"
        exit $code"#,
        temp_dir().display()
    );
    run_isolated_under(&["sh", "-c", &script], TEST, "setuid", |command| {
        command.env(VARIABLE, "neither");
    });
}
