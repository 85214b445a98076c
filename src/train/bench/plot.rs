//! The roofline as a picture: SVG of lines, paths and text alone, which every viewer draws alike.

use super::{Measurement, Roofline};
use crate::error::{Error, Result};

/// What begins with a name is drawn in a colour and by a path around the origin, and explained by some words.
const FAMILIES: [(&str, &str, &str, &str); 6] = [
    ("conv2d.forward", "convolution, forward", "#0072b2", "M4 0A4 4 0 1 1 -4 0A4 4 0 1 1 4 0Z"),
    ("conv2d.grad_input", "convolution, gradient of the input", "#d55e00", "M0 -4.8L4.6 3.4L-4.6 3.4Z"),
    ("conv2d.grad_weight", "convolution, gradient of the weight", "#009e73", "M-3.5 -3.5H3.5V3.5H-3.5Z"),
    ("gemm", "matrix product", "#b0488a", "M0 -5L5 0L0 5L-5 0Z"),
    ("train_step", "training step", "#000000", "M-4 -1.5H-1.5V-4H1.5V-1.5H4V1.5H1.5V4H-1.5V1.5H-4Z"),
    ("", "other kernels", "#777777", "M0 4.8L4.6 -3.4L-4.6 -3.4Z"),
];

/// Where the frame of the diagram begins, in pixels, its least height, and the height of a line of the legend beside it.
const LEFT: f64 = 70.0;
const TOP: f64 = 66.0;
const HIGH: f64 = 490.0;
const LINE: f64 = 14.0;

/// A logarithmic axis from `low` to `high`, drawn from pixel `start` to pixel `end`.
struct Axis {
    low: f64,
    high: f64,
    start: f64,
    end: f64,
}

impl Axis {
    fn at(&self, value: f64) -> f64 {
        self.start + (self.end - self.start) * (value / self.low).ln() / (self.high / self.low).ln()
    }

    /// 1, 2 and 5 of every decade, or powers of ten alone where there are many.
    fn ticks(&self) -> Vec<f64> {
        let decades = self.low.log10().floor() as i32..=self.high.log10().ceil() as i32;
        let steps: &[f64] = if (self.high / self.low).log10() > 4.0 { &[1.0] } else { &[1.0, 2.0, 5.0] };
        let all = decades.flat_map(|decade| steps.iter().map(move |step| step * 10f64.powi(decade)));
        all.filter(|tick| (self.low..=self.high).contains(tick)).collect()
    }
}

/// A rectangle by its middle and half its sides.
#[derive(Clone, Copy)]
struct Area {
    x: f64,
    y: f64,
    wide: f64,
    high: f64,
}

impl Area {
    fn overlaps(&self, other: &Self) -> bool {
        (self.x - other.x).abs() < self.wide + other.wide && (self.y - other.y).abs() < self.high + other.high
    }
}

/// A measurement's place: operations a byte, 10⁹ operations a second.
struct Point {
    flop_per_byte: f64,
    gflops: f64,
    family: usize,
    /// One of several algorithms, and not the fastest.
    faint: bool,
}

/// Measurements of one shape, which share a number.
struct Group {
    name: String,
    points: Vec<Point>,
}

/// The frame with its axes.
struct Frame {
    x: Axis,
    y: Axis,
}

impl Frame {
    /// Around `groups` and `roof`, as high as the legend takes.
    fn around(groups: &[Group], roof: Roofline) -> Self {
        let flops = roof.flops / 1e9;
        let (mut low, mut high) = ([roof.ridge() / 4.0, flops / 8.0], [roof.ridge() * 4.0, flops]);
        for point in groups.iter().flat_map(|group| &group.points) {
            low = [low[0].min(point.flop_per_byte), low[1].min(point.gflops)];
            high = [high[0].max(point.flop_per_byte), high[1].max(point.gflops)];
        }
        let tall = HIGH.max(LINE * (groups.len() + FAMILIES.len() + 2) as f64);
        let x = Axis { low: low[0] / 1.5, high: high[0] * 1.8, start: LEFT, end: LEFT + 1.2 * tall };
        Self { x, y: Axis { low: low[1] / 1.8, high: high[1] * 1.6, start: TOP + tall, end: TOP } }
    }

