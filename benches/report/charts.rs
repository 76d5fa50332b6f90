//! The two charts of the report.

use std::error::Error;

use plotters::prelude::*;
use plotters::style::text_anchor::{HPos, Pos, VPos};

use super::results::Results;
use super::{CPU_TIME, CROWDS, LINES, NUMBERS};

type Result = std::result::Result<(), Box<dyn Error>>;

const FONT: &str = "sans-serif";
const OURS: RGBColor = RGBColor(200, 70, 30);
const BARE: RGBColor = RGBColor(150, 150, 150);
const PEERS: RGBColor = RGBColor(60, 100, 170);

/// How long it takes to have the status of a child that has exited, a bar for each line.
pub(crate) fn single(results: &Results) -> Result {
    let lines = LINES.iter().filter_map(|line| {
        let plain = results.median("wait, exited", line, "");
        let timed = results.median("timed wait, exited", line, "");
        (plain.is_some() || timed.is_some()).then_some((*line, [plain, timed]))
    });
    let lines: Vec<_> = lines.collect();
    let times = lines.iter().flat_map(|(_, times)| times.iter().flatten());
    let most = times.copied().fold(0.0, f64::max) / 1e3;

    let root = SVGBackend::new("benches/single.svg", (800, 520)).into_drawing_area();
    root.fill(&WHITE)?;
    let mut chart = ChartBuilder::on(&root)
        .caption("The status of a child that has exited", (FONT, 20))
        .margin(15)
        .x_label_area_size(40)
        .y_label_area_size(130)
        .build_cartesian_2d(0.0..most * 1.1, lines.len() as f64..0.0)?;
    chart
        .configure_mesh()
        .disable_y_mesh()
        .disable_y_axis()
        .light_line_style(WHITE)
        .x_label_formatter(&|time| format!("{time}"))
        .y_labels(0)
        .x_desc("µs; the lighter bar: with a limit that is not reached")
        .label_style((FONT, 14))
        .draw()?;
    for (row, (line, times)) in lines.iter().enumerate() {
        let top = row as f64;
        for (bar, time) in times.iter().enumerate() {
            let Some(time) = time.map(|time| time / 1e3) else {
                continue;
            };
            let from = top + 0.14 + 0.36 * bar as f64;
            let color = color(line).mix(if bar == 0 { 1.0 } else { 0.5 });
            let corners = [(0.0, from), (time, from + 0.36)];
            chart.draw_series([Rectangle::new(corners, color.filled())])?;
        }
        let style = (FONT, 14).into_font().color(&BLACK);
        let style = style.pos(Pos::new(HPos::Right, VPos::Center));
        let at = chart.backend_coord(&(0.0, top + 0.5));
        root.draw(&Text::new(*line, (at.0 - 8, at.1), style))?;
    }
    root.present()?;
    Ok(())
}

/// The CPU time that each exit costs, by how many children there are.
pub(crate) fn many(results: &Results) -> Result {
    let points = |line: &str| -> Vec<(f64, f64)> {
        let times = NUMBERS.iter().filter_map(|n| {
            let time = results.median(CPU_TIME, line, n)?;
            Some((n.parse().ok()?, time / 1e3))
        });
        times.collect()
    };
    let all: Vec<_> = CROWDS.iter().flat_map(|line| points(line)).collect();
    let times = all.iter().map(|(_, time)| *time);
    let least = times.clone().fold(f64::INFINITY, f64::min);
    let most = times.fold(0.0, f64::max);

    let root = SVGBackend::new("benches/many.svg", (800, 460)).into_drawing_area();
    root.fill(&WHITE)?;
    let mut chart = ChartBuilder::on(&root)
        .caption("CPU time for each exit of N children", (FONT, 20))
        .margin(15)
        .x_label_area_size(40)
        .y_label_area_size(60)
        .build_cartesian_2d(
            (8.0..13_000.0).log_scale(),
            (least * 0.8..most * 1.3).log_scale(),
        )?;
    chart
        .configure_mesh()
        .x_desc("N")
        .x_label_formatter(&|n| format!("{n:.0}"))
        .y_label_formatter(&|time| format!("{time:.0}"))
        .y_desc("µs")
        .label_style((FONT, 14))
        .light_line_style(WHITE)
        .draw()?;
    for (index, line) in CROWDS.iter().enumerate() {
        let color = match color(line) {
            PEERS => Palette99::pick(index).mix(1.0),
            known if index == 0 => known.to_rgba(),
            known => known.mix(if known == BARE { 0.5 } else { 1.0 }),
        };
        let style = ShapeStyle::from(color).stroke_width(2);
        let points = points(line);
        chart
            .draw_series(LineSeries::new(points, style).point_size(3))?
            .label(*line)
            .legend(move |(x, y)| PathElement::new([(x, y), (x + 20, y)], style));
    }
    chart
        .configure_series_labels()
        .position(SeriesLabelPosition::UpperLeft)
        .background_style(WHITE.mix(0.8))
        .border_style(BLACK.mix(0.3))
        .label_font((FONT, 14))
        .draw()?;
    root.present()?;
    Ok(())
}

fn color(line: &str) -> RGBColor {
    match line {
        line if line.starts_with("pidwait") => OURS,
        line if line.starts_with("bare") => BARE,
        _ => PEERS,
    }
}
