//! Gradients by differences: the oracle for every backward pass.
//!
//! Central differences of fourth order, `(8·(f(x+h) − f(x−h)) − (f(x+2h) − f(x−2h))) / 12h`, in f64 with
//! h = 10⁻⁴ · max(|x|, 10⁻²). (A plain central difference would need h ≈ 10⁻⁶ and lose about half its digits to
//! rounding where the loss is large against its gradient; the fourth order allows a step a hundred times larger.)

/// The step, as a share of max(|x|, 10⁻²).
pub const STEP: f64 = 1e-4;

/// A derivative, and how far the estimates at h and 2h disagree.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Slope {
    /// The derivative.
    pub value: f64,
    /// Small where the function is smooth over ±2h; of the order of the jump in slope where it has a kink there (a
    /// ReLU at 0, two equal values under a maximum), at x itself as well as beside it. Such an x is no fair test.
    pub doubt: f64,
}

/// d f / d x\[i\] for each i of `at`.
pub fn gradient(f: impl Fn(&[f64]) -> f64, x: &[f64], at: &[usize]) -> Vec<Slope> {
    let mut moved = x.to_vec();
    let mut slopes = Vec::with_capacity(at.len());
    for &i in at {
        let slope = derivative(
            |t| {
                moved[i] = x[i] + t;
                f(&moved)
            },
            STEP * x[i].abs().max(1e-2),
        );
        moved[i] = x[i];
        slopes.push(slope);
    }
    slopes
}

/// The derivative of f at x along `direction`; its length counts.
pub fn along(f: impl Fn(&[f64]) -> f64, x: &[f64], direction: &[f64]) -> Slope {
    debug_assert_eq!(x.len(), direction.len());
    let longest = direction.iter().fold(0.0, |top: f64, d| top.max(d.abs()));
    let h = STEP * 1e-2 / if longest > 0.0 { longest } else { 1.0 };
    derivative(|t| f(&x.iter().zip(direction).map(|(x, d)| x + t * d).collect::<Vec<_>>()), h)
}

/// The derivative of g at 0 from its values at 0, ±h and ±2h.
pub fn derivative(mut g: impl FnMut(f64) -> f64, h: f64) -> Slope {
    let [low2, low, mid, high, high2] = [-2.0, -1.0, 0.0, 1.0, 2.0].map(|t| g(t * h));
    let (near, far) = ((high - low) / (2.0 * h), (high2 - low2) / (4.0 * h));
    // The bend over a step doubles with the step where g is smooth, and stays where it has a kink.
    let (bend, far_bend) = ((high - 2.0 * mid + low) / h, (high2 - 2.0 * mid + low2) / (2.0 * h));
    let (tilt, kink) = ((far - near).abs(), (far_bend - 2.0 * bend).abs());
    Slope { value: (4.0 * near - far) / 3.0, doubt: if tilt >= kink { tilt } else { kink } }
}

/// The derivatives alone.
pub fn values(slopes: &[Slope]) -> Vec<f64> {
    slopes.iter().map(|s| s.value).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn smooth_functions_agree_with_their_derivatives() {
        let f = |x: &[f64]| x[0].exp() * x[1] + (x[2] * 30.0).sin();
        let x = [0.3, -2.0, 0.004];
        let expected = [0.3f64.exp() * -2.0, 0.3f64.exp(), 30.0 * (0.12f64).cos()];
        for (slope, expected) in gradient(f, &x, &[0, 1, 2]).iter().zip(expected) {
            assert!((slope.value - expected).abs() <= 1e-9 * expected.abs(), "{slope:?} {expected}");
            assert!(slope.doubt <= 1e-5, "{slope:?}");
        }
        let both = along(f, &x, &[1.0, -0.5, 2.0]);
        assert!((both.value - (expected[0] - 0.5 * expected[1] + 2.0 * expected[2])).abs() < 1e-7, "{both:?}");
    }

    #[test]
    fn a_kink_at_x_or_beside_it_raises_doubt() {
        let f = |x: &[f64]| x[0].max(0.0);
        for x in [0.0, 1e-7, -1e-6, 1.5e-6] {
            assert!(gradient(f, &[x], &[0])[0].doubt > 0.01, "{x}");
        }
        assert!(gradient(f, &[1e-3], &[0])[0].doubt < 1e-9);
    }

    #[test]
    fn a_nan_does_not_look_like_a_number() {
        assert!(gradient(|_| f64::NAN, &[1.0], &[0])[0].value.is_nan());
    }
}
