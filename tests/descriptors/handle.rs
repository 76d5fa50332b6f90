//! The methods of `PidHandle`.

use std::fmt::Debug;
use std::io;
use std::os::unix::process::CommandExt;
use std::time::Instant;

use nix::libc;
use pidwait::{Backend, KillOnDrop, PidHandle};

use crate::common;
use crate::{open, running, settle, starts_watcher, unless_emfile, zombie};
use crate::{Case, Emfile, LONG, SHORT};

pub(crate) const CASES: &[(&str, Case)] = &[
    ("open", |emfile, backend| {
        let child = common::zombie("exit 3");
        let result = emfile.during(|| PidHandle::open_with(child.id(), backend));
        match unless_emfile(result) {
            Some(handle) => settle(&handle, None),
            None => drop(common::reap_externally(child.id())),
        }
    }),
    ("from_pidfd", from_pidfd),
    ("wait", |emfile, backend| {
        let handle = zombie(backend);
        let result = emfile.during(|| handle.wait());
        settle(&handle, unless_emfile(result));
    }),
    ("try_wait", |emfile, backend| {
        let handle = zombie(backend);
        let result = emfile.during(|| handle.try_wait());
        settle(&handle, unless_emfile(result).flatten());
    }),
    ("wait_usage", |emfile, backend| {
        let handle = zombie(backend);
        let result = emfile.during(|| handle.wait_usage());
        settle(&handle, unless_emfile(result).map(|(status, _)| status));
    }),
    ("wait_timeout, zombie", |emfile, backend| {
        let handle = zombie(backend);
        let result = emfile.during(|| handle.wait_timeout(LONG));
        settle(&handle, unless_emfile(result).flatten());
    }),
    ("wait_timeout, running", |emfile, backend| {
        let handle = running(backend);
        let result = emfile.during(|| handle.wait_timeout(SHORT));
        let falls_back = backend == Backend::Waitpid && starts_watcher(emfile.failed_call());
        assert!(result.is_ok() || !falls_back, "{result:?}");
        settle(&handle, unless_emfile(result).flatten());
    }),
    ("wait_deadline", |emfile, backend| {
        let handle = zombie(backend);
        let result = emfile.during(|| handle.wait_deadline(Instant::now()));
        settle(&handle, unless_emfile(result).flatten());
    }),
    ("signal", |emfile, backend| {
        let handle = running(backend);
        unless_emfile(emfile.during(|| handle.signal(libc::SIGTERM)));
        settle(&handle, None);
    }),
    ("ProcessGroup::signal", |emfile, backend| {
        let handle = leader(backend);
        unless_emfile(emfile.during(|| {
            handle
                .process_group()
                .and_then(|group| group.signal(libc::SIGTERM))
        }));
        settle(&handle, None);
    }),
    ("ProcessGroup::has_exited", |emfile, backend| {
        let handle = leader(backend);
        let has_exited = || handle.process_group().and_then(|group| group.has_exited());
        let result = unless_unreadable(emfile, |it| it.during(has_exited));
        assert_ne!(result, Some(true));
        settle(&handle, None);
    }),
    ("ProcessGroup::wait_exited_timeout", |emfile, backend| {
        let handle = leader(backend);
        let wait = || {
            handle
                .process_group()
                .and_then(|group| group.wait_exited_timeout(SHORT))
        };
        let result = unless_unreadable(emfile, |it| it.during(wait));
        assert_ne!(result, Some(true));
        settle(&handle, None);
    }),
    ("ProcessGroup::terminate", |emfile, backend| {
        let handle = leader(backend);
        let terminate = || {
            handle
                .process_group()
                .and_then(|group| group.terminate(LONG))
        };
        let status = unless_unreadable(emfile, |it| it.during(terminate));
        settle(&handle, status);
    }),
    ("terminate, zombie", |emfile, backend| {
        let handle = zombie(backend);
        let result = emfile.during(|| handle.terminate(LONG));
        settle(&handle, unless_emfile(result));
    }),
    ("terminate, running", |emfile, backend| {
        let handle = running(backend);
        let result = emfile.during(|| handle.terminate(LONG));
        settle(&handle, unless_emfile(result));
    }),
    ("release", |emfile, backend| {
        let handle = zombie(backend);
        emfile.during(|| handle.release()).expect("release");
        common::reap_externally(handle.id());
    }),
    ("drop", |emfile, backend| {
        let handle = zombie(backend);
        let pid = handle.id();
        emfile.during(|| drop(handle));
        common::reap_externally(pid);
    }),
    ("has_exited", |emfile, backend| {
        let handle = zombie(backend);
        let result = emfile.during(|| handle.has_exited());
        assert_ne!(unless_emfile(result), Some(false));
        settle(&handle, None);
    }),
    ("wait_exited", |emfile, backend| {
        let handle = zombie(backend);
        unless_emfile(emfile.during(|| handle.wait_exited()));
        settle(&handle, None);
    }),
    ("wait_exited_timeout", |emfile, backend| {
        let handle = running(backend);
        let result = emfile.during(|| handle.wait_exited_timeout(SHORT));
        assert_ne!(unless_emfile(result), Some(true));
        settle(&handle, None);
    }),
    ("exit_status", |emfile, backend| {
        let handle = zombie(backend);
        common::reap_externally(handle.id());
        let result = emfile.during(|| handle.exit_status());
        assert_eq!(result.map_or(Some(3), |status| status.code()), Some(3));
    }),
    ("exit_fd", |emfile, backend| {
        let handle = running(backend);
        drop(unless_emfile(emfile.during(|| handle.exit_fd())));
        settle(&handle, None);
    }),
    ("wait_shared", |emfile, backend| {
        let handle = zombie(backend);
        let result = emfile.during(|| handle.wait_shared());
        settle(&handle, unless_emfile(result));
    }),
    ("identity", |emfile, backend| {
        let handle = zombie(backend);
        let identity = unless_unreadable(emfile, |it| it.during(|| handle.identity()));
        assert!(identity.map_or(true, |it| it.pid() == handle.id()));
        settle(&handle, None);
    }),
    ("open_identity", |emfile, backend| {
        let handle = zombie(backend);
        let identity = handle.identity().expect("the fault comes later");
        let open = || PidHandle::open_identity(&identity);
        if let Some(opened) = unless_unreadable(emfile, |it| it.during(open)) {
            opened.signal(0).expect("a live handle");
        }
        settle(&handle, None);
    }),
    ("try_clone_pidfd", |emfile, backend| {
        let handle = zombie(backend);
        if backend == Backend::Pidfd {
            unless_emfile(emfile.during(|| handle.try_clone_pidfd()));
        } else {
            emfile.during(|| handle.try_clone_pidfd().expect_err("no pidfd"));
        }
        settle(&handle, None);
    }),
    ("reap_in_background", |emfile, backend| {
        let handle = running(backend);
        emfile.during(|| handle.reap_in_background());
        if emfile.failed_call() == Some(libc::SYS_epoll_ctl) {
            // To wake the thread needs no descriptor, so no kernel fails there.
            handle.reap_in_background();
        }
        handle.kill().expect("it runs");
        common::eventually("it is reaped", || handle.exit_status().is_some());
    }),
    ("KillOnDrop", |emfile, backend| {
        let handle = running(backend);
        let guard = KillOnDrop::new(handle.clone());
        emfile.during(|| drop(guard));
        if emfile.failed_call().is_some() {
            // If the kill failed, the child runs on. If waking the thread failed: see above.
            let _ = handle.kill();
            handle.reap_in_background();
        }
        common::await_gone(handle.id());
    }),
];

fn leader(backend: Backend) -> PidHandle {
    let mut command = common::shell("exec sleep 600");
    let child = command.process_group(0).spawn().expect("sh starts");
    open(child.id(), backend)
}

/// Like [`unless_emfile`]. If the `readlink` of /proc fails, /proc counts as that of another PID
/// namespace. (A real kernel needs no descriptor for it.)
fn unless_unreadable<T: Debug>(
    emfile: &Emfile,
    call: impl FnOnce(&Emfile) -> io::Result<T>,
) -> Option<T> {
    match call(emfile) {
        Err(error) if error.kind() == io::ErrorKind::Unsupported => {
            assert!(emfile.failed_call().is_some(), "{error}");
            None
        }
        result => unless_emfile(result),
    }
}

fn from_pidfd(emfile: &Emfile, _: Backend) {
    let child = common::zombie("exit 3");
    let fd = common::pidfd_open(child.id(), 0).expect("a pidfd");
    let result = emfile.during(|| PidHandle::from_pidfd(fd));
    match unless_emfile(result) {
        Some(handle) => settle(&handle, None),
        None => drop(common::reap_externally(child.id())),
    }
}
