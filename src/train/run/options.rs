//! What a run does besides what its configuration says.

use crate::data::Dataset;
use std::sync::Arc;
use std::sync::atomic::AtomicBool;
use std::time::Duration;

/// What a run does besides what its [`Config`](crate::train::Config) says; none of it changes the weights.
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
    /// Steps that may be under way before the oldest one's loss is read.
    pub ahead: usize,
    /// Save a checkpoint when so much time has passed since the last one, beside those at the end of each epoch; `None` for never.
    pub save_every: Option<Duration>,
    /// Profile so many steps, once a few have warmed up and as many more were timed as they are; see [`Run::profile`](super::Run::profile).
    pub profile: usize,
    /// Raised from outside to stop after the current step.
    pub stop: Arc<AtomicBool>,
}

impl Default for RunOptions {
    fn default() -> Self {
        let save_every = Some(Duration::from_secs(600));
        Self {
            test: None,
            eval_every: 1,
            stop_after: None,
            threads: 0,
            log_every: 50,
            ahead: 2,
            save_every,
            profile: 0,
            stop: Arc::default(),
        }
    }
}
