//! The charts of the report: the times of one question, a bar for each contender.

use std::error::Error;

use pidwait_benches::{Answer, Spread};
use plotters::prelude::*;
use plotters::style::text_anchor::{HPos, Pos, VPos};

use super::text::duration;

/// The file, the question and the title of each.
pub(crate) const CHARTS: [(&str, &str, &str); 4] = [
    (
        "single.svg",
        "wait/exited",
        "Wait for a child that has exited",
    ),
    (
        "many.svg",
        "set/cpu/1000",
        "CPU time for each exit of 1,000 children",
    ),
    ("capture.svg", "capture/64MiB", "Capture 64 MiB of output"),
    (
        "delay.svg",
        "capture/delay",
        "Longest delay beside a 64 MiB capture",
    ),
];

/// Narrow, so that the text is readable on a phone.
const WIDTH: i32 = 480;
const MARGIN: i32 = 16;
const TOP: i32 = 84;
const ROW: i32 = 44;
const FONT: &str = "system-ui, sans-serif";

fn color(contender: &str) -> RGBColor {
    match contender {
        ours if ours.starts_with("pidwait") => RGBColor(200, 70, 30),
        raw if raw.starts_with("raw") => RGBColor(138, 138, 138),
        _ => RGBColor(59, 110, 168),
    }
}

/// The shortest first.
pub(crate) fn bars(title: &str, answer: &Answer) -> Result<String, Box<dyn Error>> {
    let names = answer.contenders.iter().map(|(name, _)| name.as_str());
    let rows = names.filter_map(|name| Some((name, answer.spread(name)?)));
    let mut rows: Vec<(&str, Spread)> = rows.collect();
    rows.sort_by(|(_, one), (_, other)| one.median.total_cmp(&other.median));
    let longest = rows.iter().map(|(_, time)| time.high).fold(0.0, f64::max);
    #[allow(clippy::cast_possible_truncation)] // Pixels.
    let x = |time: f64| MARGIN + (time / longest * f64::from(WIDTH - 2 * MARGIN)).round() as i32;

    let height = TOP + ROW * i32::try_from(rows.len())? + MARGIN / 2;
    let mut svg = String::new();
    let size = (u32::try_from(WIDTH)?, u32::try_from(height)?);
    let area = SVGBackend::with_string(&mut svg, size).into_drawing_area();
    area.fill(&WHITE)?;
    let text = |text: &str, x: i32, y: i32, size: f64, side: HPos| {
        // plotters makes its text smaller by this factor.
        let style = (FONT, size * 1.24).into_text_style(&area).color(&BLACK);
        area.draw_text(text, &style.pos(Pos::new(side, VPos::Top)), (x, y))
    };
    text(title, MARGIN, 16, 22.0, HPos::Left)?;
    let legend = "Shorter is better. Line: the middle half of all rounds.";
    text(legend, MARGIN, 48, 16.0, HPos::Left)?;
    for ((name, time), y) in rows.into_iter().zip((TOP..).step_by(ROW as usize)) {
        text(name, MARGIN, y, 16.0, HPos::Left)?;
        text(&duration(time.median), WIDTH - MARGIN, y, 16.0, HPos::Right)?;
        let bar = [(MARGIN, y + 20), (x(time.median), y + 32)];
        area.draw(&Rectangle::new(bar, color(name).filled()))?;
        let spread = [(x(time.low), y + 25), (x(time.high) + 1, y + 27)];
        area.draw(&Rectangle::new(spread, BLACK.filled()))?;
    }
    area.present()?;
    drop(area);
    Ok(svg)
}
