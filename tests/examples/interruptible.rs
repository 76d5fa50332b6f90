//! `interruptible`: a wait that ends with the command or with a signal.

use crate::*;

#[test]
fn exits_with_the_code_of_the_command() {
    for backend in backends() {
        let output = run("interruptible", &["sh", "-c", "exit 3"], backend);
        assert_eq!(output.status.code(), Some(3), "{output:?}");
        assert!(stderr(&output).contains("exit code 3"), "{output:?}");
    }
}

#[test]
fn a_signal_ends_the_wait_and_the_command() {
    for backend in backends() {
        let mut command = on("interruptible", backend);
        command.args(["sh", "-c", &format!("echo started; exec {FOREVER}")]);
        command.stderr(Stdio::piped());
        let (mut interruptible, mut output) = start(&mut command);
        assert_eq!(line(&mut output), "started");
        interruptible.pidfd_signal(SIGINT).unwrap();
        let text = rest(interruptible.stderr.take().unwrap());
        assert!(text.contains("SIGINT, ending the command"), "{text}");
        assert!(text.contains("killed by SIGTERM"), "{text}");
        let status = interruptible.wait().unwrap();
        assert_eq!(status.code(), Some(128 + SIGTERM));
    }
}

#[test]
fn bad_arguments_exit_with_125() {
    for args in [&[][..], &["no-such-command"]] {
        let output = run("interruptible", args, Backend::Waitpid);
        assert_eq!(output.status.code(), Some(125), "{output:?}");
    }
}
