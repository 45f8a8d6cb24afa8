//! Plots in SVG of the results of a part, as its file of JSON has them.

use std::path::Path;

use plotters::prelude::*;
use plotters::style::text_anchor::{HPos, Pos, VPos};
use serde_json::Value;

use crate::workbench::Result;

const FONT: &str = "sans-serif";
const WIDTH: u32 = 860;
const TEXT: RGBColor = RGBColor(0x24, 0x29, 0x2f);
const GRID: RGBColor = RGBColor(0xdd, 0xdd, 0xdd);
const OURS: RGBColor = RGBColor(0x2f, 0x6f, 0x4f);
const OTHERS: RGBColor = RGBColor(0x9a, 0xa5, 0xb1);
/// For lines, one after the other: those of static files come first.
const COLOURS: [RGBColor; 5] = [
    OTHERS,
    RGBColor(0xc2, 0x70, 0x3d),
    OURS,
    RGBColor(0x3d, 0x6f, 0xc2),
    RGBColor(0x8a, 0x3d, 0xc2),
];

/// Names of variants without the module begin so.
const NOT_OURS: [&str; 6] = ["static", "try_files", "auth_request, static", "lua", "njs", "Flask"];

/// Makes the plots of a part in a directory, those of them for which there are results.
pub fn draw(part: &str, results: &Value, dir: &Path) -> Result<()> {
    let path = |name: &str| dir.join(format!("{name}.svg"));
    match part {
        "cost" => Bars {
            title: "User-mode instructions of a request, 4 KiB range",
            unit: "instructions",
            field: "instructions",
        }
        .draw(&results["rows"], &path("instructions"))?,
        "throughput" => {
            for size in [1, 64, 1024] {
                let title = format!("HTTP/1.1, ranges of {size} KiB");
                rates(&title).draw(&results[&title], &path(&format!("{part}-{size}")))?;
            }
        }
        "lookups" => rates("The application's part, ranges of 64 KiB")
            .draw(&results["rows"], &path("lookups"))?,
        "latency" => {
            for rate in [1000, 4000] {
                let rows = rows(&results[format!("{rate} requests per second")]);
                let lines = rows.iter().map(|row| Line {
                    name: text(&row["with"]),
                    points: SHARES
                        .iter()
                        .filter_map(|(share, name)| Some((*share, row["times"][*name].as_f64()?)))
                        .map(|(share, time)| ((1.0 / (1.0 - share)).round(), time / 1e6))
                        .collect(),
                });
                let title = format!("Response times at {rate} requests per second, 4 KiB ranges");
                let name = |x: &f64| format!("p{}", round(100.0 - 100.0 / x));
                let across = "percentile of requests";
                let lines: Vec<Line> = lines.collect();
                draw_lines(
                    &title,
                    across,
                    "response time, ms",
                    name,
                    &lines,
                    &path(&format!("latency-{rate}")),
                )?;
            }
        }
        "listeners" => {
            let counts = rows(&results["counts"]).iter().filter(|row| is_ours(&text(&row["with"])));
            let points = counts.map(|row| {
                let point = (number(&row["listeners"]), number(&row["processors"]) * 100.0);
                (text(&row["over"]), point)
            });
            let lines = lines_of(points);
            let title = "Listeners at once, with a catalog and plays counted";
            let up = "processor time of nginx, %";
            draw_lines(title, "listeners", up, shown, &lines, &path("listeners"))?;
        }
        "growth" => {
            let points = rows(&results["connections"]).iter().map(|row| {
                let time = number(&row["cpu_ns_per_request"]) / 1e3;
                (text(&row["with"]), (number(&row["connections"]), time))
            });
            let lines = lines_of(points);
            let up = "processor time per request, µs";
            let title = "Active connections, 4 KiB ranges";
            draw_lines(title, "connections", up, shown, &lines, &path("connections"))?;
            for (what, ours, title) in [
                ("files", "directory", "Files in the directory, each requested at random"),
                ("entries", "catalog", "Entries of the catalog"),
            ] {
                let line = |name: &str, field: &str| Line {
                    name: name.to_owned(),
                    points: rows(&results[what])
                        .iter()
                        .map(|row| (number(&row["count"]), number(&row[field]) / 1e3))
                        .collect(),
                };
                let lines = [line("static", "static_cpu_ns"), line(ours, "cpu_ns")];
                draw_lines(title, what, up, shown, &lines, &path(what))?;
            }
        }
        _ => {}
    }
    Ok(())
}

