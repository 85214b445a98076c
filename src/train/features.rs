//! The vectors of a whole data set, and a trained network from a run's folder.

use super::{Config, checkpoint};
use crate::checkpoint::File;
use crate::data::{Dataset, Loader};
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

/// The vectors of all images of `dataset`, each as its largest square in the middle, in order.
///
/// # Errors
/// [`Error::Data`] for an image that cannot be read; those of [`Embedder`].
pub fn embed(
    gpu: &Gpu,
    net: &ResNet,
    store: &Store,
    augmentation: Augmentation,
    dataset: &Arc<dyn Dataset>,
    batch: usize,
    layer: Layer,
) -> Result<Matrix> {
    let indices: Vec<u32> = (0..dataset.len() as u32).collect();
    embed_some(gpu, net, store, Augmentation { plain: true, ..augmentation }, dataset, &indices, batch, layer, 0)
}

/// As [`embed`], for the images with these indices.
#[allow(clippy::too_many_arguments, reason = "what to embed, with what, and how")]
pub(super) fn embed_some(
    gpu: &Gpu,
    net: &ResNet,
    store: &Store,
    augmentation: Augmentation,
    dataset: &Arc<dyn Dataset>,
    indices: &[u32],
    batch: usize,
    layer: Layer,
    threads: usize,
) -> Result<Matrix> {
    let batch = batch.max(1);
    let mut embedder: Option<Embedder> = None;
    let mut all = Matrix::default();
    for images in Loader::listed(dataset.clone(), indices.to_vec(), batch, threads)? {
        let images = images?;
        let room = images.pixels.len();
        let ready = match embedder.take().filter(|e| e.words() >= room) {
            Some(ready) => ready,
            None => Embedder::new(gpu, net, store, augmentation, batch, room.next_power_of_two())?,
        };
        let ready = embedder.insert(ready);
        let step = Step { number: 0, seed: 0, lr: 0.0 };
        let rows = ready.embed(&images.pixels, &images.table, layer, step)?;
        all.cols = rows.cols;
        all.values.extend(rows.values);
    }
    Ok(all)
}
