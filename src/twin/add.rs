//! `y = a + b`, element by element.

use super::Reference;

/// Two of the same shape.
pub fn add(a: &[f64], b: &[f64]) -> Reference {
    debug_assert_eq!(a.len(), b.len());
    Reference::new(&[a.len()], a.iter().zip(b).map(|(a, b)| (a + b, a.abs() + b.abs())))
}

#[cfg(test)]
mod tests {
    #[test]
    fn magnitudes_do_not_cancel() {
        let y = super::add(&[1.0, -2.0], &[3.0, 2.0]);
        assert_eq!((y.value, y.magnitude), (vec![4.0, 0.0], vec![4.0, 4.0]));
    }
}
