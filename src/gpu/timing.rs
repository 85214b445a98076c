//! Timing what is submitted.

use super::{Batch, Gpu};
use crate::error::Result;
use std::ops::Range;
use std::time::Instant;

impl Gpu {
    /// Seconds that one run of `range` takes, by the wall clock, as the mean over `times` runs submitted together.
    ///
    /// # Errors
    /// As [`Batch::submit`] and [`Gpu::wait`].
    pub fn time(&self, batch: &Batch, range: Range<usize>, times: usize) -> Result<f64> {
        self.wait()?;
        let start = Instant::now();
        batch.submit(self, range, times)?;
        self.wait()?;
        Ok(start.elapsed().as_secs_f64() / times.max(1) as f64)
    }
}
