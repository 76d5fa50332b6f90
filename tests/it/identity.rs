//! `Identity`: its text, and the process that it names.

use std::collections::HashSet;
use std::fs;
use std::os::unix::process::{parent_id, ExitStatusExt};

use crate::common::isolated::{current_part, enter_with_each_backend, run_isolated};
use crate::common::{
    backends, errno, exists, is_root, reap_externally, skip, sleeper, zombie, NonChild,
};
use nix::libc::{ECHILD, EINVAL, SIGKILL};
use pidwait::{Identity, ParseIdentityError, PidHandle, Spawned};
use proptest::prelude::*;

const OTHER_BOOT: &str = "0c7a3a1c-9c11-4d6c-8a4e-0d5a0f2c5a11";

fn parse(text: &str) -> Result<Identity, ParseIdentityError> {
    text.parse()
}

fn boot_id() -> String {
    let text = fs::read_to_string("/proc/sys/kernel/random/boot_id").expect("/proc");
    text.trim().to_owned()
}

/// The start time in clock ticks, field 22, of a program without spaces in its name.
fn start_time(pid: u32) -> u64 {
    let stat = fs::read_to_string(format!("/proc/{pid}/stat")).expect("it exists");
    let field = stat.split(' ').nth(21).expect("a start time");
    field.parse().expect("a number")
}

#[test]
fn identity_is_pid_start_time_and_boot_id() {
    for backend in backends() {
        let child = sleeper();
        let handle = PidHandle::open_with(child.id(), backend).unwrap();
        let identity = handle.identity().unwrap();
        let (pid, start, boot) = (child.id(), start_time(child.id()), boot_id());
        assert_eq!(identity.pid(), pid);
        assert_eq!(identity.to_string(), format!("{pid}:{start}:{boot}"));
        assert_eq!(parse(&identity.to_string()), Ok(identity));
    }
}

/// By any handle, of any backend, at any time of its life.
#[test]
fn identity_of_a_process_stays_the_same() {
    for opened in backends() {
        let child = sleeper();
        let handle = PidHandle::open_with(child.id(), opened).unwrap();
        let mut identities = HashSet::from([handle.identity().unwrap()]);
        for backend in backends() {
            let again = PidHandle::open_with(child.id(), backend).unwrap();
            identities.insert(again.identity().unwrap());
        }
        handle.kill().unwrap();
        handle.wait_exited().unwrap();
        identities.insert(handle.identity().unwrap());
        assert_eq!(identities.len(), 1, "{identities:?}");
        handle.wait().unwrap();
        assert_eq!(errno(handle.identity()), ECHILD);
    }
}

#[test]
fn identity_of_a_non_child() {
    for backend in backends() {
        let mut non_child = NonChild::new();
        let handle = PidHandle::open_with(non_child.pid, backend).unwrap();
        assert_eq!(handle.identity().unwrap().pid(), non_child.pid);
        non_child.finish();
        assert_eq!(errno(handle.identity()), ECHILD);
    }
}

/// One that may not be signalled has an identity, too.
#[test]
fn identity_of_a_process_of_another_user() {
    if is_root() {
        const TEST: &str = "identity::identity_of_a_process_of_another_user";
        if current_part().is_none() {
            return run_isolated(TEST, "alone", |_| {});
        }
        crate::common::drop_privileges();
    }
    for backend in backends() {
        let init = PidHandle::open_with(1, backend).unwrap();
        match init.signal(0) {
            Ok(()) => skip("process 1 belongs to this user"),
            Err(_) => assert_eq!(init.identity().unwrap().pid(), 1),
        }
    }
}

#[test]
fn identity_of_a_gone_process_fails() {
    for backend in backends() {
        let missing = PidHandle::open_with(i32::MAX.unsigned_abs(), backend).unwrap();
        assert_eq!(errno(missing.identity()), ECHILD);

        let child = zombie("exit 3");
        let handle = PidHandle::open_with(child.id(), backend).unwrap();
        reap_externally(child.id());
        assert_eq!(errno(handle.identity()), ECHILD);
        handle.release().unwrap();
    }
    // The conversion reaps it.
    let converted = Spawned::from(zombie("exit 3")).handle;
    assert_eq!(errno(converted.identity()), ECHILD);
    assert_eq!(converted.wait().unwrap().code(), Some(3));
}

