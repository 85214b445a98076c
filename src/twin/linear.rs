//! `y[r,o] = Σ_i x[r,i]·w[o,i] + b[o]`

use super::{Reference, dot, row};

/// x: `[m, k]`, w: `[n, k]` (PyTorch's order), b: `[n]` or none; returns `[m, n]`.
pub fn linear(x: &[f64], w: &[f64], b: Option<&[f64]>, [m, k, n]: [usize; 3]) -> Reference {
    debug_assert!(x.len() == m * k && w.len() == n * k && b.is_none_or(|b| b.len() == n));
    let pairs = (0..m * n).map(|i| {
        let (sum, all) = dot(row(x, k, i / n), row(w, k, i % n));
        let bias = b.map_or(0.0, |b| b[i % n]);
        (sum + bias, all + bias.abs())
    });
    Reference::new(&[m, n], pairs)
}

#[cfg(test)]
mod tests {
    use super::linear;

    #[test]
    fn a_small_product_by_hand() {
        let y = linear(&[1.0, 2.0, 3.0, -4.0], &[5.0, 6.0, -1.0, 0.0, 2.0, 1.0], Some(&[0.5, 0.0, 1.0]), [2, 2, 3]);
        assert_eq!(y.value, [17.5, -1.0, 5.0, -8.5, -3.0, 3.0]);
        assert_eq!(y.magnitude, [17.5, 1.0, 5.0, 39.5, 3.0, 11.0]);
    }
}
