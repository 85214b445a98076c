//! The steps of a run: submitted ahead, and looked at once their losses are here.

use super::{Event, Run, RunOptions};
use crate::data::{Batch, Sampler};
use crate::error::{Error, Result};
use crate::gpu::Read;
use crate::npid::Loss;
use crate::tape::Step;
use serde_json::json;
use std::time::Instant;

/// A step that was submitted and not yet looked at.
pub(super) struct Pending {
    step: Step,
    batch: Batch,
    /// Its loss, and behind it the guard's flag.
    loss: Read,
}

impl Run {
    pub(super) fn rate(&self, epoch: usize) -> f32 {
        self.config.schedule.rate(self.config.lr, epoch, self.config.epochs)
    }

    /// Compile the step anew with more room if a batch has larger images than any before. Its state lives in the store.
    ///
    /// # Errors
    /// [`Error::Memory`] where the device has none for so large images; the step is then as it was.
    pub(super) fn make_room(&mut self, batch: &Batch) -> Result<()> {
        if batch.pixels.len() <= self.words {
            return Ok(());
        }
        let compile = |words| Self::compile(&self.gpu, &self.config, &self.net, &self.store, &self.supply, words);
        let words = batch.pixels.len().next_power_of_two();
        self.step.release(&self.gpu)?; // there may be no memory for both
        match compile(words) {
            Ok(step) => (self.step, self.words) = (step, words),
            Err(error) => {
                self.step = compile(self.words)?;
                return Err(error);
            }
        }
        Ok(())
    }

    /// Submit step `number` on `batch`, for which there is room.
    pub(super) fn submit(&mut self, number: u64, batch: Batch) -> Result<()> {
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
        let loss = self.step.program().read_with_guard(loss)?;
        self.pending.push_back(Pending { step, batch, loss });
        Ok(())
    }

    /// Submit step `number`, for whose batch the host waited since `asked`, dispatch by dispatch.
    pub(super) fn watched(&mut self, number: u64, batch: Batch, asked: Instant) -> Result<()> {
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
    pub(super) fn end_profile(&mut self) -> Result<()> {
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

    /// Look at the oldest step under way: its loss, and whether its numbers are finite.
    pub(super) fn finish_oldest(&mut self, options: &RunOptions, on: &mut dyn FnMut(Event)) -> Result<()> {
        let Some(oldest) = self.pending.pop_front() else { return Ok(()) };
        let words = oldest.loss.wait()?;
        let loss = words.first().map_or(f32::NAN, |word| f32::from_bits(*word));
        let flag = words.get(self.step.loss().words()).copied().unwrap_or(0);
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
