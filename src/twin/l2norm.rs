//! `y[r,c] = x[r,c] / max(√(Σ_k x[r,k]²), eps)`: rows of unit length (Wu et al. 2018, section 3.1).

use super::{Reference, row};

/// x: `[rows, cols]`; a row shorter than `eps` is divided by `eps`.
pub fn l2norm(x: &[f64], [rows, cols]: [usize; 2], eps: f64) -> Reference {
    debug_assert_eq!(x.len(), rows * cols);
    let pairs = (0..rows).flat_map(|r| {
        let length = row(x, cols, r).iter().map(|x| x * x).sum::<f64>().sqrt().max(eps);
        // Twice: once for the length, once for the quotient.
        row(x, cols, r).iter().map(move |x| (x / length, 2.0 * x.abs() / length))
    });
    Reference::new(&[rows, cols], pairs)
}

#[cfg(test)]
mod tests {
    #[test]
    fn three_four_five_and_a_zero_row() {
        let y = super::l2norm(&[3.0, -4.0, 0.0, 0.0, 0.0, 1e-9], [3, 2], 1e-8);
        assert_eq!(y.value, [0.6, -0.8, 0.0, 0.0, 0.0, 0.1]);
    }
}
