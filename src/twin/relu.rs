//! `y = x` where x > 0, else 0; NaN stays NaN, so that a fault is not hidden.

use super::Reference;

/// x of any shape; exact.
pub fn relu(x: &[f64]) -> Reference {
    Reference::new(&[x.len()], x.iter().map(|&x| (if x <= 0.0 { 0.0 } else { x }, 0.0)))
}

#[cfg(test)]
mod tests {
    #[test]
    fn negatives_vanish_and_nan_stays() {
        let y = super::relu(&[-1.0, 0.0, 2.0, f64::NAN]).value;
        assert!(y[..3] == [0.0, 0.0, 2.0] && y[3].is_nan());
    }
}
