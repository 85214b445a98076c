//! The epochs of a run: batches to steps, and what happens when an epoch ends.

use super::{Event, Outcome, Run, RunOptions, tell};
use crate::data::{Sampler, Skipped};
use crate::error::{Error, Result};
use crate::train::pace::Pace;
use crate::train::profiling::{Phase, Profiling};
use serde_json::json;
use std::time::Instant;

impl Run {
    /// Train until the schedule's end, `stop_after`, or a stop from outside.
    ///
    /// With a folder, a checkpoint is written after every epoch, in between by [`RunOptions::save_every`], and at a stop.
    ///
    /// # Errors
    /// [`Error::Data`](crate::Error::Data) for an image that cannot be read; [`Error::NotFinite`](crate::Error::NotFinite) with tensor and step where the numbers
    /// break (weights and bank keep the state before that step, the checkpoint that of the last epoch or stop); [`Error::DeviceLost`](crate::Error::DeviceLost); [`Error::Io`](crate::Error::Io).
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
            if boundary || self.pending.len() > options.ahead {
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
                let evaluation = match judge.then(|| self.judge(options, epoch, on)).transpose() {
                    Err(error @ (Error::Memory { .. } | Error::OutOfMemory { .. })) => {
                        on(Event::NotJudged { epoch, reason: error.to_string() });
                        None
                    }
                    judged => judged?.flatten(),
                };
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
            if self.folder.is_some() && options.save_every.is_some_and(|time| self.saved.elapsed() >= time) {
                let began = Instant::now();
                self.drain(options, on)?;
                self.save()?;
                self.pace.leave_out(began);
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
            if batch.as_ref().is_ok_and(|batch| batch.pixels.len() > self.words) {
                // The step is about to be compiled anew, with a guard of its own: look at the old one first.
                self.drain(options, on)?;
            }
            let ready = batch.and_then(|batch| {
                self.make_room(&batch)?;
                self.count_skipped(&batch.skipped, epoch, on)?;
                Ok(batch)
            });
            let batch = match ready {
                Ok(batch) => batch,
                Err(error) => {
                    // What is under way has changed the weights already: count it, and keep it.
                    self.drain(options, on)?;
                    self.save()?;
                    return Err(error);
                }
            };
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
    pub(super) fn drain(&mut self, options: &RunOptions, on: &mut dyn FnMut(Event)) -> Result<()> {
        while !self.pending.is_empty() {
            self.finish_oldest(options, on)?;
        }
        Ok(())
    }

    /// Count and tell the images that a batch of `epoch` skips.
    ///
    /// # Errors
    /// [`Error::Data`](crate::Error::Data) where they are too many.
    fn count_skipped(&mut self, skipped: &[Skipped], epoch: usize, on: &mut dyn FnMut(Event)) -> Result<()> {
        let most = self.supply.most_skipped.unwrap_or(0);
        if let Some(last) = skipped.last().filter(|_| self.progress.skipped + skipped.len() > most) {
            return Err(last.too_many(most));
        }
        self.progress.skipped += skipped.len();
        tell(skipped, epoch, on);
        Ok(())
    }
}
