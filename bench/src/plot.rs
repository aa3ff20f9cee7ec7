//! Charts as SVG: lines over time, one panel below the other.

use std::fmt::Write as _;

const WIDTH: f64 = 960.0;
const PANEL: f64 = 240.0;
const LEFT: f64 = 80.0;
const RIGHT: f64 = 150.0;
const TOP: f64 = 34.0;
const BOTTOM: f64 = 30.0;
const COLOURS: [&str; 8] =
    ["#1f77b4", "#d62728", "#2ca02c", "#ff7f0e", "#9467bd", "#8c564b", "#17becf", "#7f7f7f"];

/// One chart of a page.
#[derive(Debug, Clone, Default)]
pub struct Panel {
    /// Above it.
    pub title: String,
    /// Below the horizontal axis.
    pub x: String,
    /// Whether the vertical axis is logarithmic; values of 0 and less are left out then.
    pub logarithmic: bool,
    /// What it shows.
    pub lines: Vec<Line>,
}

/// One line of a chart.
#[derive(Debug, Clone, Default)]
pub struct Line {
    /// In the legend.
    pub name: String,
    /// Left to right.
    pub points: Vec<(f64, f64)>,
}

/// A page of panels.
#[must_use]
pub fn page(title: &str, panels: &[Panel]) -> String {
    let height = 30.0 + PANEL * panels.len() as f64;
    let mut svg = format!(
        "<svg xmlns=\"http://www.w3.org/2000/svg\" viewBox=\"0 0 {WIDTH} {height}\" font-family=\"sans-serif\" font-size=\"12\">\n\
         <rect width=\"{WIDTH}\" height=\"{height}\" fill=\"white\"/>\n\
         <text x=\"{LEFT}\" y=\"20\" font-size=\"15\" font-weight=\"bold\">{}</text>\n",
        escape(title)
    );
    for (index, panel) in panels.iter().enumerate() {
        let _ = writeln!(svg, "<g transform=\"translate(0 {})\">", 30.0 + PANEL * index as f64);
        panel.draw(&mut svg);
        svg.push_str("</g>\n");
    }
    svg.push_str("</svg>\n");
    svg
}

impl Panel {
    fn draw(&self, svg: &mut String) {
        let frame = Frame::around(self);
        let _ =
            writeln!(svg, "<text x=\"{LEFT}\" y=\"24\" font-weight=\"bold\">{}</text>", escape(&self.title));
        frame.axes(&self.x, svg);
        for (index, (line, colour)) in self.lines.iter().zip(COLOURS.iter().cycle()).enumerate() {
            frame.line(line, colour, svg);
            let (x, y) = (WIDTH - RIGHT + 12.0, TOP + 10.0 + 18.0 * index as f64);
            let _ = writeln!(
                svg,
                "<rect x=\"{x}\" y=\"{}\" width=\"14\" height=\"4\" fill=\"{colour}\"/><text x=\"{}\" y=\"{}\">{}</text>",
                y - 5.0,
                x + 20.0,
                y,
                escape(&line.name)
            );
        }
    }
}

/// How values become places.
struct Frame {
    logarithmic: bool,
    x: (f64, f64),
    y: (f64, f64),
}

impl Frame {
    fn around(panel: &Panel) -> Self {
        let points = || panel.lines.iter().flat_map(|line| line.points.iter().copied());
        let (mut left, mut right) = (f64::INFINITY, f64::NEG_INFINITY);
        let (mut least, mut most) = (f64::INFINITY, f64::NEG_INFINITY);
        for (x, y) in points().filter(|(_, y)| !panel.logarithmic || *y > 0.0) {
            (left, right) = (left.min(x), right.max(x));
            (least, most) = (least.min(y), most.max(y));
        }
        if !(left.is_finite() && least.is_finite()) {
            (left, right, least, most) = (0.0, 1.0, 1.0, 1.0);
        }
        let y = if panel.logarithmic {
            (least.log10().floor(), most.log10().ceil().max(least.log10().floor() + 1.0))
        } else {
            (0.0, step(most.max(1e-9) / 4.0) * (most.max(1e-9) / step(most.max(1e-9) / 4.0)).ceil())
        };
        Self { logarithmic: panel.logarithmic, x: (left, right.max(left + 1e-9)), y }
    }

    fn at(&self, x: f64, y: f64) -> (f64, f64) {
        let y = if self.logarithmic { y.log10() } else { y };
        let across = (x - self.x.0) / (self.x.1 - self.x.0);
        let up = (y - self.y.0) / (self.y.1 - self.y.0);
        (LEFT + across * (WIDTH - LEFT - RIGHT), PANEL - BOTTOM - up * (PANEL - TOP - BOTTOM))
    }

