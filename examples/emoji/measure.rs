//! How good vectors of pictures are: recall@1 between two augmentations, and kNN accuracy for the group.

use instdisc::Result;
use instdisc::data::Batch;
use instdisc::eval::{Embedder, Layer, Matrix, Neighbour, accuracy, neighbours};
use instdisc::gpu::Gpu;
use instdisc::ops::{self, Augmentation};
use instdisc::tape::{Program, Step, Tape, Tensor};

/// Pairs of augmentations of each picture that recall@1 is the mean over.
const DRAWS: usize = 2;
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
        self.program.write_u32(self.table, batch.table.as_flattened())?;
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

/// The vectors of all pictures; `pass` tells apart passes with other augmentations.
pub(crate) fn all(batches: &[Batch], vectors: &mut dyn Vectors, seed: u64, pass: usize) -> Result<Matrix> {
    let mut found = Matrix::default();
    for (i, batch) in batches.iter().enumerate() {
        let number = (pass * batches.len() + i) as u32;
        let some = vectors.of(batch, Step { number, seed, lr: 0.0 })?;
        found.cols = some.cols;
        found.values.extend(some.values);
    }
    Ok(found)
}

/// Of two augmentations of each picture, how often the nearest of all second ones to a first one, and of all first ones to a
/// second one, is of the same picture: a share.
pub(crate) fn recall(gpu: &Gpu, batches: &[Batch], vectors: &mut dyn Vectors, seed: u64) -> Result<f64> {
    let (mut right, mut asked) = (0, 0);
    for draw in 0..DRAWS {
        let (a, b) = (all(batches, vectors, seed, 2 * draw)?, all(batches, vectors, seed, 2 * draw + 1)?);
        for found in [neighbours(gpu, &b, &a, 1)?, neighbours(gpu, &a, &b, 1)?] {
            asked += found.len();
            right +=
                found.iter().enumerate().filter(|(i, nearest)| nearest.first().is_some_and(|n| n.row as usize == *i)).count();
        }
    }
    Ok(right as f64 / asked as f64)
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

/// How often the nearest others of a picture vote for its group: a share.
pub(crate) fn group_accuracy(gpu: &Gpu, vectors: &Matrix, groups: &[Option<u32>]) -> Result<f64> {
    let found = nearest(gpu, vectors, VOTERS)?;
    Ok(accuracy(&found, groups, |row| groups[row as usize], VOTE_TAU)?.top1)
}
