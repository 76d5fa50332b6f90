//! Tracing a child with ptrace, from this process or from another one.

use std::io;
use std::os::unix::process::CommandExt;
use std::process::{Child, Command};
use std::ptr::null_mut;

use nix::libc;

use super::{await_state, shell, skip, sleep};

/// A ptrace request, which the tracing thread makes for its tracee.
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
    let pid = libc::pid_t::try_from(pid).expect("a PID");
    let null = null_mut::<libc::c_void>();
    // SAFETY: these requests neither read nor write memory of this process.
    let done = unsafe { libc::ptrace(request, pid, null, null) };
    match done {
        -1 => Err(io::Error::last_os_error()),
        _ => Ok(()),
    }
}

/// Starts a child that the calling thread traces. It is in a trace stop, at its exec, until
/// `detach` resumes it.
pub(crate) fn trace_stopped(script: &str) -> Child {
    let mut command = shell(script);
    let trace_me = || {
        // SAFETY: PTRACE_TRACEME takes no further arguments.
        unsafe { libc::ptrace(libc::PTRACE_TRACEME) };
        Ok(())
    };
    // SAFETY: between fork and exec the closure makes one system call and does not allocate.
    unsafe { command.pre_exec(trace_me) };
    let child = command.spawn().expect("sh starts");
    await_state(child.id(), 't');
    child
}

/// Resumes a traced child and stops tracing it.
pub(crate) fn detach(pid: u32) {
    ptrace(Trace::Detach, pid).expect("this thread traces it");
}

/// Another process that traces a child of this one and never waits for it. When the child exits,
/// the kernel hides its zombie from the parent until the tracer detaches.
pub(crate) struct Tracer(Child);

impl Tracer {
    /// Traces a child that was made `traceable`. Returns `None`, and prints `skipped`, if this user
    /// may not trace.
    pub(crate) fn attach(pid: u32) -> Option<Self> {
        let mut command = sleep();
        // The process stays the tracer across its exec.
        // SAFETY: between fork and exec the closure makes one system call and does not allocate.
        unsafe { command.pre_exec(move || ptrace(Trace::Seize, pid)) };
        match command.spawn() {
            Ok(tracer) => Some(Self(tracer)),
            Err(error) => {
                skip(&format!("no child can be traced: {error}"));
                None
            }
        }
    }

    /// Kills the tracer, which detaches it from the child.
    pub(crate) fn end(mut self) {
        self.0.kill().expect("kill");
        self.0.wait().expect("wait");
    }
}

/// Starts a child that runs until it is killed and that any process may trace.
pub(crate) fn traceable_sleeper() -> Child {
    traceable(&mut sleep()).spawn().expect("sleep starts")
}

/// Lets any process trace the child, even if the system (Yama) allows only ancestors to.
pub(crate) fn traceable(command: &mut Command) -> &mut Command {
    let allow = || {
        // Fails if the kernel has no Yama, and then it is not needed.
        // SAFETY: this prctl takes integers and is async-signal-safe.
        unsafe { libc::prctl(libc::PR_SET_PTRACER, libc::PR_SET_PTRACER_ANY) };
        Ok(())
    };
    // SAFETY: between fork and exec the closure makes one system call and does not allocate.
    unsafe { command.pre_exec(allow) }
}
