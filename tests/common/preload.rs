//! Tests under a library that replaces functions of libc.

use std::path::PathBuf;
use std::process::Command;

use super::isolated::{current_part, run_isolated};
use super::{eventually, is_in_nanosleep, library_threads, skip};

/// Returns true in a process that runs only the calling test, with a library that replaces functions of libc.
/// Elsewhere compiles the library, starts that process, waits for it to pass and returns false.
pub(crate) fn enter_preloaded(test: &str, source: &str) -> bool {
    if current_part().is_some() {
        return true;
    }
    if let Some(library) = library(source) {
        run_isolated(test, "preloaded", |command| {
            command.env("LD_PRELOAD", library);
        });
    }
    false
}

/// Holds up the next check of a child or a non-child by PID, in a thread of the crate, for a second, and
/// returns after it. Under `interposed.c`.
pub(crate) fn hold_up_a_check() {
    std::env::set_var("PIDWAIT_TEST_SLOW_WAITID", "1000");
    let is_held = || library_threads().any(is_in_nanosleep);
    eventually("a check is held up", is_held);
    eventually("it goes on", || !is_held());
}

/// Compiles a library to preload, which replaces functions of libc. `None`: there is no C compiler, or the
/// system's libraries are static.
pub(crate) fn library(source: &str) -> Option<PathBuf> {
    let folder = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/common");
    let target = PathBuf::from(env!("CARGO_TARGET_TMPDIR"));
    // Renamed when it is complete, because other tests may load it at this moment.
    let thread = std::thread::current().id();
    let new = target.join(format!("{source}.{}.{thread:?}", std::process::id()));
    let mut compiler = Command::new("cc");
    compiler.args(["-shared", "-fPIC", "-o"]).arg(&new);
    compiler.arg(PathBuf::from(folder).join(source)).arg("-ldl");
    if cfg!(target_arch = "x86") {
        compiler.arg("-m32");
    }
    match compiler.output() {
        Ok(output) if output.status.success() => {
            let library = target.join(format!("{source}.so"));
            std::fs::rename(new, &library).unwrap();
            Some(library)
        }
        Ok(output) => {
            skip(&format!("cc: {}", String::from_utf8_lossy(&output.stderr)));
            None
        }
        Err(error) => {
            skip(&format!("no cc: {error}"));
            None
        }
    }
}
