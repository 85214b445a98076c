//! `(Σ x) / n`: the loss of a batch from the losses of its rows.

use super::Reference;

/// x: `[n]`; returns `[1]`. The mean of nothing is NaN.
pub fn mean(x: &[f64]) -> Reference {
    let n = x.len() as f64;
    Reference::new(&[1], [(x.iter().sum::<f64>() / n, x.iter().map(|x| x.abs()).sum::<f64>() / n)])
}

/// The mean of values that are off themselves: M carries the mean of theirs, and its own.
pub fn of(x: &Reference) -> Reference {
    let own = mean(&x.value);
    Reference::new(&[1], [(own.value[0], own.magnitude[0] + mean(&x.magnitude).value[0])])
}

#[cfg(test)]
mod tests {
    #[test]
    fn of_three() {
        let y = super::mean(&[1.0, -2.0, 4.0]);
        assert_eq!((y.value[0], y.magnitude[0]), (1.0, 7.0 / 3.0));
    }
}
