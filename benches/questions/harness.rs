//! Measures contenders in turns.
//!
//! The contenders of a question take turns: in each round every contender has one turn, in a new random
//! order. If the machine is slow for a minute, it slows down whole rounds, and the ratio of two
//! contenders within a round hardly changes. If contenders were measured one after the other, minutes
//! apart, such changes of the machine would look like differences between them.

use std::env;
use std::process;

use pidwait_benches::{results_file, Answer};

use crate::sigchld;

const USAGE: &str = "\
usage: cargo bench [-- [--quick] [--list] [FILTER]...]

  --quick  few rounds and small numbers, to check that the benches run
  --list   print the questions
  FILTER   only the questions whose name contains one of these";

/// What the command line asks for.
pub(crate) struct Bench {
    pub(crate) quick: bool,
    list: bool,
    filters: Vec<String>,
}

impl Bench {
    pub(crate) fn from_args() -> Self {
        let mut bench = Self {
            quick: false,
            list: false,
            filters: Vec::new(),
        };
        let mut measure = false;
        for argument in env::args().skip(1) {
            match argument.as_str() {
                "--bench" => measure = true, // Cargo's.
                "--quick" => bench.quick = true,
                "--list" => bench.list = true,
                option if option.starts_with('-') => {
                    println!("{USAGE}");
                    process::exit(i32::from(option != "--help"));
                }
                _ => bench.filters.push(argument),
            }
        }
        if !measure {
            println!("{USAGE}"); // `cargo test --benches`.
            process::exit(0);
        }
        bench
    }

    /// Whether this question is to be measured. With `--list` the question is printed
    /// instead, and this returns false.
    pub(crate) fn wants(&self, question: &str) -> bool {
        let mut filters = self.filters.iter();
        let wanted = self.filters.is_empty() || filters.any(|it| question.contains(it.as_str()));
        if wanted && self.list {
            println!("{question}");
        }
        wanted && !self.list
    }

    pub(crate) fn rounds(&self, full: usize) -> usize {
        if self.quick {
            5.min(full)
        } else {
            full
        }
    }

    /// A question without contenders yet, if it is wanted. In each of the rounds each contender takes
    /// some samples, and their median is its value of that round.
    pub(crate) fn question<'a>(
        &self,
        name: impl Into<String>,
        rounds: usize,
        samples: usize,
    ) -> Option<Question<'a>> {
        let name = name.into();
        self.wants(&name).then(|| Question {
            name,
            quick: self.quick,
            rounds: self.rounds(rounds),
            samples: if self.quick { samples.min(3) } else { samples },
            turns: Vec::new(),
        })
    }

    pub(crate) fn record(&self, answer: &Answer) {
        record(answer, self.quick);
    }
}

/// Takes one sample of a contender: mostly a time in nanoseconds.
pub(crate) type Sample<'a> = Box<dyn FnMut() -> f64 + 'a>;

pub(crate) struct Question<'a> {
    name: String,
    quick: bool,
    rounds: usize,
    samples: usize,
    turns: Vec<(&'static str, Sample<'a>)>,
}

impl<'a> Question<'a> {
    /// The first contender is the one that the others are compared with.
    pub(crate) fn add(&mut self, contender: &'static str, sample: impl FnMut() -> f64 + 'a) {
        self.turns.push((contender, Box::new(sample)));
    }

    pub(crate) fn run(mut self) {
        let mut values = vec![Vec::new(); self.turns.len()];
        alternate(self.rounds, self.turns.len(), |turn| {
            let (contender, sample) = &mut self.turns[turn];
            sigchld::with_own_handler(contender, || {
                if self.samples > 1 {
                    sample(); // Not measured: it still finds the caches of the previous contender.
                }
                let samples = (0..self.samples).map(|_| sample()).collect();
                values[turn].push(median(samples));
            });
        });
        let names = self.turns.into_iter().map(|(name, sample)| {
            sigchld::with_own_handler(name, || drop(sample));
            name.to_owned()
        });
        let answer = Answer {
            question: self.name,
            contenders: names.zip(values).collect(),
        };
        record(&answer, self.quick);
    }
}

/// Gives each of `n` contenders one turn in each round, in a new random order. In a
/// fixed order each would always follow the same one, and be affected by it.
fn alternate(rounds: usize, n: usize, mut turn: impl FnMut(usize)) {
    let mut order: Vec<usize> = (0..n).collect();
    let mut random = Random(1);
    for _ in 0..rounds {
        for i in (1..n).rev() {
            order.swap(i, random.below(i + 1));
        }
        order.iter().copied().for_each(&mut turn);
    }
}

/// A linear congruential generator, the same in every run.
struct Random(u64);

impl Random {
    fn below(&mut self, limit: usize) -> usize {
        self.0 = self.0.wrapping_mul(6_364_136_223_846_793_005);
        self.0 = self.0.wrapping_add(1_442_695_040_888_963_407);
        (self.0 >> 33) as usize % limit
    }
}

pub(crate) fn median(mut samples: Vec<f64>) -> f64 {
    samples.sort_by(f64::total_cmp);
    samples[samples.len() / 2]
}

/// Prints an answer, and adds it to the results.
fn record(answer: &Answer, quick: bool) {
    println!("\n{}", answer.question);
    let (reference, _) = &answer.contenders[0];
    for (name, values) in &answer.contenders {
        let median = answer.spread(name).expect("at least one round").median;
        print!("  {name:28} {median:>12.1}");
        if values.len() > 1 {
            let ratio = answer.ratio(name, reference).expect("as many rounds");
            print!("  x {:.2}", ratio.median);
            print!("  ({:.2} to {:.2})", ratio.low, ratio.high);
        }
        println!();
    }
    if let Err(error) = answer.append(quick) {
        eprintln!("{}: {error}", results_file(quick).display());
        process::exit(1);
    }
}
