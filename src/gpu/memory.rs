//! How much device memory there is, and how much of it a [`Gpu`](super::Gpu) holds.

use super::{AdapterFacts, Gpu};
use crate::error::{Error, Result};
use std::fs::read_to_string;
#[cfg(feature = "selftest")]
use std::ops::Range;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};

/// Bytes and buffers that a [`Gpu`] holds, and those that it may.
pub(super) struct Memory {
    pub(super) held: AtomicU64,
    pub(super) peak: AtomicU64,
    pub(super) buffers: AtomicU64,
    limit: AtomicU64,
    /// The limit is what the machine had left when the device was opened, and may be another now.
    of_machine: AtomicBool,
    allocations: AtomicU64,
    #[cfg(feature = "selftest")]
    refused: [AtomicU64; 2],
}

impl Memory {
    pub(super) fn new(facts: &AdapterFacts) -> Self {
        let [held, peak, buffers, allocations] = Default::default();
        let limit = facts.memory.unwrap_or(u64::MAX).into();
        Self {
            held,
            peak,
            buffers,
            limit,
            of_machine: facts.software.into(),
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
    /// Bytes that it may hold: what [`limit_memory`](Self::limit_memory) says, else what the adapter has; for a processor what it
    /// holds and what the machine has left now, which the program's other memory takes from. `None` where neither is known.
    pub fn memory(&self) -> Option<u64> {
        let memory = &self.inner.memory;
        if memory.of_machine.load(Ordering::SeqCst)
            && let Some(left) = of_machine()
        {
            return Some(left.saturating_add(memory.held.load(Ordering::SeqCst)));
        }
        let limit = memory.limit.load(Ordering::SeqCst);
        (limit < u64::MAX).then_some(limit)
    }

    /// Hold at most so many bytes: an allocation past them is [`Error::OutOfMemory`], whatever the device would say.
    pub fn limit_memory(&self, bytes: u64) {
        self.inner.memory.of_machine.store(false, Ordering::SeqCst);
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
        let past = |limit: u64| held.saturating_add(bytes) > limit;
        // What a machine had left when the device was opened may be less than it has now.
        if memory.refuses(number) || past(memory.limit.load(Ordering::SeqCst)) && self.memory().is_some_and(past) {
            self.check()?;
            return Err(Error::OutOfMemory { asked: bytes, held });
        }
        self.scoped(label, bytes, call)
    }
}

/// Bytes that this machine can still give to programs, by what Linux says; `None` elsewhere.
pub(super) fn of_machine() -> Option<u64> {
    let own = ["max", "current", "stat"].map(|name| read_to_string(format!("/sys/fs/cgroup/memory.{name}")).unwrap_or_default());
    left(&read_to_string("/proc/meminfo").ok()?, own.each_ref().map(String::as_str))
}

/// What the machine has left, or the container that the program runs in, which may be given less.
fn left(machine: &str, [most, used, kinds]: [&str; 3]) -> Option<u64> {
    let bytes = |text: &str| text.trim().parse::<u64>().ok();
    let line = |text: &str, name: &str| text.lines().find_map(|line| Some(line.strip_prefix(name)?.trim().to_owned()));
    let available = bytes(line(machine, "MemAvailable:")?.strip_suffix(" kB")?)? * 1024;
    let Some(most) = bytes(most) else { return Some(available) };
    // Files that nobody has read lately make room.
    let files = line(kinds, "inactive_file ").as_deref().and_then(bytes).unwrap_or(0);
    let used = bytes(used).unwrap_or(0).saturating_sub(files);
    Some(available.min(most.saturating_sub(used)))
}

#[cfg(test)]
mod tests {
    use super::left;

    #[test]
    fn what_is_left_is_the_containers_where_that_is_less() {
        let machine = "MemTotal:       24683648 kB\nMemFree:  100 kB\nMemAvailable:   2000 kB\n";
        let kinds = "anon 700\nactive_file 50\ninactive_file 200\n";
        for (own, expected) in [
            (["", "", ""], 2_048_000),
            (["max\n", "1000\n", kinds], 2_048_000),
            (["5000\n", "1000\n", kinds], 4200),
            (["5000\n", "1000\n", ""], 4000),
            (["5000\n", "", ""], 5000),
            (["5000\n", "6000\n", kinds], 0),
            (["9000000\n", "1000\n", kinds], 2_048_000),
        ] {
            assert_eq!(left(machine, own), Some(expected), "{own:?}");
        }
        assert_eq!(left("MemTotal: 5 kB\n", ["5000", "1000", ""]), None);
    }
}
