//! Batches fetched ahead, on threads.

use super::{Batch, Dataset, Sampler, Skipped, take_or_skip};
use crate::error::{Error, Result};
use std::collections::{BTreeMap, VecDeque};
use std::ops::Range;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

/// The batches of a range of steps, in the order of the steps, fetched ahead by threads.
///
/// A thread makes a whole batch; at most `threads + 1` batches are held or being made at a time, and fewer where their
/// images ([`Dataset::bytes`]) would be over [`AHEAD_BYTES`](Self::AHEAD_BYTES), but always the one that is next. What comes
/// out depends on the data set and the sampler alone, not on the number of threads. A batch whose images cannot be read
/// comes as an error in its place, and the next call goes on with the step after it; or such images are skipped
/// ([`skipping`](Self::skipping)).
///
/// Dropping the loader stops the threads, each after the image that it is at.
pub struct Loader {
    shared: Arc<Shared>,
    threads: Vec<JoinHandle<()>>,
    waited: Duration,
}

struct Shared {
    dataset: Arc<dyn Dataset>,
    broken: Broken,
    queue: Mutex<Queue>,
    /// A batch is ready.
    ready: Condvar,
    /// There is room for another batch, or no more are wanted.
    room: Condvar,
    stop: AtomicBool,
}

/// Which images are in a batch.
enum Order {
    Sampled(Sampler),
    /// These, so many at a time.
    Listed(Vec<u32>, usize),
}

/// What is done about an image that cannot be read.
enum Broken {
    /// Its batch is an error.
    Refused,
    /// Its batch has one image less.
    LeftOut,
    /// Another one takes its place; not of more than so many.
    StandIn(Sampler, usize),
}

impl Order {
    fn indices(&mut self, step: u64) -> Vec<u32> {
        match self {
            Self::Sampled(sampler) => sampler.indices(step),
            Self::Listed(indices, batch) => indices.chunks(*batch).nth(step as usize).unwrap_or_default().to_vec(),
        }
    }
}

struct Queue {
    order: Order,
    /// The next step that a thread takes.
    claim: u64,
    /// The next step that is handed out.
    deliver: u64,
    end: u64,
    ahead: u64,
    /// Bytes of the images of each batch that is held or being made, where they are known.
    held: VecDeque<u64>,
    done: BTreeMap<u64, Result<Batch>>,
}

/// How many threads `threads` stands for.
pub(super) fn threads_for(threads: usize) -> usize {
    match threads {
        0 => std::thread::available_parallelism().map_or(1, std::num::NonZero::get),
        threads => threads,
    }
}

impl Loader {
    /// Bytes of images that batches fetched ahead may have together: 1 GiB.
    pub const AHEAD_BYTES: u64 = 1 << 30;

    /// Starts `threads` threads that fetch the batches of `steps`; 0 stands for one a core. For a run without an end,
    /// `steps` is `first..u64::MAX`.
    ///
    /// # Errors
    /// [`Error::Value`] if the sampler counts more images than the data set has; [`Error::Io`] if the system starts
    /// no thread. Fewer threads than asked for are no error.
    pub fn new(dataset: Arc<dyn Dataset>, sampler: Sampler, steps: Range<u64>, threads: usize) -> Result<Self> {
        Self::sampled(dataset, sampler, steps, threads, Broken::Refused)
    }

    /// As [`new`](Self::new), but an image that cannot be read ([`Error::Data`], [`Error::Io`]) is skipped: another one of the
    /// epoch takes its place, the first of [`Sampler::stand_ins`] that can be read and has no place in the batch yet, with
    /// its own index. The batch says which were [`skipped`](Batch::skipped). What comes out depends on the data set, the
    /// sampler, and which images can be read.
    ///
    /// A batch for which more than `most` images could not be read comes as an error, and so does one for which none is left.
    ///
    /// # Errors
    /// Those of [`new`](Self::new).
    pub fn skipping(dataset: Arc<dyn Dataset>, sampler: Sampler, steps: Range<u64>, threads: usize, most: usize) -> Result<Self> {
        let broken = Broken::StandIn(sampler.clone(), most);
        Self::sampled(dataset, sampler, steps, threads, broken)
    }

    fn sampled(dataset: Arc<dyn Dataset>, sampler: Sampler, steps: Range<u64>, threads: usize, broken: Broken) -> Result<Self> {
        if sampler.n() > dataset.len() {
            return Err(Error::value("loader", "sampler", format!("over at most {} images", dataset.len()), sampler.n()));
        }
        Self::start(dataset, Order::Sampled(sampler), steps, threads, broken)
    }

