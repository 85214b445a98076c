//! What happens during a run, for those who listen.

use crate::data::Skipped;
use serde::Serialize;
use std::path::PathBuf;

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
    /// The device has no memory beside the training step to judge features.
    NotJudged {
        /// The epoch, from 1.
        epoch: usize,
        /// What was asked for and what there was.
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

/// Tell of images that were skipped in `epoch`.
pub(super) fn tell(skipped: &[Skipped], epoch: usize, on: &mut dyn FnMut(Event)) {
    for Skipped { path, reason, .. } in skipped {
        on(Event::Skipped { epoch, path: path.clone(), reason: reason.clone() });
    }
}
