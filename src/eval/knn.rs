//! Nearest neighbours by dot product, and the weighted vote.

use super::Matrix;
use crate::error::{Error, Result};
use crate::gpu::Gpu;
use crate::ops::{self, GemmSizes};
use crate::shape::{Layout, padded};
use crate::tape::Tape;
use serde::Serialize;

/// A row of a bank and its score for a query.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Neighbour {
    /// The row.
    pub row: u32,
    /// The dot product; the cosine for unit vectors.
    pub score: f32,
}

/// Rows of the bank and queries in one product: 32 MiB of scores at most.
const BANK_ROWS: usize = 65_536;
const QUERIES: usize = 128;

/// The largest product that [`neighbours`] computes at once.
pub fn scores_at_once(gpu: &Gpu, bank_rows: usize, cols: usize, queries: usize) -> GemmSizes {
    let binding = (gpu.limits().max_storage_buffer_binding_size / 4) as usize;
    let most = BANK_ROWS.min(binding / padded(cols).max(1)).min(binding / QUERIES).max(1);
    GemmSizes { batch: 1, rows: QUERIES.min(queries.max(1)), depth: cols, cols: most.min(bank_rows) }
}

/// The `k` rows of `bank` with the largest dot products with each query, the best first; equal scores by row.
///
/// The scores are computed on the device in blocks, the best are chosen on the host. With fewer than `k` rows all come.
///
/// # Errors
/// [`Error::Shape`] where the columns differ or the bank is empty; [`Error::DeviceLost`], [`Error::OutOfMemory`].
pub fn neighbours(gpu: &Gpu, bank: &Matrix, queries: &Matrix, k: usize) -> Result<Vec<Vec<Neighbour>>> {
    if bank.cols != queries.cols || bank.rows() == 0 {
        let got = format!("[{}, {}]", bank.rows(), bank.cols);
        return Err(Error::shape("neighbours", "bank", format!("at least one row of {} columns", queries.cols), got));
    }
    let mut best: Vec<Vec<Neighbour>> = vec![Vec::new(); queries.rows()];
    let GemmSizes { rows: width, cols: block_rows, .. } = scores_at_once(gpu, bank.rows(), bank.cols, queries.rows());
    for (block, rows) in bank.values.chunks(block_rows * bank.cols).enumerate() {
        let count = rows.len() / bank.cols;
        let mut tape = Tape::new(gpu);
        let f = tape.input("queries", &[width, bank.cols], Layout::Rows)?;
        let v = tape.input("bank", &[count, bank.cols], Layout::Rows)?;
        let scores = ops::scores(&mut tape, f, v)?;
        tape.keep(scores)?;
        let mut program = tape.compile()?;
        program.write(v, rows)?;
        for (start, some) in queries.values.chunks(width * bank.cols).enumerate() {
            let mut padded = some.to_vec();
            padded.resize(width * bank.cols, 0.0);
            program.write(f, &padded)?;
            program.run()?;
            let scores = program.read(scores)?;
            for (place, scores) in scores.chunks(count).take(some.len() / bank.cols).enumerate() {
                let found = &mut best[start * width + place];
                let rows = scores.iter().enumerate().map(|(i, s)| Neighbour { row: (block * block_rows + i) as u32, score: *s });
                found.extend(rows);
                keep_best(found, k);
            }
        }
    }
    Ok(best)
}

/// Sort by falling score, then rising row, and keep the first `k`.
fn keep_best(found: &mut Vec<Neighbour>, k: usize) {
    let order = |a: &Neighbour, b: &Neighbour| b.score.total_cmp(&a.score).then(a.row.cmp(&b.row));
    if k < found.len() {
        if k > 0 {
            found.select_nth_unstable_by(k - 1, order);
        }
        found.truncate(k);
    }
    found.sort_unstable_by(order);
}

/// What a weighted vote of neighbours got right.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize)]
pub struct Accuracy {
    /// Share of queries whose class had the most votes.
    pub top1: f64,
    /// Share of queries whose class was among the five with the most.
    pub top5: f64,
    /// Queries that were judged: those with a label.
    pub queries: usize,
}

