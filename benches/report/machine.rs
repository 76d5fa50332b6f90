//! What the numbers were measured on, and with.

use std::fmt::Write;
use std::fs;
use std::process::Command;
use std::thread;

const CRATES: [&str; 9] = [
    "pidwait",
    "criterion",
    "wait-timeout",
    "shared_child",
    "process_control",
    "subprocess",
    "async-process",
    "async-io",
    "tokio",
];

pub(crate) fn describe() -> String {
    let mut text = String::new();
    let cpus = thread::available_parallelism().map_or(1, usize::from);
    let model = field("/proc/cpuinfo", "model name").unwrap_or("unknown".to_owned());
    let memory = field("/proc/meminfo", "MemTotal").unwrap_or_default();
    let _ = writeln!(text, "- Machine: {model}, {cpus} CPUs, {memory} of memory");
    let kernel = read("/proc/sys/kernel/osrelease");
    let _ = writeln!(text, "- Kernel: Linux {}", kernel.trim());
    let _ = writeln!(text, "- Compiler: {}", compiler());
    let lock = read("Cargo.lock");
    let versions = CRATES.map(|name| format!("{name} {}", version(&lock, name)));
    let _ = writeln!(text, "- Crates: {}", versions.join(", "));
    text
}

fn read(path: &str) -> String {
    fs::read_to_string(path).unwrap_or_default()
}

fn field(path: &str, name: &str) -> Option<String> {
    let text = read(path);
    let line = text.lines().find(|line| line.starts_with(name))?;
    let (_, value) = line.split_once(':')?;
    Some(value.trim().to_owned())
}

fn compiler() -> String {
    let output = Command::new("rustc").arg("--version").output();
    let text = output.map(|output| output.stdout).unwrap_or_default();
    // Without the commit.
    let text = String::from_utf8_lossy(&text);
    text.split(" (").next().unwrap_or_default().to_owned()
}

/// What the lock file says of a crate; of two versions the newer one, which comes last.
fn version<'a>(lock: &'a str, name: &str) -> &'a str {
    let entry = format!("name = \"{name}\"\nversion = \"");
    let after = lock.rsplit_once(&entry).map_or("?", |(_, after)| after);
    after.split('"').next().unwrap_or_default()
}
