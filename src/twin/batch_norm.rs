//! Per channel c, over all images and places: `y = γ·(x − mean)/√(var + eps) + β`.
//!
//! In training mean and var are those of the batch, var being biased (divided by the count); in evaluation the
//! running ones. Ioffe and Szegedy, "Batch Normalization", 2015, algorithms 1 and 2, with PyTorch's conventions.
//!
//! The magnitudes suppose that a kernel computes var from the differences to the mean. One that subtracts mean²
//! from the mean square loses more where the mean is large against the deviation.

use super::Reference;

/// What a training pass returns.
#[derive(Clone, Debug)]
pub struct Train {
    /// The normalised images, `[n, c, h, w]`.
    pub y: Reference,
    /// The batch's mean, `[c]`.
    pub mean: Reference,
    /// The batch's biased variance, `[c]`.
    pub var: Reference,
}

/// x: `[n, c, h, w]`, gamma and beta: `[c]`.
pub fn train(x: &[f64], xs: [usize; 4], gamma: &[f64], beta: &[f64], eps: f64) -> Train {
    let [n, c, h, w] = xs;
    debug_assert!(x.len() == n * c * h * w && gamma.len() == c && beta.len() == c);
    let (plane, count) = (h * w, (n * h * w) as f64);
    let over = |ch: usize, f: &dyn Fn(f64) -> f64| {
        (0..n).flat_map(|i| &x[(i * c + ch) * plane..][..plane]).map(|&x| f(x)).sum::<f64>() / count
    };
    let mean = Reference::new(&[c], (0..c).map(|ch| (over(ch, &|x| x), over(ch, &f64::abs))));
    let var = Reference::new(
        &[c],
        (0..c).map(|ch| {
            let (m, all) = (mean.value[ch], mean.magnitude[ch]);
            let value = over(ch, &|x| (x - m) * (x - m));
            // A difference is rounded, and the mean in it is off, by its share of |x| + mean|x|.
            (value, value + 2.0 * over(ch, &|x| (x - m).abs() * (x.abs() + all)))
        }),
    );
    let pairs = x.iter().enumerate().map(|(i, &x)| {
        let ch = i / plane % c;
        let scale = (var.value[ch] + eps).sqrt();
        let unit = (x - mean.value[ch]) / scale;
        let off = (x.abs() + mean.magnitude[ch]) / scale + unit.abs() * (2.0 + var.magnitude[ch] / (2.0 * scale * scale));
        (gamma[ch] * unit + beta[ch], gamma[ch].abs() * off + beta[ch].abs())
    });
    let y = Reference::new(&xs, pairs);
    Train { y, mean, var }
}

/// x: `[n, c, h, w]`, all others `[c]`: with the running statistics.
pub fn eval(x: &[f64], xs: [usize; 4], gamma: &[f64], beta: &[f64], mean: &[f64], var: &[f64], eps: f64) -> Reference {
    let [_, c, h, w] = xs;
    debug_assert!(gamma.len() == c && beta.len() == c && mean.len() == c && var.len() == c);
    let pairs = x.iter().enumerate().map(|(i, &x)| {
        let ch = i / (h * w) % c;
        let scale = gamma[ch] / (var[ch] + eps).sqrt();
        let all = scale.abs() * (x.abs() + mean[ch].abs() + 2.0 * (x - mean[ch]).abs()) + beta[ch].abs();
        (scale * (x - mean[ch]) + beta[ch], all)
    });
    Reference::new(&xs, pairs)
}

/// The running (mean, var) after a batch: `running ← (1 − momentum)·running + momentum·batch`.
///
/// The variance enters unbiased, times count/(count − 1), where `count` = n·h·w, as in PyTorch; a count of 1
/// (which PyTorch refuses) is taken as biased.
pub fn running(mean: &[f64], var: &[f64], batch: &Train, count: usize, momentum: f64) -> (Reference, Reference) {
    let blend = |old: &[f64], new: &Reference, factor: f64| {
        let share = momentum * factor;
        let pairs = (0..old.len()).map(|c| {
            let kept = (1.0 - momentum) * old[c];
            (kept + share * new.value[c], kept.abs() + share * (new.value[c].abs() + new.magnitude[c]))
        });
        Reference::new(&[old.len()], pairs)
    };
    let unbiased = count as f64 / count.saturating_sub(1).max(1) as f64;
    (blend(mean, &batch.mean, 1.0), blend(var, &batch.var, unbiased))
}

#[cfg(test)]
mod tests {
    use super::*;

    // Two images, two channels, one place: channel 0 holds 1 and 3, channel 1 holds 10 and 10.
    const X: [f64; 4] = [1.0, 10.0, 3.0, 10.0];

    #[test]
    fn two_values_become_minus_one_and_one() {
        let out = train(&X, [2, 2, 1, 1], &[1.0, 5.0], &[0.0, 7.0], 0.0001);
        assert_eq!((out.mean.value.as_slice(), out.var.value.as_slice()), (&[2.0, 10.0][..], &[1.0, 0.0][..]));
        let unit = 1.0 / 1.0001f64.sqrt();
        assert_eq!(out.y.value, [-unit, 7.0, unit, 7.0]);
    }

    #[test]
    fn eval_uses_the_given_statistics() {
        let y = eval(&X, [2, 2, 1, 1], &[2.0, 1.0], &[0.5, 0.0], &[1.0, 0.0], &[4.0, 25.0], 0.0);
        assert_eq!(y.value, [0.5, 2.0, 2.5, 2.0]);
    }

    #[test]
    fn running_statistics_take_a_tenth_of_the_unbiased_batch() {
        let out = train(&X, [2, 2, 1, 1], &[1.0; 2], &[0.0; 2], 1e-5);
        let (mean, var) = running(&[0.0, 0.0], &[1.0, 1.0], &out, 2, 0.1);
        assert!((mean.value[0] - 0.2).abs() < 1e-15 && (mean.value[1] - 1.0).abs() < 1e-15);
        assert!((var.value[0] - 1.1).abs() < 1e-15 && (var.value[1] - 0.9).abs() < 1e-15);
    }

    #[test]
    fn every_channel_of_a_larger_batch_has_mean_zero_and_variance_one() {
        let x: Vec<f64> = (0..60).map(|i| f64::from(i * i % 17)).collect();
        let y = train(&x, [2, 3, 2, 5], &[1.0; 3], &[0.0; 3], 0.0).y.value;
        for ch in 0..3 {
            let of: Vec<f64> = (0..60).filter(|i| i / 10 % 3 == ch).map(|i| y[i]).collect();
            assert!(of.iter().sum::<f64>().abs() < 1e-12);
            assert!((of.iter().map(|v| v * v).sum::<f64>() / 20.0 - 1.0).abs() < 1e-12);
        }
    }
}