/// What is shown of response times: the share of requests that take no longer, and the field.
const SHARES: [(f64, &str); 3] = [(0.5, "p50_ns"), (0.99, "p99_ns"), (0.999, "p99.9_ns")];

/// Bars beside names, from the top downwards.
struct Bars<'a> {
    title: &'a str,
    unit: &'a str,
    /// The field of a row that is shown.
    field: &'a str,
}

fn rates(title: &str) -> Bars<'_> {
    let unit = "requests per second, relative to static files";
    Bars { title, unit, field: "requests_per_second_to_static" }
}

impl Bars<'_> {
    fn draw(&self, results: &Value, path: &Path) -> Result<()> {
        let rows = rows(results);
        let most = rows.iter().map(|row| number(&row[self.field])).fold(0.0, f64::max);
        if most <= 0.0 {
            return Ok(());
        }
        let height = 110 + 24 * u32::try_from(rows.len())?;
        let root = SVGBackend::new(path, (WIDTH, height)).into_drawing_area();
        root.fill(&WHITE)?;
        let mut chart = ChartBuilder::on(&root)
            .caption(self.title, (FONT, 18, &TEXT))
            .margin(12)
            .margin_right(24)
            .x_label_area_size(44)
            .y_label_area_size(270)
            // From the top downwards.
            .build_cartesian_2d(0.0..most * 1.12, (rows.len() as f64)..0.0)?;
        chart
            .configure_mesh()
            .disable_y_mesh()
            .disable_y_axis()
            .y_labels(0)
            .light_line_style(TRANSPARENT)
            .bold_line_style(GRID)
            .axis_style(GRID)
            .label_style((FONT, 13, &TEXT))
            .x_desc(self.unit)
            .x_label_formatter(&shown)
            .draw()?;
        let bars = rows.iter().enumerate().map(|(place, row)| {
            let (top, end) = (place as f64, number(&row[self.field]));
            let colour = if is_ours(&text(&row["with"])) { OURS } else { OTHERS };
            Rectangle::new([(0.0, top + 0.14), (end, top + 0.86)], colour.filled())
        });
        chart.draw_series(bars)?;
        let names = rows.iter().enumerate().map(|(place, row)| {
            let name = Text::new(text(&row["with"]), (-8, 0), beside(HPos::Right));
            EmptyElement::at((0.0, place as f64 + 0.5)) + name
        });
        chart.draw_series(names)?;
        let values = rows.iter().enumerate().map(|(place, row)| {
            let value = number(&row[self.field]);
            let text = Text::new(exact(value), (6, 0), beside(HPos::Left));
            EmptyElement::at((value, place as f64 + 0.5)) + text
        });
        chart.draw_series(values)?;
        // Beside the unit, where no bar can be.
        let y = i32::try_from(height)? - 20;
        for (x, colour, name) in [(20, OURS, "this module"), (130, OTHERS, "others")] {
            root.draw(&Rectangle::new([(x, y - 6), (x + 12, y + 6)], colour.filled()))?;
            root.draw(&Text::new(name, (x + 20, y), beside(HPos::Left)))?;
        }
        Ok(root.present()?)
    }
}

/// Text in the middle of the height of its place.
fn beside(side: HPos) -> TextStyle<'static> {
    TextStyle::from((FONT, 13).into_font()).color(&TEXT).pos(Pos::new(side, VPos::Center))
}

