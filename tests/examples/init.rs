//! `init`: as an ordinary process, and as PID 1 of a PID namespace.

use crate::common::{is_root, rounds, skip};
use crate::*;

#[test]
fn exits_with_the_code_of_the_command() {
    for (args, code) in [
        (&["sh", "-c", "exit 3"][..], 3),
        (&["sh", "-c", "kill -9 $$"], 128 + 9),
        (&["sh", "-c", "kill -40 $$"], 128 + 40),
        (&["no-such-command"], 127),
        (&["/dev/null"], 126),
        (&[], 125),
        (&["-k", "soon", "true"], 125),
    ] {
        for backend in backends() {
            let output = run("init", args, backend);
            assert_eq!(output.status.code(), Some(code), "{args:?}: {output:?}");
        }
    }
}

#[test]
fn passes_signals_on_to_the_group() {
    for backend in backends() {
        // Both the leader and a member of its group get the signal.
        let script = "trap 'wait; exit 7' USR1; \
                      (trap 'echo member; exit' USR1; echo ready; while :; do sleep 0.01; done) & \
                      wait";
        let mut command = on("init", backend);
        // The shell prints there that a signal killed its `sleep`.
        command.args(["sh", "-c", script]).stderr(Stdio::null());
        let (mut init, mut output) = start(&mut command);
        assert_eq!(line(&mut output), "ready");
        init.pidfd_signal(nix::libc::SIGUSR1).unwrap();
        assert_eq!(rest(output), "member\n");
        assert_eq!(init.wait().unwrap().code(), Some(7));
    }
}

#[test]
fn ends_the_rest_of_the_group_within_the_grace() {
    for backend in backends() {
        let script =
            format!("(trap '' TERM; echo ready; exec {FOREVER}) & {FOREVER} & read x; exit 5");
        let mut command = on("init", backend);
        command.args(["-k", "0.05", "sh", "-c", &script]);
        command.stdin(Stdio::piped());
        let (mut init, mut output) = start(&mut command);
        assert_eq!(line(&mut output), "ready");
        drop(init.stdin.take());
        assert_eq!(init.wait().unwrap().code(), Some(5));
        assert_eq!(rest(output), "", "no process holds the pipe any more");
    }
}

/// The orphans exit with codes of their own, before and after the command looks for zombies. It
/// exits with 7 only once none of them is left.
#[test]
fn reaps_orphans_as_pid_1_and_keeps_the_status_of_the_command() {
    const ORPHANS: usize = 200;
    let script = format!(
        "i=0; while [ $i -lt {ORPHANS} ]; do (exit $((i % 100)) &); i=$((i + 1)); done
         left() {{ cat /proc/[0-9]*/stat 2>/dev/null | grep -c ') Z 1 '; }}
         i=0; while [ $(left) != 0 ]; do i=$((i + 1)); [ $i = 1000 ] && exit 9; sleep 0.01; done
         exit 7"
    );
    for backend in backends() {
        for _ in 0..rounds(50) {
            let Some(output) = as_pid_1(backend, &["sh", "-c", &script]) else {
                return;
            };
            assert_eq!(output.status.code(), Some(7), "{output:?}");
        }
    }
}

/// The command exits at the same time as its orphans: PID 1 must not take its status for theirs.
#[test]
fn status_of_the_command_is_not_mixed_up_with_those_of_orphans() {
    let script = "i=0; while [ $i -lt 200 ]; do (exit 1 &); i=$((i + 1)); done; exit 7";
    for backend in backends() {
        for _ in 0..rounds(50) {
            let Some(output) = as_pid_1(backend, &["sh", "-c", script]) else {
                return;
            };
            assert_eq!(output.status.code(), Some(7), "{output:?}");
        }
    }
}

/// Processes that have left the group get SIGTERM and the grace, and then SIGKILL.
#[test]
fn ends_all_processes_as_pid_1() {
    for backend in backends() {
        let script = "dir=$(mktemp -d); mkfifo $dir/ready; exec 3<>$dir/ready; rm -r $dir
            setsid sh -c 'trap \"sleep 0.1; echo saved; exit\" TERM; echo ready >&3
                          while :; do sleep 0.01; done' &
            setsid sh -c 'trap \"\" TERM; echo ready >&3; while :; do sleep 0.01; done' &
            read one <&3; read two <&3; exit 7";
        let Some(output) = as_pid_1(backend, &["-k", "1", "sh", "-c", script]) else {
            return;
        };
        assert_eq!(output.status.code(), Some(7), "{output:?}");
        assert_eq!(stdout(&output), "saved\n");
    }
}

/// Runs `init` as the first process of a PID namespace. `None`, and `skipped` is printed, if this
/// system cannot create one.
fn as_pid_1(backend: Backend, args: &[&str]) -> Option<Output> {
    let unshare = || {
        let mut command = Command::new("unshare");
        command.args(["-p", "-f", "--mount-proc"]);
        if !is_root() {
            command.args(["-U", "-r"]);
        }
        command
    };
    match unshare().arg("true").output() {
        Ok(output) if output.status.success() => {}
        Ok(output) => {
            skip(&format!("no PID namespace: {}", stderr(&output)));
            return None;
        }
        Err(error) => {
            skip(&format!("no unshare: {error}"));
            return None;
        }
    }
    let mut command = unshare();
    command.arg(path("init")).args(args);
    command.env("PIDWAIT_BACKEND", backend.to_string());
    Some(command.stdin(Stdio::null()).output().unwrap())
}
