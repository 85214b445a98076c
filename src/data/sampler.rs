//! Which images a step takes.

use crate::error::{Error, Result};
use crate::rng::{Sequence, Stream, below};
use rand::Rng;

/// The images of each training step, as a function of (seed, step).
///
/// An epoch goes once through a permutation of the images, which is drawn anew for each epoch. What is left over at
/// its end, fewer images than a batch, is dropped: each step has [`batch`](Self::batch) images. Nothing has to be
/// saved for a resumed run but the step number.
///
/// ```
/// use instdisc::data::Sampler;
/// let mut sampler = Sampler::new(10, 4, 7)?;
/// assert_eq!(sampler.batches_per_epoch(), 2);
/// let third = sampler.indices(2);
/// assert_eq!(sampler.indices(0).len(), 4);
/// assert_eq!(sampler.indices(2), third);
/// # Ok::<(), instdisc::Error>(())
/// ```
#[derive(Clone, Debug)]
pub struct Sampler {
    n: u32,
    batch: u32,
    seed: u64,
    epoch: Option<u32>,
    order: Vec<u32>,
}

impl Sampler {
    /// The order of `n` images in batches of `batch`; with fewer images than that, all of them are a batch.
    ///
    /// # Errors
    /// [`Error::Value`] if there is no image, 2³² of them or more, or `batch` is 0.
    pub fn new(n: usize, batch: usize, seed: u64) -> Result<Self> {
        let Some(images) = u32::try_from(n).ok().filter(|&n| n > 0) else {
            return Err(Error::value("sampler", "n", "at least 1 image and fewer than 2^32", n));
        };
        if batch == 0 {
            return Err(Error::value("sampler", "batch", "at least 1", batch));
        }
        let batch = u32::try_from(batch).unwrap_or(u32::MAX).min(images);
        Ok(Self { n: images, batch, seed, epoch: None, order: Vec::new() })
    }

    /// How many images there are.
    pub fn n(&self) -> usize {
        self.n as usize
    }

    /// Images a step: what was asked for, or all there are if they are fewer.
    pub fn batch(&self) -> usize {
        self.batch as usize
    }

    /// Steps an epoch: at least 1.
    pub fn batches_per_epoch(&self) -> u64 {
        u64::from(self.n / self.batch)
    }

    /// The epoch to which a step belongs, both counted from 0 over the whole run.
    pub fn epoch(&self, step: u64) -> u64 {
        step / self.batches_per_epoch()
    }

    /// The images of a step, counted from 0 over the whole run.
    ///
    /// The permutation of one epoch is kept, so going on in the same epoch costs nothing. Epochs repeat after 2³².
    pub fn indices(&mut self, step: u64) -> Vec<u32> {
        let epoch = self.epoch(step) as u32;
        if self.epoch != Some(epoch) {
            self.order = self.permutation(epoch);
            self.epoch = Some(epoch);
        }
        let first = (step % self.batches_per_epoch()) as usize * self.batch();
        self.order.get(first..first + self.batch()).unwrap_or_default().to_vec()
    }

    /// The images that take the places of those of a step that cannot be read, the first one first: all others, from the end of
    /// the step's own on to the end of the epoch and then from its beginning.
    ///
    /// ```
    /// use instdisc::data::Sampler;
    /// let sampler = Sampler::new(10, 4, 7)?;
    /// let order = sampler.permutation(0);
    /// assert_eq!(sampler.stand_ins(1), [&order[8..], &order[..4]].concat());
    /// # Ok::<(), instdisc::Error>(())
    /// ```
    pub fn stand_ins(&self, step: u64) -> Vec<u32> {
        let mut order = self.permutation(self.epoch(step) as u32);
        order.rotate_left((step % self.batches_per_epoch()) as usize * self.batch());
        order.split_off(self.batch())
    }

    /// The images in the order of an epoch, those at its end included that no step takes.
    ///
    /// The method is Fisher and Yates' (Durstenfeld, 1964), with the numbers of [`Stream::Order`].
    pub fn permutation(&self, epoch: u32) -> Vec<u32> {
        let mut order: Vec<u32> = (0..self.n).collect();
        let mut random = Sequence::new(self.seed, Stream::Order, epoch);
        for last in (1..self.n).rev() {
            order.swap(last as usize, below(random.next_u32(), last + 1) as usize);
        }
        order
    }
}
