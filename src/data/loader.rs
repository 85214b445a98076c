//! Batches fetched ahead, on threads.

use super::{Batch, Dataset, Sampler};
use crate::error::{Error, Result};
use std::collections::BTreeMap;
use std::ops::Range;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

/// The batches of a range of steps, in the order of the steps, fetched ahead by threads.
///
/// A thread makes a whole batch; at most `threads + 1` batches are held or being made at a time. What comes out
/// depends on the data set and the sampler alone, not on the number of threads. A batch whose images cannot be read
/// comes as an error in its place, and the next call goes on with the step after it.
///
/// Dropping the loader stops the threads, each after the image that it is at.
pub struct Loader {
    shared: Arc<Shared>,
    threads: Vec<JoinHandle<()>>,
    waited: Duration,
}

struct Shared {
    dataset: Arc<dyn Dataset>,
    queue: Mutex<Queue>,
    /// A batch is ready.
    ready: Condvar,
    /// There is room for another batch, or no more are wanted.
    room: Condvar,
    stop: AtomicBool,
}

struct Queue {
    sampler: Sampler,
    /// The next step that a thread takes.
    claim: u64,
    /// The next step that is handed out.
    deliver: u64,
    end: u64,
    ahead: u64,
    done: BTreeMap<u64, Result<Batch>>,
}

impl Loader {
    /// Starts `threads` threads that fetch the batches of `steps`; 0 stands for 1. For a run without an end,
    /// `steps` is `first..u64::MAX`.
    ///
    /// # Errors
    /// [`Error::Value`] if the sampler counts more images than the data set has; [`Error::Io`] if the system starts
    /// no thread. Fewer threads than asked for are no error.
    pub fn new(dataset: Arc<dyn Dataset>, sampler: Sampler, steps: Range<u64>, threads: usize) -> Result<Self> {
        if sampler.n() > dataset.len() {
            return Err(Error::value("loader", "sampler", format!("over at most {} images", dataset.len()), sampler.n()));
        }
        let threads = threads.max(1);
        let (claim, end) = (steps.start, steps.end.max(steps.start));
        let queue = Queue { sampler, claim, deliver: claim, end, ahead: threads as u64 + 1, done: BTreeMap::new() };
        let shared = Arc::new(Shared {
            dataset,
            queue: Mutex::new(queue),
            ready: Condvar::new(),
            room: Condvar::new(),
            stop: AtomicBool::new(false),
        });
        let mut loader = Self { shared, threads: Vec::new(), waited: Duration::ZERO };
        for _ in 0..threads {
            let shared = Arc::clone(&loader.shared);
            match std::thread::Builder::new().name("loader".into()).spawn(move || shared.work()) {
                Ok(thread) => loader.threads.push(thread),
                Err(source) if loader.threads.is_empty() => return Err(Error::io("starting a thread of", "the loader", source)),
                Err(_) => break,
            }
        }
        Ok(loader)
    }

    /// How long the caller has waited for batches, over all calls so far.
    pub fn waited(&self) -> Duration {
        self.waited
    }
}

impl Iterator for Loader {
    type Item = Result<Batch>;

    fn next(&mut self) -> Option<Result<Batch>> {
        let mut queue = self.shared.lock();
        let step = queue.deliver;
        if step == queue.end {
            return None;
        }
        let start = Instant::now();
        let batch = loop {
            if let Some(batch) = queue.done.remove(&step) {
                break batch;
            }
            queue = self.shared.ready.wait(queue).unwrap_or_else(PoisonError::into_inner);
        };
        self.waited += start.elapsed();
        queue.deliver += 1;
        self.shared.room.notify_one();
        Some(batch)
    }
}

impl Drop for Loader {
    fn drop(&mut self) {
        {
            let _queue = self.shared.lock();
            self.shared.stop.store(true, Ordering::Relaxed);
            self.shared.room.notify_all();
        }
        for thread in self.threads.drain(..) {
            // A thread catches what a data set throws, so there is nothing to hear from it.
            let _ = thread.join();
        }
    }
}

impl Shared {
    fn lock(&self) -> MutexGuard<'_, Queue> {
        self.queue.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn work(&self) {
        while let Some((step, indices)) = self.claim() {
            let batch = catch_unwind(AssertUnwindSafe(|| self.batch(step, &indices))).unwrap_or_else(|_| {
                Err(Error::value("loader", "dataset", "one that does not panic", format!("one that did, in step {step}")))
            });
            self.lock().done.insert(step, batch);
            self.ready.notify_one();
        }
    }

    fn claim(&self) -> Option<(u64, Vec<u32>)> {
        let mut queue = self.lock();
        loop {
            if self.stop.load(Ordering::Relaxed) || queue.claim == queue.end {
                return None;
            }
            if queue.claim - queue.deliver < queue.ahead {
                let step = queue.claim;
                queue.claim += 1;
                return Some((step, queue.sampler.indices(step)));
            }
            queue = self.room.wait(queue).unwrap_or_else(PoisonError::into_inner);
        }
    }

    fn batch(&self, step: u64, indices: &[u32]) -> Result<Batch> {
        let mut batch = Batch { step, ..Batch::default() };
        for &index in indices {
            if self.stop.load(Ordering::Relaxed) {
                break; // Nobody will see this batch.
            }
            batch.push(index, &self.dataset.image(index as usize)?)?;
        }
        Ok(batch)
    }
}
