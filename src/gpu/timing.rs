//! Timing what is submitted.

use super::{Buffer, Dispatches, Gpu};
use crate::error::Result;
use std::ops::Range;
use std::time::Instant;

/// Seconds on a slow GPU that `time_on_device` puts into one pass at most: watchdogs end what takes seconds.
const PASS_SECONDS: f64 = 0.2;

impl Gpu {
    /// Seconds that one run of `range` takes, by the wall clock, as the mean over `times` runs submitted together.
    ///
    /// # Errors
    /// As [`Dispatches::submit`] and [`Gpu::wait`].
    pub(crate) fn time(&self, dispatches: &Dispatches, range: Range<usize>, times: usize) -> Result<f64> {
        self.wait()?;
        let start = Instant::now();
        dispatches.submit(self, range, times)?;
        self.wait()?;
        Ok(start.elapsed().as_secs_f64() / times.max(1) as f64)
    }

    /// Whether programs can be timed by the device's own clock. A processor that stands in for a GPU has none of its own.
    pub fn has_clock(&self) -> bool {
        self.device().features().contains(wgpu::Features::TIMESTAMP_QUERY) && !self.facts().software
    }

    /// The same as [`Gpu::time`] by the device's own clock, which knows nothing of what submitting costs, and over fewer
    /// runs where so many would take long; by the wall clock where there is none.
    ///
    /// # Errors
    /// As [`Gpu::time`].
    pub(crate) fn time_on_device(&self, dispatches: &Dispatches, range: Range<usize>, times: usize) -> Result<f64> {
        if self.has_clock() {
            let most = (PASS_SECONDS / dispatches.seconds_at_most(range.clone()).max(1e-9)) as usize;
            if let Some(seconds) = self.ticks(dispatches, range.clone(), times.min(most).max(1))? {
                return Ok(seconds);
            }
        }
        self.time(dispatches, range, times)
    }

    /// Seconds a run between two stamps around one pass; `None` where the clock did not move.
    pub(super) fn ticks(&self, dispatches: &Dispatches, range: Range<usize>, times: usize) -> Result<Option<f64>> {
        let device = self.device();
        let (commands, buffer) = self.scoped("timestamps", 16, || {
            let kind = wgpu::QueryType::Timestamp;
            let stamps = device.create_query_set(&wgpu::QuerySetDescriptor { label: Some("timestamps"), ty: kind, count: 2 });
            let descriptor =
                wgpu::BufferDescriptor { label: Some("timestamps"), size: 16, usage: USAGE, mapped_at_creation: false };
            let buffer = device.create_buffer(&descriptor);
            let mut encoder = device.create_command_encoder(&Default::default());
            let writes = wgpu::ComputePassTimestampWrites {
                query_set: &stamps,
                beginning_of_pass_write_index: Some(0),
                end_of_pass_write_index: Some(1),
            };
            let mut pass =
                encoder.begin_compute_pass(&wgpu::ComputePassDescriptor { label: None, timestamp_writes: Some(writes) });
            (0..times).for_each(|_| dispatches.record(&mut pass, range.clone()));
            drop(pass);
            encoder.resolve_query_set(&stamps, 0..2, &buffer, 0);
            (encoder.finish(), buffer)
        })?;
        self.submit("timestamps", commands)?;
        let words = self.read_now(&self.adopt(buffer)?, 0, 4)?;
        let [start, end] = [0, 2].map(|at| u64::from(words[at]) | u64::from(words[at + 1]) << 32);
        let ticks = end.saturating_sub(start);
        let seconds = ticks as f64 * f64::from(self.queue().get_timestamp_period()) * 1e-9;
        Ok((ticks > 0).then_some(seconds / times as f64))
    }

    /// Whether stamps differ after some work: a driver may offer a clock that stands still.
    pub(super) fn clock_moves(&self) -> Result<bool> {
        let kernel = self.kernel(&super::PEAK_SHADER, super::Variant::new(super::PEAK_SHADER.file, "copy"))?;
        let (from, to) = (self.buffer("clock.x", 65_536)?, self.buffer("clock.y", 65_536)?);
        let params = super::Dispatch::params(&kernel, &[])?;
        let bound = [from, to].map(|buffer| super::Bound { offset: 0, words: buffer.words(), buffer }).into();
        let (label, work) = ("clock".to_owned(), super::Work::new(0, 131_072));
        let dispatch = super::Dispatch { kernel, label, bound, params, groups: self.grid("clock", 256)?, work };
        Ok(self.ticks(&Dispatches::new(self, vec![dispatch])?, 0..1, 1)?.is_some())
    }

    /// Commands that run each dispatch of `range` in a pass of its own with a stamp before and one after it, and the buffer
    /// for the stamps, two words each.
    pub(super) fn stamp_each(&self, dispatches: &Dispatches, range: Range<usize>) -> Result<(wgpu::CommandBuffer, Buffer)> {
        let count = 2 * range.len() as u32;
        let size = 8 * u64::from(count);
        let (commands, buffer) = self.granted("timestamps", size, || {
            let device = self.device();
            let kind = wgpu::QueryType::Timestamp;
            let stamps = device.create_query_set(&wgpu::QuerySetDescriptor { label: Some("timestamps"), ty: kind, count });
            let descriptor = wgpu::BufferDescriptor { label: Some("timestamps"), size, usage: USAGE, mapped_at_creation: false };
            let buffer = device.create_buffer(&descriptor);
            let mut encoder = device.create_command_encoder(&Default::default());
            for (place, i) in range.enumerate() {
                let at = 2 * place as u32;
                dispatches.fill_rooms(&mut encoder, i);
                let writes = wgpu::ComputePassTimestampWrites {
                    query_set: &stamps,
                    beginning_of_pass_write_index: Some(at),
                    end_of_pass_write_index: Some(at + 1),
                };
                let descriptor = wgpu::ComputePassDescriptor { label: None, timestamp_writes: Some(writes) };
                dispatches.record(&mut encoder.begin_compute_pass(&descriptor), i..i + 1);
            }
            encoder.resolve_query_set(&stamps, 0..count, &buffer, 0);
            (encoder.finish(), buffer)
        })?;
        Ok((commands, self.adopt(buffer)?))
    }
}

/// What a buffer for stamps is used for.
const USAGE: wgpu::BufferUsages = wgpu::BufferUsages::STORAGE
    .union(wgpu::BufferUsages::COPY_SRC)
    .union(wgpu::BufferUsages::COPY_DST)
    .union(wgpu::BufferUsages::QUERY_RESOLVE);
