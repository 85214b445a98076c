//! Nearest neighbours by dot product, and the weighted vote.

use super::Matrix;
use crate::error::{Error, Result};
use crate::gpu::Gpu;
use crate::ops::{self, Bank, bank_tile};
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

/// Queries at once: enough to keep a device busy and to read the bank seldom.
const QUERIES: usize = 1024;

/// The `k` rows of `bank` with the largest dot products with each query, the best first; equal scores by row.
///
/// With fewer than `k` rows all come. Found by [`ops::top_k`]: the device keeps the best as it goes, and no scores are
/// stored.
///
/// # Errors
/// [`Error::Shape`] where the columns differ or the bank is empty; [`Error::Limit`] for a `k` of some thousands;
/// [`Error::DeviceLost`], [`Error::OutOfMemory`].
pub fn neighbours(gpu: &Gpu, bank: &Matrix, queries: &Matrix, k: usize) -> Result<Vec<Vec<Neighbour>>> {
    if bank.cols != queries.cols || bank.rows() == 0 {
        let got = format!("[{}, {}]", bank.rows(), bank.cols);
        return Err(Error::shape("neighbours", "bank", format!("at least one row of {} columns", queries.cols), got));
    }
    let k = k.min(bank.rows());
    if k == 0 || queries.rows() == 0 {
        return Ok(vec![Vec::new(); queries.rows()]);
    }
    let (cols, width) = (bank.cols, queries.rows().min(QUERIES));
    let mut tape = Tape::new(gpu);
    let f = tape.input("queries", &[width, cols], Layout::Rows)?;
    let binding = (gpu.limits().max_storage_buffer_binding_size.min(gpu.limits().max_buffer_size) / 4) as usize;
    let tile = 1 << (binding / padded(cols)).clamp(1, bank_tile(cols)).ilog2();
    let shard = binding / padded(cols) / tile * tile;
    let parts: Vec<&[f32]> = bank.values.chunks(shard.max(tile) * cols).collect();
    let input = |rows: &&[f32]| tape.input("bank", &[rows.len() / cols, cols], Layout::Rows);
    let shards = parts.iter().map(input).collect::<Result<Vec<_>>>()?;
    let found = ops::top_k(&mut tape, f, Bank::new(&shards, tile)?, k)?;
    tape.keep(found.scores)?;
    tape.keep(found.rows)?;
    let mut program = tape.compile()?;
    for (tensor, rows) in shards.iter().zip(parts) {
        program.write(*tensor, rows)?;
    }
    let mut best = Vec::with_capacity(queries.rows());
    for some in queries.values.chunks(width * cols) {
        let mut whole = some.to_vec();
        whole.resize(width * cols, 0.0);
        program.write(f, &whole)?;
        program.run()?;
        let (scores, rows) = (program.read(found.scores)?, program.read_words(found.rows)?);
        let pairs = scores.chunks(k).zip(rows.chunks(k)).take(some.len() / cols);
        best.extend(pairs.map(|(scores, rows)| {
            scores.iter().zip(rows).map(|(score, row)| Neighbour { row: *row, score: *score }).collect::<Vec<_>>()
        }));
    }
    Ok(best)
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
    fn what_has_no_label_is_not_judged() {
        let found = vec![vec![Neighbour { row: 0, score: 1.0 }]; 2];
        let seen = accuracy(&found, &[None, Some(1)], |_| Some(1), 0.1).unwrap();
        assert_eq!((seen.queries, seen.top1, seen.top5), (1, 1.0, 1.0));
    }
}
