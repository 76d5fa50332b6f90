//! Knowing that and how any process has exited: has_exited, wait_exited, exit_status.

use std::io;
use std::os::unix::process::ExitStatusExt;
use std::process::ExitStatus;
use std::sync::Mutex;
use std::time::{Duration, Instant};

use nix::libc::{ECHILD, EINVAL, SIGCONT};
use pidwait::{Backend, PidHandle};

use crate::common::{
    await_state, backends, blocked_on_stdin, clone_and_exit, errno, has_exit_records, kill,
    reap_externally, sleeper, stop, while_asleep, zombie, NonChild,
};

const MILLI: Duration = Duration::from_millis(1);

/// Asked in every way that does not block for long. An exit is seen however short the limit, by
/// the first of them to ask, too.
fn exited(handle: &PidHandle) -> bool {
    let has = handle.wait_exited_timeout(Duration::from_nanos(1)).unwrap();
    assert_eq!(handle.has_exited().unwrap(), has);
    assert_eq!(handle.wait_exited_timeout(Duration::ZERO).unwrap(), has);
    assert_eq!(handle.wait_exited_timeout(MILLI).unwrap(), has);
    has
}

/// The kernel's record of an end, where it can be had; `None` where not, and no error.
fn recorded(backend: Backend, status: ExitStatus) -> Option<ExitStatus> {
    has_exit_records(backend).then_some(status)
}

fn exit_code(code: i32) -> ExitStatus {
    ExitStatus::from_raw(code << 8)
}

#[test]
fn a_child_running_stopped_exited_reaped() {
    for backend in backends() {
        let (child, stdin) = blocked_on_stdin();
        let handle = PidHandle::open_with(child.id(), backend).unwrap();
        assert!(!exited(&handle));
        stop(child.id());
        assert!(!exited(&handle));
        kill(child.id(), SIGCONT);
        assert!(!exited(&handle));
        assert_eq!(handle.exit_status(), None);

        while_asleep(|| handle.wait_exited().unwrap(), || drop(stdin));
        assert!(exited(&handle));
        // Seen, and not reaped: neither the status nor the kernel's record is there yet.
        assert_eq!(handle.exit_status(), None);

        assert_eq!(handle.wait().unwrap().code(), Some(3));
        assert!(exited(&handle));
        handle.wait_exited().unwrap();
        assert_eq!(handle.exit_status(), Some(exit_code(3)));
    }
}

#[test]
fn a_wait_with_a_limit_is_never_early() {
    for backend in backends() {
        let (child, stdin) = blocked_on_stdin();
        let handle = PidHandle::open_with(child.id(), backend).unwrap();
        for limit in [Duration::from_nanos(1), MILLI, Duration::from_micros(3_700)] {
            let start = Instant::now();
            assert!(!handle.wait_exited_timeout(limit).unwrap());
            assert!(start.elapsed() >= limit, "{limit:?}");
        }
        let wait = || handle.wait_exited_timeout(Duration::MAX);
        assert!(while_asleep(wait, || drop(stdin)).unwrap());
        assert_eq!(handle.wait().unwrap().code(), Some(3));
    }
}

#[test]
fn a_stolen_status() {
    for backend in backends() {
        let (child, stdin) = blocked_on_stdin();
        let handle = PidHandle::open_with(child.id(), backend).unwrap();
        drop(stdin);
        assert_eq!(reap_externally(child.id()), 3 << 8);
        assert!(exited(&handle));
        handle.wait_exited().unwrap();
        assert_eq!(errno(handle.wait()), ECHILD);
        assert!(exited(&handle));
        assert_eq!(handle.exit_status(), recorded(backend, exit_code(3)));
    }
}

/// Killed, so that the record is more than a code; and reaped by std, which hides it.
#[test]
fn a_status_that_std_reaped() {
    for backend in backends() {
        let mut child = sleeper();
        let handle = PidHandle::open_with(child.id(), backend).unwrap();
        child.kill().unwrap();
        let status = child.wait().unwrap();
        assert_eq!(status.signal(), Some(9));
        assert_eq!(handle.exit_status(), recorded(backend, status));
        assert_eq!(errno(handle.wait()), ECHILD);
        assert_eq!(handle.exit_status(), recorded(backend, status));
    }
}

/// A running process has no status, whosever it is, though the field for it says 0.
#[test]
fn a_non_child() {
    for backend in backends() {
        let mut non_child = NonChild::new();
        let handle = PidHandle::open_with(non_child.pid, backend).unwrap();
        assert!(!exited(&handle));
        assert_eq!(handle.exit_status(), None);

        non_child.let_exit_unreaped();
        // By pid a zombie of somebody else's looks alive.
        assert_eq!(exited(&handle), backend == Backend::Pidfd);
        assert_eq!(handle.exit_status(), None);
        assert_eq!(errno(handle.wait()), ECHILD);

        assert_eq!(non_child.finish(), Some(7));
        assert!(exited(&handle));
        handle.wait_exited().unwrap();
        assert_eq!(handle.exit_status(), recorded(backend, exit_code(7)));
        assert_eq!(errno(handle.signal(0)), ECHILD);
    }
}

#[test]
fn a_non_child_that_exits_meanwhile() {
    for backend in backends() {
        for limit in [None, Some(Duration::MAX), Some(Duration::from_secs(600))] {
            let mut non_child = NonChild::new();
            let handle = PidHandle::open_with(non_child.pid, backend).unwrap();
            let wait = || match limit {
                None => handle.wait_exited().map(|()| true),
                Some(limit) => handle.wait_exited_timeout(limit),
            };
            let ended = while_asleep(wait, || assert_eq!(non_child.finish(), Some(7)));
            assert!(ended.unwrap());
            assert_eq!(handle.exit_status(), recorded(backend, exit_code(7)));
        }
    }
}

