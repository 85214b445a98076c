//! How much memory decoding may take at a time.

use std::sync::{Condvar, Mutex, MutexGuard, PoisonError};

/// Memory for decoding that threads share: together they take no more than there is, but always one has its way, however much it
/// needs.
pub(super) struct Room {
    bytes: u64,
    taken: Mutex<Taken>,
    freed: Condvar,
}

#[derive(Default)]
struct Taken {
    bytes: u64,
    /// Who holds anything, and who of them decodes already.
    holders: usize,
    decoding: usize,
}

/// A part of the room, given back when it is dropped.
pub(super) struct Part<'a> {
    room: &'a Room,
    bytes: u64,
    decoding: bool,
}

impl Room {
    /// Bytes that decoding takes at a time: 1 GiB, or what a single image needs.
    pub(super) const BYTES: u64 = 1 << 30;

    pub(super) fn new(bytes: u64) -> Self {
        Self { bytes, taken: Mutex::default(), freed: Condvar::new() }
    }

    /// Wait for room for a file of so many bytes.
    pub(super) fn part(&self, bytes: u64) -> Part<'_> {
        let mut taken = self.wait(|taken| taken.bytes + bytes <= self.bytes || taken.holders == 0);
        taken.bytes += bytes;
        taken.holders += 1;
        Part { room: self, bytes, decoding: false }
    }

    fn wait(&self, fits: impl Fn(&Taken) -> bool) -> MutexGuard<'_, Taken> {
        let taken = self.taken.lock().unwrap_or_else(PoisonError::into_inner);
        self.freed.wait_while(taken, |taken| !fits(taken)).unwrap_or_else(PoisonError::into_inner)
    }
}

impl Part<'_> {
    /// Wait for so many bytes more, to decode.
    pub(super) fn decode(&mut self, bytes: u64) {
        // Those who wait here hold their files alone, so where nobody decodes nobody else will give anything back.
        let mut taken = self.room.wait(|taken| taken.bytes + bytes <= self.room.bytes || taken.decoding == 0);
        taken.bytes += bytes;
        taken.decoding += 1;
        self.bytes += bytes;
        self.decoding = true;
    }
}

impl Drop for Part<'_> {
    fn drop(&mut self) {
        let mut taken = self.room.taken.lock().unwrap_or_else(PoisonError::into_inner);
        taken.bytes -= self.bytes;
        taken.holders -= 1;
        taken.decoding -= usize::from(self.decoding);
        self.room.freed.notify_all();
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::sync::atomic::{AtomicU64, Ordering};

    #[test]
    fn threads_take_no_more_than_there_is_and_one_that_needs_more_has_its_way() {
        let (room, now, most) = (Room::new(100), AtomicU64::new(0), AtomicU64::new(0));
        let (large, beside) = (AtomicU64::new(0), AtomicU64::new(0));
        std::thread::scope(|scope| {
            for thread in 0..8u64 {
                let (room, now, most, large, beside) = (&room, &now, &most, &large, &beside);
                scope.spawn(move || {
                    for round in 0..50 {
                        let need = if (thread, round) == (3, 20) { 500 } else { 20 + (thread * 7 + round) % 30 };
                        let mut part = room.part(3);
                        part.decode(need);
                        most.fetch_max(now.fetch_add(need, Ordering::SeqCst) + need, Ordering::SeqCst);
                        if need == 500 {
                            large.store(1, Ordering::SeqCst);
                            beside.store(now.load(Ordering::SeqCst) - need, Ordering::SeqCst);
                        }
                        std::thread::yield_now();
                        now.fetch_sub(need, Ordering::SeqCst);
                        drop(part);
                    }
                });
            }
        });
        assert_eq!((large.into_inner(), beside.into_inner()), (1, 0), "the large one did not run alone");
        assert_eq!(most.into_inner(), 500);
        let taken = room.taken.lock().unwrap();
        assert_eq!((taken.bytes, taken.holders, taken.decoding), (0, 0, 0));
    }

    #[test]
    fn what_fits_together_never_goes_over() {
        let (room, now, most) = (Room::new(100), AtomicU64::new(0), AtomicU64::new(0));
        std::thread::scope(|scope| {
            for _ in 0..8 {
                scope.spawn(|| {
                    for _ in 0..100 {
                        let mut part = room.part(2);
                        part.decode(30);
                        most.fetch_max(now.fetch_add(30, Ordering::SeqCst) + 30, Ordering::SeqCst);
                        std::thread::yield_now();
                        now.fetch_sub(30, Ordering::SeqCst);
                    }
                });
            }
        });
        let most = most.into_inner();
        assert!((30..=90).contains(&most), "{most} bytes at a time");
    }
}
