//! The charts of the report.

use pidwait_benches::{Answer, Answers, Spread};

use super::claims::CLAIMS;
use super::svg::{Anchor, Svg, MARGIN, WIDTH};
use super::text::duration;

const OURS: &str = "#c8461e";
const RAW: &str = "#8a8a8a";
const PEER: &str = "#3b6ea8";
const SPREAD: &str = "#222";

fn color(contender: &str) -> &'static str {
    match contender {
        ours if ours.starts_with("pidwait") => OURS,
        raw if raw.starts_with("raw") => RAW,
        _ => PEER,
    }
}

/// The times of one question, a bar for each contender, the shortest first.
pub(crate) fn bars(title: &str, answer: &Answer) -> String {
    let names = answer.contenders.iter().map(|(name, _)| name.as_str());
    let rows = names.filter_map(|name| Some((name, answer.spread(name)?)));
    let mut rows: Vec<(&str, Spread)> = rows.collect();
    rows.sort_by(|(_, one), (_, other)| one.median.total_cmp(&other.median));
    let longest = rows.iter().map(|(_, time)| time.high).fold(0.0, f64::max);
    let scale = |time: f64| MARGIN + time / longest * (WIDTH - 2.0 * MARGIN);

    let mut svg = Svg::new(
        title,
        &[
            "Shorter is better. Bar: the median.",
            "Black line: the middle half of all rounds.",
        ],
    );
    for (name, time) in rows {
        svg.y += 24.0;
        svg.text(MARGIN, svg.y, name, Anchor::Start);
        svg.text(WIDTH - MARGIN, svg.y, &duration(time.median), Anchor::End);
        svg.y += 7.0;
        let width = scale(time.median) - MARGIN;
        svg.bar(MARGIN, svg.y, width, 14.0, color(name));
        svg.y += 7.0;
        let (low, high) = (scale(time.low), scale(time.high));
        svg.line((low, svg.y), (high.max(low + 1.0), svg.y), 3.0, SPREAD);
        svg.y += 7.0;
    }
    svg.finish()
}

/// The ratios that the report makes a claim of, with their limits.
pub(crate) fn claims(answers: &Answers) -> String {
    let mut svg = Svg::new(
        "Time of pidwait, as a ratio",
        &[
            "Lower is better. Dot: the median ratio.",
            "Line: the middle half of all rounds.",
            "Black mark: the limit that we claim.",
            "Grey mark: as fast as the other.",
        ],
    );
    const END: f64 = 3.2;
    let scale = |ratio: f64| MARGIN + ratio.min(END) / END * (WIDTH - 2.0 * MARGIN);
    for (title, claims) in CLAIMS {
        if claims.iter().all(|claim| claim.verdict(answers).is_none()) {
            continue;
        }
        svg.y += 30.0;
        svg.bold_text(MARGIN, svg.y, &title.replace('`', ""));
        for claim in *claims {
            let ratio = answers.get(claim.question);
            let ratio = ratio.and_then(|it| it.ratio(claim.contender, claim.reference));
            let Some(ratio) = ratio else {
                continue;
            };
            let decided = !ratio.crosses(claim.at_most);
            let value = match decided {
                true => format!("{:.2}, limit {:.2}", ratio.median, claim.at_most),
                false => format!("undecided, limit {:.2}", claim.at_most),
            };
            svg.y += 26.0;
            svg.text(MARGIN, svg.y, &claim.text.replace('`', ""), Anchor::Start);
            svg.text(WIDTH - MARGIN, svg.y, &value, Anchor::End);
            svg.y += 14.0;
            svg.line((MARGIN, svg.y), (WIDTH - MARGIN, svg.y), 1.0, "#ddd");
            let equal = scale(1.0);
            svg.line((equal, svg.y - 8.0), (equal, svg.y + 8.0), 2.0, "#aaa");
            let limit = scale(claim.at_most);
            svg.line((limit, svg.y - 8.0), (limit, svg.y + 8.0), 3.0, SPREAD);
            let (low, high) = (scale(ratio.low), scale(ratio.high));
            svg.line((low, svg.y), (high, svg.y), 4.0, OURS);
            if decided {
                svg.dot(scale(ratio.median), svg.y, 6.0, OURS);
            }
            svg.y += 4.0;
        }
    }
    svg.finish()
}

