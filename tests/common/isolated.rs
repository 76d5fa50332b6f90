//! Running one test again in a process of its own: for what changes the whole process.

use std::env;
use std::process::{Command, Stdio};

const PART: &str = "PIDWAIT_TEST_PART";

/// The part that this process was started to play; `None` in the test as it was called.
pub(crate) fn current_part() -> Option<String> {
    env::var(PART).ok()
}

/// Plays one part of a test in a process of its own, which must succeed.
pub(crate) fn run_isolated(test: &str, part: &str, prepare: impl FnOnce(&mut Command)) {
    run_isolated_under(&[], test, part, prepare);
}

/// The same, by way of a program that runs the command line that follows.
pub(crate) fn run_isolated_under(
    wrapper: &[&str],
    test: &str,
    part: &str,
    prepare: impl FnOnce(&mut Command),
) {
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
        .stderr(Stdio::inherit()); // What was skipped is said there.
    prepare(&mut command);
    let output = command.output().expect("this binary runs again");
    let said = String::from_utf8_lossy(&output.stdout);
    // The second half: a misspelt name runs no test at all, and succeeds.
    assert!(
        output.status.success() && said.contains("1 passed"),
        "{test}, as {part:?}: {}\n{said}",
        output.status
    );
}

/// True in a process that runs the calling test only; elsewhere starts that and says false.
pub(crate) fn enter(test: &str) -> bool {
    if current_part().is_none() {
        run_isolated(test, "alone", |_| {});
        return false;
    }
    true
}
