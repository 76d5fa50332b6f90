//! `step`: what it passes on, its report, and how it ends a step.

use std::fs;
use std::thread;
use std::time::Duration;

use crate::common::{eventually, state_of};
use crate::*;

/// What the step wrote to its standard error, and the summary.
fn summary(output: &Output) -> (String, String) {
    let text = stderr(output);
    let (before, summary) = text.rsplit_once("step: ").expect("a summary");
    (before.to_owned(), summary.to_owned())
}

#[track_caller]
fn assert_ended(pid: &str) {
    let pid = pid.trim().parse().unwrap();
    eventually("it has ended", || {
        matches!(state_of(pid), None | Some('Z' | 'X'))
    });
}

#[test]
fn passes_the_output_on_and_prints_how_it_ended() {
    for backend in backends() {
        let output = run(
            "step",
            &["sh", "-c", "echo out; echo err >&2; exit 3"],
            backend,
        );
        assert_eq!(output.status.code(), Some(3));
        assert_eq!(stdout(&output), "out\n");
        let (err, summary) = summary(&output);
        assert_eq!(err, "err\n");
        assert!(summary.starts_with("exit code 3, "), "{summary}");
        #[cfg(target_os = "linux")]
        assert!(
            summary.contains("CPU ") && summary.contains(" MiB"),
            "{summary}"
        );
    }
}

#[test]
fn report_has_the_first_and_the_last_output() {
    let path = std::env::temp_dir().join(format!("pidwait-step-{}", std::process::id()));
    let file = path.to_str().unwrap();
    for backend in backends() {
        let output = run("step", &["-r", file, "seq", "100000"], backend);
        assert_eq!(stdout(&output).len(), 588_895);
        let report = fs::read_to_string(&path).unwrap();
        assert!(report.starts_with("--- stdout ---\n1\n2\n3\n"), "{report}");
        assert!(report.contains("--- 523359 bytes are left out ---"));
        assert!(report.contains("\n99999\n100000\n--- stderr ---\n"));
        fs::remove_file(&path).unwrap();
    }
}

#[test]
fn limits_end_the_whole_group() {
    for backend in backends() {
        let script = format!("{FOREVER} & echo $!; {FOREVER}");
        for (flag, why) in [
            ("-t", "the time was up; "),
            ("-s", "it was silent for too long; "),
        ] {
            let output = run("step", &[flag, "0.5", "sh", "-c", &script], backend);
            assert_eq!(output.status.code(), Some(124), "{output:?}");
            let (_, summary) = summary(&output);
            let text = format!("{why}killed by SIGTERM");
            assert!(summary.starts_with(&text), "{summary}");
            assert_ended(&stdout(&output));
        }
    }
}

#[test]
fn what_it_leaves_behind_is_ended() {
    for backend in backends() {
        let script = format!("{FOREVER} & echo $!; exit 0");
        let output = run("step", &["sh", "-c", &script], backend);
        assert_eq!(output.status.code(), Some(0), "{output:?}");
        let (_, summary) = summary(&output);
        assert!(summary.contains("left behind"), "{summary}");
        assert_ended(&stdout(&output));
    }
}

#[test]
fn ctrl_c_ends_the_step_with_a_grace() {
    for backend in backends() {
        // It forks first: a shell that has just forked still has the trap and would lose the signal.
        let script = format!("{FOREVER} & trap 'echo cleanup; exit 7' TERM; echo ready; wait");
        let mut command = on("step", backend);
        command.args(["-k", "600", "sh", "-c", &script]);
        let (mut step, mut output) = start(command.stderr(Stdio::piped()));
        assert_eq!(line(&mut output), "ready");
        // It asks for the signal before it reads the output.
        step.pidfd_signal(SIGINT).unwrap();
        assert_eq!(line(&mut output), "cleanup");
        let mut stderr = step.stderr.take().unwrap();
        let text = thread::spawn(move || rest(&mut stderr));
        let status = step.pidfd_wait_timeout(Duration::from_secs(600)).unwrap();
        assert_eq!(status.unwrap().code(), Some(130));
        let text = text.join().unwrap();
        assert!(
            text.starts_with("step: interrupted; exit code 7, "),
            "{text}"
        );
    }
}

#[test]
fn bad_command_lines_exit_with_the_codes_of_a_shell() {
    for (args, code, text) in [
        (&["no-such-command"][..], 127, "\"no-such-command\""),
        (&["/dev/null"], 126, "\"/dev/null\""),
        (&[], 125, "usage: step"),
        (&["-t", "soon", "true"], 125, "soon"),
        (&["--frobnicate"], 125, "usage: step"),
    ] {
        let output = run("step", args, Backend::Waitpid);
        assert_eq!(output.status.code(), Some(code), "{args:?}: {output:?}");
        assert!(stderr(&output).contains(text), "{args:?}: {output:?}");
    }
}
