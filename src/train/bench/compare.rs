//! Measurements against earlier ones.

use super::Measurement;
use crate::error::{Error, Result};
use serde::Serialize;
use std::path::Path;

/// A case then and now.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Comparison {
    /// [`Measurement::case`].
    pub case: String,
    /// [`Measurement::shape`].
    pub shape: String,
    /// What it was computed by, now if it was measured now.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub algorithm: Option<String>,
    /// Time now / time then.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub time_ratio: Option<f64>,
    /// Fraction of peak now / then: the steadier of the two on a machine that others use as well.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub fraction_ratio: Option<f64>,
    /// What came of it.
    pub comparison: Change,
}

/// What came of a case.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Change {
    /// The fractions of peak lie no further apart than their spreads.
    Same,
    /// More than then, by more than the spreads.
    Faster,
    /// Less than then, by more than the spreads.
    Slower,
    /// Not measured then.
    New,
    /// Not measured now.
    Missing,
}

impl Comparison {
    /// One line of JSON, which [`read`] passes over.
    pub fn json(&self) -> String {
        serde_json::to_string(self).unwrap_or_default()
    }

    fn of(row: &Measurement, comparison: Change) -> Self {
        let Measurement { case, shape, algorithm, .. } = row.clone();
        Self { case, shape, algorithm, time_ratio: None, fraction_ratio: None, comparison }
    }
}

/// The measurements in a file that `instdisc bench --json` wrote.
///
/// # Errors
/// [`Error::Io`] where it cannot be read; [`Error::Data`] for a line that is no measurement, or none at all.
pub fn read(path: &Path) -> Result<Vec<Measurement>> {
    let text = std::fs::read_to_string(path).map_err(|e| Error::io("reading", path, e))?;
    let rows = parse(&text).map_err(|reason| Error::data(path, reason))?;
    if rows.is_empty() {
        return Err(Error::data(path, "holds no measurement; write one with `instdisc bench --json`"));
    }
    Ok(rows)
}

fn parse(text: &str) -> std::result::Result<Vec<Measurement>, String> {
    let mut rows = Vec::new();
    for (i, line) in text.lines().enumerate().filter(|(_, line)| !line.trim().is_empty()) {
        let fault = |e| format!("line {} is none of `instdisc bench --json`: {e}", i + 1);
        let value: serde_json::Value = serde_json::from_str(line).map_err(fault)?;
        // What an earlier comparison said stands among the measurements.
        if value.get("comparison").is_none() {
            rows.push(serde_json::from_value(value).map_err(fault)?);
        }
    }
    Ok(rows)
}

/// Every case of `now` against `then`, and those of `then` that are missing.
///
/// A case is sought by its algorithm too. Where there is none of that algorithm and each side has the case once, the
/// algorithm has changed, and the case is compared all the same.
pub fn compare(then: &[Measurement], now: &[Measurement]) -> Vec<Comparison> {
    let same_case = |a: &Measurement, b: &Measurement| (&a.case, &a.shape) == (&b.case, &b.shape);
    let pairs = |a: &Measurement, b: &Measurement| {
        let once = |rows: &[Measurement]| rows.iter().filter(|row| same_case(row, a)).count() == 1;
        same_case(a, b) && (a.algorithm == b.algorithm || (once(then) && once(now)))
    };
    let of_now = now.iter().map(|row| match then.iter().find(|earlier| pairs(earlier, row)) {
        Some(earlier) => Comparison {
            time_ratio: Some(row.median_ms / earlier.median_ms),
            fraction_ratio: Some(row.fraction_of_peak / earlier.fraction_of_peak),
            ..Comparison::of(row, change(earlier, row))
        },
        None => Comparison::of(row, Change::New),
    });
    let missing = then.iter().filter(|earlier| !now.iter().any(|row| pairs(earlier, row)));
    of_now.chain(missing.map(|row| Comparison::of(row, Change::Missing))).collect()
}

