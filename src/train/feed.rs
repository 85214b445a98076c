//! Where a run's images come from, step by step.

use super::Pixels;
use crate::data::{Batch, Dataset, Loader, Sampler, Skipped, take_or_skip};
use crate::error::{Error, Result};
use crate::gpu::{Bound, Gpu};
use std::collections::BTreeMap;
use std::ops::Range;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

/// Where images are while a network is trained. No bit of the result depends on it.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Feed {
    /// On the device where they are small enough: all together within its largest binding, and within 2 GiB on a GPU with
    /// memory of its own or 1 GiB on another; else streamed. So too where the device turns out to have no memory for them.
    #[default]
    Auto,
    /// On the device, as 8-bit pixels, from the start.
    Resident,
    /// Decoded by threads, a few batches ahead, and sent to the device batch by batch.
    Streamed,
}

/// Images to train on, and where they are meanwhile.
#[derive(Clone)]
pub struct Source {
    /// The images.
    pub dataset: Arc<dyn Dataset>,
    /// Where they are.
    pub feed: Feed,
    /// Threads that decode those that are to stay on the device, at the start; 0 for one a core.
    pub threads: usize,
    /// Whether images that cannot be read when their turn comes are skipped, instead of ending the run: see [`Run`](super::Run).
    pub skip_broken: bool,
}

impl From<Arc<dyn Dataset>> for Source {
    fn from(dataset: Arc<dyn Dataset>) -> Self {
        Self { dataset, feed: Feed::Auto, threads: 0, skip_broken: false }
    }
}

impl<D: Dataset + 'static> From<Arc<D>> for Source {
    fn from(dataset: Arc<D>) -> Self {
        Self { dataset, feed: Feed::Auto, threads: 0, skip_broken: false }
    }
}

/// All images of a data set on the device.
#[derive(Clone)]
pub(super) struct Resident {
    /// Their pixels, packed as in a [`Batch`].
    pub(super) pixels: Bound,
    table: Arc<[[u32; 4]]>,
    /// Those that could not be read, by their indices; their rows of the table mean nothing.
    broken: Arc<BTreeMap<u32, Skipped>>,
}

impl Resident {
    /// Where image `index` is, unless it could not be read.
    pub(super) fn row(&self, index: u32) -> std::result::Result<[u32; 4], &Skipped> {
        self.broken.get(&index).map_or_else(|| Ok(self.table[index as usize]), Err)
    }
}

/// What [`Feed`] came to, and why.
pub(super) struct Supply {
    pub(super) resident: Option<Resident>,
    pub(super) why: String,
    /// How many images of an epoch may be skipped, where they may.
    pub(super) most_skipped: Option<usize>,
}

impl Supply {
    /// Choose, and put the images on the device if they are to be there.
    ///
    /// # Errors
    /// [`Error::Data`] for an image that cannot be read; with [`Feed::Resident`] also [`Error::Limit`],
    /// [`Error::OutOfMemory`].
    pub(super) fn new(gpu: &Gpu, source: &Source) -> Result<Self> {
        let streamed = |why: &str| Ok(Self::streamed(source, why));
        if source.feed == Feed::Streamed {
            return streamed("as asked for");
        }
        let words = words(&*source.dataset);
        if source.feed == Feed::Resident {
            let words = words.map_or_else(|| measured_words(source), Ok)?;
            return Self::packed(gpu, source, words);
        }
        let Some(words) = words else { return streamed("their sizes are not known before they are decoded") };
        let allowed = allowed(gpu);
        if words > allowed / 4 {
            return streamed(&format!("{} are over the {} that may stay on the device", size(words), size(allowed / 4)));
        }
        match Self::packed(gpu, source, words) {
            Err(Error::OutOfMemory { .. }) => streamed(&format!("the device has no memory for {}", size(words))),
            supply => supply,
        }
    }

    pub(super) fn streamed(source: &Source, why: &str) -> Self {
        Self { resident: None, why: format!("streamed by decoding threads: {why}"), most_skipped: allowed_to_skip(source) }
    }

    fn packed(gpu: &Gpu, source: &Source, words: u64) -> Result<Self> {
        /// Images at once on their way to the device.
        const TOGETHER: usize = 64;
        /// Words that may be held on their way.
        const ON_THE_WAY: usize = 16 << 20;
        let Source { dataset, threads, skip_broken, .. } = source;
        let most_skipped = allowed_to_skip(source);
        let n = dataset.len();
        let mut uploads = gpu.uploads();
        let words = usize::try_from(words).unwrap_or(usize::MAX / 4);
        let pixels = Bound { buffer: gpu.buffer("images", words)?, offset: 0, words };
        let (mut table, mut broken, mut at, mut settled) = (vec![[0; 4]; n], BTreeMap::new(), 0, 0);
        let listed = if *skip_broken { Loader::listed_skipping } else { Loader::listed };
        for batch in listed(dataset.clone(), (0..n as u32).collect(), TOGETHER, *threads)? {
            let batch = batch?;
            for skipped in batch.skipped {
                if most_skipped.is_some_and(|most| broken.len() >= most) {
                    return Err(skipped.too_many(broken.len()));
                }
                broken.insert(skipped.index, skipped);
            }
            if at + batch.pixels.len() > words {
                let name = dataset.name(batch.table.first().map_or(0, |row| row[3] as usize));
                return Err(Error::data(
                    name,
                    "this image or one of those after it has changed since it was opened; begin again",
                ));
            }
            uploads.write(&pixels.buffer, at, &batch.pixels)?;
            for [first, width, height, index] in batch.table {
                table[index as usize] = [at as u32 + first, width, height, index];
            }
            at += batch.pixels.len();
            if at - settled > ON_THE_WAY {
                uploads.settle()?;
                settled = at;
            }
        }
        let why = format!("{} stay on the device", size(words as u64));
        Ok(Self { resident: Some(Resident { pixels, table: table.into(), broken: broken.into() }), why, most_skipped })
    }