#[test]
fn identity_of_a_released_handle_fails() {
    for backend in backends() {
        let own = PidHandle::open_with(std::process::id(), backend).unwrap();
        own.release().unwrap();
        assert_eq!(errno(own.identity()), EINVAL);
    }
}

#[test]
fn open_identity_opens_that_very_process() {
    if !enter_with_each_backend("identity::open_identity_opens_that_very_process") {
        return;
    }
    let child = sleeper();
    let opened = PidHandle::open(child.id()).unwrap();
    let identity = opened.identity().unwrap();
    drop(opened);
    let again = PidHandle::open_identity(&identity).unwrap();
    assert_eq!(again.id(), child.id());
    assert_eq!(again.backend(), backends()[0]);
    assert_eq!(again.identity().unwrap(), identity);
    again.kill().unwrap();
    assert_eq!(again.wait().unwrap().signal(), Some(SIGKILL));

    let parent = PidHandle::open(parent_id()).unwrap().identity().unwrap();
    let parent = PidHandle::open_identity(&parent).unwrap();
    assert!(!parent.has_exited().unwrap());
    assert_eq!(errno(parent.wait()), ECHILD, "a non-child");
}

#[test]
fn open_identity_of_a_zombie_can_reap_it() {
    if !enter_with_each_backend("identity::open_identity_of_a_zombie_can_reap_it") {
        return;
    }
    let child = zombie("exit 3");
    let identity = PidHandle::open(child.id()).unwrap().identity().unwrap();
    let handle = PidHandle::open_identity(&identity).unwrap();
    assert_eq!(handle.wait().unwrap().code(), Some(3));
}

/// Gone, another start time, another boot: every call fails with ECHILD, and nothing is signalled.
#[test]
fn open_identity_of_another_process_returns_a_done_handle() {
    const TEST: &str = "identity::open_identity_of_another_process_returns_a_done_handle";
    if !enter_with_each_backend(TEST) {
        return;
    }
    let child = sleeper();
    let (pid, start, boot) = (child.id(), start_time(child.id()), boot_id());
    let gone = zombie("exit 3");
    let gone_identity = PidHandle::open(gone.id()).unwrap().identity().unwrap();
    reap_externally(gone.id());
    let texts = [
        gone_identity.to_string(),
        format!("{pid}:{}:{boot}", start + 1),
        format!("{pid}:{}:{boot}", start - 1),
        format!("{pid}:{}:{boot}", u64::MAX),
        format!("{pid}:{start}:{OTHER_BOOT}"),
        format!("{}:{start}:{boot}", i32::MAX),
        format!("{}:{start}:{OTHER_BOOT}", i32::MAX),
    ];
    for text in texts {
        let identity = parse(&text).unwrap();
        let handle = PidHandle::open_identity(&identity).unwrap();
        assert_eq!(handle.id(), identity.pid());
        assert_eq!(handle.backend(), backends()[0]);
        assert!(format!("{handle:?}").contains("done"), "{text}");
        assert_eq!(errno(handle.signal(SIGKILL)), ECHILD, "{text}");
        assert_eq!(errno(handle.kill()), ECHILD);
        assert_eq!(errno(handle.wait()), ECHILD);
        assert_eq!(errno(handle.try_wait()), ECHILD);
        assert_eq!(errno(handle.identity()), ECHILD);
        assert!(handle.has_exited().unwrap());
        assert_eq!(handle.exit_status(), None);
    }
    let handle = PidHandle::open(pid).unwrap();
    assert_eq!(handle.try_wait().unwrap(), None, "it is untouched");
    assert!(exists(pid));
}

/// Threads get their IDs from the same numbers as processes.
#[test]
fn open_identity_after_the_pid_went_to_a_thread_returns_a_done_handle() {
    const TEST: &str =
        "identity::open_identity_after_the_pid_went_to_a_thread_returns_a_done_handle";
    if !enter_with_each_backend(TEST) {
        return;
    }
    std::thread::scope(|scope| {
        let (stop, stopped) = std::sync::mpsc::channel::<()>();
        let other = crate::common::Waiter::spawn(scope, move || stopped.recv());
        let identity = parse(&format!("{}:1:{}", other.tid, boot_id())).unwrap();
        let handle = PidHandle::open_identity(&identity);
        drop(stop);
        let handle = handle.unwrap();
        assert_eq!(handle.id(), identity.pid());
        assert_eq!(errno(handle.kill()), ECHILD);
        assert!(handle.has_exited().unwrap());
    });
}

