//! `parallel`: what it runs, prints and ends.

use crate::*;

#[test]
fn prints_how_each_command_ended() {
    for backend in backends() {
        let output = feed(&["-j", "2"], "exit 3\n\nkill -9 $$\n  \ntrue\n", backend);
        assert_eq!(output.status.code(), Some(1), "{output:?}");
        let table = stdout(&output);
        // In the order of the input, below a heading. Empty lines are not commands.
        let statuses: Vec<_> = table.lines().skip(1).map(status_and_command).collect();
        let expected = [
            "exit code 3|exit 3",
            "killed by SIGKILL|kill -9 $$",
            "exit code 0|true",
        ];
        assert_eq!(statuses, expected);
    }
}

#[test]
fn prints_cpu_time_and_memory_of_each_command() {
    for backend in backends() {
        let work = "i=0; while [ $i -lt 200000 ]; do i=$((i + 1)); done";
        let output = feed(&[], work, backend);
        assert_eq!(output.status.code(), Some(0), "{output:?}");
        let table = stdout(&output);
        let row = table.lines().nth(1).unwrap();
        assert!(!row.contains(" 0.00 s") && row.contains("iB"), "{table}");
    }
}

#[test]
fn runs_the_lines_of_a_file() {
    let path = std::env::temp_dir().join(format!("pidwait-parallel-{}", std::process::id()));
    std::fs::write(&path, "true\ntrue\n").unwrap();
    let output = run("parallel", &[&path], Backend::Waitpid);
    std::fs::remove_file(&path).unwrap();
    assert_eq!(output.status.code(), Some(0), "{output:?}");
    assert_eq!(stdout(&output).lines().count(), 3);
}

#[test]
fn runs_as_many_commands_at_once_as_requested() {
    // Each command waits for the other, so they finish only if they run at once.
    let pipes = std::env::temp_dir().join(format!("pidwait-pipes-{}", std::process::id()));
    std::fs::create_dir(&pipes).unwrap();
    let [a, b] = ["a", "b"].map(|name| pipes.join(name));
    for pipe in [&a, &b] {
        let made = Command::new("mkfifo").arg(pipe).status().unwrap();
        assert!(made.success());
    }
    let (a, b) = (a.display(), b.display());
    let lines = format!("echo >'{a}'; read x <'{b}'\nread x <'{a}'; echo >'{b}'\n");
    let output = feed(&["-j", "2"], &lines, Backend::Waitpid);
    std::fs::remove_dir_all(&pipes).unwrap();
    assert_eq!(output.status.code(), Some(0), "{output:?}");
}

#[test]
fn ends_the_whole_group_at_the_time_limit() {
    for backend in backends() {
        // One member ignores SIGTERM and must be killed after the leader has exited.
        let line = format!("(trap '' TERM; exec {FOREVER}) & {FOREVER}");
        // The output ends when all processes that hold it have exited.
        let output = feed(&["--timeout", "0.2"], &line, backend);
        assert_eq!(output.status.code(), Some(1), "{output:?}");
        let text = "killed by SIGTERM (time limit)";
        assert!(stdout(&output).contains(text), "{output:?}");
    }
}

#[test]
fn kills_a_command_that_ignores_sigterm() {
    for backend in backends() {
        let line = format!("trap '' TERM; while :; do {FOREVER}; done");
        let args = ["-t", "0.2", "-k", "0.01"];
        let output = feed(&args, &line, backend);
        assert_eq!(output.status.code(), Some(1), "{output:?}");
        assert!(stdout(&output).contains("(time limit)"), "{output:?}");
    }
}

#[test]
fn ctrl_c_ends_all_commands() {
    for backend in backends() {
        let mut command = on("parallel", backend);
        command.args(["-j", "2"]).stdin(Stdio::piped());
        let (mut parallel, mut lines) = start(&mut command);
        let one = format!("{FOREVER} & echo started; wait\n");
        let mut stdin = parallel.stdin.take().unwrap();
        stdin.write_all(one.repeat(3).as_bytes()).unwrap();
        drop(stdin);
        for _ in 0..2 {
            assert_eq!(line(&mut lines), "started");
        }
        parallel.pidfd_signal(SIGINT).unwrap();
        // The output ends when all processes that hold it have exited.
        let table = rest(lines);
        assert_eq!(parallel.wait().unwrap().code(), Some(128 + SIGINT));
        assert_eq!(table.matches("(interrupted)").count(), 2, "{table}");
        assert_eq!(table.matches("not run").count(), 1, "{table}");
    }
}

#[test]
fn bad_arguments_exit_with_2() {
    for (args, text) in [
        (&["-j", "0"][..], "\"0\""),
        (&["--timeout", "soon"], "\"soon\": a duration"),
        (&["/dev/null", "/dev/zero"], "\"/dev/zero\""),
        (&["/dev/null/lines"], "\"/dev/null/lines\""),
    ] {
        let output = run("parallel", args, Backend::Waitpid);
        assert_eq!(output.status.code(), Some(2), "{args:?}: {output:?}");
        assert!(stderr(&output).contains(text), "{args:?}: {output:?}");
    }
}

/// Runs the lines, fed to standard input.
fn feed(args: &[&str], lines: &str, backend: Backend) -> Output {
    let mut command = on("parallel", backend);
    command.args(args).stdin(Stdio::piped());
    command.stdout(Stdio::piped()).stderr(Stdio::piped());
    let mut child = command.spawn().unwrap();
    let mut stdin = child.stdin.take().unwrap();
    stdin.write_all(lines.as_bytes()).unwrap();
    drop(stdin);
    child.wait_with_output().unwrap()
}

/// The part of a row after the three measures and their units.
fn status_and_command(row: &str) -> String {
    let words: Vec<_> = row.split_whitespace().skip(6).collect();
    let row = words.join(" ");
    let command = ["exit 3", "kill -9 $$", "true"]
        .into_iter()
        .find(|command| row.ends_with(command))
        .unwrap_or_else(|| panic!("{row}"));
    let status = row.strip_suffix(command).unwrap().trim();
    format!("{status}|{command}")
}
