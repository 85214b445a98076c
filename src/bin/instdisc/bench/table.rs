//! What was measured, for people.

use crate::say::result;
use instdisc::train::bench::{Case, Change, Comparison, Measurement, Roofline};

/// The widths of the columns that say what was measured.
pub(super) struct Table {
    name: usize,
    shape: usize,
    /// None where nothing is measured by several algorithms.
    algorithm: Option<usize>,
}

impl Table {
    pub(super) fn of<'a>(cases: impl Iterator<Item = &'a Case>) -> Self {
        cases.fold(Self { name: 4, shape: 5, algorithm: None }, |all, case| {
            let algorithm = case.algorithm.map(|algorithm| algorithm.to_string().len().max(9));
            Self {
                name: all.name.max(case.name.len()),
                shape: all.shape.max(case.shape.len()),
                algorithm: all.algorithm.max(algorithm),
            }
        })
    }

    fn of_rows<'a>(rows: impl Iterator<Item = (&'a str, &'a str, Option<&'a str>)>, variants: bool) -> Self {
        rows.fold(Self { name: 4, shape: 5, algorithm: None }, |all, (name, shape, algorithm)| Self {
            name: all.name.max(name.len()),
            shape: all.shape.max(shape.len()),
            algorithm: all.algorithm.max(algorithm.filter(|_| variants).map(|algorithm| algorithm.len().max(9))),
        })
    }

    fn begin(&self, name: &str, shape: &str, algorithm: &str) -> String {
        let (wide, long) = (self.name, self.shape);
        let algorithm = self.algorithm.map_or(String::new(), |wide| format!("  {algorithm:wide$}"));
        format!("{name:wide$}  {shape:long$}{algorithm}")
    }

    pub(super) fn head(&self) {
        let begin = self.begin("case", "shape", "algorithm");
        result!("{begin} {:>10} {:>7} {:>8} {:>8} {:>8}", "ms", "spread", "GFLOP/s", "GB/s", "of peak");
    }

    pub(super) fn row(&self, row: &Measurement) {
        let peak = row.variant == "peak";
        let ms = if peak { "-".into() } else { format!("{:.3}", row.median_ms) };
        let share = if peak { "-".into() } else { format!("{:.3}", row.fraction_of_peak) };
        let mut marks = String::new();
        if let Some(fastest) = row.fastest {
            marks += if fastest { "  fastest" } else { "         " };
            marks += if row.preferred == Some(true) { "  preferred" } else { "" };
        }
        let begin = self.begin(&row.case, &row.shape, row.algorithm.as_deref().unwrap_or_default());
        let (spread, gflops, gbps) = (row.spread * 100.0, rate(row.gflops), rate(row.gbps));
        result!("{}", format!("{begin} {ms:>10} {spread:>6.0}% {gflops:>8} {gbps:>8} {share:>8}{marks}").trim_end());
        if let (Some(dispatches), Some(bytes), Some(images)) = (row.dispatches, row.peak_bytes, row.images_per_second) {
            let apart = row.dispatches_apart.unwrap_or(0);
            let text = format!("{dispatches} + {apart} dispatches, {} MiB, {images:.2} images/s", bytes >> 20);
            result!("{}", self.begin("", &text, "").trim_end());
        }
    }
}

/// What the adapter allows each of `rows`, and what it reaches of that.
pub(super) fn roofline(rows: &[Measurement], variants: bool) {
    let Some(roof) = Roofline::of(rows) else { return };
    let (flops, bytes) = (roof.flops / 1e9, roof.bytes_per_second / 1e9);
    result!("\nroofline: {flops:.1} GFLOP/s, {bytes:.1} GB/s, ridge at {:.1} FLOP/byte", roof.ridge());
    let names = rows.iter().map(|row| (row.case.as_str(), row.shape.as_str(), row.algorithm.as_deref()));
    let table = Table::of_rows(names, variants);
    let begin = table.begin("case", "shape", "algorithm");
    result!("{begin} {:>10} {:>8} {:>10} {:>10} {:>8}", "FLOP/byte", "bound", "attainable", "achieved", "of that");
    for row in rows {
        let (Some(intensity), Some(attainable), Some(share)) =
            (row.flop_per_byte, row.attainable_gflops, row.fraction_of_attainable)
        else {
            continue;
        };
        let begin = table.begin(&row.case, &row.shape, row.algorithm.as_deref().unwrap_or_default());
        let bound = if intensity < roof.ridge() { "memory" } else { "compute" };
        let achieved = row.gbps.map_or(f64::NAN, |gbps| gbps * intensity);
        result!("{begin} {intensity:>10.2} {bound:>8} {attainable:>10.2} {achieved:>10.2} {share:>8.3}");
    }
}

/// Every case then and now.
pub(super) fn comparison(found: &[Comparison], variants: bool) {
    let names = found.iter().map(|c| (c.case.as_str(), c.shape.as_str(), c.algorithm.as_deref()));
    let table = Table::of_rows(names, variants);
    result!("\nnow / then:");
    result!("{} {:>8} {:>8}", table.begin("case", "shape", "algorithm"), "time", "of peak");
    for c in found {
        let change = match c.comparison {
            Change::Same => "",
            Change::Faster => "faster",
            Change::Slower => "slower",
            Change::New => "new",
            Change::Missing => "missing now",
        };
        let begin = table.begin(&c.case, &c.shape, c.algorithm.as_deref().unwrap_or_default());
        result!("{}", format!("{begin} {:>8} {:>8}  {change}", rate(c.time_ratio), rate(c.fraction_ratio)).trim_end());
    }
}

fn rate(value: Option<f64>) -> String {
    value.map_or("-".into(), |value| format!("{value:.2}"))
}
