//! The run loop: steps, epochs, metrics, checkpoints, resume.

pub mod bench;
mod step;

pub use step::{Images, StepOptions, TrainingStep};
