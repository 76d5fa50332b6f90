//! Clones of a `PidHandle`: they are one handle.

use std::fmt::{self, Write};
use std::mem::size_of;
use std::os::unix::process::ExitStatusExt;
use std::thread;

use crate::common::{
    all_backends, backends, closes_on_exec, errno, isolated, open_descriptors, pidfds_supported,
    readable, reap_externally, sleeper, zombie, Waiter, LONG,
};
use nix::libc::{ECHILD, EINVAL, SIGKILL};
use pidwait::{Backend, ExitFd, PidHandle, WaitSet};

#[test]
fn handle_is_at_most_16_bytes() {
    assert!(size_of::<PidHandle>() <= 16, "{}", size_of::<PidHandle>());
    assert!(size_of::<Option<PidHandle>>() <= 16);
}

/// A wait through one of them, signals through another, and a `WaitSet` has a third.
#[test]
fn clones_act_on_one_process_from_different_places() {
    for backend in backends() {
        let child = sleeper();
        let handle = PidHandle::open_with(child.id(), backend).unwrap();
        let (member, signaller) = (handle.clone(), handle.clone());
        let mut set = WaitSet::new().unwrap();
        set.insert(member, ()).unwrap();
        thread::scope(|scope| {
            let waiter = Waiter::start(scope, || handle.wait());
            signaller.kill().unwrap();
            assert_eq!(waiter.join().unwrap().signal(), Some(SIGKILL));
        });
        let exited = set.wait().unwrap().expect("a member");
        assert_eq!(exited.status.unwrap().signal(), Some(SIGKILL));
        assert_eq!(errno(signaller.kill()), ECHILD);
    }
}

/// Debug shows the state: by PID, a call that finds the child gone makes all clones done.
#[test]
fn clones_share_what_a_call_has_found() {
    for backend in backends() {
        let child = zombie("exit 3");
        let handle = PidHandle::open_with(child.id(), backend).unwrap();
        let clone = handle.clone();
        reap_externally(child.id());
        assert_eq!(errno(handle.try_wait()), ECHILD);
        assert_eq!(format!("{handle:?}"), format!("{clone:?}"));
        assert_eq!(
            format!("{clone:?}").contains("done"),
            backend == Backend::Waitpid
        );
    }
}

/// A reader of the text that is slow, or uses the handle itself, blocks no call of a clone.
#[test]
fn debug_output_is_not_written_under_the_lock() {
    struct Writer<'a>(&'a PidHandle);

    impl fmt::Write for Writer<'_> {
        fn write_str(&mut self, _text: &str) -> fmt::Result {
            assert!(!self.0.has_exited().unwrap());
            Ok(())
        }
    }

    for backend in backends() {
        let child = sleeper();
        let handle = PidHandle::open_with(child.id(), backend).unwrap();
        write!(Writer(&handle), "{handle:?}").unwrap();
        handle.kill().unwrap();
        handle.wait().unwrap();
    }
}

#[test]
fn clones_share_one_descriptor() {
    if !isolated::enter("clone::clones_share_one_descriptor") || !pidfds_supported() {
        return; // This process counts its descriptors.
    }
    let before = open_descriptors();
    let open = || PidHandle::open_with(sleeper().id(), Backend::Pidfd).unwrap();
    let clones_of = |handle: &PidHandle| [(); 3].map(|()| handle.clone());

    let handle = open();
    let clones = clones_of(&handle);
    assert_eq!(open_descriptors(), before + 1);
    handle.kill().unwrap();
    clones[0].wait().unwrap();
    assert_eq!(open_descriptors(), before, "after a wait");

    let handle = open();
    let clones = clones_of(&handle);
    clones[1].release().unwrap();
    assert_eq!(open_descriptors(), before, "after a release");
    drop((handle, clones));

    let handle = open();
    let [first, second, last] = clones_of(&handle);
    drop((handle, first, second));
    assert_eq!(open_descriptors(), before + 1, "one clone is left");
    let exit: ExitFd = last.exit_fd().unwrap();
    drop(last);
    assert_eq!(open_descriptors(), before + 1, "its exit_fd is left");
    drop(exit);
    assert_eq!(open_descriptors(), before, "after the last clone");
}

/// By PID there is no descriptor until something has to be polled.
#[test]
fn waitpid_handle_has_no_descriptor() {
    if !isolated::enter("clone::waitpid_handle_has_no_descriptor") {
        return; // This process counts its descriptors.
    }
    assert!(all_backends().contains(&Backend::Waitpid));
    let before = open_descriptors();
    let handle = PidHandle::open_with(sleeper().id(), Backend::Waitpid).unwrap();
    let clone = handle.clone();
    assert_eq!(clone.try_wait().unwrap(), None);
    assert_eq!(open_descriptors(), before);
    clone.kill().unwrap();
    handle.wait().unwrap();
}

#[test]
fn cloned_pidfd_belongs_to_the_caller() {
    if !pidfds_supported() {
        return;
    }
    let child = sleeper();
    let handle = PidHandle::open_with(child.id(), Backend::Pidfd).unwrap();
    let pidfd = handle.try_clone_pidfd().unwrap();
    assert!(closes_on_exec(&pidfd));
    handle.kill().unwrap();
    handle.wait().unwrap();
    assert!(readable(&pidfd, LONG), "it stays open");
    assert_eq!(errno(handle.try_clone_pidfd()), ECHILD);

    let pidfd = {
        let own = PidHandle::open_with(std::process::id(), Backend::Pidfd).unwrap();
        own.try_clone_pidfd().unwrap()
    };
    let again = PidHandle::from_pidfd(pidfd).unwrap();
    assert_eq!(again.id(), std::process::id());
    again.release().unwrap();
    assert_eq!(errno(again.try_clone_pidfd()), EINVAL);
}