    /// Where `point` stands, with half the side of its mark.
    fn area(&self, point: &Point) -> Area {
        Area { x: self.x.at(point.flop_per_byte), y: self.y.at(point.gflops), wide: 4.6, high: 4.6 }
    }

    fn holds(&self, a: &Area) -> bool {
        let (x, y) = (&self.x, &self.y);
        a.x - a.wide > x.start && a.x + a.wide < x.end && a.y - a.high > y.end && a.y + a.high < y.start
    }
}

/// A roofline diagram of `rows`, as of `date`: what each reached over the operations that it does for each byte, under what the
/// adapter allows. A point stands at the share of the roof that was sampled beside it.
///
/// # Errors
/// [`Error::Value`] where no row has a place in it.
pub fn plot(rows: &[Measurement], date: &str) -> Result<String> {
    let roof = Roofline::of(rows).filter(|_| rows.iter().any(|row| row.fraction_of_attainable.is_some()));
    let Some((roof, first)) = roof.zip(rows.first()) else {
        return Err(Error::value("bench", "plot", "of at least one kernel", "none, or of the adapter's own rates alone"));
    };
    let groups = groups(rows, roof);
    let frame = Frame::around(&groups, roof);
    let longest = groups.iter().map(|group| group.name.chars().count()).max().unwrap_or(0);
    let width = (frame.x.end + 70.0 + 5.8 * longest.max(36) as f64).ceil();
    let height = frame.y.start + 54.0;
    let mut svg = format!(
        "<svg xmlns=\"http://www.w3.org/2000/svg\" width=\"{width}\" height=\"{height}\" viewBox=\"0 0 {width} {height}\" \
         font-family=\"Helvetica, Arial, sans-serif\" font-size=\"11\" fill=\"#222\">\n\
         <rect width=\"{width}\" height=\"{height}\" fill=\"#fff\"/>\n"
    );
    let title = format!("Roofline of {}", first.adapter);
    svg += &text(LEFT, 26.0, "font-size=\"17\" font-weight=\"bold\"", &title);
    let driver = first.driver.as_deref().unwrap_or("driver unknown");
    let below = format!("{driver}, {date}. A point stands at the share of the roof that was sampled beside it.");
    svg += &text(LEFT, 46.0, "fill=\"#555\"", &below);
    svg += &frame.draw();
    svg += &ceilings(roof, &frame);
    // Where `ceilings` writes the rate of the multiply-adds.
    let words = Area { x: frame.x.end - 85.0, y: frame.y.at(roof.flops / 1e9) - 11.0, wide: 85.0, high: 7.0 };
    svg += &points(&groups, &frame, words);
    svg += &legend(&groups, frame.x.end + 30.0);
    Ok(svg + "</svg>\n")
}

/// The rows by shape, in order of operations a byte.
fn groups(rows: &[Measurement], roof: Roofline) -> Vec<Group> {
    let mut groups: Vec<Group> = Vec::new();
    for row in rows {
        let (Some(flop_per_byte), Some(share)) = (row.flop_per_byte.filter(|i| *i > 0.0), row.fraction_of_attainable) else {
            continue;
        };
        let kind = row.case.split('.').next().unwrap_or_default();
        let shape = row.shape.replace("->", "→");
        let name = if kind == "conv2d" { shape } else { format!("{kind} {shape}") };
        let family = FAMILIES.iter().position(|(name, ..)| row.case.starts_with(name)).unwrap_or(FAMILIES.len() - 1);
        let gflops = share * roof.attainable(flop_per_byte) / 1e9;
        let point = Point { flop_per_byte, gflops, family, faint: row.fastest == Some(false) };
        match groups.iter_mut().find(|group| group.name == name) {
            Some(group) => group.points.push(point),
            None => groups.push(Group { name, points: vec![point] }),
        }
    }
    let place = |group: &Group| group.points.first().map_or(0.0, |point| point.flop_per_byte);
    groups.sort_by(|a, b| place(a).total_cmp(&place(b)));
    groups
}

