//! Images a second, of training alone.

use std::time::{Duration, Instant};

/// What a rate is the mean over at least, but for the very first.
const WINDOW: Duration = Duration::from_millis(500);

/// How fast the steps of late were.
pub(super) struct Pace {
    since: Instant,
    steps: usize,
    rate: f64,
}

impl Pace {
    /// Begin to count.
    pub(super) fn start() -> Self {
        Self { since: Instant::now(), steps: 0, rate: 0.0 }
    }

    /// A step of `batch` images is done.
    pub(super) fn step(&mut self, batch: usize) {
        self.steps += 1;
        let spent = self.since.elapsed();
        if spent > WINDOW || self.rate == 0.0 {
            let rate = (self.steps * batch) as f64 / spent.as_secs_f64().max(1e-9);
            *self = Self { rate, ..Self::start() };
        }
    }

    /// Do not count what happened since `began`.
    pub(super) fn leave_out(&mut self, began: Instant) {
        self.since += began.elapsed();
    }

    /// Images a second.
    pub(super) fn rate(&self) -> f64 {
        self.rate
    }
}
