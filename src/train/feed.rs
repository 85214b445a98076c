//! Where a run's images come from, step by step.

use super::Pixels;
use crate::data::{Batch, Dataset, Loader, Sampler};
use crate::error::{Error, Result};
use crate::gpu::{Bound, Gpu};
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
}

impl From<Arc<dyn Dataset>> for Source {
    fn from(dataset: Arc<dyn Dataset>) -> Self {
        Self { dataset, feed: Feed::Auto, threads: 0 }
    }
}

impl<D: Dataset + 'static> From<Arc<D>> for Source {
    fn from(dataset: Arc<D>) -> Self {
        Self { dataset, feed: Feed::Auto, threads: 0 }
    }
}

/// All images of a data set on the device.
#[derive(Clone)]
pub(super) struct Resident {
    /// Their pixels, packed as in a [`Batch`].
    pub(super) pixels: Bound,
    table: Arc<[[u32; 4]]>,
}

/// What [`Feed`] came to, and why.
pub(super) struct Supply {
    pub(super) resident: Option<Resident>,
    pub(super) why: String,
}

impl Supply {
    /// Choose, and put the images on the device if they are to be there.
    ///
    /// # Errors
    /// [`Error::Data`] for an image that cannot be read; with [`Feed::Resident`] also [`Error::Limit`],
    /// [`Error::OutOfMemory`].
    pub(super) fn new(gpu: &Gpu, source: &Source) -> Result<Self> {
        if source.feed == Feed::Streamed {
            return Ok(Self::streamed("as asked for"));
        }
        let words = words(&*source.dataset);
        if source.feed == Feed::Resident {
            let words = words.map_or_else(|| measured_words(&*source.dataset), Ok)?;
            return Self::packed(gpu, source, words);
        }
        let Some(words) = words else { return Ok(Self::streamed("their sizes are not known before they are decoded")) };
        let allowed = allowed(gpu);
        if words > allowed / 4 {
            return Ok(Self::streamed(&format!(
                "{} are over the {} that may stay on the device",
                size(words),
                size(allowed / 4)
            )));
        }
        match Self::packed(gpu, source, words) {
            Err(Error::OutOfMemory { .. }) => Ok(Self::streamed(&format!("the device has no memory for {}", size(words)))),
            supply => supply,
        }
    }

    pub(super) fn streamed(why: &str) -> Self {
        Self { resident: None, why: format!("streamed by decoding threads: {why}") }
    }

    fn packed(gpu: &Gpu, source: &Source, words: u64) -> Result<Self> {
        /// Images at once on their way to the device.
        const TOGETHER: usize = 64;
        let Source { dataset, threads, .. } = source;
        let n = dataset.len();
        let mut uploads = gpu.uploads();
        let words = usize::try_from(words).unwrap_or(usize::MAX / 4);
        let pixels = Bound { buffer: gpu.buffer("images", words)?, offset: 0, words };
        let (mut table, mut at) = (Vec::with_capacity(n), 0);
        for batch in Loader::listed(dataset.clone(), (0..n as u32).collect(), TOGETHER, *threads)? {
            let batch = batch?;
            if at + batch.pixels.len() > words {
                let name = dataset.name(batch.table.first().map_or(0, |row| row[3] as usize));
                return Err(Error::data(
                    name,
                    "this image or one of those after it has changed since it was opened; begin again",
                ));
            }
            uploads.write(&pixels.buffer, at, &batch.pixels)?;
            table.extend(batch.table.iter().map(|&[first, width, height, index]| [at as u32 + first, width, height, index]));
            at += batch.pixels.len();
        }
        let why = format!("{} stay on the device", size(words as u64));
        Ok(Self { resident: Some(Resident { pixels, table: table.into() }), why })
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
            Some(resident) => Batches::Resident { table: resident.table.clone(), sampler, steps },
            None => Batches::Streamed(Loader::new(dataset.clone(), sampler, steps, threads)?),
        })
    }
}

/// A batch a step. Of images on the device a batch has the table alone.
pub(super) enum Batches {
    Resident { table: Arc<[[u32; 4]]>, sampler: Sampler, steps: Range<u64> },
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
            Self::Resident { table, sampler, steps } => {
                let step = steps.next()?;
                let rows = sampler.indices(step).into_iter().filter_map(|i| table.get(i as usize).copied());
                Some(Ok(Batch { step, pixels: Vec::new(), table: rows.collect() }))
            }
            Self::Streamed(loader) => loader.next(),
        }
    }
}

/// Words of all images packed one after another, where their sizes are known.
fn words(dataset: &dyn Dataset) -> Option<u64> {
    (0..dataset.len()).map(|i| dataset.bytes(i).map(|bytes| bytes.div_ceil(4))).sum()
}

/// The same by decoding every image.
fn measured_words(dataset: &dyn Dataset) -> Result<u64> {
    (0..dataset.len()).map(|i| dataset.image(i).map(|image| image.rgb.len().div_ceil(4) as u64)).sum()
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
