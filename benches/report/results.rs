//! What criterion has kept of a run.

use std::collections::BTreeMap;
use std::env;
use std::fs;
use std::io;
use std::path::{Path, PathBuf};
use std::time::SystemTime;

use serde_json::Value;

/// Medians in nanoseconds.
pub(crate) struct Results {
    medians: BTreeMap<(String, String, String), f64>,
    last: BTreeMap<String, SystemTime>,
    /// What `benches/syscalls.sh` has counted, if it was run.
    pub(crate) costs: Option<String>,
}

impl Results {
    pub(crate) fn read() -> Self {
        let folder = folder();
        let mut results = Self {
            medians: BTreeMap::new(),
            last: BTreeMap::new(),
            costs: fs::read_to_string(folder.join("cost.tsv")).ok(),
        };
        results.collect(&folder);
        results
    }

    /// The median of a question's line, for an N or a size where the question has some.
    pub(crate) fn median(&self, question: &str, line: &str, of: &str) -> Option<f64> {
        let key = (question.to_owned(), line.to_owned(), of.to_owned());
        self.medians.get(&key).copied()
    }

    /// When a question was last answered.
    pub(crate) fn time(&self, question: &str) -> Option<SystemTime> {
        self.last.get(question).copied()
    }

    /// Results are wherever criterion has put them: a folder for each group, in that one for
    /// each line, in that one for each N.
    fn collect(&mut self, folder: &Path) {
        for entry in fs::read_dir(folder).into_iter().flatten().flatten() {
            let path = entry.path();
            if path.ends_with("new") {
                // What is half written or of another version is no result.
                let _ = self.read_one(&path);
            } else if path.is_dir() {
                self.collect(&path);
            }
        }
    }

    fn read_one(&mut self, folder: &Path) -> io::Result<()> {
        let estimates = folder.join("estimates.json");
        let time = fs::metadata(&estimates)?.modified()?;
        let estimates: Value = serde_json::from_slice(&fs::read(estimates)?)?;
        let name: Value = serde_json::from_slice(&fs::read(folder.join("benchmark.json"))?)?;
        let text = |field: &str| name[field].as_str().unwrap_or_default().to_owned();
        let Some(median) = estimates["median"]["point_estimate"].as_f64() else {
            return Ok(());
        };
        let question = text("group_id");
        let last = self.last.entry(question.clone()).or_insert(time);
        *last = time.max(*last);
        let key = (question, text("function_id"), text("value_str"));
        self.medians.insert(key, median);
        Ok(())
    }
}

fn folder() -> PathBuf {
    if let Some(home) = env::var_os("CRITERION_HOME") {
        return home.into();
    }
    // This program is in `release/deps` of the folder for all that is built.
    let me = env::current_exe().expect("a path");
    let target = me.ancestors().nth(3).expect("built by cargo");
    target.join("criterion")
}
