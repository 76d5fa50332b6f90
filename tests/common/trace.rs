//! Tracing a child, by this process or by another one.

use std::io;
use std::os::unix::process::CommandExt;
use std::process::{Child, Command};
use std::ptr::null_mut;

use nix::libc;

use super::{await_state, shell, skip, sleep};

/// What a tracer does to its tracee, from the thread that traces it.
#[derive(Clone, Copy)]
pub(crate) enum Trace {
    Seize,
    Interrupt,
    Continue,
    Detach,
}

pub(crate) fn ptrace(what: Trace, pid: u32) -> io::Result<()> {
    let request = match what {
        Trace::Seize => libc::PTRACE_SEIZE,
        Trace::Interrupt => libc::PTRACE_INTERRUPT,
        Trace::Continue => libc::PTRACE_CONT,
        Trace::Detach => libc::PTRACE_DETACH,
    };
    let pid = libc::pid_t::try_from(pid).expect("a pid");
    let null = null_mut::<libc::c_void>();
    // SAFETY: none of these requests reads or writes memory of ours.
    let done = unsafe { libc::ptrace(request, pid, null, null) };
    match done {
        -1 => Err(io::Error::last_os_error()),
        _ => Ok(()),
    }
}

/// A child that the calling thread traces, and that stands in a trace stop, at its exec, until it
/// is let go by `detach`.
pub(crate) fn trace_stopped(script: &str) -> Child {
    let mut command = shell(script);
    let trace_me = || {
        // SAFETY: PTRACE_TRACEME takes no further arguments.
        unsafe { libc::ptrace(libc::PTRACE_TRACEME) };
        Ok(())
    };
    // SAFETY: between fork and exec the closure makes that one call, and allocates nothing.
    unsafe { command.pre_exec(trace_me) };
    let child = command.spawn().expect("sh starts");
    await_state(child.id(), 't');
    child
}

/// Lets a traced child go on, untraced.
pub(crate) fn detach(pid: u32) {
    ptrace(Trace::Detach, pid).expect("it is traced by this thread");
}

/// A process that traces a child of ours and never looks at it: when that exits, its zombie is
/// seen by nobody else until the tracer lets go.
pub(crate) struct Tracer(Child);

impl Tracer {
    /// Of a child that was made `traceable`. `None`, said aloud: this user may not trace here.
    pub(crate) fn attach(pid: u32) -> Option<Self> {
        let mut command = sleep(); // A tracer it stays through its exec.

        // SAFETY: between fork and exec the closure makes that one call, and allocates nothing.
        unsafe { command.pre_exec(move || ptrace(Trace::Seize, pid)) };
        match command.spawn() {
            Ok(tracer) => Some(Self(tracer)),
            Err(error) => {
                skip(&format!("no child can be traced: {error}"));
                None
            }
        }
    }

    /// Ends the tracer, and so lets go of what it traces.
    pub(crate) fn end(mut self) {
        self.0.kill().expect("kill");
        self.0.wait().expect("the tracer ends");
    }
}

/// A child that runs until it is killed, and lets anybody trace it.
pub(crate) fn traceable_sleeper() -> Child {
    traceable(&mut sleep()).spawn().expect("sleep starts")
}

/// Lets any process trace this one, where the system has only ancestors do that.
pub(crate) fn traceable(command: &mut Command) -> &mut Command {
    let allow = || {
        // Without Yama it fails, and is not needed.
        // SAFETY: prctl takes integers here, and is async-signal-safe.
        unsafe { libc::prctl(libc::PR_SET_PTRACER, libc::PR_SET_PTRACER_ANY) };
        Ok(())
    };
    // SAFETY: between fork and exec the closure makes that one call, and allocates nothing.
    unsafe { command.pre_exec(allow) }
}