impl Frame {
    fn draw(&self) -> String {
        let Self { x, y } = self;
        let (left, right, top, bottom) = (x.start, x.end, y.end, y.start);
        let mut svg = String::new();
        for tick in x.ticks() {
            let at = x.at(tick);
            svg += &line([at, top], [at, bottom], "stroke=\"#ececec\"");
            svg += &text(at, bottom + 16.0, "text-anchor=\"middle\"", &short(tick));
        }
        for tick in y.ticks() {
            let at = y.at(tick);
            svg += &line([left, at], [right, at], "stroke=\"#ececec\"");
            svg += &text(left - 7.0, at + 4.0, "text-anchor=\"end\"", &short(tick));
        }
        let (wide, high) = (right - left, bottom - top);
        svg += &format!("<rect x=\"{left}\" y=\"{top}\" width=\"{wide}\" height=\"{high}\" fill=\"none\" stroke=\"#888\"/>\n");
        let middle = "text-anchor=\"middle\" font-size=\"12\"";
        svg += &text((left + right) / 2.0, bottom + 38.0, middle, "arithmetic intensity (FLOP/byte)");
        let upright = format!("{middle} transform=\"rotate(-90 20 {})\"", (top + bottom) / 2.0);
        svg + &text(20.0, (top + bottom) / 2.0, &upright, "performance (GFLOP/s)")
    }
}

/// The roof, and half, a quarter and a tenth of it.
fn ceilings(roof: Roofline, frame: &Frame) -> String {
    let Frame { x, y } = frame;
    let mut svg = String::new();
    let ridge = x.at(roof.ridge());
    for (share, style) in [
        (0.1, "stroke=\"#bbb\" stroke-dasharray=\"3 3\""),
        (0.25, "stroke=\"#bbb\" stroke-dasharray=\"3 3\""),
        (0.5, "stroke=\"#bbb\" stroke-dasharray=\"3 3\""),
        (1.0, "stroke=\"#222\" stroke-width=\"1.8\""),
    ] {
        let flat = share * roof.flops / 1e9;
        if flat < y.low {
            continue;
        }
        // The slope comes in through the left side or the bottom.
        let enters = x.low.max(y.low * 1e9 / (share * roof.bytes_per_second));
        let start = [x.at(enters), y.at(share * roof.attainable(enters) / 1e9)];
        svg += &line(start, [ridge, y.at(flat)], style);
        svg += &line([ridge, y.at(flat)], [x.end, y.at(flat)], style);
        if share < 1.0 {
            let percent = format!("{:.0} %", share * 100.0);
            svg += &text(x.end - 4.0, y.at(flat) - 4.0, "text-anchor=\"end\" fill=\"#999\" font-size=\"10\"", &percent);
        }
    }
    let multiply = format!("multiply-adds {} GFLOP/s", short(roof.flops / 1e9));
    svg += &text(x.end - 6.0, y.at(roof.flops / 1e9) - 7.0, "text-anchor=\"end\"", &multiply);
    // The words on the slope stand in the middle of what can be seen of it.
    let enters = x.low.max(y.low * 1e9 / roof.bytes_per_second);
    let middle = (enters * roof.ridge()).sqrt();
    let (px, py) = (x.at(middle), y.at(roof.attainable(middle) / 1e9));
    let rise = (y.at(roof.attainable(roof.ridge()) / 1e9) - py).atan2(ridge - px).to_degrees();
    let along = format!("text-anchor=\"middle\" transform=\"rotate({rise:.1} {px:.1} {py:.1}) translate(0 -7)\"");
    let copy = format!("copy {} GB/s", short(roof.bytes_per_second / 1e9));
    svg + &text(px, py, &along, &copy)
}

