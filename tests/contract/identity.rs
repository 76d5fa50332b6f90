//! What `spawn`, `wait_shared`, clones and identities return.

use std::process::Command;
use std::thread;
use std::time::{Duration, Instant};

use pidwait::{Identity, PidHandle, Spawned};

use crate::cases::*;
use crate::common::{self, Waiter};
use crate::outcome::Describe;
use crate::{both, recorded, row, Row};

const SHORT: Duration = Duration::from_millis(2);

#[rustfmt::skip] // One row a line where it fits.
pub(crate) fn rows() -> Vec<Row> {
    Vec::from([
        row("command", "`spawn`, `wait`, `wait`", both("Ok(exit 3), ECHILD"), || {
            let handle = spawned("exit 3").handle;
            format!("{}, {}", handle.wait().describe(), handle.wait().describe())
        }),
        row("command that exits at once", "`spawn`, `exit_status` of the zombie, `wait_usage`", both("Some(exit 3), Ok(exit 3, usage)"), || {
            let handle = spawned("exit 3").handle;
            common::await_zombie(handle.id());
            format!("{}, {}", handle.exit_status().describe(), handle.wait_usage().describe())
        }),
        row("missing program", "`spawn`", both("ENOENT"), || {
            PidHandle::spawn(&mut Command::new("/nonexistent/program")).map(drop).describe()
        }),

        row("about to exit", "`wait_shared` twice", both("Ok(exit 3), Ok(exit 3)"), || {
            let handle = exiting();
            format!("{}, {}", handle.wait_shared().describe(), handle.wait_shared().describe())
        }),
        row("two concurrent `wait_shared`s", "both results", both("Ok(exit 3), Ok(exit 3)"), || {
            let (handle, stdin) = until_stdin_closes();
            let [one, two] = thread::scope(|scope| {
                let waits = [(); 2].map(|()| Waiter::start(scope, || handle.wait_shared().describe()));
                drop(stdin);
                waits.map(Waiter::join)
            });
            format!("{one}, {two}")
        }),
        row("running", "`try_wait_shared`, `wait_shared_timeout` of 2 ms, `wait_shared_deadline` in the past", both("Ok(None), Ok(None), Ok(None)"), || shared_waits(&running())),
        row("done", "`try_wait_shared`, `wait_shared_timeout`, `wait_shared_deadline` in the past", both("Ok(Some(exit 3)), Ok(Some(exit 3)), Ok(Some(exit 3))"), || shared_waits(&done())),
        row("released", "`try_wait_shared`, `wait_shared_timeout`, `wait_shared_deadline` in the past", both("EINVAL, EINVAL, EINVAL"), || shared_waits(&released())),
        row("no such process", "`try_wait_shared`, `wait_shared_timeout`, `wait_shared_deadline` in the past", both("ECHILD, ECHILD, ECHILD"), || shared_waits(&missing())),
        row("non-child", "`try_wait_shared`, `wait_shared_timeout`", both("ECHILD, ECHILD"), || {
            let handle = non_child();
            format!("{}, {}", handle.try_wait_shared().describe(), handle.wait_shared_timeout(SHORT).describe())
        }),
        row("done", "`wait_shared`", both("Ok(exit 3)"), || done().wait_shared().describe()),
        row("no such process", "`wait_shared`", both("ECHILD"), || missing().wait_shared().describe()),
        row("non-child", "`wait_shared`", both("ECHILD"), || non_child().wait_shared().describe()),
        row("released", "`wait_shared`", both("EINVAL"), || released().wait_shared().describe()),
        recorded("reaped by other code", "`wait_shared`, Linux 6.15 and later", ["Ok(exit 3)", "ECHILD"], || reaped_externally().wait_shared().describe()),
        row("zombie", "`wait_shared`, then process state", both("Ok(exit 3), gone"), || {
            let handle = exited();
            [handle.wait_shared().describe(), state(handle.id())].join(", ")
        }),

        row("clones of a done handle, made before and after the wait", "`wait`, `exit_status` of each", both("ECHILD, Some(exit 3); ECHILD, Some(exit 3)"), || {
            clones_after(|handle| drop(handle.wait()), |clone| [clone.wait().describe(), clone.exit_status().describe()].join(", "))
        }),
        row("clones of a done handle, made before and after the wait", "`try_wait`, `wait_timeout`, `signal(0)`, `has_exited` of each", both("ECHILD, ECHILD, ECHILD, Ok(true); ECHILD, ECHILD, ECHILD, Ok(true)"), || {
            clones_after(|handle| drop(handle.wait()), |clone| {
                let waits = [clone.try_wait().describe(), clone.wait_timeout(Duration::MAX).describe()].join(", ");
                [waits, clone.signal(0).describe(), clone.has_exited().describe()].join(", ")
            })
        }),
        row("clones of a released handle, made before and after the release", "`wait`, `signal(0)`, `exit_status` of each", both("EINVAL, EINVAL, None; EINVAL, EINVAL, None"), || {
            clones_after(|handle| drop(handle.release()), |clone| {
                [clone.wait().describe(), clone.signal(0).describe(), clone.exit_status().describe()].join(", ")
            })
        }),
        row("running; one clone is dropped", "`try_wait` of the other", both("Ok(None)"), || {
            let handle = running();
            drop(handle.clone());
            handle.try_wait().describe()
        }),

        row("running", "`try_clone_pidfd`", ["Ok", "Unsupported"], || running().try_clone_pidfd().map(drop).describe()),
        row("done", "`try_clone_pidfd`", both("ECHILD"), || done().try_clone_pidfd().map(drop).describe()),
        row("released", "`try_clone_pidfd`", both("EINVAL"), || released().try_clone_pidfd().map(drop).describe()),

        #[cfg(target_os = "linux")]
        row("running, zombie or non-child", "`identity`, `open_identity`, `signal(0)`", both("Ok, Ok, Ok"), || {
            [running(), exited(), non_child()].map(|handle| {
                let again = reopened(&identity(&handle));
                assert_eq!(again.id(), handle.id());
                again.signal(0).describe()
            }).join(", ")
        }),
        #[cfg(target_os = "linux")]
        row("zombie", "`identity`, `open_identity`, `wait`", both("Ok(exit 3)"), || reopened(&identity(&exited())).wait().describe()),
        #[cfg(target_os = "linux")]
        row("no such process, reaped by other code, or non-child that its parent has reaped", "`identity`", both("ECHILD, ECHILD, ECHILD"), || {
            [missing(), reaped_externally(), non_child_reaped()].map(|handle| handle.identity().map(drop).describe()).join(", ")
        }),
        #[cfg(target_os = "linux")]
        row("done", "`identity`", both("ECHILD"), || done().identity().map(drop).describe()),
        #[cfg(target_os = "linux")]
        row("released", "`identity`", both("EINVAL"), || released().identity().map(drop).describe()),
        #[cfg(target_os = "linux")]
        row("zombie given to `Spawned::from`", "`identity`", both("ECHILD"), || {
            Spawned::from(common::zombie("exit 3")).handle.identity().map(drop).describe()
        }),
        #[cfg(target_os = "linux")]
        row("identity of a reaped process", "`open_identity`, `signal(0)`", both("ECHILD"), || {
            let handle = exiting();
            let identity = identity(&handle);
            handle.wait().expect("the status");
            reopened(&identity).signal(0).describe()
        }),
        #[cfg(target_os = "linux")]
        row("identity with another start time", "`open_identity`, `kill`", both("ECHILD"), || {
            let [pid, start, boot] = parts(&identity(&running()));
            let start = start.parse::<u64>().expect("a number") + 1;
            reopened(&parsed(&format!("{pid}:{start}:{boot}"))).kill().describe()
        }),
        #[cfg(target_os = "linux")]
        row("identity with a PID that is a thread's now", "`open_identity`, `kill`", both("ECHILD"), || {
            // A thread that starts now would have the start time of a process that starts now.
            let [_, _, boot] = parts(&identity(&running()));
            with_thread_id(|tid| reopened(&parsed(&format!("{tid}:1:{boot}"))).kill().describe())
        }),
        #[cfg(target_os = "linux")]
        row("identity of another boot", "`open_identity`, `kill`", both("ECHILD"), || {
            let [pid, start, _] = parts(&identity(&running()));
            let other = "0c7a3a1c-9c11-4d6c-8a4e-0d5a0f2c5a11";
            reopened(&parsed(&format!("{pid}:{start}:{other}"))).kill().describe()
        }),
    ])
}

