//! Is every element finite?

/// The place of the first NaN or infinity.
pub fn first_non_finite<T: Copy + Into<f64>>(x: &[T]) -> Option<usize> {
    x.iter().position(|&x| !x.into().is_finite())
}

#[cfg(test)]
mod tests {
    #[test]
    fn the_first_of_two_is_named() {
        assert_eq!(super::first_non_finite(&[1.0f32, f32::MAX]), None);
        assert_eq!(super::first_non_finite(&[1.0f32, f32::NEG_INFINITY, f32::NAN]), Some(1));
        assert_eq!(super::first_non_finite(&[f64::NAN]), Some(0));
    }
}
