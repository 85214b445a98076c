//! How a run begins, or goes on from its folder.

use super::Run;
use crate::checkpoint::File;
use crate::error::{Error, Result};
use crate::gpu::{Choices, Gpu};
use crate::nn::ResNet;
use crate::tape::{Store, StoreBuilder};
use crate::train::checkpoint::{self, Progress};
use crate::train::feed::{self, Feed, Source, Supply};
use crate::train::pace::Pace;
use crate::train::{Config, Folder, TrainingStep, kernels, memory};
use std::collections::VecDeque;
use std::path::Path;
use std::time::Instant;

impl Run {
    /// Begin a run. With `folder` it must not exist or be empty; a first checkpoint is written there at once, so that
    /// a run can be resumed however early it ends.
    ///
    /// # Errors
    /// [`Error::Data`], [`Error::Io`] for the folder; [`Error::Limit`], [`Error::OutOfMemory`], [`Error::Value`].
    pub fn new(gpu: &Gpu, config: Config, source: impl Into<Source>, folder: Option<&Path>) -> Result<Self> {
        Self::new_by(gpu, config, source, folder, |_| Ok(None))
    }

    /// As [`Run::new`], with algorithms that `choose` picks once the problems of a step are known: it gets what a step by
    /// the choices of `gpu` uses, and returns others that are to be in force, if any. They are written into the folder, and repeated
    /// by [`Run::resume`].
    ///
    /// # Errors
    /// Those of [`Run::new`] and of `choose`.
    pub fn new_by(
        gpu: &Gpu,
        config: Config,
        source: impl Into<Source>,
        folder: Option<&Path>,
        choose: impl FnOnce(&Choices) -> Result<Option<Choices>>,
    ) -> Result<Self> {
        let mut run = Self::prepare(gpu, config, source.into())?;
        let used = run.step.program().choices();
        if let Some(chosen) = choose(used)? {
            let same = used.iter().all(|(problem, algorithm)| chosen.get(problem).is_none_or(|other| other == algorithm));
            run.gpu = gpu.with_choices(chosen);
            if !same {
                run.step.release(gpu)?;
                run.step = Self::compile(&run.gpu, &run.config, &run.net, &run.store, &run.supply, run.words)?;
            }
        }
        let in_force = kernels::in_force(&run.gpu, run.step.program().choices());
        run.folder = folder.map(|path| Folder::create(path, &run.config, &in_force)).transpose()?;
        if let Some(folder) = &run.folder {
            folder.write_images(&*run.dataset)?;
        }
        run.save()?;
        Ok(run)
    }

    /// Go on with the run in `folder` from its checkpoint, which must have been made with the same `config`, but for its epochs:
    /// these may be more, which stretches the schedule from here on.
    ///
    /// Products and convolutions are computed by the algorithms that its `kernels.json` names, whatever `gpu` has chosen; in a folder
    /// without that file, by those of `gpu`. On the same adapter and driver the run ends with the same bits as if it had not
    /// stopped; otherwise the returned note says so.
    ///
    /// # Errors
    /// [`Error::Data`] for a missing checkpoint or damaged choices, [`Error::Checkpoint`] for a damaged or foreign
    /// checkpoint; [`Error::Limit`], [`Error::OutOfMemory`].
    pub fn resume(gpu: &Gpu, config: Config, source: impl Into<Source>, folder: &Path) -> Result<(Self, Option<String>)> {
        let path = Folder::resumable(folder)?;
        let mut held = Folder::reopen(folder)?;
        let file = File::load(&path)?;
        let (stored, progress, adapter) = checkpoint::describe(&path, &file)?;
        if let Some(difference) = stored.difference(&config) {
            let reason = format!("was made with other settings ({difference}); leave out what differs, or begin a new run");
            return Err(Error::Checkpoint { path, offset: 0, reason });
        }
        let longer = config.epochs > stored.epochs;
        let stored = kernels::read(folder)?;
        let gpu = stored.as_ref().map_or_else(|| gpu.clone(), |choices| gpu.with_choices(choices.clone()));
        let mut run = Self::prepare(&gpu, config, source.into())?;
        checkpoint::restore(&path, &file, &mut run.store)?;
        run.progress = progress;
        held.take_back(progress.step)?;
        if longer {
            held.write_config(&run.config)?;
        }
        run.folder = Some(held);
        let used = run.step.program().choices();
        let in_force = kernels::in_force(&gpu, used);
        if stored.as_ref() != Some(&in_force) {
            kernels::write(folder, &in_force)?;
        }
        let here = format!("{}, {}", gpu.facts().name, gpu.facts().driver);
        let moved = (adapter != here)
            .then(|| format!("the run began on {adapter} and goes on on {here}: results will differ in the last bits"));
        let unknown = stored.is_none().then(|| {
            "the folder has no kernels.json, so this version's choices compute products and convolutions: results may differ in the last bits"
                .to_owned()
        });
        let missing = stored.and_then(|stored| kernels::missing(&stored, used));
        let notes: Vec<String> = [moved, unknown, missing].into_iter().flatten().collect();
        Ok((run, (!notes.is_empty()).then(|| notes.join("; "))))
    }

