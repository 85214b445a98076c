//! The optimiser and its schedule.
//!
//! What is promised when numbers break: a NaN or infinity in the loss or in a gradient is seen before the update, which then
//! writes nothing. What breaks in the update itself is seen after it, in the loss of a later step or when the checkpoint would
//! be written, which it then is not: weights or momentum that overflow although gradients are finite, and momentum that was
//! not finite before. Weights in memory are spoilt by then; the last checkpoint is whole. (To look at momentum before the
//! update would cost as much again as to look at the gradients, and would not see what the update makes of it.)

pub use crate::ops::{Sgd, sgd};

use serde::{Deserialize, Serialize};

/// How the learning rate falls over a run.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Schedule {
    /// Divided by ten after 60 % and again after 80 % of the epochs, as in the paper.
    Step,
    /// Half a cosine from the first rate to zero.
    Cosine,
}

impl Schedule {
    /// The learning rate of `epoch` (from 0) in a run of `epochs` that begins with `first`.
    ///
    /// ```
    /// use instdisc::optim::Schedule;
    /// assert_eq!(Schedule::Step.rate(0.03, 0, 20), 0.03);
    /// assert_eq!(Schedule::Step.rate(0.03, 12, 20), 0.03f32 * 0.1);
    /// ```
    pub fn rate(self, first: f32, epoch: usize, epochs: usize) -> f32 {
        let done = epoch as f64 / epochs.max(1) as f64;
        let factor = match self {
            // Compared in whole numbers: 0.6 has no exact binary form.
            Self::Step => 0.1f32.powi(i32::from(5 * epoch >= 3 * epochs) + i32::from(5 * epoch >= 4 * epochs)),
            Self::Cosine => (0.5 * (1.0 + (std::f64::consts::PI * done).cos())) as f32,
        };
        first * factor
    }
}

#[cfg(test)]
mod tests {
    use super::Schedule;

    #[test]
    fn step_falls_after_three_and_four_fifths() {
        let rates: Vec<_> = (0..10).map(|epoch| Schedule::Step.rate(1.0, epoch, 10)).collect();
        assert_eq!(rates, [1.0, 1.0, 1.0, 1.0, 1.0, 1.0, 0.1, 0.1, 0.1f32.powi(2), 0.1f32.powi(2)]);
    }

    #[test]
    fn cosine_starts_at_the_rate_and_falls() {
        assert_eq!(Schedule::Cosine.rate(0.5, 0, 10), 0.5);
        assert!((Schedule::Cosine.rate(1.0, 5, 10) - 0.5).abs() < 1e-6);
        assert!(Schedule::Cosine.rate(1.0, 9, 10) < 0.03);
    }
}
