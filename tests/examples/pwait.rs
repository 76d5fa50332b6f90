//! `pwait`: what it prints about children, non-children and missing processes.

use crate::*;

#[test]
fn prints_exit_codes_and_signals_of_its_children() {
    let script = "exec 3<&0
        (read line <&3; exit 4) & first=$!
        (read line <&3; exec sh -c 'kill -9 $$') &
        exec \"$0\" $first $! \"$1\"";
    for backend in backends() {
        let mut command = Command::new("sh");
        command
            .args(["-c", script])
            .arg(path("pwait"))
            .arg(UNUSED_PID);
        command.env("PIDWAIT_BACKEND", backend.to_string());
        let (mut pwait, mut lines) = start(command.stdin(Stdio::piped()));
        // Printed in the order of the command line, so the children are being watched by now.
        assert_eq!(line(&mut lines), format!("{UNUSED_PID}: no such process"));
        // Both children exit when their input ends.
        drop(pwait.stdin.take());
        let output = rest(lines);
        assert!(output.contains(": exit code 4\n"), "{output}");
        assert!(output.contains(": killed by SIGKILL\n"), "{output}");
        assert_eq!(pwait.wait().unwrap().code(), Some(1));
    }
}

#[test]
fn prints_the_status_of_a_non_child_if_the_kernel_records_it() {
    for backend in backends() {
        let mut child = shell("read line; exit 5")
            .stdin(Stdio::piped())
            .spawn()
            .unwrap();
        let handle = PidHandle::open_with(child.id(), backend).unwrap();
        let mut command = on("pwait", backend);
        command.args([&child.id().to_string(), UNUSED_PID]);
        let (mut pwait, mut lines) = start(&mut command);
        assert_eq!(line(&mut lines), format!("{UNUSED_PID}: no such process"));
        // std's wait closes the child's standard input, then reaps it.
        assert_eq!(child.wait().unwrap().code(), Some(5));
        let ending = match handle.exit_status() {
            Some(_) => "exit code 5",
            None => "ended; this kernel keeps no status",
        };
        assert_eq!(line(&mut lines), format!("{}: {ending}", child.id()));
        assert_eq!(pwait.wait().unwrap().code(), Some(1));
    }
}

#[test]
fn reports_a_non_child_zombie_as_ended() {
    // Without pidfds a non-child's zombie looks like a running process.
    if !pidfds_supported() {
        return;
    }
    let mut child = zombie("exit 5");
    let output = run("pwait", &[child.id().to_string()], Backend::Pidfd);
    let text = format!(
        "{}: ended; its parent has not asked for the status yet\n",
        child.id()
    );
    assert_eq!(stdout(&output), text);
    assert_eq!(output.status.code(), Some(0));
    child.wait().unwrap();
}

#[test]
fn a_timeout_exits_with_124() {
    for backend in backends() {
        let child = KillOnDrop::new(Spawned::from(sleeper()).handle);
        let pid = child.id().to_string();
        for timeout in ["0", "0.01"] {
            let output = run("pwait", &["-t", timeout, &pid], backend);
            assert_eq!(output.status.code(), Some(124), "{output:?}");
            assert_eq!(stdout(&output), format!("{pid}: still running\n"));
        }
    }
}

#[test]
fn bad_arguments_exit_with_2() {
    for (args, text) in [
        (&["init"][..], "\"init\""),
        (&["0"], "PID 0"),
        (&["2147483648"], "2147483648"),
        (&["-1"], "'-1'"),
        (&["-t", "soon", "1"], "\"soon\": a duration"),
        (&[], "no PID"),
    ] {
        for backend in backends() {
            let output = run("pwait", args, backend);
            assert_eq!(output.status.code(), Some(2), "{args:?}: {output:?}");
            assert!(stderr(&output).contains(text), "{args:?}: {output:?}");
        }
    }
}
