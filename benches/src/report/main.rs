//! Writes `benches/REPORT.md` and its charts from the results of `cargo bench`.
//!
//! With `--quick` it takes the results of a quick run, and writes into the target directory.

mod charts;
mod claims;
mod machine;
mod svg;
mod text;

use std::env;
use std::error::Error;
use std::fs;
use std::path::PathBuf;

use claims::CLAIMS;
use pidwait_benches::{results_file, Answer, Answers};

fn main() -> Result<(), Box<dyn Error>> {
    let quick = env::args().skip(1).any(|argument| argument == "--quick");
    let answers = Answers::read(quick)?;
    let directory = if quick {
        results_file(quick).with_extension("report")
    } else {
        check_complete(&answers)?;
        PathBuf::from(env!("CARGO_MANIFEST_DIR"))
    };
    fs::create_dir_all(&directory)?;
    let write = |name: &str, text: String| {
        let file = directory.join(name);
        println!("{}", file.display());
        fs::write(file, text)
    };
    write("REPORT.md", text::report(&answers))?;
    write("claims.svg", charts::claims(&answers))?;
    write("many.svg", charts::many(&answers))?;
    let wait = needed(&answers, "wait/zombie")?;
    write(
        "single.svg",
        charts::bars("Wait for a child that has exited", wait),
    )?;
    let capture = needed(&answers, "capture/64MiB")?;
    write(
        "capture.svg",
        charts::bars("Capture 64 MiB of output", capture),
    )?;
    Ok(())
}

/// All that a claim is made of must have been measured.
fn check_complete(answers: &Answers) -> Result<(), String> {
    let mut claims = CLAIMS.iter().flat_map(|(_, claims)| *claims);
    claims.try_for_each(|claim| needed(answers, claim.question).map(|_| ()))
}

fn needed<'a>(answers: &'a Answers, question: &str) -> Result<&'a Answer, String> {
    let answer = answers.get(question);
    answer.ok_or(format!("no result of {question}: run `cargo bench` first"))
}