    /// The images with these indices, in this order, `batch` at a time: steps 0, 1, … of which the last may have fewer images.
    ///
    /// # Errors
    /// [`Error::Value`] if `batch` is 0; [`Error::Io`] if the system starts no thread.
    pub fn listed(dataset: Arc<dyn Dataset>, indices: Vec<u32>, batch: usize, threads: usize) -> Result<Self> {
        Self::listed_by(dataset, indices, batch, threads, Broken::Refused)
    }

    /// As [`listed`](Self::listed), without the images that cannot be read; the batch in which one is missing says so in
    /// [`skipped`](Batch::skipped), and may be empty.
    ///
    /// # Errors
    /// Those of [`listed`](Self::listed).
    pub fn listed_skipping(dataset: Arc<dyn Dataset>, indices: Vec<u32>, batch: usize, threads: usize) -> Result<Self> {
        Self::listed_by(dataset, indices, batch, threads, Broken::LeftOut)
    }

    fn listed_by(dataset: Arc<dyn Dataset>, indices: Vec<u32>, batch: usize, threads: usize, broken: Broken) -> Result<Self> {
        if batch == 0 {
            return Err(Error::value("loader", "batch", "at least 1", batch));
        }
        let steps = 0..indices.len().div_ceil(batch) as u64;
        Self::start(dataset, Order::Listed(indices, batch), steps, threads, broken)
    }

    fn start(dataset: Arc<dyn Dataset>, order: Order, steps: Range<u64>, threads: usize, broken: Broken) -> Result<Self> {
        let threads = threads_for(threads);
        let (claim, end) = (steps.start, steps.end.max(steps.start));
        let ahead = threads as u64 + 1;
        let queue = Queue { order, claim, deliver: claim, end, ahead, held: VecDeque::new(), done: BTreeMap::new() };
        let shared = Arc::new(Shared {
            dataset,
            broken,
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

    /// Waits for the next batch, but not longer than this; whether the next call will not wait.
    pub fn wait(&mut self, at_most: Duration) -> bool {
        let mut queue = self.shared.lock();
        let start = Instant::now();
        let there = loop {
            let left = at_most.saturating_sub(start.elapsed());
            if queue.deliver == queue.end || queue.done.contains_key(&queue.deliver) {
                break true;
            }
            if left.is_zero() {
                break false;
            }
            queue = self.shared.ready.wait_timeout(queue, left).unwrap_or_else(PoisonError::into_inner).0;
        };
        self.waited += start.elapsed();
        there
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
        queue.held.pop_front();
        // One large batch may have made room for several.
        self.shared.room.notify_all();
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
                let indices = queue.order.indices(step);
                let bytes = self.bytes(&indices);
                if queue.held.is_empty() || queue.held.iter().sum::<u64>() + bytes <= Loader::AHEAD_BYTES {
                    queue.claim += 1;
                    queue.held.push_back(bytes);
                    return Some((step, indices));
                }
            }
            queue = self.room.wait(queue).unwrap_or_else(PoisonError::into_inner);
        }
    }

    fn bytes(&self, indices: &[u32]) -> u64 {
        let bytes = || indices.iter().filter_map(|&i| self.dataset.bytes(i as usize)).sum();
        catch_unwind(AssertUnwindSafe(bytes)).unwrap_or(0)
    }

    fn batch(&self, step: u64, indices: &[u32]) -> Result<Batch> {
        let mut batch = Batch { step, ..Batch::default() };
        let mut take = |index: u32| {
            if self.stop.load(Ordering::Relaxed) {
                return Ok(()); // Nobody will see this batch.
            }
            batch.push(index, &self.dataset.image(index as usize)?)
        };
        let skipped = match &self.broken {
            Broken::Refused => indices.iter().try_for_each(|&index| take(index)).map(|()| Vec::new()),
            Broken::LeftOut => {
                let broken =
                    indices.iter().filter_map(|&index| take(index).err().map(|error| Skipped::unless_other(index, error)));
                broken.collect()
            }
            Broken::StandIn(sampler, most) => take_or_skip(indices, || sampler.stand_ins(step), *most, take),
        }?;
        batch.skipped = skipped;
        Ok(batch)
    }
}
