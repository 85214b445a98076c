//! Cross-entropy over the whole bank: `loss[b] = ln Σ_j exp(v_j·f_b/τ) − v_{positive(b)}·f_b/τ`
//!
//! Wu et al. 2018, equation 2; the logarithm of the sum is taken with the largest score out of it.

use super::{Reference, dot, row};

/// f: `[b, dim]`, bank: `[n, dim]`, positives: `[b]`; returns the loss of each row, `[b]`.
///
/// M carries the error of the scores (whose share in the loss is their probability) and of the exponentials;
/// the depth is that of a score's sum plus that of the sum over the bank.
pub fn softmax(f: &[f64], bank: &[f64], dim: usize, positives: &[u32], tau: f64) -> Reference {
    debug_assert!(f.len() == positives.len() * dim && bank.len().is_multiple_of(dim));
    let pairs = positives.iter().enumerate().map(|(b, &positive)| {
        let scores: Vec<(f64, f64)> = bank.chunks(dim).map(|v| dot(v, row(f, dim, b))).collect();
        let top = scores.iter().map(|s| s.0 / tau).fold(f64::NEG_INFINITY, f64::max);
        let sum: f64 = scores.iter().map(|s| (s.0 / tau - top).exp()).sum();
        let own = scores[positive as usize];
        let spread: f64 = scores.iter().map(|s| (s.0 / tau - top).exp() / sum * (s.1 / tau + 1.0 + top.abs())).sum();
        (top + sum.ln() - own.0 / tau, spread + sum.ln() + own.1 / tau)
    });
    Reference::new(&[positives.len()], pairs)
}

#[cfg(test)]
pub(super) mod tests {
    use super::softmax;
    use crate::rng::{Sequence, Stream};

    /// `rows` random directions of `dim` dimensions.
    pub(crate) fn directions(rows: usize, dim: usize, seed: u64) -> Vec<f64> {
        let mut random = Sequence::new(seed, Stream::Test, 0);
        let x: Vec<f64> = (0..rows * dim).map(|_| f64::from(random.normal())).collect();
        crate::twin::l2norm::l2norm(&x, [rows, dim], 1e-12).value
    }

    #[test]
    fn equal_scores_cost_the_logarithm_of_their_number() {
        let loss = softmax(&[1.0, 0.0], &[1.0, 0.0, 1.0, 5.0, 1.0, -5.0], 2, &[1], 0.5);
        assert!((loss.value[0] - 3f64.ln()).abs() < 1e-15);
    }

    #[test]
    fn a_cold_temperature_does_not_overflow() {
        let loss = softmax(&[1.0, -1.0], &[1.0, -1.0], 1, &[1, 1], 1e-3);
        assert_eq!(loss.value, [2000.0, 0.0]);
    }

    // At the start the bank is noise: scores are near normal with variance 1/(D τ²). Features come in opposite
    // pairs, so that the score of the positive has a mean of zero exactly.
    #[test]
    fn the_loss_at_the_start_is_as_derived() {
        let (n, dim, tau) = (4096, 128, 0.07);
        let bank = directions(n, dim, 1);
        let mut f = directions(32, dim, 2);
        f.extend(f.clone().iter().map(|x| -x));
        let positives: Vec<u32> = (0..64).map(|b| b % 32).collect();
        let loss = softmax(&f, &bank, dim, &positives, tau).value.iter().sum::<f64>() / 64.0;
        let derived = (n as f64).ln() + 1.0 / (2.0 * dim as f64 * tau * tau);
        assert!((loss / derived - 1.0).abs() < 0.01, "{loss} {derived}");
    }
}