#[test]
fn errors_name_the_bad_part() {
    const PID: &str = "the PID is not a plain number from 1 to 2147483647";
    const START: &str = "the start time is not a plain 64-bit number";
    const BOOT: &str = "the boot ID is not a lower-case UUID";
    let boot = OTHER_BOOT;
    let cases = [
        ("", PID),
        (":", PID),
        ("x", PID),
        ("0:1", PID),
        ("023", PID),
        ("-4", PID),
        ("+4", PID),
        (" 4", PID),
        ("4 ", PID),
        ("2147483648", PID),
        ("99999999999999999999999", PID),
        ("٣", PID),
        ("4", "the start time is missing"),
        ("4:", START),
        ("4:01", START),
        ("4:+1", START),
        ("4:0x1", START),
        ("4:18446744073709551616", START),
        ("4:1", "the boot ID is missing"),
        ("4:1:", BOOT),
        ("4:1:x", BOOT),
        ("4:1:0c7a3a1c-9c11-4d6c-8a4e-0d5a0f2c5a1", BOOT),
        ("4:1:0c7a3a1c-9c11-4d6c-8a4e-0d5a0f2c5a111", BOOT),
        ("4:1:0C7a3a1c-9c11-4d6c-8a4e-0d5a0f2c5a11", BOOT),
        ("4:1:0c7a3a1c9c114d6c8a4e0d5a0f2c5a11", BOOT),
        ("4:1:0c7a3a1c-9c11-4d6c-8a4e-0d5a0f2c5a11 ", BOOT),
        ("4:1:0c7a3a1c-9c11-4d6c-8a4e-0d5a0f2c5a11\n", BOOT),
        ("4:1:0c7a3a1c-9c11-4d6c-8a4e-0d5a0f2c5a11:", BOOT),
        ("4:1:+c7a3a1c-9c11-4d6c-8a4e-0d5a0f2c5a11", BOOT),
    ];
    for (text, problem) in cases {
        let error = parse(text).expect_err(text);
        let expected = format!("not a process identity: {problem}");
        assert_eq!(error.to_string(), expected, "{text:?}");
    }
    let good = format!("{}:0:{boot}", i32::MAX);
    assert_eq!(parse(&good).unwrap().to_string(), good);
}

proptest! {
    #![proptest_config(ProptestConfig {
        failure_persistence: None, // A failure is printed; no file is written.
        ..ProptestConfig::default()
    })]

    /// Parsing never panics, and what parses prints back the same.
    #[test]
    fn forged_texts(text in prop_oneof![".*", "[0-9a-f:+-]{0,64}", "[0-9]{1,11}:[0-9]{1,21}:[0-9a-fA-F-]{34,38}"]) {
        if let Ok(identity) = parse(&text) {
            prop_assert_eq!(identity.to_string(), text);
        }
    }

    #[test]
    fn all_identities_parse_back(pid in 1..=i32::MAX, start: u64, boot: u128) {
        let boot = format!("{boot:032x}");
        let text = format!(
            "{pid}:{start}:{}-{}-{}-{}-{}",
            &boot[..8], &boot[8..12], &boot[12..16], &boot[16..20], &boot[20..],
        );
        let identity = parse(&text).unwrap();
        prop_assert_eq!(identity.pid(), pid.unsigned_abs());
        prop_assert_eq!(identity.to_string(), text.clone());
        prop_assert!(!text.contains(char::is_whitespace));

        // Cut anywhere, it does not parse.
        for end in 0..text.len() {
            prop_assert!(parse(&text[..end]).is_err());
        }
    }

    /// One character of a good text is replaced.
    #[test]
    fn changed_texts(at in 0..50_usize, new: char) {
        let good = format!("1234567:89012:{OTHER_BOOT}");
        let changed: String = good.char_indices().map(|(i, c)| if i == at { new } else { c }).collect();
        if let Ok(identity) = parse(&changed) {
            prop_assert_eq!(identity == parse(&good).unwrap(), changed == good);
            prop_assert_eq!(identity.to_string(), changed);
        }
    }
}
