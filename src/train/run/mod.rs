//! A run: epochs of steps over a data set.

mod judge;

use super::checkpoint::{self, Progress};
use super::feed::{Feed, Source, Supply};
use super::pace::Pace;
use super::profiling::{Phase, Profiling};
use super::{Config, Folder, Needs, Profile, TrainingStep, kernels, memory};
use crate::checkpoint::File;
use crate::data::{Batch, Dataset, Sampler, Skipped};
use crate::error::{Error, Result};
use crate::gpu::{Choices, Gpu, Read};
use crate::nn::ResNet;
use crate::npid::Loss;
use crate::tape::{Step, Store, StoreBuilder};
use serde::Serialize;
use serde_json::json;
use std::collections::VecDeque;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::AtomicBool;
use std::time::Instant;

/// What a run does besides what its [`Config`] says; none of it changes the weights.
#[derive(Clone)]
pub struct RunOptions {
    /// Images to judge features with, against those trained on; without, a part of those trained on against the others.
    pub test: Option<Arc<dyn Dataset>>,
    /// Judge after every so many epochs; 0 for never.
    pub eval_every: usize,
    /// Stop after this epoch of the schedule.
    pub stop_after: Option<usize>,
    /// Threads that decode images that are streamed or judged; 0 for one a core.
    pub threads: usize,
    /// Steps between lines of the log.
    pub log_every: u64,
    /// Profile so many steps, once a few have warmed up and as many more were timed as they are; see [`Run::profile`].
    pub profile: usize,
    /// Raised from outside to stop after the current step.
    pub stop: Arc<AtomicBool>,
}

impl Default for RunOptions {
    fn default() -> Self {
        Self { test: None, eval_every: 1, stop_after: None, threads: 0, log_every: 50, profile: 0, stop: Arc::default() }
    }
}

/// Weighted-kNN accuracy at the end of an epoch, in [0, 1].
#[derive(Clone, Copy, Debug, PartialEq, Serialize)]
pub struct Evaluation {
    /// Against the rows of the bank.
    pub bank: f64,
    /// Against the images trained on, embedded again without augmentation.
    pub clean: f64,
    /// How many images were judged.
    pub queries: usize,
}

/// What happens during a run.
#[derive(Clone, Debug, PartialEq)]
pub enum Event {
    /// A step is done.
    Step {
        /// Its number over the whole run, from 1.
        step: u64,
        /// Its epoch, from 1.
        epoch: usize,
        /// The mean loss of its batch.
        loss: f32,
        /// Its learning rate.
        lr: f32,
        /// Images trained a second, lately.
        images_per_second: f64,
    },
    /// An image could not be read when its turn came, to be trained on or to be judged, and was skipped.
    Skipped {
        /// The epoch, from 1.
        epoch: usize,
        /// Its file.
        path: PathBuf,
        /// What is wrong with it.
        reason: String,
    },
    /// An epoch is done.
    Epoch {
        /// Its number, from 1.
        epoch: usize,
        /// The mean loss of its steps.
        loss: f64,
        /// Seconds it took, judging included.
        seconds: f64,
        /// Seconds that training waited for images.
        waited: f64,
        /// Images that were skipped since they could not be read.
        skipped: usize,
        /// What the features are worth, where images have labels.
        evaluation: Option<Evaluation>,
    },
}

/// How a run ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Outcome {
    /// All epochs that were asked for are done.
    Done,
    /// It was stopped from outside; the checkpoint holds its state.
    Stopped,
}

/// A step that was submitted and not yet looked at.
struct Pending {
    step: Step,
    batch: Batch,
    loss: Read,
    guard: Option<Read>,
}

/// A training run: a network, its bank, and the images it tells apart.
///
/// *Images that cannot be read when their turn comes* end the run, or, with [`Source::skip_broken`], are skipped: in the step another
/// image takes the place, the next one in the epoch's order that can be read and is not in the step
/// ([`Sampler::stand_ins`]), and moves its own row of the bank. The row of a skipped image stays as it is, and the image has its
/// turn again in the next epoch. Which images can be read is all that this depends on beside seed and step, so a run that is
/// resumed where the same ones can ends with the same bits. Each is told by [`Event::Skipped`] and
/// counted; where more than 0.1 % of the images are skipped in an epoch, and more than one, the run ends with an error.
pub struct Run {
    gpu: Gpu,
    config: Config,
    net: ResNet,
    store: Store,
    step: TrainingStep,
    dataset: Arc<dyn Dataset>,
    supply: Supply,
    progress: Progress,
    folder: Option<Folder>,
    pending: VecDeque<Pending>,
    words: usize,
    pace: Pace,
    profiling: Option<Profiling>,
    profile: Option<Profile>,
}

