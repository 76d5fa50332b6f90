//! Charts as SVG: 480 units wide, so that the text is readable on a phone.

use std::fmt::Write;

pub(crate) const WIDTH: f64 = 480.0;
pub(crate) const MARGIN: f64 = 16.0;
const INK: &str = "#222";

pub(crate) struct Svg {
    body: String,
    /// Where the next thing goes.
    pub(crate) y: f64,
}

#[derive(Clone, Copy)]
pub(crate) enum Anchor {
    Start,
    Middle,
    End,
}

impl Svg {
    /// A title and some lines below it.
    pub(crate) fn new(title: &str, lines: &[&str]) -> Self {
        let mut svg = Self {
            body: String::new(),
            y: 34.0,
        };
        svg.styled_text(MARGIN, svg.y, title, 22.0, "bold", Anchor::Start, INK);
        for line in lines {
            svg.y += 22.0;
            svg.styled_text(MARGIN, svg.y, line, 16.0, "normal", Anchor::Start, "#555");
        }
        svg.y += 16.0;
        svg
    }

    pub(crate) fn text(&mut self, x: f64, y: f64, text: &str, anchor: Anchor) {
        self.styled_text(x, y, text, 16.0, "normal", anchor, INK);
    }

    pub(crate) fn colored_text(&mut self, x: f64, y: f64, text: &str, color: &str) {
        self.styled_text(x, y, text, 16.0, "bold", Anchor::Start, color);
    }

    pub(crate) fn bold_text(&mut self, x: f64, y: f64, text: &str) {
        self.styled_text(x, y, text, 16.0, "bold", Anchor::Start, INK);
    }

    #[allow(clippy::too_many_arguments)] // The attributes of one element.
    fn styled_text(
        &mut self,
        x: f64,
        y: f64,
        text: &str,
        size: f64,
        weight: &str,
        anchor: Anchor,
        color: &str,
    ) {
        let anchor = match anchor {
            Anchor::Start => "start",
            Anchor::Middle => "middle",
            Anchor::End => "end",
        };
        let text = text.replace('&', "&amp;").replace('<', "&lt;");
        let _ = writeln!(
            self.body,
            r#"<text x="{x:.1}" y="{y:.1}" font-size="{size}" font-weight="{weight}" text-anchor="{anchor}" fill="{color}">{text}</text>"#
        );
    }

    pub(crate) fn bar(&mut self, x: f64, y: f64, width: f64, height: f64, color: &str) {
        let _ = writeln!(
            self.body,
            r#"<rect x="{x:.1}" y="{y:.1}" width="{width:.1}" height="{height:.1}" fill="{color}"/>"#
        );
    }

    pub(crate) fn line(&mut self, from: (f64, f64), to: (f64, f64), width: f64, color: &str) {
        let ((x1, y1), (x2, y2)) = (from, to);
        let _ = writeln!(
            self.body,
            r#"<line x1="{x1:.1}" y1="{y1:.1}" x2="{x2:.1}" y2="{y2:.1}" stroke="{color}" stroke-width="{width}"/>"#
        );
    }

    pub(crate) fn dot(&mut self, x: f64, y: f64, radius: f64, color: &str) {
        let _ = writeln!(
            self.body,
            r#"<circle cx="{x:.1}" cy="{y:.1}" r="{radius}" fill="{color}"/>"#
        );
    }

    pub(crate) fn finish(self) -> String {
        let (height, body) = (self.y + MARGIN, self.body);
        format!(
            r#"<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {WIDTH} {height:.0}" width="{WIDTH}" height="{height:.0}" font-family="system-ui, sans-serif">
<rect width="100%" height="100%" fill="white"/>
{body}</svg>
"#
        )
    }
}
