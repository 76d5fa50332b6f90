//! What the bench writes and the report reads: for each question, the value of each contender in
//! each round, and the statistics of them.

use std::env;
use std::fmt::Write as _;
use std::fs::{self, File};
use std::io::{self, Write as _};
use std::path::PathBuf;

/// The result of one question. All contenders have the same number of values: value `i` of each was
/// measured in round `i`.
#[derive(Debug, Clone)]
pub struct Answer {
    /// A path such as `call/try_wait`, with the number of children last if there is one.
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

    /// Adds this answer to the file of results: a line with tabs between the question, the name of
    /// each contender and its values.
    ///
    /// # Errors
    ///
    /// Any error of writing the file.
    pub fn append(&self, quick: bool) -> io::Result<()> {
        let mut line = self.question.clone();
        for (name, values) in &self.contenders {
            let values: Vec<String> = values.iter().map(f64::to_string).collect();
            let _ = write!(line, "\t{name}\t{}", values.join(" "));
        }
        let mut file = File::options();
        let mut file = file.create(true).append(true).open(results_file(quick))?;
        writeln!(file, "{line}")
    }

    fn parse(line: &str) -> Option<Self> {
        let mut fields = line.split('\t');
        let question = fields.next()?.to_owned();
        let mut contenders = Vec::new();
        while let Some(name) = fields.next() {
            let values = fields.next()?.split(' ').map(|it| it.parse().ok());
            contenders.push((name.to_owned(), values.collect::<Option<_>>()?));
        }
        Some(Self {
            question,
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

/// In the target directory. Quick runs have a file of their own: their
/// numbers are not for the report.
#[must_use]
pub fn results_file(quick: bool) -> PathBuf {
    let program = env::current_exe().unwrap_or_default();
    // Cargo marks the directory as a cache.
    let mut directories = program.ancestors().skip(1);
    let target = directories.find(|directory| directory.join("CACHEDIR.TAG").exists());
    let name = if quick {
        "bench-quick.tsv"
    } else {
        "bench.tsv"
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
