//! `v ← momentum·v + (g + decay·w)`, `w ← w − lr·v`: stochastic gradient descent as in PyTorch.
//!
//! No dampening, no Nesterov. v starts at zero, so that the first step takes the gradient itself.

use super::Reference;

/// w, g, v: `[n]`; returns the new (w, v).
pub fn sgd(w: &[f64], g: &[f64], v: &[f64], lr: f64, momentum: f64, decay: f64) -> (Reference, Reference) {
    debug_assert!(w.len() == g.len() && w.len() == v.len());
    let pairs = (0..w.len()).map(|i| {
        let terms = [momentum * v[i], g[i], decay * w[i]];
        (terms.iter().sum(), terms.iter().map(|t: &f64| t.abs()).sum())
    });
    let speed = Reference::new(&[w.len()], pairs);
    let pairs = (0..w.len()).map(|i| (w[i] - lr * speed.value[i], w[i].abs() + lr.abs() * speed.magnitude[i]));
    (Reference::new(&[w.len()], pairs), speed)
}

#[cfg(test)]
mod tests {
    #[test]
    fn two_steps_by_hand() {
        let (w, v) = super::sgd(&[2.0], &[1.0], &[0.0], 0.5, 0.5, 0.25);
        assert_eq!((w.value[0], v.value[0]), (1.25, 1.5));
        let (w, v) = super::sgd(&w.value, &[1.0], &v.value, 0.5, 0.5, 0.25);
        assert_eq!((w.value[0], v.value[0]), (0.21875, 2.0625));
    }
}
