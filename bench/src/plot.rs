//! Plots in SVG, by hand: bars beside names, and lines over a logarithmic axis.

use std::fmt::Write;

const FONT: &str = "font-family=\"sans-serif\" font-size=\"13\"";
const OURS: &str = "#2f6f4f";
const OTHERS: &str = "#9aa5b1";
/// For lines, one after the other.
const COLOURS: [&str; 6] = ["#9aa5b1", "#2f6f4f", "#c2703d", "#3d6fc2", "#8a3dc2", "#b0a030"];

/// A bar.
#[derive(Clone, Debug)]
pub struct Bar {
    /// What stands to the left of it.
    pub name: String,
    /// How long it is.
    pub value: f64,
    /// Whether it is of the module.
    pub ours: bool,
}

/// Bars from the top downwards.
pub fn bars(title: &str, unit: &str, bars: &[Bar]) -> String {
    const LEFT: f64 = 290.0;
    const LENGTH: f64 = 430.0;
    const STEP: f64 = 24.0;
    let most = bars.iter().map(|bar| bar.value).fold(f64::MIN_POSITIVE, f64::max);
    let height = 60.0 + STEP * bars.len() as f64;
    let mut svg = open(LEFT + LENGTH + 100.0, height, title);
    for (place, bar) in bars.iter().enumerate() {
        let y = 44.0 + STEP * place as f64;
        let length = bar.value / most * LENGTH;
        let colour = if bar.ours { OURS } else { OTHERS };
        text(&mut svg, LEFT - 8.0, y + 13.0, "end", &bar.name);
        add(
            &mut svg,
            format_args!(
                "<rect x=\"{LEFT}\" y=\"{y}\" width=\"{length:.1}\" height=\"17\" \
                 fill=\"{colour}\"/>"
            ),
        );
        text(&mut svg, LEFT + length + 6.0, y + 13.0, "start", &shown(bar.value));
    }
    text(&mut svg, LEFT, height - 6.0, "start", unit);
    svg + "</svg>\n"
}

/// A line.
#[derive(Clone, Debug)]
pub struct Line {
    /// What the legend calls it.
    pub name: String,
    /// Places on the horizontal axis, all greater than 0, and values.
    pub points: Vec<(f64, f64)>,
}

/// Lines over a logarithmic horizontal axis; the vertical one begins at 0.
pub fn lines(title: &str, across: &str, up: &str, lines: &[Line]) -> String {
    const LEFT: f64 = 80.0;
    const TOP: f64 = 50.0;
    const WIDTH: f64 = 520.0;
    const HEIGHT: f64 = 260.0;
    let points = || lines.iter().flat_map(|line| &line.points);
    let log = |x: f64| x.max(f64::MIN_POSITIVE).log10();
    let first = points().map(|&(x, _)| log(x)).fold(f64::MAX, f64::min);
    let last = points().map(|&(x, _)| log(x)).fold(f64::MIN, f64::max).max(first + 0.1);
    let highest = points().map(|&(_, y)| y).fold(f64::MIN_POSITIVE, f64::max);
    let step = round_up(highest / 4.0);
    let steps = (highest / step).ceil();
    let most = steps * step;
    let place = |x: f64, y: f64| {
        (LEFT + (log(x) - first) / (last - first) * WIDTH, TOP + HEIGHT - y / most * HEIGHT)
    };
    let mut svg = open(LEFT + WIDTH + 220.0, TOP + HEIGHT + 60.0, title);
    for number in 0..=steps as u32 {
        let value = step * f64::from(number);
        let y = TOP + HEIGHT - HEIGHT * f64::from(number) / steps;
        let right = LEFT + WIDTH;
        add(
            &mut svg,
            format_args!(
                "<line x1=\"{LEFT}\" y1=\"{y:.1}\" x2=\"{right}\" y2=\"{y:.1}\" \
                 stroke=\"#dddddd\"/>"
            ),
        );
        text(&mut svg, LEFT - 6.0, y + 4.0, "end", &shown(value));
    }
    let mut marked: Vec<f64> = points().map(|&(x, _)| x).collect();
    marked.sort_by(f64::total_cmp);
    marked.dedup();
    for x in marked {
        text(&mut svg, place(x, 0.0).0, TOP + HEIGHT + 18.0, "middle", &shown(x));
    }
    for (line, colour) in lines.iter().zip(COLOURS.iter().cycle()) {
        let path: Vec<String> = line
            .points
            .iter()
            .map(|&(x, y)| place(x, y))
            .map(|(x, y)| format!("{x:.1},{y:.1}"))
            .collect();
        add(
            &mut svg,
            format_args!(
                "<polyline points=\"{}\" fill=\"none\" stroke=\"{colour}\" stroke-width=\"2\"/>",
                path.join(" ")
            ),
        );
    }
    for (number, (line, colour)) in lines.iter().zip(COLOURS.iter().cycle()).enumerate() {
        let (x, y) = (LEFT + WIDTH + 16.0, TOP + 12.0 + 20.0 * number as f64);
        add(
            &mut svg,
            format_args!(
                "<rect x=\"{x}\" y=\"{}\" width=\"14\" height=\"4\" fill=\"{colour}\"/>",
                y - 6.0
            ),
        );
        text(&mut svg, x + 20.0, y, "start", &line.name);
    }
    text(&mut svg, LEFT + WIDTH / 2.0, TOP + HEIGHT + 42.0, "middle", across);
    text(&mut svg, LEFT, TOP - 10.0, "start", up);
    svg + "</svg>\n"
}