/// A line.
struct Line {
    /// What the legend calls it.
    name: String,
    /// Places on the horizontal axis, all greater than 0, and values.
    points: Vec<(f64, f64)>,
}

/// Lines of points that each have the name of theirs.
fn lines_of(points: impl Iterator<Item = (String, (f64, f64))>) -> Vec<Line> {
    let mut lines: Vec<Line> = Vec::new();
    for (name, point) in points {
        match lines.iter_mut().find(|line| line.name == name) {
            Some(line) => line.points.push(point),
            None => lines.push(Line { name, points: vec![point] }),
        }
    }
    lines
}

/// Lines over a logarithmic horizontal axis; the vertical one begins at 0.
fn draw_lines(
    title: &str,
    across: &str,
    up: &str,
    name_across: fn(&f64) -> String,
    lines: &[Line],
    path: &Path,
) -> Result<()> {
    let points = || lines.iter().flat_map(|line| &line.points);
    let most = points().map(|&(_, y)| y).fold(0.0, f64::max);
    // What is marked on the axis is what was measured.
    let mut places: Vec<f64> = points().map(|&(x, _)| x).collect();
    places.sort_by(f64::total_cmp);
    places.dedup();
    let [first, .., last] = places[..] else { return Ok(()) };
    let root = SVGBackend::new(path, (WIDTH, 400)).into_drawing_area();
    root.fill(&WHITE)?;
    let (left, right) = root.split_horizontally(WIDTH - 200);
    let mut chart = ChartBuilder::on(&left)
        .caption(title, (FONT, 18, &TEXT))
        .margin(12)
        .x_label_area_size(44)
        .y_label_area_size(52)
        .build_cartesian_2d((first..last).log_scale().with_key_points(places), 0.0..most * 1.08)?;
    chart
        .configure_mesh()
        .light_line_style(TRANSPARENT)
        .bold_line_style(GRID)
        .axis_style(GRID)
        .label_style((FONT, 13, &TEXT))
        .axis_desc_style((FONT, 13, &TEXT))
        .x_desc(across)
        .y_desc(up)
        .x_label_formatter(&name_across)
        .y_label_formatter(&shown)
        .draw()?;
    for (place, (line, colour)) in lines.iter().zip(COLOURS.iter().cycle()).enumerate() {
        let points = || line.points.iter().copied();
        chart.draw_series(LineSeries::new(points(), colour.stroke_width(2)))?;
        chart.draw_series(points().map(|point| Circle::new(point, 3, colour.filled())))?;
        let y = 70 + 24 * i32::try_from(place)?;
        right.draw(&PathElement::new([(0, y), (22, y)], colour.stroke_width(2)))?;
        right.draw(&Circle::new((11, y), 3, colour.filled()))?;
        right.draw(&Text::new(line.name.clone(), (30, y), beside(HPos::Left)))?;
    }
    Ok(root.present()?)
}

fn rows(results: &Value) -> &[Value] {
    results.as_array().map_or(&[], Vec::as_slice)
}

fn number(value: &Value) -> f64 {
    value.as_f64().unwrap_or_default()
}

fn text(value: &Value) -> String {
    value.as_str().unwrap_or_default().to_owned()
}

/// Whether a variant is one of the module's own.
fn is_ours(name: &str) -> bool {
    let name = name.strip_prefix("Debian's nginx: ").unwrap_or(name);
    !NOT_OURS.iter().any(|start| name.starts_with(start))
}

/// A number on an axis.
fn shown(value: &f64) -> String {
    match *value {
        v if v >= 1e6 => format!("{} M", round(v / 1e6)),
        v if v >= 1e4 => format!("{} k", round(v / 1e3)),
        v => round(v).to_string(),
    }
}

/// A number beside its bar.
fn exact(value: f64) -> String {
    if value >= 1e3 { format!("{:.1} k", value / 1e3) } else { format!("{value:.2}") }
}

fn round(value: f64) -> f64 {
    (value * 100.0).round() / 100.0
}