/// What is observed of two clones: one made before `call`, and one after it.
fn clones_after(call: fn(&PidHandle), observe: fn(&PidHandle) -> String) -> String {
    let handle = exiting();
    let before = handle.clone();
    call(&handle);
    [before, handle.clone()]
        .map(|clone| observe(&clone))
        .join("; ")
}

fn spawned(script: &str) -> Spawned {
    PidHandle::spawn(&mut common::shell(script)).expect("sh starts")
}

fn identity(handle: &PidHandle) -> Identity {
    handle.identity().expect("a live handle has one")
}

fn reopened(identity: &Identity) -> PidHandle {
    PidHandle::open_identity(identity).expect("open_identity")
}

fn parsed(text: &str) -> Identity {
    text.parse().expect("an identity")
}

fn parts(identity: &Identity) -> [String; 3] {
    let text = identity.to_string();
    let parts: Vec<String> = text.split(':').map(str::to_owned).collect();
    parts.try_into().expect("three parts")
}

/// The shared waits that end without an exit.
fn shared_waits(handle: &PidHandle) -> String {
    [
        handle.try_wait_shared().describe(),
        handle.wait_shared_timeout(SHORT).describe(),
        handle.wait_shared_deadline(Instant::now()).describe(),
    ]
    .join(", ")
}
