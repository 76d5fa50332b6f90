//! `capture`: what it passes on, its summary and exit codes.

use crate::*;

/// What the command wrote to its standard error, and the summary.
fn summary(output: &Output) -> (String, String) {
    let text = stderr(output);
    let (before, summary) = text.rsplit_once("capture: ").expect("a summary");
    (before.to_owned(), summary.to_owned())
}

#[test]
fn passes_the_output_on_and_prints_a_summary() {
    for backend in backends() {
        let script = "cat; echo err >&2; exit 3";
        let output = run(
            "capture",
            &["-i", "some input", "sh", "-c", script],
            backend,
        );
        assert_eq!(output.status.code(), Some(3));
        assert_eq!(stdout(&output), "some input");
        let (err, summary) = summary(&output);
        assert_eq!(err, "err\n");
        assert!(summary.starts_with("exit code 3, 14 bytes, "), "{summary}");
        assert!(summary.contains(" s, CPU "), "{summary}");
    }
}

#[test]
fn limits_the_bytes() {
    for backend in backends() {
        let output = run("capture", &["-m", "3", "echo", "hello"], backend);
        assert_eq!(stdout(&output), "hel");
        let (_, summary) = summary(&output);
        assert!(
            summary.starts_with("exit code 0, 3 bytes, 3 discarded"),
            "{summary}"
        );
    }
}

#[test]
fn ends_the_whole_group_at_the_timeout() {
    for backend in backends() {
        let script = format!("echo out; {FOREVER} & {FOREVER}");
        let output = run(
            "capture",
            &["-t", "0.3", "-g", "sh", "-c", &script],
            backend,
        );
        assert_eq!(output.status.code(), Some(124), "{output:?}");
        assert_eq!(stdout(&output), "out\n");
        let (_, summary) = summary(&output);
        let text = "timed out, killed by SIGTERM, 4 bytes";
        assert!(
            summary.starts_with(text) && !summary.contains("leaked"),
            "{summary}"
        );
    }
}

#[test]
fn reports_a_leak() {
    for backend in backends() {
        let args = ["-l", "0", "sh", "-c", "exec 2>&-; sleep 1 & echo out"];
        let output = run("capture", &args, backend);
        assert_eq!(stdout(&output), "out\n");
        let (_, summary) = summary(&output);
        assert!(summary.contains("4 bytes, leaked"), "{summary}");
    }
}

#[test]
fn bad_command_lines_exit_with_the_codes_of_a_shell() {
    for (args, code, text) in [
        (&["no-such-command"][..], 127, "\"no-such-command\""),
        (&["/dev/null"], 126, "\"/dev/null\""),
        (&[], 125, "usage: capture"),
        (&["-t"], 125, "capture: "),
        (&["-t", "soon", "true"], 125, "soon"),
        (&["-m", "all", "true"], 125, "all"),
        (&["--frobnicate"], 125, "usage: capture"),
    ] {
        let output = run("capture", args, Backend::Waitpid);
        assert_eq!(output.status.code(), Some(code), "{args:?}: {output:?}");
        assert!(stderr(&output).contains(text), "{args:?}: {output:?}");
    }
}
