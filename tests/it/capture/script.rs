//! Random scripts of writes, pauses, forks, closes and exits: the output is what the script must
//! have written.

use std::process::Stdio;
use std::time::Duration;

use proptest::prelude::*;

use super::{both_piped, kinds, LONG};
use crate::common::rounds;
use pidwait::Capture;

#[derive(Clone, Debug)]
enum Step {
    Write { stderr: bool, bytes: usize },
    Pause(u64),
    Fork(Vec<Step>),
    Close { stderr: bool },
}

#[derive(Clone, Debug)]
struct Script {
    steps: Vec<Step>,
    code: i32,
    /// How long each of the runs that time out takes.
    timeouts: Vec<u64>,
    max_bytes: usize,
}

fn steps() -> impl Strategy<Value = Vec<Step>> {
    let bytes = prop_oneof![4 => 0..200_usize, 1 => 60_000..200_000_usize];
    let leaf = prop_oneof![
        4 => (any::<bool>(), bytes).prop_map(|(stderr, bytes)| Step::Write { stderr, bytes }),
        2 => (0..20_u64).prop_map(Step::Pause),
        1 => any::<bool>().prop_map(|stderr| Step::Close { stderr }),
    ];
    let steps = prop::collection::vec(leaf, 0..5);
    steps.prop_recursive(2, 16, 4, |inner| {
        prop::collection::vec(
            prop_oneof![
                1 => inner.prop_map(Step::Fork),
                1 => (any::<bool>(), 0..200_usize)
                    .prop_map(|(stderr, bytes)| Step::Write { stderr, bytes }),
                1 => (0..20_u64).prop_map(Step::Pause),
            ],
            0..4,
        )
    })
}

fn script() -> impl Strategy<Value = Script> {
    let max_bytes = prop_oneof![2 => Just(usize::MAX), 1 => 0..100_000_usize];
    let timeouts = prop::collection::vec(0..30_u64, 0..4);
    (steps(), 0..4, timeouts, max_bytes).prop_map(|(steps, code, timeouts, max_bytes)| Script {
        steps,
        code,
        timeouts,
        max_bytes,
    })
}

/// The text of the script, and how much each stream gets.
fn compile(steps: &[Step], mut open: [bool; 2], text: &mut String, written: &mut [usize; 2]) {
    for step in steps {
        match step {
            Step::Write { stderr, bytes } => {
                let stream = usize::from(*stderr);
                // A write to a closed stream would fail with an error message on the other one.
                if open[stream] && *bytes > 0 {
                    let command = format!("head -c {bytes} /dev/zero >&{}\n", stream + 1);
                    text.push_str(&command);
                    written[stream] += bytes;
                }
            }
            Step::Pause(millis) => text.push_str(&format!("sleep 0.{millis:03}\n")),
            Step::Fork(steps) => {
                text.push_str("(:\n");
                compile(steps, open, text, written);
                text.push_str(") &\n");
            }
            Step::Close { stderr } => {
                let stream = usize::from(*stderr);
                text.push_str(&format!("exec {}>&-\n", stream + 1));
                open[stream] = false;
            }
        }
    }
}

fn check(script: &Script) {
    let (mut text, mut written) = (String::new(), [0, 0]);
    compile(&script.steps, [true; 2], &mut text, &mut written);
    text.push_str(&format!("exit {}", script.code));
    for kind in kinds() {
        let mut child = kind.spawn(both_piped(&text).stdin(Stdio::null()));
        let (mut read, mut discarded, mut runs) = ([0, 0], 0, 0);
        let mut timeouts = script.timeouts.iter();
        let last = loop {
            let timeout = timeouts
                .next()
                .map_or(LONG, |millis| Duration::from_millis(*millis));
            let capture = Capture::new().timeout(timeout).leak_timeout(LONG);
            let captured = child.run(&capture.max_bytes(script.max_bytes)).unwrap();
            runs += 1;
            let streams = [&captured.stdout, &captured.stderr];
            for (read, bytes) in read.iter_mut().zip(streams) {
                assert!(bytes.len() <= script.max_bytes);
                assert!(bytes.iter().all(|byte| *byte == 0), "{text}\n{captured:?}");
                *read += bytes.len();
            }
            discarded += captured.stdout_discarded + captured.stderr_discarded;
            assert_eq!(captured.stopped_by.is_some(), captured.status.is_none());
            if captured.status.is_some() {
                break captured;
            }
        };
        assert_eq!(last.status.unwrap().code(), Some(script.code), "{text}");
        let total = (read[0] + read[1]) as u64 + discarded;
        let expected = (written[0] + written[1]) as u64;
        if last.leaked {
            // The time ran out between the exit and the end of the pipes.
            assert!(runs <= script.timeouts.len() && total <= expected, "{text}");
        } else {
            assert_eq!(total, expected, "{kind:?}\n{text}");
            if discarded == 0 {
                assert_eq!(read, written, "{kind:?}\n{text}");
            }
        }
    }
}

#[test]
fn output_is_what_the_script_has_written() {
    let cases = u32::try_from(rounds(40)).unwrap();
    let config = ProptestConfig {
        failure_persistence: None,
        max_shrink_time: 30_000,
        ..ProptestConfig::with_cases(cases)
    };
    proptest!(config, |(script in script())| check(&script));
}