/// Whether the ranges of the two fractions, each its median ± half its spread, lie apart.
fn change(then: &Measurement, now: &Measurement) -> Change {
    let range = |row: &Measurement| {
        let half = row.fraction_of_peak * row.fraction_spread.unwrap_or(row.spread) / 2.0;
        (row.fraction_of_peak - half, row.fraction_of_peak + half)
    };
    let (then, now) = (range(then), range(now));
    match () {
        () if now.0 > then.1 => Change::Faster,
        () if now.1 < then.0 => Change::Slower,
        () => Change::Same,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::train::bench::testing::row;

    fn changes(then: &[Measurement], now: &[Measurement]) -> Vec<Change> {
        compare(then, now).into_iter().map(|c| c.comparison).collect()
    }

    #[test]
    fn ratios_are_of_now_to_then() {
        let then = [Measurement { median_ms: 4.0, ..row("gemm", "8x8x8", 0.2) }];
        let now = [Measurement { median_ms: 2.0, ..row("gemm", "8x8x8", 0.3) }];
        let found = compare(&then, &now);
        assert_eq!((found[0].time_ratio, found[0].comparison), (Some(0.5), Change::Faster));
        assert!((found[0].fraction_ratio.unwrap() - 1.5).abs() < 1e-12);
        assert_eq!(changes(&now, &then), [Change::Slower]);
    }

    #[test]
    fn a_difference_within_the_spreads_is_none() {
        // 0.20 ± 10 % and 0.25 ± 10 % touch nowhere; with ± 12.5 % they do.
        for (spread, expected) in [(0.20, Change::Faster), (0.25, Change::Same)] {
            let [then, now] = [0.20, 0.25].map(|f| Measurement { fraction_spread: Some(spread), ..row("gemm", "8x8x8", f) });
            assert_eq!(changes(&[then], &[now]), [expected], "{spread}");
        }
        // Files without the spread of the fractions are judged by that of the times.
        let [then, now] = [0.20, 0.25].map(|f| Measurement { fraction_spread: None, spread: 0.3, ..row("gemm", "8x8x8", f) });
        assert_eq!(changes(&[then], &[now]), [Change::Same]);
    }

    #[test]
    fn new_and_missing_cases_are_named() {
        let found = compare(&[row("nce", "b4", 0.5), row("sgd", "w8", 0.5)], &[row("sgd", "w8", 0.5), row("gemm", "8x8x8", 0.1)]);
        let named: Vec<_> = found.iter().map(|c| (c.case.as_str(), c.comparison)).collect();
        assert_eq!(named, [("sgd", Change::Same), ("gemm", Change::New), ("nce", Change::Missing)]);
        assert_eq!((found[1].time_ratio, found[2].fraction_ratio), (None, None));
    }

    #[test]
    fn algorithms_are_told_apart_where_a_case_has_several() {
        let by = |algorithm: &str, f| Measurement { algorithm: Some(algorithm.into()), ..row("gemm", "8x8x8", f) };
        // One each: the case has got another algorithm, and is compared.
        assert_eq!(changes(&[by("a", 0.1)], &[by("b", 0.3)]), [Change::Faster]);
        let found = compare(&[by("a", 0.1), by("b", 0.2)], &[by("b", 0.2), by("c", 0.1)]);
        let named: Vec<_> = found.iter().map(|c| (c.algorithm.as_deref().unwrap(), c.comparison)).collect();
        assert_eq!(named, [("b", Change::Same), ("c", Change::New), ("a", Change::Missing)]);
        // A plain run meets its own algorithm in a run of all.
        assert_eq!(changes(&[by("a", 0.1), by("b", 0.2)], &[by("b", 0.2)]), [Change::Same, Change::Missing]);
    }

    #[test]
    fn measurements_are_read_back_and_comparisons_passed_over() {
        let rows = [row("nce", "b4", 0.5), row("gemm", "8x8x8", 0.25)];
        let mut text: String = rows.iter().map(|row| row.json() + "\n").collect();
        text += &compare(&rows, &rows)[0].json();
        let read = parse(&text).unwrap();
        assert_eq!(read.iter().map(Measurement::json).collect::<Vec<_>>(), rows.map(|row| row.json()));
    }

    #[test]
    fn a_line_of_the_first_version_is_read() {
        let line = r#"{"case":"gemm","shape":"8x8x8","median_ms":1.5,"spread":0.1,"gflops":2.0,"gbps":1.0,"fraction_of_peak":0.2,"variant":"gemm:nn","adapter":"x"}"#;
        let read = parse(line).unwrap();
        assert_eq!((read[0].median_ms, read[0].fraction_spread, read[0].algorithm.as_ref()), (1.5, None, None));
    }

    #[test]
    fn another_file_is_an_error_that_names_the_line() {
        let good = row("nce", "b4", 0.5).json();
        for (bad, says) in [("hello", "expected value"), (r#"{"epoch":1}"#, "missing field `case`"), ("[1]", "invalid")] {
            let fault = parse(&format!("{good}\n{bad}\n")).unwrap_err();
            assert!(fault.contains("line 2 ") && fault.contains(says), "{fault}");
        }
    }
}
