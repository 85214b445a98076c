//! A run: epochs of steps over a data set.

mod begin;
mod epochs;
mod events;
mod judge;
mod options;
mod steps;

pub use events::{Evaluation, Event, Outcome};
pub use options::RunOptions;

use super::checkpoint::{self, Progress};
use super::feed::Supply;
use super::pace::Pace;
use super::profiling::Profiling;
use super::{Config, Folder, Needs, Profile, TrainingStep};
use crate::checkpoint::File;
use crate::data::Dataset;
use crate::error::Result;
use crate::gpu::{Choices, Gpu};
use crate::nn::ResNet;
use crate::tape::Store;
use events::tell;
use std::collections::VecDeque;
use std::sync::Arc;
use std::time::Instant;
use steps::Pending;

/// A training run: a network, its bank, and the images it tells apart.
///
/// *Images that cannot be read when their turn comes* end the run, or, with [`Source::skip_broken`](super::Source::skip_broken), are
/// skipped: in the step another image takes the place, the next one in the epoch's order that can be read and is not in the step
/// ([`Sampler::stand_ins`](crate::data::Sampler::stand_ins)), and moves its own row of the bank. The row of a skipped image stays
/// as it is, and the image has its turn again in the next epoch. Beside seed and step this depends on nothing but which images
/// can be read, so a run that is resumed where the same ones can ends with the same bits. Each is told by [`Event::Skipped`], and
/// counted unless it was to be judged; where more than 0.1 % of the images would be skipped in an epoch, and more than one, the run ends with an error.
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
    /// When the last checkpoint was written, or the run began.
    saved: Instant,
    pending: VecDeque<Pending>,
    words: usize,
    pace: Pace,
    profiling: Option<Profiling>,
    profile: Option<Profile>,
}

impl Run {
    /// The device memory that it holds while it trains.
    pub fn needs(&mut self) -> Needs {
        Needs::new(&self.store, &self.supply.pixels(self.words), self.step.program().footprint())
    }

    /// Compile the kernels of a step before the first one: see [`Program::make_ready`](crate::tape::Program::make_ready).
    ///
    /// # Errors
    /// Those of [`Program::make_ready`](crate::tape::Program::make_ready).
    pub fn make_ready(&mut self, ready: impl Fn(usize, usize) + Sync) -> Result<()> {
        self.step.program().make_ready(ready)
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

    /// Where the time of the steps went that [`RunOptions::profile`] asked for, once they are done. A folder has it as
    /// `profile.txt`, `profile.json` and `trace.json`.
    pub fn profile(&self) -> Option<&Profile> {
        self.profile.as_ref()
    }

    pub(super) fn log(&mut self, line: &serde_json::Value) -> Result<()> {
        self.folder.as_mut().map_or(Ok(()), |folder| folder.log(line))
    }

    /// Write the checkpoint, where the run has a folder.
    ///
    /// # Errors
    /// [`Error::NotFinite`](crate::Error::NotFinite) where a number of the state is NaN or infinite, and then the old checkpoint stays;
    /// [`Error::Io`](crate::Error::Io), [`Error::DeviceLost`](crate::Error::DeviceLost).
    pub fn save(&mut self) -> Result<()> {
        let Some(folder) = self.folder.as_mut() else { return Ok(()) };
        let file = checkpoint::capture(&self.store, &self.config, self.progress, self.gpu.facts())?;
        checkpoint::check_finite(&file, self.progress.step)?;
        folder.save(&file)?;
        self.saved = Instant::now();
        Ok(())
    }

    /// The state as a checkpoint file in memory.
    ///
    /// # Errors
    /// [`Error::DeviceLost`](crate::Error::DeviceLost).
    pub fn capture(&self) -> Result<File> {
        checkpoint::capture(&self.store, &self.config, self.progress, self.gpu.facts())
    }
}
