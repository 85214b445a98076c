//! The proximal term: `loss[b] = Σ_c (f[b,c] − v[c])²`, v being the sample's bank row of the step before.
//!
//! Wu et al. 2018, equations 9 and 10, without the weight λ.

use super::{Reference, row};

/// f: `[b, dim]`, bank: `[n, dim]`, positives: `[b]`; returns `[b]`.
///
/// M supposes that the differences are squared, not that 2 − 2·f·v is taken, which loses more as f nears v.
pub fn prox(f: &[f64], bank: &[f64], dim: usize, positives: &[u32]) -> Reference {
    debug_assert_eq!(f.len(), positives.len() * dim);
    let pairs = positives.iter().enumerate().map(|(b, &positive)| {
        let sum: f64 = row(f, dim, b).iter().zip(row(bank, dim, positive as usize)).map(|(f, v)| (f - v) * (f - v)).sum();
        (sum, 2.0 * sum)
    });
    Reference::new(&[positives.len()], pairs)
}

#[cfg(test)]
mod tests {
    #[test]
    fn the_squared_distance_to_the_own_row() {
        let loss = super::prox(&[1.0, 2.0, 0.0, 1.0], &[0.0, 1.0, 4.0, 6.0], 2, &[1, 0]);
        assert_eq!(loss.value, [25.0, 0.0]);
    }
}
