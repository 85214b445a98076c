//! How much device memory there is, and how much of it a [`Gpu`](super::Gpu) holds.

use super::Gpu;
use crate::error::{Error, Result};
#[cfg(feature = "selftest")]
use std::ops::Range;
use std::sync::atomic::{AtomicU64, Ordering};

/// Bytes and buffers that a [`Gpu`] holds, and those that it may.
pub(super) struct Memory {
    pub(super) held: AtomicU64,
    pub(super) peak: AtomicU64,
    pub(super) buffers: AtomicU64,
    limit: AtomicU64,
    allocations: AtomicU64,
    #[cfg(feature = "selftest")]
    refused: [AtomicU64; 2],
}

impl Memory {
    pub(super) fn new(limit: Option<u64>) -> Self {
        let [held, peak, buffers, allocations] = Default::default();
        let limit = limit.unwrap_or(u64::MAX).into();
        Self {
            held,
            peak,
            buffers,
            limit,
            allocations,
            #[cfg(feature = "selftest")]
            refused: Default::default(),
        }
    }

    /// Whether a test asked that the allocation with this number fails.
    #[cfg(feature = "selftest")]
    fn refuses(&self, number: u64) -> bool {
        let [start, end] = [0, 1].map(|i| self.refused[i].load(Ordering::SeqCst));
        (start..end).contains(&number)
    }

    #[cfg(not(feature = "selftest"))]
    fn refuses(&self, _: u64) -> bool {
        false
    }
}

impl Gpu {
    /// Bytes that it may hold: what [`limit_memory`](Self::limit_memory) says, else what the adapter has. `None` where neither
    /// is known.
    pub fn memory(&self) -> Option<u64> {
        let limit = self.inner.memory.limit.load(Ordering::SeqCst);
        (limit < u64::MAX).then_some(limit)
    }

    /// Hold at most so many bytes: an allocation past them is [`Error::OutOfMemory`], whatever the device would say.
    pub fn limit_memory(&self, bytes: u64) {
        self.inner.memory.limit.store(bytes, Ordering::SeqCst);
    }

    /// How many allocations were asked for, buffers and reads.
    pub fn allocations(&self) -> u64 {
        self.inner.memory.allocations.load(Ordering::SeqCst)
    }

    /// Refuse the allocations with these numbers, counted from the next one, as a device without memory would: for tests,
    /// and only there with the feature `selftest`.
    #[cfg(feature = "selftest")]
    pub fn refuse_allocations(&self, which: Range<u64>) {
        let memory = &self.inner.memory;
        let now = self.allocations();
        for (bound, at) in memory.refused.iter().zip([which.start, which.end]) {
            bound.store(now.saturating_add(at), Ordering::SeqCst);
        }
    }

    /// Make something of `bytes` bytes by `call`, unless so many may not be held.
    pub(super) fn granted<T>(&self, label: &str, bytes: u64, call: impl FnOnce() -> T) -> Result<T> {
        let memory = &self.inner.memory;
        let number = memory.allocations.fetch_add(1, Ordering::SeqCst);
        let held = memory.held.load(Ordering::SeqCst);
        if memory.refuses(number) || held.saturating_add(bytes) > memory.limit.load(Ordering::SeqCst) {
            self.check()?;
            return Err(Error::OutOfMemory { asked: bytes, held });
        }
        self.scoped(label, bytes, call)
    }
}

/// Bytes that this machine can still give to programs, by what Linux says; `None` elsewhere.
pub(super) fn of_machine() -> Option<u64> {
    let text = std::fs::read_to_string("/proc/meminfo").ok()?;
    let line = text.lines().find_map(|line| line.strip_prefix("MemAvailable:"))?;
    let available = line.trim().strip_suffix(" kB")?.parse::<u64>().ok()? * 1024;
    // A container may be given less.
    let own = std::fs::read_to_string("/sys/fs/cgroup/memory.max").ok().and_then(|text| text.trim().parse().ok());
    Some(own.map_or(available, |own: u64| own.min(available)))
}
