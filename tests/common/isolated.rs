//! Runs one test in a process of its own, for tests that change or measure the whole process.

use std::env;
use std::process::{Command, Stdio};

const PART: &str = "PIDWAIT_TEST_PART";

/// Returns the part of the test that this process was started for, or `None` in the original test
/// process.
pub(crate) fn current_part() -> Option<String> {
    env::var(PART).ok()
}

/// Runs one part of a test in a process of its own and asserts that it passes.
pub(crate) fn run_isolated(test: &str, part: &str, prepare: impl FnOnce(&mut Command)) {
    run_isolated_under(&[], test, part, prepare);
}

/// Like [`run_isolated`], under a wrapper program that runs the command line after its arguments.
pub(crate) fn run_isolated_under(
    wrapper: &[&str],
    test: &str,
    part: &str,
    prepare: impl FnOnce(&mut Command),
) {
    if let Err(error) = try_part(wrapper, test, part, prepare) {
        panic!("{test}, part {part:?}: {error}");
    }
}

/// Like [`run_isolated`]. Returns what the part has printed, or what went wrong.
pub(crate) fn try_isolated(
    test: &str,
    part: &str,
    prepare: impl FnOnce(&mut Command),
) -> Result<String, String> {
    try_part(&[], test, part, |command| {
        command.stderr(Stdio::piped());
        prepare(command);
    })
}

fn try_part(
    wrapper: &[&str],
    test: &str,
    part: &str,
    prepare: impl FnOnce(&mut Command),
) -> Result<String, String> {
    let this = env::current_exe().expect("the path of this binary");
    let mut command = match wrapper {
        [] => Command::new(this),
        [program, arguments @ ..] => {
            let mut command = Command::new(program);
            command.args(arguments).arg(this);
            command
        }
    };
    command
        .args([test, "--exact", "--test-threads=1"])
        .env(PART, part)
        .stdin(Stdio::null())
        .stderr(Stdio::inherit()); // `skip` prints there.
    prepare(&mut command);
    let output = command.output().expect("this binary starts");
    let stdout = String::from_utf8_lossy(&output.stdout).into_owned();
    let stderr = String::from_utf8_lossy(&output.stderr);
    // Success is not enough: with a misspelt name the binary runs no test and exits with 0.
    if output.status.success() && stdout.contains("1 passed") {
        Ok(stdout)
    } else {
        Err(format!("{}\n{stdout}{stderr}", output.status))
    }
}

/// Returns true in a process that runs only the calling test. Elsewhere starts that process, waits
/// for it to pass and returns false.
pub(crate) fn enter(test: &str) -> bool {
    if current_part().is_none() {
        run_isolated(test, "alone", |_| {});
        return false;
    }
    true
}

/// Like [`enter`], under a wrapper program. Skips the test, and says why, if the wrapper fails here.
pub(crate) fn enter_under(wrapper: &[&str], test: &str, why: &str) -> bool {
    if current_part().is_some() {
        return true;
    }
    let mut trial = Command::new(wrapper[0]);
    match trial.args(&wrapper[1..]).arg("true").output() {
        Ok(output) if output.status.success() => {
            run_isolated_under(wrapper, test, "alone", |_| {});
        }
        _ => super::skip(why),
    }
    false
}

/// Returns true in a process that runs only the calling test, where new handles use one backend.
/// Elsewhere starts such a process for each backend, all at the same time, waits for them to pass and returns
/// false.
pub(crate) fn enter_with_each_backend(test: &str) -> bool {
    if current_part().is_some() {
        return true;
    }
    super::at_once(super::backends(), |backend| {
        run_isolated(test, &backend.to_string(), |command| {
            command.env("PIDWAIT_BACKEND", backend.to_string());
        });
    });
    false
}
