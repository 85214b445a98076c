//! What an adapter could reach at most: the roofline of Williams, Waterman and Patterson, 2009.

use super::{Measurement, median};
use crate::gpu::{Peak, Work};

/// The two rates of an adapter, and what they allow.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Roofline {
    /// Floating-point operations a second: the flat part.
    pub flops: f64,
    /// Bytes a second: the slope.
    pub bytes_per_second: f64,
}

impl From<Peak> for Roofline {
    fn from(Peak { flops, bytes_per_second }: Peak) -> Self {
        Self { flops, bytes_per_second }
    }
}

impl Roofline {
    /// The medians of the rates that were sampled beside `rows`; `None` where there are none.
    pub fn of(rows: &[Measurement]) -> Option<Self> {
        let of = |rate: fn(&Measurement) -> Option<f64>| {
            let rates: Vec<f64> = rows.iter().filter_map(rate).collect();
            (!rates.is_empty()).then(|| median(rates) * 1e9)
        };
        Some(Self { flops: of(|m| m.peak_gflops)?, bytes_per_second: of(|m| m.peak_gbps)? })
    }

    /// The operations a byte from which on arithmetic is the limit.
    pub fn ridge(&self) -> f64 {
        self.flops / self.bytes_per_second
    }

    /// Operations a second that are possible with so many of them a byte: the lower of the two limits.
    pub fn attainable(&self, flop_per_byte: f64) -> f64 {
        self.flops.min(flop_per_byte * self.bytes_per_second)
    }

    /// Seconds that `work` takes at least.
    pub fn seconds(&self, work: Work) -> f64 {
        (work.flops / self.flops).max(work.bytes / self.bytes_per_second)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn memory_is_the_limit_up_to_the_ridge_and_arithmetic_beyond() {
        let roof = Roofline { flops: 48e9, bytes_per_second: 8e9 };
        assert_eq!(roof.ridge(), 6.0);
        assert_eq!([0.5, 6.0, 100.0].map(|i| roof.attainable(i)), [4e9, 48e9, 48e9]);
        // 16 GFLOP on 1 GB: a third of a second of arithmetic, an eighth of memory.
        let work = Work { flops: 16e9, bytes: 1e9 };
        assert_eq!(roof.seconds(work), 1.0 / 3.0);
        assert_eq!(roof.seconds(Work { flops: 0.0, bytes: 16e9 }), 2.0);
        assert_eq!(roof.attainable(16.0), work.flops / roof.seconds(work));
    }
}
