//! The k rows of a bank with the largest dot products with each query, the largest first, equal ones by rising row.

use super::{Reference, dot, row};

/// f: `[q, dim]`, bank: `[n, dim]`; returns the scores `[q, k]` and the rows `[q, k]`.
///
/// M of a score is the largest of its query's: where each of n numbers is off by so much at most, so is their i-th largest.
/// The rows are those of the exact scores; 32-bit arithmetic finds the same where no two scores lie closer than it is off.
pub fn top_k(f: &[f64], bank: &[f64], dim: usize, k: usize) -> [Reference; 2] {
    let queries = f.len() / dim;
    let (mut scores, mut rows) = (Vec::new(), Vec::new());
    for q in 0..queries {
        let pairs: Vec<(f64, f64)> = bank.chunks(dim).map(|v| dot(v, row(f, dim, q))).collect();
        let off = pairs.iter().map(|p| p.1).fold(0.0, f64::max);
        let mut order: Vec<usize> = (0..pairs.len()).collect();
        order.sort_by(|&a, &b| pairs[b].0.total_cmp(&pairs[a].0).then(a.cmp(&b)));
        scores.extend(order[..k].iter().map(|&i| (pairs[i].0, off)));
        rows.extend(order[..k].iter().map(|&i| (i as f64, 0.0)));
    }
    [Reference::new(&[queries, k], scores), Reference::new(&[queries, k], rows)]
}

#[cfg(test)]
mod tests {
    #[test]
    fn the_largest_come_first_and_equal_ones_by_row() {
        let [scores, rows] = super::top_k(&[1.0, 0.0, 0.0, -1.0], &[1.0, 2.0, 3.0, 4.0, 1.0, 0.0], 2, 3);
        assert_eq!(rows.value, [1.0, 0.0, 2.0, 2.0, 0.0, 1.0]);
        assert_eq!(scores.value, [3.0, 1.0, 1.0, 0.0, -2.0, -4.0]);
    }
}
