//! What `pwait` says of whom.

use crate::*;

#[test]
fn its_own_children() {
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
        // Said in the order of the command line, so they are being watched by now.
        assert_eq!(line(&mut lines), format!("{UNUSED_PID}: no such process"));
        // The end of what they read ends them.
        drop(pwait.stdin.take());
        let said = rest(lines);
        assert!(said.contains(": exit code 4\n"), "{said}");
        assert!(said.contains(": killed by SIGKILL\n"), "{said}");
        assert_eq!(pwait.wait().unwrap().code(), Some(1));
    }
}

#[test]
fn the_child_of_another() {
    for backend in backends() {
        let mut child = shell("read line; exit 5")
            .stdin(Stdio::piped())
            .spawn()
            .unwrap();
        let known = PidHandle::open_with(child.id(), backend).unwrap();
        let mut command = on("pwait", backend);
        command.args([&child.id().to_string(), UNUSED_PID]);
        let (mut pwait, mut lines) = start(&mut command);
        assert_eq!(line(&mut lines), format!("{UNUSED_PID}: no such process"));
        // std's wait closes its standard input, and reaps it.
        assert_eq!(child.wait().unwrap().code(), Some(5));
        let ending = match known.exit_status() {
            Some(_) => "exit code 5",
            None => "ended; how, this kernel cannot tell",
        };
        assert_eq!(line(&mut lines), format!("{}: {ending}", child.id()));
        assert_eq!(pwait.wait().unwrap().code(), Some(1));
    }
}

#[test]
fn one_that_nobody_reaps() {
    // By pid a zombie cannot be told from a running process.
    if !pidfds_supported() {
        return;
    }
    let mut child = zombie("exit 5");
    let output = run("pwait", &[child.id().to_string()], Backend::Pidfd);
    let says = format!(
        "{}: ended; how, is for its parent to ask first\n",
        child.id()
    );
    assert_eq!(stdout(&output), says);
    assert_eq!(output.status.code(), Some(0));
    child.wait().unwrap();
}

#[test]
fn time_is_up() {
    for backend in backends() {
        let child = KillOnDrop::new(PidHandle::from(sleeper()));
        let pid = child.id().to_string();
        for limit in ["0", "0.01"] {
            let output = run("pwait", &["-t", limit, &pid], backend);
            assert_eq!(output.status.code(), Some(124), "{output:?}");
            assert_eq!(stdout(&output), format!("{pid}: still running\n"));
        }
    }
}

#[test]
fn what_it_cannot_understand() {
    for (args, says) in [
        (&["init"][..], "\"init\""),
        (&["0"], "pid 0"),
        (&["2147483648"], "2147483648"),
        (&["-1"], "'-1'"),
        (&["-t", "soon", "1"], "\"soon\": a duration"),
        (&[], "no pid"),
    ] {
        for backend in backends() {
            let output = run("pwait", args, backend);
            assert_eq!(output.status.code(), Some(2), "{args:?}: {output:?}");
            assert!(stderr(&output).contains(says), "{args:?}: {output:?}");
        }
    }
}