/// Markers, and beside each that is not faint the number of its group, where it covers nothing.
fn points(groups: &[Group], frame: &Frame, roof_words: Area) -> String {
    let (mut marks, mut numbers) = (String::new(), String::new());
    let mut taken = vec![roof_words];
    for point in groups.iter().flat_map(|group| &group.points) {
        let area = frame.area(point);
        marks += &mark(area.x, area.y, point.family, if point.faint { 0.25 } else { 0.9 });
        taken.push(area);
    }
    for (number, group) in (1..).zip(groups) {
        let number = number.to_string();
        for point in group.points.iter().filter(|point| !point.faint) {
            let at = frame.area(point);
            let Some((place, far)) = free(at, 2.8 * number.len() as f64, frame, &taken) else { continue };
            if far {
                numbers += &line([place.x, place.y], [at.x, at.y], "stroke=\"#aaa\" stroke-width=\"0.6\"");
                // The number stands on white, which ends the line before it.
                let (x, y, w, h) = (place.x - place.wide, place.y - place.high, 2.0 * place.wide, 2.0 * place.high);
                numbers += &format!("<rect x=\"{x:.1}\" y=\"{y:.1}\" width=\"{w:.1}\" height=\"{h:.1}\" fill=\"#fff\"/>\n");
            }
            let style = format!("text-anchor=\"middle\" font-size=\"9\" fill=\"{}\"", FAMILIES[point.family].2);
            numbers += &text(place.x, place.y + 3.2, &style, &number);
            taken.push(place);
        }
    }
    numbers + &marks
}

/// The nearest place around `at` where a number of half that width covers nothing, and whether it takes a line to see
/// whose it is.
fn free(at: Area, wide: f64, frame: &Frame, taken: &[Area]) -> Option<(Area, bool)> {
    let mut places = (0..40).flat_map(|ring| {
        let away = 3.5 * f64::from(ring);
        let (x, y) = (6.0 + wide + away, 9.5 + away);
        let sides = [(x, 0.0), (-x, 0.0), (0.0, -y), (0.0, y), (x, -y), (-x, -y), (x, y), (-x, y)];
        sides.map(|(dx, dy)| (Area { x: at.x + dx, y: at.y + dy, wide, high: 4.2 }, ring > 0))
    });
    places.find(|(area, _)| frame.holds(area) && !taken.iter().any(|other| other.overlaps(area)))
}

fn legend(groups: &[Group], left: f64) -> String {
    let mut svg = String::new();
    let mut at = TOP + 6.0;
    for (family, (_, words, ..)) in FAMILIES.iter().enumerate() {
        if groups.iter().flat_map(|group| &group.points).any(|point| point.family == family) {
            svg += &mark(left + 5.0, at - 4.0, family, 0.9);
            svg += &text(left + 18.0, at, "", words);
            at += LINE + 1.0;
        }
    }
    if groups.iter().flat_map(|group| &group.points).any(|point| point.faint) {
        svg += &text(left + 18.0, at, "", "faint: algorithms that are not the fastest");
        at += LINE;
    }
    at += LINE;
    for (number, group) in (1..).zip(groups) {
        svg += &text(left + 12.0, at, "text-anchor=\"end\" font-weight=\"bold\" font-size=\"10\"", &number.to_string());
        svg += &text(left + 18.0, at, "font-size=\"10\"", &group.name);
        at += LINE;
    }
    svg
}

fn mark(x: f64, y: f64, family: usize, opacity: f64) -> String {
    let (_, _, colour, path) = FAMILIES[family];
    format!("<path transform=\"translate({x:.1} {y:.1})\" d=\"{path}\" fill=\"{colour}\" opacity=\"{opacity}\"/>\n")
}

fn line(from: [f64; 2], to: [f64; 2], style: &str) -> String {
    let ([x1, y1], [x2, y2]) = (from, to);
    format!("<line x1=\"{x1:.1}\" y1=\"{y1:.1}\" x2=\"{x2:.1}\" y2=\"{y2:.1}\" {style}/>\n")
}

fn text(x: f64, y: f64, style: &str, words: &str) -> String {
    let words = words.replace('&', "&amp;").replace('<', "&lt;").replace('>', "&gt;");
    format!("<text x=\"{x:.1}\" y=\"{y:.1}\" {style}>{words}</text>\n")
}