    /// Where a step finds its pixels: with those of all images, or in room of its own for `words` words.
    pub(super) fn pixels(&self, words: usize) -> Pixels {
        self.resident.as_ref().map_or(Pixels::Written { words }, |resident| Pixels::Resident(resident.pixels.clone()))
    }

    /// The batches of `steps`.
    ///
    /// # Errors
    /// Those of [`Loader::new`].
    pub(super) fn batches(
        &self,
        dataset: &Arc<dyn Dataset>,
        sampler: Sampler,
        steps: Range<u64>,
        threads: usize,
    ) -> Result<Batches> {
        Ok(match &self.resident {
            Some(resident) => Batches::Resident { resident: resident.clone(), sampler, steps, most_skipped: self.most_skipped },
            None => Batches::Streamed(match self.most_skipped {
                Some(most) => Loader::skipping(dataset.clone(), sampler, steps, threads, most)?,
                None => Loader::new(dataset.clone(), sampler, steps, threads)?,
            }),
        })
    }
}

/// A batch a step. Of images on the device a batch has the table alone.
pub(super) enum Batches {
    Resident { resident: Resident, sampler: Sampler, steps: Range<u64>, most_skipped: Option<usize> },
    Streamed(Loader),
}

impl Batches {
    /// Wait until the next batch is there; whether it is, and not `stop` raised instead.
    pub(super) fn wait(&mut self, stop: &AtomicBool) -> bool {
        let Self::Streamed(loader) = self else { return !stop.load(Ordering::SeqCst) };
        while !stop.load(Ordering::SeqCst) {
            if loader.wait(Duration::from_millis(100)) {
                return true;
            }
        }
        false
    }

    /// How long training has waited for batches so far.
    pub(super) fn waited(&self) -> Duration {
        match self {
            Self::Resident { .. } => Duration::ZERO,
            Self::Streamed(loader) => loader.waited(),
        }
    }
}

impl Iterator for Batches {
    type Item = Result<Batch>;

    fn next(&mut self) -> Option<Result<Batch>> {
        match self {
            Self::Resident { resident, sampler, steps, most_skipped } => {
                let step = steps.next()?;
                let mut table = Vec::new();
                let take = |index| resident.row(index).map(|row| table.push(row)).map_err(Skipped::error);
                let indices = sampler.indices(step);
                let skipped = take_or_skip(&indices, || sampler.stand_ins(step), most_skipped.unwrap_or(0), take);
                Some(skipped.map(|skipped| Batch { step, table, skipped, ..Batch::default() }))
            }
            Self::Streamed(loader) => loader.next(),
        }
    }
}

/// Words of all images packed one after another, where their sizes are known.
fn words(dataset: &dyn Dataset) -> Option<u64> {
    (0..dataset.len()).map(|i| dataset.bytes(i).map(|bytes| bytes.div_ceil(4))).sum()
}

/// Words for a step of so many images, where sizes are known: of the largest ones, but no more than of the very largest with
/// others of twice the mean, since large ones hardly meet.
pub(super) fn room(dataset: &dyn Dataset, images: usize) -> Option<usize> {
    let words = |i| dataset.bytes(i).map(|bytes| bytes.div_ceil(4) as usize);
    let mut all = (0..dataset.len()).map(words).collect::<Option<Vec<_>>>()?;
    all.sort_unstable_by(|a, b| b.cmp(a));
    let largest: usize = all.iter().take(images).sum();
    let usual = images * all.iter().sum::<usize>().div_ceil(all.len().max(1));
    Some(largest.min(2 * usual + all.first().copied().unwrap_or(0)))
}

/// The words of all images by decoding every one.
fn measured_words(source: &Source) -> Result<u64> {
    let words = |i| match source.dataset.image(i) {
        Ok(image) => Ok(image.rgb.len().div_ceil(4) as u64),
        // They are counted where they are packed.
        Err(Error::Data { .. } | Error::Io { .. }) if source.skip_broken => Ok(0),
        Err(error) => Err(error),
    };
    (0..source.dataset.len()).map(words).sum()
}

/// One in a thousand, but always one: of a small set a single image must not end the run.
pub(super) fn most_skipped(images: usize) -> usize {
    (images / 1000).max(1)
}

fn allowed_to_skip(source: &Source) -> Option<usize> {
    source.skip_broken.then(|| most_skipped(source.dataset.len()))
}

/// Bytes of images that stay on the device without being asked to.
fn allowed(gpu: &Gpu) -> u64 {
    let budget = if gpu.facts().kind == "DiscreteGpu" { 2 << 30 } else { 1 << 30 };
    budget.min(gpu.limits().max_storage_buffer_binding_size).min(gpu.limits().max_buffer_size)
}

/// So many words, in the unit that fits.
fn size(words: u64) -> String {
    let bytes = 4.0 * words as f64;
    [("GB", 1e9), ("MB", 1e6)]
        .into_iter()
        .find(|(_, unit)| bytes >= *unit)
        .map_or_else(|| format!("{:.1} kB", bytes / 1e3), |(name, unit)| format!("{:.1} {name}", bytes / unit))
}
