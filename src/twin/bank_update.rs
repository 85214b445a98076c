//! `r = keep·v_old + (1 − keep)·f[b]`, then `v_new = r / max(‖r‖, eps)`, for the bank row of each sample.
//!
//! `keep` is the weight of the OLD value. A row that occurs twice in a batch is updated twice, in the batch's order,
//! the second time from the result of the first, so that the result does not depend on scheduling.

use super::{Reference, row};

/// bank: `[n, dim]`, f: `[b, dim]`, index: `[b]`; returns the whole bank afterwards.
///
/// M is 0 in rows that were not touched: they must keep their bits.
pub fn bank_update(bank: &[f64], f: &[f64], dim: usize, index: &[u32], keep: f64, eps: f64) -> Reference {
    debug_assert!(f.len() == index.len() * dim && bank.len().is_multiple_of(dim));
    let mut value = bank.to_vec();
    let mut magnitude = vec![0.0; bank.len()];
    for (b, &place) in index.iter().enumerate() {
        let at = place as usize * dim..(place as usize + 1) * dim;
        let (old, new) = (&value[at.clone()], row(f, dim, b));
        let mixed: Vec<f64> = old.iter().zip(new).map(|(v, f)| keep * v + (1.0 - keep) * f).collect();
        let all: Vec<f64> =
            (0..dim).map(|c| keep.abs() * (old[c].abs() + magnitude[at.start + c]) + (1.0 - keep).abs() * new[c].abs()).collect();
        let length = mixed.iter().map(|r| r * r).sum::<f64>().sqrt().max(eps);
        // How far the length is off, as a share of it: by its own sum, and by what its terms are off.
        let share = 1.0 + mixed.iter().zip(&all).map(|(r, a)| r.abs() * a).sum::<f64>() / (length * length);
        for c in 0..dim {
            value[at.start + c] = mixed[c] / length;
            magnitude[at.start + c] = (all[c] + mixed[c].abs() * share) / length;
        }
    }
    Reference { dims: vec![bank.len() / dim, dim], value, magnitude }
}

#[cfg(test)]
mod tests {
    use super::bank_update;

    #[test]
    fn a_row_turns_towards_the_feature_and_the_rest_stays() {
        let new = bank_update(&[1.0, 0.0, 0.0, 1.0], &[3.0, 4.0], 2, &[1], 0.25, 1e-12);
        // 0.25·(0, 1) + 0.75·(3, 4) = (2.25, 3.25)
        let length = (2.25f64 * 2.25 + 3.25 * 3.25).sqrt();
        assert_eq!(new.value, [1.0, 0.0, 2.25 / length, 3.25 / length]);
        assert_eq!(new.magnitude[..2], [0.0, 0.0]);
    }

    #[test]
    fn keep_one_keeps_the_old_direction_and_zero_takes_the_new_one() {
        assert_eq!(bank_update(&[0.0, 1.0], &[1.0, 0.0], 2, &[0], 1.0, 1e-12).value, [0.0, 1.0]);
        assert_eq!(bank_update(&[0.0, 1.0], &[1.0, 0.0], 2, &[0], 0.0, 1e-12).value, [1.0, 0.0]);
    }

    #[test]
    fn a_row_named_twice_is_updated_twice_in_order() {
        let f = [1.0, 0.0, 0.0, 1.0];
        let twice = bank_update(&[1.0, 0.0], &f, 2, &[0, 0], 0.5, 1e-12).value;
        let first = bank_update(&[1.0, 0.0], &f[..2], 2, &[0], 0.5, 1e-12).value;
        assert_eq!(twice, bank_update(&first, &f[2..], 2, &[0], 0.5, 1e-12).value);
        assert_ne!(twice, bank_update(&[1.0, 0.0], &f[..2], 2, &[0], 0.5, 1e-12).value);
    }

    #[test]
    fn opposite_features_leave_zero_not_nan() {
        assert_eq!(bank_update(&[1.0, 0.0], &[-1.0, 0.0], 2, &[0], 0.5, 1e-12).value, [0.0, 0.0]);
    }
}