/// A number with three digits that tell.
fn short(value: f64) -> String {
    let digits = (2.0 - value.abs().log10().floor()).clamp(0.0, 6.0) as usize;
    let long = format!("{value:.digits$}");
    if long.contains('.') { long.trim_end_matches('0').trim_end_matches('.').into() } else { long }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::train::bench::testing::row;

    fn placed(case: &str, shape: &str, flop_per_byte: f64, share: f64) -> Measurement {
        let (flop_per_byte, fraction_of_attainable) = (Some(flop_per_byte), Some(share));
        let (peak_gflops, peak_gbps) = (Some(48.0), Some(8.0));
        Measurement { flop_per_byte, fraction_of_attainable, peak_gflops, peak_gbps, ..row(case, shape, share) }
    }

    #[test]
    fn numbers_are_written_shortly() {
        assert_eq!([0.02, 0.5, 1.0, 48.0, 49.26, 123.4, 60_000.0].map(short), ["0.02", "0.5", "1", "48", "49.3", "123", "60000"]);
    }

    #[test]
    fn a_logarithmic_axis_gives_every_factor_the_same_length() {
        let axis = Axis { low: 0.1, high: 1000.0, start: 100.0, end: 500.0 };
        assert!([0.1, 1.0, 10.0, 1000.0].iter().zip([100.0, 200.0, 300.0, 500.0]).all(|(v, px)| (axis.at(*v) - px).abs() < 1e-9));
        assert_eq!(Axis { low: 0.7, high: 12.0, start: 0.0, end: 1.0 }.ticks(), [1.0, 2.0, 5.0, 10.0]);
    }

    #[test]
    fn a_point_of_the_whole_roof_stands_on_it() {
        let rows = [placed("gemm", "8x8x8", 2.0, 1.0), placed("gemm", "9x9x9", 60.0, 0.5)];
        let roof = Roofline::of(&rows).unwrap();
        let groups = groups(&rows, roof);
        let frame = Frame::around(&groups, roof);
        // 2 FLOP/byte at 8 GB/s; and half of 48 GFLOP/s.
        for (group, [intensity, rate]) in groups.iter().zip([[2.0, 16.0], [60.0, 24.0]]) {
            let area = frame.area(&group.points[0]);
            assert!((area.x - frame.x.at(intensity)).abs() < 1e-9 && (area.y - frame.y.at(rate)).abs() < 1e-9);
            assert!(frame.holds(&area));
        }
    }

    #[test]
    fn numbers_cover_neither_points_nor_each_other() {
        let rows: Vec<_> = (0..40).map(|i| placed("gemm", &i.to_string(), 30.0 + f64::from(i % 7), 0.2)).collect();
        let roof = Roofline::of(&rows).unwrap();
        let groups = groups(&rows, roof);
        let frame = Frame::around(&groups, roof);
        let places: Vec<Area> = groups.iter().flat_map(|group| &group.points).map(|point| frame.area(point)).collect();
        let mut taken = places.clone();
        for at in places {
            let (place, _) = free(at, 5.6, &frame, &taken).unwrap();
            assert!(frame.holds(&place) && !taken.iter().any(|other| other.overlaps(&place)));
            taken.push(place);
        }
    }

    #[test]
    fn the_picture_names_adapter_date_units_and_shapes_and_is_whole() {
        let mut rows = vec![placed("conv2d.forward", "b4 64->64 32x32 k3 s1", 135.0, 0.25), placed("sgd", "w<8>", 0.3, 0.9)];
        rows[0].adapter = "A & B".into();
        let svg = plot(&rows, "2026-11-24").unwrap();
        for part in ["Roofline of A &amp; B", "2026-11-24", "(FLOP/byte)", "(GFLOP/s)", "b4 64→64 32x32 k3 s1", "sgd w&lt;8&gt;"]
        {
            assert!(svg.contains(part), "{part}");
        }
        assert!(svg.starts_with("<svg ") && svg.ends_with("</svg>\n") && !svg.contains("NaN"), "{svg}");
        assert_eq!(svg.matches("<path").count(), 4, "two points and two keys");
    }

    #[test]
    fn nothing_to_draw_is_an_error() {
        let rates = Measurement { peak_gflops: Some(48.0), peak_gbps: Some(8.0), ..row("peak.fma", "", 1.0) };
        assert!(plot(&[], "").is_err() && plot(&[rates], "").is_err());
    }
}