    fn axes(&self, name: &str, svg: &mut String) {
        for value in self.ticks() {
            let (_, y) = self.at(self.x.0, value);
            let (right, text) = (WIDTH - RIGHT, short(value));
            let _ = writeln!(
                svg,
                "<line x1=\"{LEFT}\" x2=\"{right}\" y1=\"{y:.1}\" y2=\"{y:.1}\" stroke=\"#ddd\"/>\
                 <text x=\"{}\" y=\"{:.1}\" text-anchor=\"end\">{text}</text>",
                LEFT - 8.0,
                y + 4.0
            );
        }
        let between = step((self.x.1 - self.x.0) / 8.0);
        let mut value = (self.x.0 / between).ceil() * between;
        while value <= self.x.1 {
            let x = LEFT + (value - self.x.0) / (self.x.1 - self.x.0) * (WIDTH - LEFT - RIGHT);
            let _ = writeln!(
                svg,
                "<text x=\"{x:.1}\" y=\"{}\" text-anchor=\"middle\">{}</text>",
                PANEL - 12.0,
                short(value)
            );
            value += between;
        }
        let _ = writeln!(
            svg,
            "<text x=\"{}\" y=\"{}\">{}</text>",
            WIDTH - RIGHT + 12.0,
            PANEL - 12.0,
            escape(name)
        );
    }

    fn ticks(&self) -> Vec<f64> {
        let mut ticks = Vec::new();
        if self.logarithmic {
            let mut exponent = self.y.0;
            while exponent <= self.y.1 {
                ticks.push(10f64.powf(exponent));
                exponent += 1.0;
            }
        } else {
            let between = step(self.y.1 / 4.0).max(1e-9);
            let mut value = 0.0;
            while value <= self.y.1 + between / 2.0 && ticks.len() < 20 {
                ticks.push(value);
                value += between;
            }
        }
        ticks
    }

    fn line(&self, line: &Line, colour: &str, svg: &mut String) {
        let mut points = String::new();
        for (x, y) in line.points.iter().filter(|(_, y)| !self.logarithmic || *y > 0.0) {
            let (x, y) = self.at(*x, *y);
            let _ = write!(points, "{x:.1},{y:.1} ");
        }
        let _ = writeln!(
            svg,
            "<polyline fill=\"none\" stroke=\"{colour}\" stroke-width=\"1.5\" points=\"{}\"/>",
            points.trim_end()
        );
    }
}

/// The nearest of 1, 2 and 5 times a power of ten that is not less.
fn step(atleast: f64) -> f64 {
    let power = 10f64.powf(atleast.max(1e-9).log10().floor());
    [1.0, 2.0, 5.0, 10.0]
        .into_iter()
        .map(|factor| factor * power)
        .find(|step| *step >= atleast * 0.999)
        .unwrap_or(power)
}

fn short(value: f64) -> String {
    match value.abs() {
        v if v >= 1e6 => format!("{}M", trimmed(value / 1e6)),
        v if v >= 1e3 => format!("{}k", trimmed(value / 1e3)),
        _ => trimmed(value),
    }
}

fn trimmed(value: f64) -> String {
    let text = format!("{value:.3}");
    text.trim_end_matches('0').trim_end_matches('.').to_owned()
}

fn escape(text: &str) -> String {
    text.replace('&', "&amp;").replace('<', "&lt;").replace('>', "&gt;")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn panel(logarithmic: bool, points: &[(f64, f64)]) -> Panel {
        let lines = vec![Line { name: "a<b".into(), points: points.to_vec() }];
        Panel { title: "t".into(), x: "s".into(), logarithmic, lines }
    }

    #[test]
    fn every_place_is_a_number_inside_the_page() {
        for logarithmic in [false, true] {
            for points in
                [&[][..], &[(0.0, 0.0)], &[(3.0, 7.0)], &[(0.0, 0.002), (1.0, 0.0), (90.0, 123_456.0)]]
            {
                let svg = page("a & b", &[panel(logarithmic, points)]);
                assert!(!svg.contains("NaN") && !svg.contains("inf"), "{svg}");
                let line = svg.split("points=\"").nth(1).unwrap().split('"').next().unwrap();
                for place in line.split([' ', ',']).filter(|place| !place.is_empty()) {
                    assert!((0.0..=WIDTH).contains(&place.parse::<f64>().unwrap()), "{line}");
                }
            }
        }
    }

    #[test]
    fn text_is_escaped() {
        let svg = page("a & b", &[panel(false, &[])]);
        assert!(svg.contains("a &amp; b") && svg.contains("a&lt;b"));
    }

    #[test]
    fn numbers_are_short() {
        assert_eq!([short(0.5), short(1500.0), short(2e6), short(10.0)], ["0.5", "1.5k", "2M", "10"]);
        assert_eq!([step(0.3), step(1.0), step(130.0)], [0.5, 1.0, 200.0]);
    }
}