/// Our own process: no child of its own, running, and without a status.
#[test]
fn this_process() {
    for backend in backends() {
        let me = PidHandle::open_with(std::process::id(), backend).unwrap();
        assert!(!exited(&me));
        assert_eq!(me.exit_status(), None);
        assert_eq!(errno(me.wait()), ECHILD);
        assert_eq!(me.exit_status(), None);
    }
}

#[test]
fn nobody_has_exited_and_left_no_status() {
    for backend in backends() {
        let nobody = PidHandle::open_with(i32::MAX.unsigned_abs(), backend).unwrap();
        assert!(exited(&nobody));
        nobody.wait_exited().unwrap();
        assert_eq!(nobody.exit_status(), None);
    }
}

/// Released while live, what comes later is not its business; released once done, it is known.
#[test]
fn after_release() {
    for backend in backends() {
        let child = zombie("exit 3");
        let handle = PidHandle::open_with(child.id(), backend).unwrap();
        handle.release().unwrap();
        assert_eq!(errno(handle.has_exited()), EINVAL);
        assert_eq!(errno(handle.wait_exited()), EINVAL);
        assert_eq!(errno(handle.wait_exited_timeout(Duration::MAX)), EINVAL);
        reap_externally(child.id());
        assert_eq!(handle.exit_status(), None);

        let child = zombie("exit 3");
        let handle = PidHandle::open_with(child.id(), backend).unwrap();
        handle.wait().unwrap();
        handle.release().unwrap();
        assert!(exited(&handle));
        assert_eq!(handle.exit_status(), Some(exit_code(3)));
    }
}

/// A zombie that had to be reaped to make its handle is one all the same.
#[test]
fn a_handle_of_a_zombie() {
    let handle = PidHandle::from(zombie("exit 3"));
    assert!(exited(&handle));
    handle.wait_exited().unwrap();
    assert_eq!(handle.wait().unwrap().code(), Some(3));
    assert_eq!(handle.exit_status(), Some(exit_code(3)));

    let mut child = zombie("exit 3");
    child.wait().unwrap();
    let handle = PidHandle::from(child);
    assert!(exited(&handle));
    assert_eq!(errno(handle.wait()), ECHILD);
    assert_eq!(handle.exit_status(), None);
}

/// Many threads share a `Child`: they wait by handle, and whoever is first reaps it through std.
/// Had one of the waits reaped, std would have no status to give.
#[test]
fn many_share_a_child() {
    for backend in backends() {
        for timed in [false, true] {
            let (child, stdin) = blocked_on_stdin();
            let handle = PidHandle::open_with(child.id(), backend).unwrap();
            let child = Mutex::new(child);
            let wait = || -> io::Result<ExitStatus> {
                match timed {
                    true => assert!(handle.wait_exited_timeout(Duration::MAX)?),
                    false => handle.wait_exited()?,
                }
                child.lock().unwrap().wait()
            };
            let all = || {
                std::thread::scope(|scope| {
                    let threads: Vec<_> = (0..8).map(|_| scope.spawn(wait)).collect();
                    for thread in threads {
                        assert_eq!(thread.join().unwrap().unwrap().code(), Some(3));
                    }
                });
            };
            while_asleep(all, || drop(stdin));
        }
    }
}

/// A wait that sees the exit first gives way to one that reaps, and the other way round.
#[test]
fn beside_a_wait_that_reaps() {
    for backend in backends() {
        let (child, stdin) = blocked_on_stdin();
        let handle = PidHandle::open_with(child.id(), backend).unwrap();
        let both = || {
            std::thread::scope(|scope| {
                let seen = scope.spawn(|| handle.wait_exited());
                let timed = scope.spawn(|| handle.wait_exited_timeout(Duration::MAX));
                let status = handle.wait().unwrap();
                seen.join().unwrap().unwrap();
                assert!(timed.join().unwrap().unwrap());
                status
            })
        };
        let pid = child.id();
        let status = while_asleep(both, || drop(stdin));
        assert_eq!(status.code(), Some(3), "of {pid}");
    }
}

#[test]
fn seen_by_two_handles() {
    for backend in backends() {
        let child = zombie("exit 3");
        let first = PidHandle::open_with(child.id(), backend).unwrap();
        let second = PidHandle::open_with(child.id(), backend).unwrap();
        assert!(exited(&first) && exited(&second));
        assert_eq!(first.wait().unwrap().code(), Some(3));
        assert!(exited(&second));
        assert_eq!(errno(second.wait()), ECHILD);
        assert_eq!(second.exit_status(), recorded(backend, exit_code(3)));
    }
}

/// A child that ordinary waits do not own to may be one that is just being reaped: its record is
/// waited for, though not for ever. This one is none, and as good as one.
#[test]
fn a_child_that_waits_do_not_own_to() {
    for backend in backends() {
        if !has_exit_records(backend) {
            continue;
        }
        let reaped_in_time = || {
            let pid = clone_and_exit(0, 3);
            await_state(pid, 'Z');
            let handle = PidHandle::open_with(pid, backend).unwrap();
            assert_eq!(errno(handle.try_wait()), ECHILD);
            assert_eq!(handle.exit_status(), None);
            let told = while_asleep(
                || handle.exit_status(),
                || {
                    assert_eq!(reap_externally(pid), 3 << 8);
                },
            );
            assert_eq!(handle.exit_status(), Some(exit_code(3)));
            told == Some(exit_code(3))
        };
        // A busy machine may take longer than that now and then.
        assert!((0..50).any(|_| reaped_in_time()));
    }
}
