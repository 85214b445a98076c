//! What the features of a run are worth: nearest neighbours on the bank, and on the images embedded anew.

use super::{Evaluation, Event, Run, RunOptions, tell};
use crate::data::{Dataset, Skipped};
use crate::error::Result;
use crate::eval::{Labelled, Layer, Matrix, judge, shared_classes, usual_k};
use crate::npid;
use crate::train::EmbedOptions;
use crate::train::features::{Embedded, Embedding};
use crate::train::feed;
use std::sync::Arc;

impl Run {
    /// Weighted kNN on the bank and on clean features. `None` where images have no labels.
    ///
    /// With test images these are the queries; without, some of the images trained on are, each without itself. So many neighbours
    /// vote as [`usual_k`] says, of those that have labels. Images that are on the device are taken from there. With
    /// [`Source::skip_broken`](crate::train::Source::skip_broken) those that cannot be read neither vote on clean features nor are judged.
    ///
    /// # Errors
    /// Those of [`embed`](crate::train::embed) and [`judge`]; [`Error::Data`](crate::Error::Data) where more images cannot be read
    /// than may be skipped.
    pub fn evaluate(&self, options: &RunOptions) -> Result<Option<Evaluation>> {
        self.judged(options).map(|(evaluation, _)| evaluation)
    }

    /// The same at the end of `epoch`, and tell of the images that were skipped.
    pub(super) fn judge(&self, options: &RunOptions, epoch: usize, on: &mut dyn FnMut(Event)) -> Result<Option<Evaluation>> {
        let (evaluation, skipped) = self.judged(options)?;
        tell(&skipped, epoch, on);
        Ok(evaluation)
    }

    fn judged(&self, options: &RunOptions) -> Result<(Option<Evaluation>, Vec<Skipped>)> {
        const OWN_QUERIES: usize = 1_000;
        let train = &self.dataset;
        let judged = options.test.as_ref().unwrap_or(train);
        if train.classes().is_empty() || judged.classes().is_empty() {
            return Ok((None, Vec::new()));
        }
        let own = options.test.is_none();
        let everything: Vec<u32> = (0..train.len() as u32).collect();
        let voters = everything.iter().filter(|i| train.label(**i as usize).is_some()).count();
        if voters == 0 {
            return Ok((None, Vec::new()));
        }
        let count = if own { judged.len().min(OWN_QUERIES) } else { judged.len() };
        let chosen: Vec<u32> = (0..count).map(|i| (i * judged.len() / count) as u32).collect();
        let clean = self.embedded(train, &everything, options.threads)?;
        let queries = if own { part(&clean, &chosen)? } else { self.embedded(judged, &chosen, options.threads)? };
        let bank = Matrix::new(self.config.net.dim, self.store.read_state(npid::BANK)?)?;
        let shared = shared_classes(train.classes(), judged.classes());
        let class = |i: &u32| judged.label(*i as usize).map(|c| shared.get(c as usize).copied().flatten().unwrap_or(u32::MAX));
        let truth: Vec<Option<u32>> = queries.images.iter().map(class).collect();
        let score = |rows: &Matrix, images: &[u32]| -> Result<_> {
            let classes: Vec<Option<u32>> = images.iter().map(|i| train.label(*i as usize)).collect();
            let own_row = |image: &u32| images.binary_search(image).ok().filter(|_| own).map(|row| row as u32);
            let own_rows: Vec<Option<u32>> = queries.images.iter().map(own_row).collect();
            let (voting, judged) = (Labelled { rows, classes: &classes }, Labelled { rows: &queries.rows, classes: &truth });
            let judgement = judge(&self.gpu, voting, judged, &own_rows, usual_k(voters), self.config.method.tau)?;
            Ok(judgement.accuracy)
        };
        let (bank, fresh) = (score(&bank, &everything)?, score(&clean.rows, &clean.images)?);
        let evaluation = Evaluation { bank: bank.top1, clean: fresh.top1, queries: fresh.queries };
        let skipped = if own { clean.skipped } else { [clean.skipped, queries.skipped].concat() };
        Ok(((fresh.queries > 0).then_some(evaluation), skipped))
    }

    /// Embed images of `set` without augmentation.
    fn embedded(&self, set: &Arc<dyn Dataset>, indices: &[u32], threads: usize) -> Result<Embedded> {
        let (augmentation, batch) = (self.config.augmentation, self.config.batch);
        let options = EmbedOptions { augmentation, batch, layer: Layer::Embedding, threads };
        let embedding = Embedding { gpu: &self.gpu, net: &self.net, store: &self.store, options };
        let most_skipped = self.supply.most_skipped.map(|_| feed::most_skipped(set.len()));
        let found = match self.supply.resident.as_ref().filter(|_| Arc::ptr_eq(set, &self.dataset)) {
            Some(resident) => embedding.resident(resident, indices),
            None => embedding.listed(set, indices, most_skipped.is_some()),
        }?;
        match (found.skipped.last(), most_skipped) {
            (Some(last), Some(most)) if found.skipped.len() > most => Err(last.too_many(most)),
            _ => Ok(found),
        }
    }
}

/// Those of the embedded images that are among `chosen`, which are in order.
fn part(all: &Embedded, chosen: &[u32]) -> Result<Embedded> {
    let places = chosen.iter().filter_map(|image| all.images.binary_search(image).ok().map(|row| (row, *image)));
    let (rows, images): (Vec<usize>, Vec<u32>) = places.unzip();
    let rows = Matrix::new(all.rows.cols, rows.into_iter().flat_map(|row| all.rows.row(row).to_vec()).collect())?;
    Ok(Embedded { rows, images, skipped: Vec::new() })
}