    fn prepare(gpu: &Gpu, config: Config, source: Source) -> Result<Self> {
        let dataset = source.dataset.clone();
        if dataset.len() != config.images {
            return Err(Error::value("run", "dataset", format!("{} images", config.images), dataset.len()));
        }
        config.check()?;
        let net = ResNet::new(config.net.clone())?;
        let mut builder = StoreBuilder::default();
        net.declare(&mut builder, config.seed)?;
        config.method.declare(&mut builder, config.images, config.net.dim, config.seed)?;
        let declared = builder.bytes();
        let free = gpu.memory().map(|most| most.saturating_sub(gpu.bytes().0));
        let (batch, fits) = (config.batch, None);
        if let Some(available) = free.filter(|free| declared > *free) {
            return Err(Error::Memory { needed: declared, available, batch, fits });
        }
        let store = builder.build(gpu).map_err(|error| match error {
            Error::OutOfMemory { held, .. } => Error::Memory { needed: declared, available: held, batch, fits },
            other => other,
        })?;
        let mut supply = Supply::new(gpu, &source)?;
        let words = match feed::room(&*dataset, config.step_images()) {
            Some(words) => words,
            None => {
                // A guess: where images turn out to be larger, room is made.
                let first = dataset.image(0).map(|image| image.rgb.len());
                let first = first.or_else(|error| supply.most_skipped.map(|_| 4).ok_or(error))?;
                (config.step_images() * first.div_ceil(4)).next_power_of_two()
            }
        };
        let step = match Self::compile(gpu, &config, &net, &store, &supply, words) {
            Err(Error::Memory { .. }) if source.feed == Feed::Auto && supply.resident.is_some() => {
                supply = Supply::streamed(&source, "the device has no memory for them beside the network");
                Self::compile(gpu, &config, &net, &store, &supply, words)
            }
            step => step,
        }?;
        let pace = Pace::start();
        let (progress, pending) = (Progress::default(), VecDeque::new());
        Ok(Self {
            gpu: gpu.clone(),
            config,
            net,
            store,
            step,
            dataset,
            supply,
            progress,
            folder: None,
            saved: Instant::now(),
            pending,
            words,
            pace,
            profiling: None,
            profile: None,
        })
    }

    pub(super) fn compile(
        gpu: &Gpu,
        config: &Config,
        net: &ResNet,
        store: &Store,
        supply: &Supply,
        words: usize,
    ) -> Result<TrainingStep> {
        let pixels = supply.pixels(words);
        memory::check(gpu, config, net, store, &pixels)?;
        let options = memory::step_options(config, &pixels);
        TrainingStep::in_parts(gpu, net, store, options, config.accumulate).map_err(|error| match error {
            Error::OutOfMemory { held, .. } => memory::too_large(gpu, config, net, store, &pixels, held),
            other => other,
        })
    }
}