/// Steps that may be under way before the oldest one's loss is read.
const AHEAD: usize = 2;

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

    /// Go on with the run in `folder` from its checkpoint, which must have been made with the same `config`.
    ///
    /// Products and convolutions are computed by the algorithms that its `kernels.json` names, whatever `gpu` has chosen; in a folder
    /// without that file, by those of `gpu`. On the same adapter and driver the run ends with the same bits as if it had not
    /// stopped; otherwise the returned note says so.
    ///
    /// # Errors
    /// [`Error::Data`] for a missing checkpoint or damaged choices, [`Error::Checkpoint`] for a damaged or foreign
    /// checkpoint; [`Error::Limit`], [`Error::OutOfMemory`].
    pub fn resume(gpu: &Gpu, config: Config, source: impl Into<Source>, folder: &Path) -> Result<(Self, Option<String>)> {
        let path = Folder::checkpoint(folder);
        if !path.is_file() {
            return Err(Error::data(
                folder,
                "has no checkpoint `last.safetensors` to resume from; leave --resume out, and name a new or empty folder, to begin a run",
            ));
        }
        let file = File::load(&path)?;
        let (stored, progress, adapter) = checkpoint::describe(&path, &file)?;
        if let Some(difference) = difference(&stored, &config)? {
            let reason =
                format!("was made with another configuration ({difference}); repeat the run's options, or begin a new one");
            return Err(Error::Checkpoint { path, offset: 0, reason });
        }
        let stored = kernels::read(folder)?;
        let gpu = stored.as_ref().map_or_else(|| gpu.clone(), |choices| gpu.with_choices(choices.clone()));
        let mut run = Self::prepare(&gpu, config, source.into())?;
        checkpoint::restore(&path, &file, &mut run.store)?;
        run.progress = progress;
        run.folder = Some(Folder::reopen(folder, progress.step)?);
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
        let first = dataset.bytes(0).map_or_else(|| dataset.image(0).map(|image| image.rgb.len() as u64), Ok);
        // A guess: where images turn out to be larger, room is made.
        let first = first.or_else(|error| supply.most_skipped.map(|_| 4).ok_or(error))?;
        let words = (config.step_images() * first.div_ceil(4) as usize).next_power_of_two();
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
            pending,
            words,
            pace,
            profiling: None,
            profile: None,
        })
    }

    fn compile(gpu: &Gpu, config: &Config, net: &ResNet, store: &Store, supply: &Supply, words: usize) -> Result<TrainingStep> {
        let pixels = supply.pixels(words);
        memory::check(gpu, config, net, store, &pixels)?;
        let options = memory::step_options(config, &pixels);
        TrainingStep::with_pixels(gpu, net, store, options, config.accumulate, &pixels).map_err(|error| match error {
            Error::OutOfMemory { held, .. } => memory::too_large(gpu, config, net, store, &pixels, held),
            other => other,
        })
    }

    /// The device memory that it holds while it trains.
    pub fn needs(&mut self) -> Needs {
        Needs::new(&self.store, &self.supply.pixels(self.words), self.step.program().footprint())
    }

    /// The configuration.
    pub fn config(&self) -> &Config {
        &self.config
    }

    /// By which algorithms a step's products and convolutions are computed.
    pub fn kernels(&mut self) -> &Choices {
        self.step.program().choices()
    }

    /// Whether images stay on the device or are streamed, and why, in words.
    pub fn feed(&self) -> &str {
        &self.supply.why
    }

    /// The network.
    pub fn net(&self) -> &ResNet {
        &self.net
    }

    /// Weights, running statistics, bank and Z.
    pub fn store(&self) -> &Store {
        &self.store
    }

    /// Where the run stands.
    pub fn progress(&self) -> Progress {
        self.progress
    }

    /// Dispatches of a step.
    pub fn dispatches(&mut self) -> usize {
        self.step.program().dispatches().len()
    }

    /// Train until the schedule's end, `stop_after`, or a stop from outside.
    ///
    /// With a folder, a checkpoint is written after every epoch and at a stop.
    ///
    /// # Errors
    /// [`Error::Data`] for an image that cannot be read; [`Error::NotFinite`] with tensor and step where the numbers
    /// break (weights and bank keep the state before that step, the checkpoint that of the last epoch or stop); [`Error::DeviceLost`]; [`Error::Io`].
    pub fn train(&mut self, options: &RunOptions, on: &mut dyn FnMut(Event)) -> Result<Outcome> {
        let epochs = options.stop_after.unwrap_or(self.config.epochs).min(self.config.epochs);
        let per_epoch = self.config.steps_per_epoch();
        let end = per_epoch * epochs as u64;
        let sampler = Sampler::new(self.config.images, self.config.step_images(), self.config.seed)?;
        let mut batches = self.supply.batches(&self.dataset, sampler, self.progress.step..end, options.threads)?;
        let mut started = Instant::now();
        let mut waited = 0.0;
        self.pace = Pace::start();
        self.profiling = Profiling::of(options.profile);
        while self.progress.step < end {
            let next = self.progress.step + self.pending.len() as u64;
            let boundary = next == end || (next > self.progress.step && next.is_multiple_of(per_epoch));
            if boundary || self.pending.len() > AHEAD {
                self.finish_oldest(options, on)?;
                if !self.pending.is_empty() || !self.progress.step.is_multiple_of(per_epoch) {
                    continue;
                }
                let ended = Instant::now();
                let epoch = (self.progress.step / per_epoch) as usize;
                let loss = std::mem::take(&mut self.progress.loss_sum) / per_epoch as f64;
                let skipped = std::mem::take(&mut self.progress.skipped);
                // Saved before the features are judged: that takes a while, and must not cost the epoch.
                self.save()?;
                let judge = options.eval_every > 0 && epoch.is_multiple_of(options.eval_every);
                let evaluation = if judge { self.judge(options, epoch, on)? } else { None };
                let seconds = std::mem::replace(&mut started, Instant::now()).elapsed().as_secs_f64();
                let idle = batches.waited().as_secs_f64() - std::mem::replace(&mut waited, batches.waited().as_secs_f64());
                self.log(&json!({
                    "step": self.progress.step, "epoch": epoch, "loss": loss, "lr": self.rate(epoch - 1), "seconds": seconds,
                    "waited": idle, "images_per_second": self.pace.rate(), "skipped": skipped, "knn": evaluation,
                }))?;
                on(Event::Epoch { epoch, loss, seconds, waited: idle, skipped, evaluation });
                self.pace.leave_out(ended);
                continue;
            }
            let asked = Instant::now();
            if !batches.wait(&options.stop) {
                self.drain(options, on)?;
                self.end_profile()?;
                self.save()?;
                return Ok(Outcome::Stopped);
            }
            let Some(batch) = batches.next() else { break };
            let epoch = (next / per_epoch) as usize + 1;
            let batch = match batch.and_then(|batch| self.count_skipped(&batch.skipped, epoch, on).map(|()| batch)) {
                Ok(batch) => batch,
                Err(error) => {
                    // What is under way has changed the weights already: count it, and keep it.
                    self.drain(options, on)?;
                    self.save()?;
                    return Err(error);
                }
            };
            if batch.pixels.len() > self.words {
                // The step is about to be compiled anew, with a guard of its own: look at the old one first.
                self.drain(options, on)?;
            }
            match self.profiling.as_ref().map_or(Phase::Plain, |profiling| profiling.phase()) {
                Phase::Plain => self.submit(next, batch)?,
                Phase::Watched => {
                    self.drain(options, on)?;
                    self.watched(next, batch, asked)?;
                }
            }
        }
        self.end_profile()?;
        Ok(Outcome::Done)
    }

    /// Look at all steps under way.
    fn drain(&mut self, options: &RunOptions, on: &mut dyn FnMut(Event)) -> Result<()> {
        while !self.pending.is_empty() {
            self.finish_oldest(options, on)?;
        }
        Ok(())
    }

    /// Count and tell the images that a batch of `epoch` skips.
    ///
    /// # Errors
    /// [`Error::Data`] where they are too many.
    fn count_skipped(&mut self, skipped: &[Skipped], epoch: usize, on: &mut dyn FnMut(Event)) -> Result<()> {
        let most = self.supply.most_skipped.unwrap_or(0);
        if let Some(last) = skipped.last().filter(|_| self.progress.skipped + skipped.len() > most) {
            return Err(last.too_many(most));
        }
        self.progress.skipped += skipped.len();
        tell(skipped, epoch, on);
        Ok(())
    }

    fn rate(&self, epoch: usize) -> f32 {
        self.config.schedule.rate(self.config.lr, epoch, self.config.epochs)
    }

    /// Compile the step anew with more room if a batch has larger images than any before. Its state lives in the store.
    fn make_room(&mut self, batch: &Batch) -> Result<()> {
        if batch.pixels.len() > self.words {
            self.words = batch.pixels.len().next_power_of_two();
            self.step = Self::compile(&self.gpu, &self.config, &self.net, &self.store, &self.supply, self.words)?;
        }
        Ok(())
    }

    /// Submit step `number` on `batch`.
    fn submit(&mut self, number: u64, batch: Batch) -> Result<()> {
        self.make_room(&batch)?;
        let epoch = (number / self.config.steps_per_epoch()) as usize;
        let step = Step { number: number as u32, seed: self.config.seed, lr: self.rate(epoch) };
        let begin = Instant::now();
        self.step.write_batch(&batch)?;
        if let Some(watch) = self.step.program().watched() {
            watch.host("write images", begin);
        }
        if number == 0 && matches!(self.config.method.loss, Loss::Nce { .. }) {
            self.step.find_z(step)?;
        }
        self.step.run(step)?;
        let loss = self.step.loss();
        let program = self.step.program();
        let (loss, guard) = (program.read_later(loss)?, program.read_guard()?);
        self.pending.push_back(Pending { step, batch, loss, guard });
        Ok(())
    }

    /// Submit step `number`, for whose batch the host waited since `asked`, dispatch by dispatch.
    fn watched(&mut self, number: u64, batch: Batch, asked: Instant) -> Result<()> {
        let Some(mut profiling) = self.profiling.take() else { return Ok(()) };
        let recorder = profiling.recorder(self.step.program())?;
        recorder.host(self.step.program(), "wait for images", asked);
        self.submit(number, batch)?;
        recorder.step(self.step.program())?;
        let done = profiling.done();
        self.profiling = Some(profiling);
        if done { self.end_profile() } else { Ok(()) }
    }

    /// Say where the time of the steps that were watched went, in the run's folder if there is one.
    fn end_profile(&mut self) -> Result<()> {
        let Some(profiling) = self.profiling.take() else { return Ok(()) };
        let Some(profile) = profiling.finish(&self.gpu, self.step.program())? else { return Ok(()) };
        if let Some(folder) = &self.folder {
            folder.write("profile.txt", &profile.text())?;
            folder.write("profile.json", &profile.json())?;
            folder.write("trace.json", &profile.trace())?;
        }
        self.profile = Some(profile);
        Ok(())
    }

    /// Where the time of the steps went that [`RunOptions::profile`] asked for, once they are done. A folder has it as
    /// `profile.txt`, `profile.json` and `trace.json`.
    pub fn profile(&self) -> Option<&Profile> {
        self.profile.as_ref()
    }

    /// Look at the oldest step under way: its loss, and whether its numbers are finite.
    fn finish_oldest(&mut self, options: &RunOptions, on: &mut dyn FnMut(Event)) -> Result<()> {
        let Some(oldest) = self.pending.pop_front() else { return Ok(()) };
        let loss = oldest.loss.wait()?.first().map_or(f32::NAN, |w| f32::from_bits(*w));
        let flag = oldest.guard.map(Read::wait).transpose()?.and_then(|words| words.first().copied()).unwrap_or(0);
        if flag != 0 {
            // The flag is up since this step, so nothing has changed since: the same batch gives the same bits.
            self.pending.clear();
            self.step.write_batch(&oldest.batch)?;
            self.step.find_non_finite(oldest.step)?;
            return Err(Error::NotFinite { tensor: "loss".into(), index: 0, step: oldest.step.number.into() });
        }
        self.progress.step += 1;
        if let Some(profiling) = &mut self.profiling {
            profiling.finished();
        }
        self.progress.loss_sum += f64::from(loss);
        self.pace.step(self.config.step_images());
        let (step, images_per_second) = (self.progress.step, self.pace.rate());
        let epoch = ((step - 1) / self.config.steps_per_epoch()) as usize;
        if options.log_every > 0 && step % options.log_every == 0 {
            let lr = oldest.step.lr;
            self.log(&json!({ "step": step, "loss": loss, "lr": lr, "images_per_second": images_per_second }))?;
        }
        on(Event::Step { step, epoch: epoch + 1, loss, lr: oldest.step.lr, images_per_second });
        Ok(())
    }

    fn log(&mut self, line: &serde_json::Value) -> Result<()> {
        self.folder.as_mut().map_or(Ok(()), |folder| folder.log(line))
    }

    /// Write the checkpoint, where the run has a folder.
    ///
    /// # Errors
    /// [`Error::NotFinite`] where a number of the state is NaN or infinite, and then the old checkpoint stays;
    /// [`Error::Io`], [`Error::DeviceLost`].
    pub fn save(&mut self) -> Result<()> {
        let Some(folder) = self.folder.as_mut() else { return Ok(()) };
        let file = checkpoint::capture(&self.store, &self.config, self.progress, self.gpu.facts())?;
        checkpoint::check_finite(&file, self.progress.step)?;
        folder.save(&file)
    }

    /// The state as a checkpoint file in memory.
    ///
    /// # Errors
    /// [`Error::DeviceLost`].
    pub fn capture(&self) -> Result<File> {
        checkpoint::capture(&self.store, &self.config, self.progress, self.gpu.facts())
    }

    /// The mean loss of `steps` batches, without any update.
    ///
    /// # Errors
    /// Those of [`train`](Self::train).
    pub fn loss_without_update(&mut self, steps: u64) -> Result<f64> {
        let sampler = Sampler::new(self.config.images, self.config.step_images(), self.config.seed)?;
        let mut sum = 0.0;
        for batch in self.supply.batches(&self.dataset, sampler, 0..steps, 0)? {
            let batch = batch?;
            let number = batch.step;
            self.make_room(&batch)?;
            let step = Step { number: number as u32, seed: self.config.seed, lr: 0.0 };
            self.step.write_batch(&batch)?;
            if number == 0 && matches!(self.config.method.loss, Loss::Nce { .. }) {
                self.step.find_z(step)?;
            }
            self.step.run_forward(step)?;
            let loss = self.step.loss();
            sum += f64::from(self.step.program().read(loss)?.first().copied().unwrap_or(f32::NAN));
        }
        Ok(sum / steps.max(1) as f64)
    }
}

/// Tell of images that were skipped in `epoch`.
pub(super) fn tell(skipped: &[Skipped], epoch: usize, on: &mut dyn FnMut(Event)) {
    for Skipped { path, reason, .. } in skipped {
        on(Event::Skipped { epoch, path: path.clone(), reason: reason.clone() });
    }
}

/// The first setting in which two configurations differ, in words.
fn difference(stored: &Config, asked: &Config) -> Result<Option<String>> {
    if stored == asked {
        return Ok(None);
    }
    let fault = |e: serde_json::Error| Error::value("run", "config", "serialisable", e);
    let (stored, asked) = (serde_json::to_value(stored).map_err(fault)?, serde_json::to_value(asked).map_err(fault)?);
    let fields = stored.as_object().into_iter().flatten();
    let differs = fields.filter(|(key, value)| asked.get(key.as_str()) != Some(*value));
    let words = differs.map(|(key, value)| format!("`{key}` was {value} and is now {}", asked[key.as_str()]));
    Ok(Some(words.collect::<Vec<_>>().join("; ")))
}
