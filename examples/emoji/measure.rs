//! How good vectors of pictures are: recall@1 between two augmentations, and kNN accuracy for the group.

use crate::pictures::Pictures;
use crate::train::augmentation;
use instdisc::Result;
use instdisc::data::Batch;
use instdisc::eval::{Embedder, Layer, Matrix, Neighbour, accuracy, neighbours};
use instdisc::gpu::Gpu;
use instdisc::ops::{self, Augmentation};
use instdisc::tape::{Program, Step, Tape, Tensor};

/// Pairs of augmentations that recall@1 is the mean over, about: few pictures have several pairs each.
const PAIRS: usize = 1024;
/// Neighbours that vote for a picture's group, and the temperature of their votes.
const VOTERS: usize = 20;
const VOTE_TAU: f32 = 0.1;

/// What makes vectors of a batch of pictures. Each augments by itself; the same step gives the same augmentations.
pub(crate) trait Vectors {
    /// A unit vector for each picture of `batch`.
    fn of(&mut self, batch: &Batch, step: Step) -> Result<Matrix>;
}

impl Vectors for Embedder {
    fn of(&mut self, batch: &Batch, step: Step) -> Result<Matrix> {
        self.embed(&batch.pixels, &batch.table, Layer::Embedding, step)
    }
}

/// The pixels themselves, less the mean of each picture.
pub(crate) struct RawPixels {
    program: Program,
    pixels: Tensor,
    table: Tensor,
    y: Tensor,
}

impl RawPixels {
    /// The pixels after `augmentation`, for `batch` pictures at once of `words` words of pixels in all.
    pub(crate) fn new(gpu: &Gpu, augmentation: Augmentation, batch: usize, words: usize) -> Result<Self> {
        let mut tape = Tape::new(gpu);
        let pixels = tape.input_u32("pixels", &[words])?;
        let table = tape.input_u32("table", &[batch, 4])?;
        let y = ops::augment(&mut tape, pixels, table, augmentation)?;
        tape.keep(y)?;
        Ok(Self { program: tape.compile()?, pixels, table, y })
    }
}

impl Vectors for RawPixels {
    fn of(&mut self, batch: &Batch, step: Step) -> Result<Matrix> {
        self.program.write_u32(self.pixels, &batch.pixels)?;
        self.program.write_u32(self.table, batch.table.as_flattened())?; // of the last batch, as many rows as it has
        self.program.set_step(step)?;
        self.program.run()?;
        let mut values = self.program.read(self.y)?;
        let cols = values.len() / self.table.shape()[0];
        values.truncate(batch.len() * cols);
        for row in values.chunks_mut(cols) {
            let mean = row.iter().sum::<f32>() / cols as f32;
            row.iter_mut().for_each(|v| *v -= mean);
        }
        Ok(Matrix::new(cols, values)?.normalised())
    }
}

/// How vectors did, as shares, and the vectors of the pictures as they are.
pub(crate) struct Score {
    pub(crate) recall: f64,
    pub(crate) group: f64,
    pub(crate) vectors: Matrix,
}

/// Measures vectors of all pictures, always with the same augmentations.
pub(crate) struct Judge<'a> {
    gpu: &'a Gpu,
    groups: &'a [Option<u32>],
    batches: Vec<Batch>,
    seed: u64,
}

impl<'a> Judge<'a> {
    /// A judge of vectors of `pictures`, `batch` at a time, with augmentations that a training with this seed does not see.
    pub(crate) fn new(gpu: &'a Gpu, pictures: &'a Pictures, batch: usize, seed: u64) -> Result<Self> {
        Ok(Self { gpu, groups: &pictures.groups, batches: pictures.batches(batch)?, seed: !seed })
    }

    /// The score of what `make` gives for training's augmentations and for none.
    pub(crate) fn score<V: Vectors>(&self, make: impl Fn(Augmentation) -> Result<V>) -> Result<Score> {
        let recall = self.recall(&mut make(augmentation())?)?;
        let vectors = self.all(&mut make(Augmentation { plain: true, ..augmentation() })?, 0)?;
        let found = nearest(self.gpu, &vectors, VOTERS)?;
        let group = accuracy(&found, self.groups, |row| self.groups[row as usize], VOTE_TAU)?.top1;
        Ok(Score { recall, group, vectors })
    }

    /// Of two augmentations of each picture: how often the nearest of all second ones to a first one is of the same picture,
    /// and the nearest of all first ones to a second one.
    pub(crate) fn recall(&self, vectors: &mut dyn Vectors) -> Result<f64> {
        let (mut right, mut asked) = (0, 0);
        for draw in 0..(PAIRS / self.groups.len()).max(1) {
            let (a, b) = (self.all(vectors, 2 * draw)?, self.all(vectors, 2 * draw + 1)?);
            for found in [neighbours(self.gpu, &b, &a, 1)?, neighbours(self.gpu, &a, &b, 1)?] {
                let own = |(i, nearest): &(usize, &Vec<Neighbour>)| nearest.first().is_some_and(|n| n.row as usize == *i);
                right += found.iter().enumerate().filter(own).count();
                asked += found.len();
            }
        }
        Ok(right as f64 / asked as f64)
    }

    /// The vectors of all pictures; every `pass` draws other augmentations.
    fn all(&self, vectors: &mut dyn Vectors, pass: usize) -> Result<Matrix> {
        let mut found = Matrix::default();
        for (i, batch) in self.batches.iter().enumerate() {
            let number = (pass * self.batches.len() + i) as u32;
            let some = vectors.of(batch, Step { number, seed: self.seed, lr: 0.0 })?;
            found.cols = some.cols;
            found.values.extend(some.values);
        }
        Ok(found)
    }
}

/// The `k` nearest other pictures of each picture.
pub(crate) fn nearest(gpu: &Gpu, vectors: &Matrix, k: usize) -> Result<Vec<Vec<Neighbour>>> {
    let mut found = neighbours(gpu, vectors, vectors, k + 1)?;
    for (i, some) in found.iter_mut().enumerate() {
        some.retain(|n| n.row as usize != i);
        some.truncate(k);
    }
    Ok(found)
}
