//! Seccomp filters that make some system calls fail, as on an older or stricter kernel.

use std::io;
use std::os::unix::process::CommandExt;
use std::process::Command;

use nix::libc::{self, c_int, c_long};

/// A system call that the filter makes fail.
#[derive(Clone, Copy)]
pub(crate) struct DeniedCall {
    pub(crate) call: c_long,
    /// The index and the value of an argument: other calls are let through.
    pub(crate) only_if: Option<(u32, u32)>,
    pub(crate) errno: c_int,
}

/// `pidfd_send_signal` with `PIDFD_SIGNAL_PROCESS_GROUP` before Linux 6.9.
pub(crate) const NO_GROUP_SIGNALS: DeniedCall = DeniedCall {
    call: libc::SYS_pidfd_send_signal,
    only_if: Some((3, 1 << 2)),
    errno: libc::EINVAL,
};

/// Returns a BPF program that denies some system calls and allows all others.
fn program(denied: &[DeniedCall]) -> Vec<libc::sock_filter> {
    const NUMBER: u32 = 0;
    // In `struct seccomp_data` the number, the architecture and the address precede the arguments,
    // and the lower half of an argument is enough here.
    let argument = |index: u32| 16 + 8 * index + if cfg!(target_endian = "big") { 4 } else { 0 };
    let operation = |code: u32, k, jf| libc::sock_filter {
        code: u16::try_from(code).expect("a BPF code"),
        jt: 0,
        jf,
        k,
    };
    let load = |from| operation(libc::BPF_LD | libc::BPF_W | libc::BPF_ABS, from, 0);
    let unless_skip =
        |value, count| operation(libc::BPF_JMP | libc::BPF_JEQ | libc::BPF_K, value, count);
    let result = |action| operation(libc::BPF_RET | libc::BPF_K, action, 0);

    let mut program = Vec::new();
    for rule in denied {
        let call = u32::try_from(rule.call).expect("a system call number");
        let errno = rule.errno.unsigned_abs();
        let failure = result(libc::SECCOMP_RET_ERRNO | errno);
        program.push(load(NUMBER));
        match rule.only_if {
            None => program.extend([unless_skip(call, 1), failure]),
            Some((index, value)) => program.extend([
                unless_skip(call, 3),
                load(argument(index)),
                unless_skip(value, 1),
                failure,
            ]),
        }
    }
    program.push(result(libc::SECCOMP_RET_ALLOW));
    program
}

/// Makes these calls fail in the calling thread and in everything it starts from now on.
pub(crate) fn deny(denied: &[DeniedCall]) -> io::Result<()> {
    install(&program(denied))
}

/// Makes these calls fail in a command, from its exec on.
pub(crate) fn deny_in(command: &mut Command, denied: &[DeniedCall]) {
    let program = program(denied);
    let set = move || install(&program);
    // SAFETY: between fork and exec the closure makes two system calls and does not allocate.
    unsafe { command.pre_exec(set) };
}

fn install(program: &[libc::sock_filter]) -> io::Result<()> {
    let program = libc::sock_fprog {
        len: u16::try_from(program.len()).unwrap_or(0),
        filter: program.as_ptr().cast_mut(),
    };
    // SAFETY: this prctl takes integers.
    if unsafe { libc::prctl(libc::PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) } != 0 {
        return Err(io::Error::last_os_error());
    }
    let filter = libc::SECCOMP_MODE_FILTER;
    // SAFETY: `program` points to `len` instructions, and the kernel only reads them.
    if unsafe { libc::prctl(libc::PR_SET_SECCOMP, filter, &program) } != 0 {
        return Err(io::Error::last_os_error());
    }
    Ok(())
}
