//! Writes `benches/REPORT.md` and its charts from the results of `cargo bench`.
//!
//! With `--quick` it takes the results of a quick run, and writes into the target directory.

mod charts;
mod claims;
mod machine;
mod text;

use std::env;
use std::error::Error;
use std::fs;
use std::path::PathBuf;

use pidwait_benches::{results_file, Answers};

fn main() -> Result<(), Box<dyn Error>> {
    let quick = env::args().skip(1).any(|argument| argument == "--quick");
    let answers = Answers::read(quick)?;
    let directory = if quick {
        results_file(quick).with_extension("report")
    } else {
        let missing = text::questions().find(|question| answers.get(question).is_none());
        if let Some(question) = missing {
            return Err(
                format!("no result of {question}: run `cargo bench --all-features` first").into(),
            );
        }
        PathBuf::from(env!("CARGO_MANIFEST_DIR"))
    };
    fs::create_dir_all(&directory)?;
    let write = |name: &str, text: String| {
        let file = directory.join(name);
        println!("{}", file.display());
        fs::write(file, text)
    };
    write("REPORT.md", text::report(&answers))?;
    for (file, question, title) in charts::CHARTS {
        if let Some(answer) = answers.get(question) {
            write(file, charts::bars(title, answer)?)?;
        }
    }
    Ok(())
}
