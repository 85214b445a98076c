//! The vectors of a whole data set, and a trained network from a run's folder.

use super::feed::Resident;
use super::{Config, checkpoint};
use crate::checkpoint::File;
use crate::data::{Dataset, Loader, Skipped};
use crate::error::{Error, Result};
use crate::eval::{Embedder, Layer, Matrix};
use crate::gpu::Gpu;
use crate::nn::ResNet;
use crate::ops::Augmentation;
use crate::tape::{Step, Store, StoreBuilder};
use std::path::Path;
use std::sync::Arc;

/// A network with its trained parameters.
pub struct Features {
    /// The run's configuration.
    pub config: Config,
    /// The network.
    pub net: ResNet,
    /// Its parameters and running statistics.
    pub store: Store,
}

/// The network of the checkpoint at `path`, without its bank and momentum.
///
/// # Errors
/// [`Error::Data`] where there is none, [`Error::Checkpoint`] for a damaged file or one of another kind; [`Error::Limit`],
/// [`Error::OutOfMemory`].
pub fn features(gpu: &Gpu, path: &Path) -> Result<Features> {
    if !path.exists() {
        return Err(Error::data(path, "there is no checkpoint; name the folder of a run"));
    }
    let file = File::load(path)?;
    let (config, _, _) = checkpoint::describe(path, &file)?;
    let net = ResNet::new(config.net.clone())?;
    let mut builder = StoreBuilder::default();
    net.declare(&mut builder, config.seed)?;
    let mut store = builder.build(gpu)?;
    checkpoint::restore(path, &file, &mut store)?;
    Ok(Features { config, net, store })
}

/// How images are embedded.
#[derive(Clone, Copy, Debug)]
pub struct EmbedOptions {
    /// Mean, deviation and size of the images; nothing random happens to them, they are embedded as their largest square in the middle.
    pub augmentation: Augmentation,
    /// Images at once.
    pub batch: usize,
    /// Which vectors.
    pub layer: Layer,
    /// Threads that decode; 0 for one a core. The result does not depend on it.
    pub threads: usize,
}

/// The vectors of all images of `dataset`, in order.
///
/// # Errors
/// [`Error::Data`] for an image that cannot be read; those of [`Embedder`].
pub fn embed(gpu: &Gpu, net: &ResNet, store: &Store, dataset: &Arc<dyn Dataset>, options: EmbedOptions) -> Result<Matrix> {
    let indices: Vec<u32> = (0..dataset.len() as u32).collect();
    Ok(Embedding { gpu, net, store, options }.listed(dataset, &indices, false)?.rows)
}

/// As [`embed`], without the images that cannot be read, however many they are: rows and images say which they are.
///
/// # Errors
/// [`Error::Data`] where no image can be read; those of [`Embedder`].
pub fn embed_skipping(
    gpu: &Gpu,
    net: &ResNet,
    store: &Store,
    dataset: &Arc<dyn Dataset>,
    options: EmbedOptions,
) -> Result<Embedded> {
    let indices: Vec<u32> = (0..dataset.len() as u32).collect();
    let embedded = Embedding { gpu, net, store, options }.listed(dataset, &indices, true)?;
    match embedded.skipped.first() {
        Some(first) if embedded.images.is_empty() => {
            Err(Error::data(&first.path, format!("{}; no other image can be read either", first.reason)))
        }
        _ => Ok(embedded),
    }
}

/// What embeds, and how.
pub(super) struct Embedding<'a> {
    pub(super) gpu: &'a Gpu,
    pub(super) net: &'a ResNet,
    pub(super) store: &'a Store,
    pub(super) options: EmbedOptions,
}

/// Images and their vectors.
#[derive(Clone, Debug, Default)]
pub struct Embedded {
    /// A row an image.
    pub rows: Matrix,
    /// The index of each row's image in its data set, in order.
    pub images: Vec<u32>,
    /// The images that could not be read, and have no row.
    pub skipped: Vec<Skipped>,
}

impl Embedded {
    fn add(&mut self, embedder: &mut Embedder, pixels: &[u32], table: &[[u32; 4]], layer: Layer) -> Result<()> {
        let step = Step { number: 0, seed: 0, lr: 0.0 };
        let rows = embedder.embed(pixels, table, layer, step)?;
        self.rows.cols = rows.cols;
        self.rows.values.extend(rows.values);
        self.images.extend(table.iter().map(|row| row[3]));
        Ok(())
    }
}

impl Embedding<'_> {
    /// Those of `dataset` with these indices, decoded on threads.
    ///
    /// # Errors
    /// [`Error::Data`] for an image that cannot be read, unless such ones are skipped; those of [`Embedder`].
    pub(super) fn listed(&self, dataset: &Arc<dyn Dataset>, indices: &[u32], skip_broken: bool) -> Result<Embedded> {
        let EmbedOptions { layer, threads, .. } = self.options;
        let batch = self.options.batch.max(1);
        let mut embedder: Option<Embedder> = None;
        let mut all = Embedded::default();
        let listed = if skip_broken { Loader::listed_skipping } else { Loader::listed };
        for images in listed(dataset.clone(), indices.to_vec(), batch, threads)? {
            let images = images?;
            all.skipped.extend(images.skipped);
            if images.table.is_empty() {
                continue;
            }
            let room = images.pixels.len();
            let ready = match embedder.take().filter(|e| e.words() >= room) {
                Some(ready) => ready,
                None => Embedder::new(self.gpu, self.net, self.store, self.plain(), batch, room.next_power_of_two())?,
            };
            all.add(embedder.insert(ready), &images.pixels, &images.table, layer)?;
        }
        Ok(all)
    }

    /// Those with these indices of the images that are on the device, from where they are.
    ///
    /// # Errors
    /// Those of [`Embedder`].
    pub(super) fn resident(&self, resident: &Resident, indices: &[u32]) -> Result<Embedded> {
        let batch = self.options.batch.max(1);
        let pixels = resident.pixels.clone();
        let mut embedder = Embedder::resident(self.gpu, self.net, self.store, self.plain(), batch, pixels)?;
        let mut all = Embedded::default();
        let mut table = Vec::with_capacity(indices.len());
        for &index in indices {
            match resident.row(index) {
                Ok(row) => table.push(row),
                Err(skipped) => all.skipped.push(skipped.clone()),
            }
        }
        for table in table.chunks(batch) {
            all.add(&mut embedder, &[], table, self.options.layer)?;
        }
        Ok(all)
    }

    fn plain(&self) -> Augmentation {
        Augmentation { plain: true, ..self.options.augmentation }
    }
}