/// CPU time of each exit by the number of children, a line for each contender.
pub(crate) fn many(answers: &Answers) -> String {
    const LINES: [(&str, &str); 6] = [
        ("pidwait WaitSet", OURS),
        ("raw epoll", RAW),
        ("raw wait4(-1)", "#444"),
        ("tokio", "#0072b2"),
        ("async-process", "#009e73"),
        ("a thread each", "#b8860b"),
    ];
    const NUMBERS: [u32; 4] = [10, 100, 1000, 10_000];
    const HEIGHT: f64 = 480.0;
    const LEFT: f64 = 68.0;
    const RIGHT: f64 = WIDTH - 164.0;

    let answer = |n: u32| answers.get(&format!("multi/exit_cpu/{n}"));
    let points = |name: &str| -> Vec<(f64, Spread)> {
        let numbers = NUMBERS.iter().filter_map(|n| {
            let time = answer(*n)?.spread(name)?;
            Some((f64::from(*n), time))
        });
        numbers.collect()
    };
    let all: Vec<_> = LINES.iter().flat_map(|(name, _)| points(name)).collect();
    let least = all.iter().map(|(_, time)| time.low);
    let least = least.fold(f64::INFINITY, f64::min) / 1.2;
    let most = all.iter().map(|(_, time)| time.high).fold(0.0, f64::max) * 1.2;

    let mut svg = Svg::new(
        "CPU time of each exit of N children",
        &[
            "Lower is better. Dot: the median.",
            "Upright line: the middle half of all rounds.",
        ],
    );
    let top = svg.y + 12.0;
    let x = |n: f64| LEFT + (n.log10() - 1.0) / 3.0 * (RIGHT - LEFT);
    let y = |time: f64| top + HEIGHT * (1.0 - (time / least).ln() / (most / least).ln());
    let steps = (2..7).flat_map(|power| [1.0, 2.0, 5.0].map(|step| step * 10_f64.powi(power)));
    for time in steps.filter(|time| (least..most).contains(time)) {
        svg.line((LEFT - 4.0, y(time)), (RIGHT + 4.0, y(time)), 1.0, "#ddd");
        let label = format!("{} µs", time / 1e3);
        svg.text(LEFT - 8.0, y(time) + 5.0, &label, Anchor::End);
    }
    for (n, label) in NUMBERS.iter().zip(["10", "100", "1,000", "N = 10,000"]) {
        svg.text(x(f64::from(*n)), top + HEIGHT + 26.0, label, Anchor::Middle);
    }
    let mut labels = Vec::new();
    for (name, color) in LINES {
        let points = points(name);
        let places: Vec<_> = points
            .iter()
            .map(|(n, time)| (x(*n), y(time.median)))
            .collect();
        for pair in places.windows(2) {
            svg.line(pair[0], pair[1], 3.0, color);
        }
        for (n, time) in &points {
            svg.line((x(*n), y(time.low)), (x(*n), y(time.high)), 4.0, color);
            svg.dot(x(*n), y(time.median), 5.0, color);
        }
        if let Some((_, y)) = places.last() {
            labels.push((*y, name, color));
        }
    }
    add_labels(&mut svg, RIGHT + 12.0, top, labels);
    svg.y = top + HEIGHT + 26.0;
    svg.finish()
}

/// Labels lines at their ends. Labels that would overlap move down.
fn add_labels(svg: &mut Svg, x: f64, top: f64, mut labels: Vec<(f64, &str, &str)>) {
    labels.sort_by(|(one, ..), (other, ..)| one.total_cmp(other));
    let mut free = top;
    for (y, name, color) in labels {
        let y = y.max(free);
        svg.colored_text(x, y + 5.0, name, color);
        free = y + 20.0;
    }
}
