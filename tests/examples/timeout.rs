//! `timeout`: its exit codes and the processes it signals.

use crate::*;

#[test]
fn exits_with_the_codes_of_coreutils() {
    for (args, code) in [
        ("60 true", 0),
        ("60 sh -c exit\\ 4", 4),
        ("0 sh -c exit\\ 5", 5),
        ("inf true", 0),
        ("1e400d true", 0),
        ("60 sh -c kill\\ -9\\ $$", 137),
        ("60 no-such-command", 127),
        ("60 /dev/null", 126),
        ("0.01 {FOREVER}", 124),
        ("0.0001m {FOREVER}", 124),
        ("1e-30 {FOREVER}", 124),
        ("-s KILL 0.01 {FOREVER}", 137),
        ("-s 9 0.01 {FOREVER}", 137),
        ("--foreground -s sigkill 0.01 {FOREVER}", 137),
        // Ignored by default.
        ("-s WINCH -k 0.01 0.01 {FOREVER}", 137),
        ("--kill-after=0.01s --signal=URG 0.01s {FOREVER}", 137),
        ("--preserve-status 0.01 {FOREVER}", 128 + 15),
        ("--preserve-status -s INT 0.01 {FOREVER}", 128 + 2),
        ("-s USR1 0.01 {FOREVER}", 124),
    ] {
        for backend in backends() {
            let output = run("timeout", &words(args), backend);
            assert_eq!(output.status.code(), Some(code), "{args}: {output:?}");
        }
    }
}

#[test]
fn bad_arguments_exit_with_125() {
    for (args, text) in [
        ("1x true", "\"1x\": a duration"),
        ("x true", "\"x\": a duration"),
        ("nan true", "\"nan\": a duration"),
        ("-k -1 1 true", "\"-1\": a duration"),
        ("-s NONE 1 true", "\"NONE\": there is no such signal"),
        ("-s 1000 1 true", "\"1000\": there is no such signal"),
        ("--loud 1 true", "--loud"),
        ("1", "no command"),
        ("", "no duration"),
    ] {
        let output = run("timeout", &words(args), Backend::Waitpid);
        assert_eq!(output.status.code(), Some(125), "{args}: {output:?}");
        assert!(stderr(&output).contains(text), "{args}: {output:?}");
    }
}

#[test]
fn ends_everything_the_command_started() {
    for backend in backends() {
        let script = format!("{FOREVER} & echo started; wait");
        // The output ends when all processes that hold it have exited.
        let output = run("timeout", &["0.2", "sh", "-c", &script], backend);
        assert_eq!(output.status.code(), Some(124), "{output:?}");
    }
}

#[test]
fn foreground_signals_only_the_command() {
    for backend in backends() {
        let script = format!("{FOREVER} & echo $!; exec {FOREVER}");
        let mut command = on("timeout", backend);
        command.args(["--foreground", "600", "sh", "-c", &script]);
        let (mut timeout, mut lines) = start(&mut command);
        let other = PidHandle::open(line(&mut lines).parse().unwrap()).unwrap();
        let other = KillOnDrop::new(other);
        timeout.pidfd_signal(SIGTERM).unwrap();
        assert_eq!(timeout.pidfd_wait().unwrap().code(), Some(128 + SIGTERM));
        assert!(!other.has_exited().unwrap());
    }
}

#[test]
fn forwards_signals_to_the_command() {
    for backend in backends() {
        let mut command = on("timeout", backend);
        command.args(["600", "sh", "-c"]);
        // It forks first: a shell that has just forked still has the trap and would lose the signal.
        command.arg(format!("{FOREVER} & trap 'exit 7' TERM; echo ready; wait"));
        let (mut timeout, mut lines) = start(&mut command);
        assert_eq!(line(&mut lines), "ready");
        timeout.pidfd_signal(SIGTERM).unwrap();
        assert_eq!(timeout.pidfd_wait().unwrap().code(), Some(7));
        assert_eq!(rest(lines), "");
    }
}

#[test]
fn kills_a_command_that_ignores_the_forwarded_signal() {
    for backend in backends() {
        let mut command = on("timeout", backend);
        command.args(["-k", "0.01", "600", "sh", "-c"]);
        command.arg(format!("trap '' TERM; echo ready; {FOREVER} & wait"));
        let (mut timeout, mut lines) = start(&mut command);
        assert_eq!(line(&mut lines), "ready");
        timeout.pidfd_signal(SIGTERM).unwrap();
        assert_eq!(timeout.pidfd_wait().unwrap().code(), Some(128 + SIGKILL));
        assert_eq!(rest(lines), "");
    }
}

/// Splits at spaces, except escaped ones (`\ `), and fills in `FOREVER`.
fn words(args: &str) -> Vec<String> {
    args.replace("{FOREVER}", FOREVER)
        .replace("\\ ", "\0")
        .split_whitespace()
        .map(|word| word.replace('\0', " "))
        .collect()
}
