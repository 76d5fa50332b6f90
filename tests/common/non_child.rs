//! A process that is not a child of this one.

use std::process::{Child, Stdio};

use nix::libc;

use super::{await_state, kill, line, shell, stop};

/// A process that exits with code 7 when its input closes. Its parent is a shell, which reaps it at
/// once and exits with the same code; PID 1 of a container might take long to do so.
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
        command.stderr(Stdio::null()); // The shell prints a message when a signal kills its child.
        let mut parent = command.spawn().expect("sh starts");
        let pid = line(&mut parent).parse().expect("a PID");
        Self { pid, parent }
    }

    /// Lets it exit.
    pub(crate) fn let_exit(&mut self) {
        drop(self.parent.stdin.take());
    }

    /// Stops its parent, lets it exit and returns when it is a zombie.
    pub(crate) fn let_exit_unreaped(&mut self) {
        stop(self.parent.id());
        self.let_exit();
        await_state(self.pid, 'Z');
    }

    /// Lets it exit and its parent reap it. Returns the parent's exit code: the code of the process,
    /// or 128 plus the signal that killed it.
    pub(crate) fn finish(&mut self) -> Option<i32> {
        self.let_exit();
        kill(self.parent.id(), libc::SIGCONT);
        self.parent.wait().expect("the shell ends").code()
    }
}
