//! `run`: its output and exit codes.

use crate::*;

#[test]
fn exits_with_the_codes_of_a_shell() {
    for (args, code, text) in [
        (&["sh", "-c", "exit 3"][..], 3, "exit code 3"),
        (&["sh", "-c", "kill -9 $$"], 128 + 9, "killed by SIGKILL"),
        (&["no-such-command"], 127, "\"no-such-command\""),
        (&["/dev/null"], 126, "\"/dev/null\""),
        (&[], 125, "usage: run"),
    ] {
        for backend in backends() {
            let output = run("run", args, backend);
            assert_eq!(output.status.code(), Some(code), "{args:?}: {output:?}");
            assert!(stderr(&output).contains(text), "{args:?}: {output:?}");
        }
    }
}

#[test]
#[cfg(any(target_os = "linux", target_os = "android"))]
fn names_real_time_signals() {
    let signal = nix::libc::SIGRTMIN() + 3;
    let script = format!("kill -{signal} $$");
    for backend in backends() {
        let output = run("run", &["sh", "-c", &script], backend);
        assert_eq!(output.status.code(), Some(128 + signal), "{output:?}");
        let text = "killed by SIGRTMIN+3";
        assert!(stderr(&output).contains(text), "{output:?}");
    }
}

#[test]
fn prints_the_backend_and_the_reason() {
    let output = example("run").arg("true").output().unwrap();
    let support = pidwait::support().unwrap();
    let text = format!("run: exit code 0 (backend {support})\n");
    assert_eq!(stderr(&output), text);

    let output = run("run", &["true"], Backend::Waitpid);
    let text = "run: exit code 0 (backend waitpid: set by PIDWAIT_BACKEND)\n";
    assert_eq!(stderr(&output), text);
}

#[test]
fn an_unknown_backend_exits_with_125_and_runs_nothing() {
    let mut command = example("run");
    command.args(["echo", "ran"]).env("PIDWAIT_BACKEND", "both");
    let output = command.output().unwrap();
    assert_eq!(output.status.code(), Some(125));
    assert!(stderr(&output).contains("\"both\""), "{output:?}");
    assert_eq!(stdout(&output), "");
}
