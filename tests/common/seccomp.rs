//! Kernels that are older or stricter than this one: a filter makes some system calls fail.

use std::io;
use std::os::unix::process::CommandExt;
use std::process::Command;

use nix::libc::{self, c_int, c_long};

/// A system call that fails.
#[derive(Clone, Copy)]
pub(crate) struct DeniedCall {
    pub(crate) call: c_long,
    /// Only where the argument of that index has that value.
    pub(crate) only_if: Option<(u32, u32)>,
    pub(crate) errno: c_int,
}

/// A program, in BPF, that refuses some system calls and lets all others through.
fn program(refused: &[DeniedCall]) -> Vec<libc::sock_filter> {
    const NUMBER: u32 = 0;
    // `struct seccomp_data`: number, architecture and address come before the arguments, of which
    // the lower half is enough here.
    let argument = |index: u32| 16 + 8 * index + if cfg!(target_endian = "big") { 4 } else { 0 };
    let operation = |code: u32, k, jf| libc::sock_filter {
        code: u16::try_from(code).expect("codes are short"),
        jt: 0,
        jf,
        k,
    };
    let load = |from| operation(libc::BPF_LD | libc::BPF_W | libc::BPF_ABS, from, 0);
    let unless_skip =
        |value, count| operation(libc::BPF_JMP | libc::BPF_JEQ | libc::BPF_K, value, count);
    let answer = |what| operation(libc::BPF_RET | libc::BPF_K, what, 0);

    let mut program = Vec::new();
    for rule in refused {
        let call = u32::try_from(rule.call).expect("calls have small numbers");
        let errno = rule.errno.unsigned_abs();
        let refusal = answer(libc::SECCOMP_RET_ERRNO | errno);
        program.push(load(NUMBER));
        match rule.only_if {
            None => program.extend([unless_skip(call, 1), refusal]),
            Some((index, value)) => program.extend([
                unless_skip(call, 3),
                load(argument(index)),
                unless_skip(value, 1),
                refusal,
            ]),
        }
    }
    program.push(answer(libc::SECCOMP_RET_ALLOW));
    program
}

/// From now on these calls fail in the calling thread, and in all that it starts.
pub(crate) fn deny(refused: &[DeniedCall]) -> io::Result<()> {
    install(&program(refused))
}

/// The same in a command that is about to be run, from its first instruction on.
pub(crate) fn deny_in(command: &mut Command, refused: &[DeniedCall]) {
    let program = program(refused);
    let set = move || install(&program);
    // SAFETY: between fork and exec the closure makes two system calls, and allocates nothing.
    unsafe { command.pre_exec(set) };
}

fn install(program: &[libc::sock_filter]) -> io::Result<()> {
    let program = libc::sock_fprog {
        len: u16::try_from(program.len()).unwrap_or(0),
        filter: program.as_ptr().cast_mut(),
    };
    // SAFETY: PR_SET_NO_NEW_PRIVS takes integers.
    if unsafe { libc::prctl(libc::PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) } != 0 {
        return Err(io::Error::last_os_error());
    }
    let filter = libc::SECCOMP_MODE_FILTER;
    // SAFETY: `program` is a local that points to `len` instructions, which the kernel only reads.
    if unsafe { libc::prctl(libc::PR_SET_SECCOMP, filter, &program) } != 0 {
        return Err(io::Error::last_os_error());
    }
    Ok(())
}
