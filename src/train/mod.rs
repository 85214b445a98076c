//! The run loop: steps, epochs, metrics, checkpoints, resume.
//!
//! A [`Run`] owns a network, its bank and a data set, and goes epoch by epoch; with a [`Folder`] it also writes `config.json`,
//! `metrics.jsonl` and checkpoints, from which [`Run::resume`] goes on with the same bits. [`TrainingStep`] is the step
//! alone, for those who bring their own loop.

pub mod bench;
mod cached;
mod checkpoint;
mod config;
mod features;
mod feed;
mod folder;
mod kernels;
mod lock;
mod memory;
mod pace;
mod profile;
mod profiling;
mod run;
mod scans;
mod settings;
mod step;
mod trace;
pub mod tune;

pub use checkpoint::Progress;
pub use config::{Choices, Config, Preset, SOFTMAX_IMAGES};
pub use features::{EmbedOptions, Embedded, Features, embed, embed_skipping, features};
pub use feed::{Feed, Source};
pub use folder::Folder;
pub use memory::Needs;
pub use profile::{Profile, Row, Share};
pub use run::{Evaluation, Event, Outcome, Run, RunOptions};
pub use scans::Scans;
pub use step::{Images, Pixels, StepOptions, TrainingStep};
