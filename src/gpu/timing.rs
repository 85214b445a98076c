//! Timing what is submitted.

use super::{Dispatches, Gpu};
use crate::error::Result;
use std::ops::Range;
use std::time::Instant;

impl Gpu {
    /// Seconds that one run of `range` takes, by the wall clock, as the mean over `times` runs submitted together.
    ///
    /// # Errors
    /// As [`Dispatches::submit`] and [`Gpu::wait`].
    pub(crate) fn time(&self, dispatches: &Dispatches, range: Range<usize>, times: usize) -> Result<f64> {
        self.wait()?;
        let start = Instant::now();
        dispatches.submit(self, range, times)?;
        self.wait()?;
        Ok(start.elapsed().as_secs_f64() / times.max(1) as f64)
    }
}