/// The next greater one of the numbers 1, 2, 5, 10, 20, 50 and so on, in both directions.
fn round_up(value: f64) -> f64 {
    let power = 10_f64.powf(value.log10().floor());
    let factor = [1.0, 2.0, 5.0].into_iter().find(|factor| factor * power >= value);
    factor.unwrap_or(10.0) * power
}

fn open(width: f64, height: f64, title: &str) -> String {
    let mut svg = format!(
        "<svg xmlns=\"http://www.w3.org/2000/svg\" viewBox=\"0 0 {width:.0} {height:.0}\" \
         width=\"{width:.0}\" height=\"{height:.0}\" {FONT}>\n\
         <rect width=\"100%\" height=\"100%\" fill=\"#ffffff\"/>\n"
    );
    add(
        &mut svg,
        format_args!(
            "<text x=\"12\" y=\"24\" font-size=\"15\" font-weight=\"bold\">{}</text>",
            escaped(title)
        ),
    );
    svg
}

fn text(svg: &mut String, x: f64, y: f64, anchor: &str, text: &str) {
    let text = escaped(text);
    add(
        svg,
        format_args!("<text x=\"{x:.1}\" y=\"{y:.1}\" text-anchor=\"{anchor}\">{text}</text>"),
    );
}

fn add(svg: &mut String, element: std::fmt::Arguments<'_>) {
    // Writing to a string does not fail.
    let _ = writeln!(svg, "{element}");
}

fn escaped(text: &str) -> String {
    text.replace('&', "&amp;").replace('<', "&lt;").replace('>', "&gt;")
}

/// A number with three places that count.
fn shown(value: f64) -> String {
    match value {
        v if v >= 1e6 => format!("{} M", trimmed(v / 1e6)),
        v if v >= 1e4 => format!("{} k", trimmed(v / 1e3)),
        v => trimmed(v),
    }
}

fn trimmed(value: f64) -> String {
    let text = match value {
        v if v >= 100.0 => format!("{v:.0}"),
        v if v >= 10.0 => format!("{v:.1}"),
        v => format!("{v:.2}"),
    };
    match text.split_once('.') {
        Some((whole, part)) if part.bytes().all(|b| b == b'0') => whole.to_owned(),
        _ => text,
    }
}
