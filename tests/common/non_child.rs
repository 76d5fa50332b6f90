//! A process that is no child of ours.

use std::process::{Child, Stdio};

use nix::libc;

use super::{await_state, kill, line, shell, stop};

/// It exits with code 7 once it is let go, and its parent, a shell, reaps it and exits with the
/// same: for PID 1 of a container may take its time.
pub(crate) struct NonChild {
    pub(crate) pid: u32,
    pub(crate) parent: Child,
}

impl NonChild {
    pub(crate) fn new() -> Self {
        let script = "exec 3<&0; sh -c 'read x; exit 7' <&3 & \
                      exec </dev/null 3<&-; echo $!; wait $!";
        let mut command = shell(script);
        command.stdin(Stdio::piped()).stdout(Stdio::piped());
        command.stderr(Stdio::null()); // Shells report a child's death by signal.
        let mut parent = command.spawn().expect("sh starts");
        let pid = line(&mut parent).parse().expect("a pid");
        Self { pid, parent }
    }

    /// Lets it exit.
    pub(crate) fn let_exit(&mut self) {
        drop(self.parent.stdin.take());
    }

    /// Lets it exit while its parent is stopped: it is a zombie when this comes back.
    pub(crate) fn let_exit_unreaped(&mut self) {
        stop(self.parent.id());
        self.let_exit();
        await_state(self.pid, 'Z');
    }

    /// Lets it exit, and its parent go on, which reaps it; says what that saw as a shell's exit
    /// code.
    pub(crate) fn finish(&mut self) -> Option<i32> {
        self.let_exit();
        kill(self.parent.id(), libc::SIGCONT);
        self.parent.wait().expect("the shell ends").code()
    }
}