/// The accuracy of weighted kNN: each neighbour votes for its class with exp(score / `tau`). Ties go to the lower class.
///
/// `found` are a query's neighbours, `truth` its class, `class_of` the class of a row. What has no class does not count.
///
/// **Source**: Wu et al. 2018, section 3.4 (they take the 200 nearest and τ = 0.07).
///
/// # Errors
/// [`Error::Value`] for a `tau` not above 0.
///
/// ```
/// use instdisc::eval::{Neighbour, accuracy};
/// let found = vec![vec![Neighbour { row: 0, score: 0.9 }, Neighbour { row: 1, score: 0.2 }]];
/// let seen = accuracy(&found, &[Some(3)], |row| Some([3, 7][row as usize]), 0.07)?;
/// assert_eq!((seen.top1, seen.queries), (1.0, 1));
/// # Ok::<(), instdisc::Error>(())
/// ```
pub fn accuracy(
    found: &[Vec<Neighbour>],
    truth: &[Option<u32>],
    class_of: impl Fn(u32) -> Option<u32>,
    tau: f32,
) -> Result<Accuracy> {
    if !(tau.is_finite() && tau > 0.0) {
        return Err(Error::value("knn", "tau", "a finite number above 0", tau));
    }
    let mut seen = Accuracy::default();
    for (found, truth) in found.iter().zip(truth) {
        let Some(truth) = *truth else { continue };
        let ranked = vote(found, &class_of, tau);
        seen.queries += 1;
        seen.top1 += f64::from(u8::from(ranked.first() == Some(&truth)));
        seen.top5 += f64::from(u8::from(ranked.iter().take(5).any(|c| *c == truth)));
    }
    let judged = seen.queries.max(1) as f64;
    Ok(Accuracy { top1: seen.top1 / judged, top5: seen.top5 / judged, ..seen })
}

/// The classes by falling votes.
fn vote(found: &[Neighbour], class_of: &impl Fn(u32) -> Option<u32>, tau: f32) -> Vec<u32> {
    let top = found.iter().map(|n| n.score).fold(f32::NEG_INFINITY, f32::max);
    let mut votes = std::collections::BTreeMap::<u32, f64>::new();
    for n in found {
        if let Some(class) = class_of(n.row) {
            // Relative to the best score, so that no τ overflows.
            *votes.entry(class).or_default() += (f64::from(n.score - top) / f64::from(tau)).exp();
        }
    }
    let mut ranked: Vec<(u32, f64)> = votes.into_iter().collect();
    ranked.sort_by(|a, b| b.1.total_cmp(&a.1).then(a.0.cmp(&b.0)));
    ranked.into_iter().map(|(class, _)| class).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_close_neighbour_outvotes_two_far_ones() {
        let found = [(0, 0.9), (1, 0.3), (2, 0.3)].map(|(row, score)| Neighbour { row, score });
        assert_eq!(vote(&found, &|row| Some(u32::from(row > 0)), 0.07), [0, 1]);
        assert_eq!(vote(&found, &|row| Some(u32::from(row > 0)), 10.0), [1, 0]);
    }

    #[test]
    fn equal_scores_keep_the_lower_row() {
        let mut found: Vec<_> = (0..9).map(|row| Neighbour { row: 8 - row, score: 0.5 }).collect();
        keep_best(&mut found, 3);
        assert_eq!(found.iter().map(|n| n.row).collect::<Vec<_>>(), [0, 1, 2]);
    }

    #[test]
    fn what_has_no_label_is_not_judged() {
        let found = vec![vec![Neighbour { row: 0, score: 1.0 }]; 2];
        let seen = accuracy(&found, &[None, Some(1)], |_| Some(1), 0.1).unwrap();
        assert_eq!((seen.queries, seen.top1, seen.top5), (1, 1.0, 1.0));
    }
}
