//! Noise-contrastive estimation: tell the positive from m negatives drawn uniformly from the bank's n rows.
//!
//! With p(v) = exp(v·f/τ)/Z and k = m/n: `loss[b] = −ln(p⁺/(p⁺ + k)) − Σ_j ln(k/(p⁻_j + k))`. Wu et al. 2018,
//! equations 5 to 7; Z is a constant.
//!
//! Everything is in logarithms: with a = v·f/τ − ln Z − ln k the positive costs ln(1 + exp(−a)) and a negative
//! ln(1 + exp(a)), so that no temperature overflows. Z is therefore given and returned as ln Z.

use super::{Reference, dot, row};

/// f: `[b, dim]`, bank: `[n, dim]`, positives: `[b]`, negatives: `[b, m]`; returns the loss of each row, `[b]`.
///
/// A negative may equal the positive; it counts as any other. M carries the error of the scores; the depth is that of a
/// score's sum plus that of the sum over the negatives. It asks that ln(1 + exp(a)) keeps its relative
/// precision for a ≪ 0, where 1 + exp(a) would round it away.
pub fn nce(f: &[f64], bank: &[f64], dim: usize, positives: &[u32], negatives: &[u32], tau: f64, ln_z: f64) -> Reference {
    let (b, n) = (positives.len(), bank.len() / dim);
    debug_assert!(f.len() == b * dim && bank.len() == n * dim && (b == 0 || negatives.len().is_multiple_of(b)));
    let m = negatives.len() / b.max(1);
    let ln_k = (m as f64 / n as f64).ln();
    let term = |b: usize, v: u32, sign: f64| {
        let (score, all) = dot(row(bank, dim, v as usize), row(f, dim, b));
        let a = sign * (score / tau - ln_z - ln_k);
        let loss = softplus(a);
        // d loss / d a = 1 − exp(−loss); the term is off by that share of what a is off by, and by its own rounding.
        (loss, loss - (-loss).exp_m1() * (all / tau + ln_z.abs() + ln_k.abs() + 1.0))
    };
    let pairs = positives.iter().enumerate().map(|(b, &positive)| {
        let own = if m == 0 { (0.0, 0.0) } else { term(b, positive, -1.0) };
        negatives[b * m..(b + 1) * m].iter().map(|&v| term(b, v, 1.0)).fold(own, |s, t| (s.0 + t.0, s.1 + t.1))
    });
    Reference::new(&[b], pairs)
}

/// `ln(1 + exp(a))` without overflow, and without loss for a ≪ 0.
fn softplus(a: f64) -> f64 {
    a.max(0.0) + (-a.abs()).exp().ln_1p()
}

/// The batch's estimate of Z: n times the mean of exp(v·f/τ) over all positives and negatives; as ln Z, `[1]`.
pub fn ln_z(f: &[f64], bank: &[f64], dim: usize, positives: &[u32], negatives: &[u32], tau: f64) -> Reference {
    let (b, n) = (positives.len(), bank.len() / dim);
    let m = negatives.len() / b.max(1);
    let mut scores = Vec::new();
    for i in 0..b {
        for &v in [positives[i]].iter().chain(&negatives[i * m..(i + 1) * m]) {
            scores.push(dot(row(bank, dim, v as usize), row(f, dim, i)));
        }
    }
    let top = scores.iter().map(|s| s.0 / tau).fold(f64::NEG_INFINITY, f64::max);
    let sum: f64 = scores.iter().map(|s| (s.0 / tau - top).exp()).sum();
    let spread: f64 = scores.iter().map(|s| (s.0 / tau - top).exp() / sum * (s.1 / tau + 1.0 + top.abs())).sum();
    let scale = (n as f64).ln() - (scores.len() as f64).ln();
    Reference::new(&[1], [(top + sum.ln() + scale, spread + sum.ln() + (n as f64).ln() + (scores.len() as f64).ln())])
}

/// The moving average `Z ← keep·Z + (1 − keep)·Z_batch` of two ln Z, as ln Z.
pub fn blend_ln_z(old: f64, batch: f64, keep: f64) -> f64 {
    let top = old.max(batch);
    top + (keep * (old - top).exp() + (1.0 - keep) * (batch - top).exp()).ln()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::twin::softmax::tests::directions;

    fn literal(scores: &[f64], n: f64, tau: f64, z: f64) -> f64 {
        let k = (scores.len() - 1) as f64 / n;
        let p: Vec<f64> = scores.iter().map(|s| (s / tau).exp() / z).collect();
        p[1..].iter().fold(-(p[0] / (p[0] + k)).ln(), |sum, p| sum - (k / (p + k)).ln())
    }

    #[test]
    fn the_loss_equals_the_formula_taken_literally() {
        let bank = [1.0, 0.0, 0.0, 1.0, -1.0, 0.0, 0.6, 0.8];
        let loss = nce(&[0.8, 0.6], &bank, 2, &[0], &[1, 2, 3], 0.5, 7f64.ln());
        assert!((loss.value[0] - literal(&[0.8, 0.6, -0.8, 0.96], 4.0, 0.5, 7.0)).abs() < 1e-14);
        let ln_z = ln_z(&[0.8, 0.6], &bank, 2, &[0], &[1, 2, 3], 0.5).value[0];
        let z = [0.8f64, 0.6, -0.8, 0.96].iter().map(|s| (s / 0.5).exp()).sum::<f64>();
        assert!((ln_z - z.ln()).abs() < 1e-14);
    }

    #[test]
    fn a_cold_temperature_does_not_overflow() {
        let loss = nce(&[1.0], &[1.0, -1.0], 1, &[1], &[0, 0], 1e-3, 0.0);
        assert_eq!(loss.value, [3000.0]);
        assert!((ln_z(&[1.0], &[1.0, -1.0], 1, &[0], &[1], 1e-3).value[0] - 1000.0).abs() < 1e-12);
    }

    #[test]
    fn blending_is_linear_in_z() {
        assert!((blend_ln_z(2f64.ln(), 6f64.ln(), 0.75) - 3f64.ln()).abs() < 1e-15);
        assert_eq!(blend_ln_z(800.0, 800.0, 0.9), 800.0);
    }

    // With noise in the bank the positive costs ln(1 + m) + 1/(2 D τ²) and the negatives 1 together. Features come in
    // opposite pairs, so that the score of the positive has a mean of zero exactly.
    #[test]
    fn loss_and_z_at_the_start_are_as_derived() {
        for tau in [0.07, 0.1] {
            let (n, dim, b, m) = (5000, 128, 64, 4096);
            let bank = directions(n, dim, 3);
            let mut f = directions(b / 2, dim, 4);
            f.extend(f.clone().iter().map(|x| -x));
            let positives: Vec<u32> = (0..b as u32).map(|i| i % 32).collect();
            let key = crate::rng::key(5, crate::rng::Stream::Negatives);
            let negatives: Vec<u32> =
                (0..(b * m) as u32).map(|i| crate::rng::below(crate::rng::hash(key, 0, i)[0], 5000)).collect();
            let half = 1.0 / (2.0 * dim as f64 * tau * tau);
            let ln_z = ln_z(&f, &bank, dim, &positives, &negatives, tau).value[0];
            assert!((ln_z - (n as f64).ln() - half).abs() < 0.01, "ln Z {ln_z}");
            let loss = nce(&f, &bank, dim, &positives, &negatives, tau, ln_z).value.iter().sum::<f64>() / b as f64;
            let derived = (1.0 + m as f64).ln() + 1.0 + half;
            assert!((loss / derived - 1.0).abs() < 0.01, "{loss} {derived}");
        }
    }
}
