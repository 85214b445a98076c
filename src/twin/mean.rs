//! `(Σ x) / n`: the loss of a batch from the losses of its rows.

use super::Reference;

/// x: `[n]`; returns `[1]`. The mean of nothing is NaN.
pub fn mean(x: &[f64]) -> Reference {
    let n = x.len() as f64;
    Reference::new(&[1], [(x.iter().sum::<f64>() / n, x.iter().map(|x| x.abs()).sum::<f64>() / n)])
}

#[cfg(test)]
mod tests {
    #[test]
    fn of_three() {
        let y = super::mean(&[1.0, -2.0, 4.0]);
        assert_eq!((y.value[0], y.magnitude[0]), (1.0, 7.0 / 3.0));
    }
}
