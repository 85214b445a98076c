//! How far a work of many pieces is.

use std::sync::atomic::{AtomicU64, Ordering};

/// How far a work of many pieces is: those who do it count, and those who show it ask, from any thread.
///
/// ```
/// use instdisc::data::Meter;
/// let meter = Meter::default();
/// meter.begin(20);
/// meter.count(3);
/// assert_eq!(meter.read(), (3, 20));
/// ```
#[derive(Debug, Default)]
pub struct Meter {
    done: AtomicU64,
    all: AtomicU64,
}

impl Meter {
    /// A work of `all` pieces begins; 0 where their number is not known yet.
    pub fn begin(&self, all: u64) {
        self.done.store(0, Ordering::Relaxed);
        self.all.store(all, Ordering::Relaxed);
    }

    /// So many more pieces are done.
    pub fn count(&self, pieces: u64) {
        self.done.fetch_add(pieces, Ordering::Relaxed);
    }

    /// Pieces done, and pieces in all; the second is 0 where it is not known.
    pub fn read(&self) -> (u64, u64) {
        (self.done.load(Ordering::Relaxed), self.all.load(Ordering::Relaxed))
    }
}

/// A meter is the same as itself alone.
impl PartialEq for Meter {
    fn eq(&self, other: &Self) -> bool {
        std::ptr::eq(self, other)
    }
}
impl Eq for Meter {}
