//! What the bench writes and the report reads: for each question, the value of each contender in
//! each round, and the statistics of them.

use std::env;
use std::fs::{self, File};
use std::io::{self, Write};
use std::path::PathBuf;

use serde_json::{json, Value};

/// The result of one question. All contenders have the same number of values: value `i` of each was
/// measured in round `i`.
#[derive(Debug, Clone)]
pub struct Answer {
    /// A path such as `call/try_wait`, with the number of children or bytes last if there is one.
    pub question: String,
    /// In the order of the question. Times are in nanoseconds.
    pub contenders: Vec<(String, Vec<f64>)>,
}

impl Answer {
    /// The values of a contender, if it takes part in this question.
    #[must_use]
    pub fn values(&self, contender: &str) -> Option<&[f64]> {
        let mut contenders = self.contenders.iter();
        let (_, values) = contenders.find(|(name, _)| name == contender)?;
        Some(values)
    }

    /// The spread of a contender's values.
    #[must_use]
    pub fn spread(&self, contender: &str) -> Option<Spread> {
        Spread::of(self.values(contender)?.to_vec())
    }

    /// The spread of the ratios of two contenders, round by round. What disturbs a whole round
    /// disturbs both, and cancels out.
    #[must_use]
    pub fn ratio(&self, contender: &str, to: &str) -> Option<Spread> {
        let pairs = self.values(contender)?.iter().zip(self.values(to)?);
        Spread::of(pairs.map(|(value, to)| value / to).collect())
    }

    /// Adds this answer to the file of results.
    ///
    /// # Errors
    ///
    /// Any error of writing the file.
    pub fn append(&self, quick: bool) -> io::Result<()> {
        let mut contenders = Vec::new();
        for (name, values) in &self.contenders {
            contenders.push(json!({ "name": name, "values": values }));
        }
        let line = json!({ "question": self.question, "contenders": contenders });
        let mut file = File::options()
            .create(true)
            .append(true)
            .open(results_file(quick))?;
        writeln!(file, "{line}")
    }

    fn parse(line: &str) -> Option<Self> {
        let line: Value = serde_json::from_str(line).ok()?;
        let mut contenders = Vec::new();
        for contender in line["contenders"].as_array()? {
            let values = contender["values"].as_array()?;
            let values = values.iter().map(Value::as_f64).collect::<Option<_>>()?;
            contenders.push((contender["name"].as_str()?.to_owned(), values));
        }
        Some(Self {
            question: line["question"].as_str()?.to_owned(),
            contenders,
        })
    }
}

/// The last answer to each question.
#[derive(Debug)]
pub struct Answers(Vec<Answer>);

impl Answers {
    /// Reads the file of results; it is empty if there was no run.
    ///
    /// # Errors
    ///
    /// Any error of reading the file, except that there is none.
    pub fn read(quick: bool) -> io::Result<Self> {
        let text = match fs::read_to_string(results_file(quick)) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => String::new(),
            text => text?,
        };
        Ok(Self(text.lines().filter_map(Answer::parse).collect()))
    }

    /// The last answer to a question.
    #[must_use]
    pub fn get(&self, question: &str) -> Option<&Answer> {
        self.0.iter().rev().find(|it| it.question == question)
    }
}

/// In the target directory, one JSON object a line. Quick runs have a file of their own: their
/// numbers are not for the report.
#[must_use]
pub fn results_file(quick: bool) -> PathBuf {
    let program = env::current_exe().unwrap_or_default();
    // Cargo marks the directory as a cache.
    let mut directories = program.ancestors().skip(1);
    let target = directories.find(|directory| directory.join("CACHEDIR.TAG").exists());
    let name = if quick {
        "bench-quick.jsonl"
    } else {
        "bench.jsonl"
    };
    target.unwrap_or("target".as_ref()).join(name)
}

/// The median and the quartiles of some values: half of the values are between `low` and `high`.
#[derive(Debug, Clone, Copy)]
pub struct Spread {
    /// The first quartile.
    pub low: f64,
    /// The median.
    pub median: f64,
    /// The third quartile.
    pub high: f64,
}

impl Spread {
    /// `None` if there are no values.
    #[must_use]
    pub fn of(mut values: Vec<f64>) -> Option<Self> {
        values.sort_by(f64::total_cmp);
        Some(Self {
            low: quantile(&values, 1, 4)?,
            median: quantile(&values, 2, 4)?,
            high: quantile(&values, 3, 4)?,
        })
    }

    /// Whether the limit lies inside of the range, so that the values do not tell on which side of
    /// it they are.
    #[must_use]
    pub fn crosses(&self, limit: f64) -> bool {
        self.low <= limit && limit < self.high
    }
}

/// The value at `numerator / denominator` of the sorted values, interpolated between neighbours.
fn quantile(sorted: &[f64], numerator: usize, denominator: usize) -> Option<f64> {
    let last = sorted.len().checked_sub(1)?;
    let position = last * numerator;
    let (index, rest) = (position / denominator, position % denominator);
    let (lower, upper) = (sorted[index], sorted[(index + 1).min(last)]);
    #[allow(clippy::cast_precision_loss)] // Both are small.
    let fraction = rest as f64 / denominator as f64;
    Some(lower + (upper - lower) * fraction)
}
