//! Which bank rows are a sample's negatives: uniform, independent, the same for kernel and reference.
//!
//! The j-th negative of batch row b at a step is made of word j mod 4 of `hash(key, step, b·⌈m/4⌉ + ⌊j/4⌋)` as
//! `below(word, n)`. With the sample's own bank row left out it is `below(word, n − 1)`, plus one where that is at
//! or above the own row: still uniform over the other n − 1. A row may be drawn more than once.

use crate::rng;

/// The m negatives of batch row `b` in a bank of `n` rows; with `own`, that row is not among them (n ≥ 2).
pub fn of_row(key: [u32; 2], step: u32, b: u32, m: u32, n: u32, own: Option<u32>) -> Vec<u32> {
    debug_assert!(n >= if own.is_some() { 2 } else { 1 });
    let draw = |j: u32| {
        let word = rng::hash(key, step, b * m.div_ceil(4) + j / 4)[(j % 4) as usize];
        match own {
            None => rng::below(word, n),
            Some(own) => {
                let other = rng::below(word, n - 1);
                other + u32::from(other >= own)
            }
        }
    };
    (0..m).map(draw).collect()
}

/// The negatives of a batch, `[b, m]`, for the bank rows `own` of its samples, which are left out on request.
pub fn negatives(key: [u32; 2], step: u32, own: &[u32], m: u32, n: u32, leave_out: bool) -> Vec<u32> {
    (0u32..).zip(own).flat_map(|(b, &own)| of_row(key, step, b, m, n, leave_out.then_some(own))).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::rng::{Stream, below, hash, key};

    #[test]
    fn four_negatives_are_the_four_words_of_one_hash() {
        let key = key(1, Stream::Negatives);
        let drawn = negatives(key, 3, &[0, 0], 6, 100, false);
        assert_eq!(drawn[..4], hash(key, 3, 0).map(|word| below(word, 100)));
        assert_eq!(drawn[4..6], hash(key, 3, 1).map(|word| below(word, 100))[..2]);
        assert_eq!(drawn[6..10], hash(key, 3, 2).map(|word| below(word, 100)));
    }

    #[test]
    fn the_own_row_is_left_out_and_all_others_are_equally_likely() {
        for own in 0..5 {
            let mut counts = [0u32; 5];
            for row in of_row(key(2, Stream::Negatives), 0, 7, 40_000, 5, Some(own)) {
                counts[row as usize] += 1;
            }
            for (row, &count) in counts.iter().enumerate() {
                assert!(if row == own as usize { count == 0 } else { count.abs_diff(10_000) < 400 }, "{counts:?}");
            }
        }
    }

    #[test]
    fn a_bank_of_two_has_one_negative() {
        assert_eq!(of_row(key(3, Stream::Negatives), 0, 0, 3, 2, Some(1)), [0, 0, 0]);
        assert_eq!(of_row(key(3, Stream::Negatives), 0, 0, 3, 2, Some(0)), [1, 1, 1]);
    }
}
