//! The machine and the versions that the numbers are of.

use std::fmt::Write;
use std::fs;
use std::process::Command;
use std::thread;

const CRATES: [&str; 8] = [
    "pidwait",
    "wait-timeout",
    "shared_child",
    "subprocess",
    "async-process",
    "async-io",
    "tokio",
    "tokio-process-tools",
];

pub(crate) fn describe() -> String {
    let mut text = String::new();
    let cpus = thread::available_parallelism().map_or(1, usize::from);
    let model = field("/proc/cpuinfo", "model name").unwrap_or("unknown".to_owned());
    let memory = field("/proc/meminfo", "MemTotal").unwrap_or_default();
    let memory = memory.trim_end_matches(" kB").parse().unwrap_or(0) / (1024 * 1024);
    let _ = writeln!(
        text,
        "- Machine: {model}, {cpus} CPUs, {memory} GiB of memory, {} processes when this was written",
        processes()
    );
    let kernel = read("/proc/sys/kernel/osrelease");
    let _ = writeln!(text, "- Kernel: Linux {}", kernel.trim());
    let _ = writeln!(text, "- Compiler: {}", compiler());
    let lock = read(concat!(env!("CARGO_MANIFEST_DIR"), "/../Cargo.lock"));
    let versions = CRATES.map(|name| format!("{name} {}", version(&lock, name)));
    let _ = writeln!(text, "- Crates: {}", versions.join(", "));
    text
}

fn processes() -> usize {
    let entries = fs::read_dir("/proc").into_iter().flatten().flatten();
    let pids = entries.filter(|it| it.file_name().to_string_lossy().parse::<u32>().is_ok());
    pids.count()
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
    // The rest is the commit.
    let text = String::from_utf8_lossy(&text);
    text.split(" (").next().unwrap_or_default().to_owned()
}

/// The version of a crate in the lock file. Of two versions the newer one comes last.
fn version<'a>(lock: &'a str, name: &str) -> &'a str {
    let entry = format!("name = \"{name}\"\nversion = \"");
    let after = lock.rsplit_once(&entry).map_or("?", |(_, after)| after);
    after.split('"').next().unwrap_or_default()
}
