//! The run loop: steps, epochs, metrics, checkpoints, resume.

mod step;

pub use step::{Images, StepOptions, TrainingStep};
