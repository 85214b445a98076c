//! Dispatches timed one by one while they do their work.

use super::{Dispatches, Gpu, Read};
use crate::error::Result;
use std::ops::Range;
use std::time::Instant;

/// By which clock dispatches are timed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Clock {
    /// The device's own: stamps before and after each dispatch, which has a pass of its own for them. It does not see what the
    /// device does between dispatches, and dispatches that would overlap may not.
    Device,
    /// The host's: each dispatch is submitted and waited for alone, so that what that costs counts as the dispatch's, and none
    /// overlap.
    Host,
}

/// Part of the time of a thread or device, in seconds.
#[derive(Clone, Debug, PartialEq)]
pub struct Span<T> {
    /// What was done.
    pub what: T,
    /// When it began, counted from the start of the recording.
    pub begin: f64,
    /// When it ended.
    pub end: f64,
}

/// What a program did while it was watched.
pub(crate) struct Watch {
    gpu: Gpu,
    pub(crate) clock: Clock,
    origin: Instant,
    /// On the host.
    pub(crate) host: Vec<Span<&'static str>>,
    /// Dispatches by their numbers.
    pub(crate) device: Vec<Span<usize>>,
    stamped: Vec<(Range<usize>, Read, f64)>,
}

/// Queries that a set has at most, by the WebGPU specification.
const MOST_QUERIES: usize = 4096;

impl Watch {
    /// Begin, with nothing under way.
    pub(crate) fn new(gpu: &Gpu) -> Result<Self> {
        let stamps = gpu.device().features().contains(wgpu::Features::TIMESTAMP_QUERY);
        let clock = if stamps && gpu.clock_moves()? { Clock::Device } else { Clock::Host };
        gpu.wait()?;
        let (host, device, stamped) = Default::default();
        Ok(Self { gpu: gpu.clone(), clock, origin: Instant::now(), host, device, stamped })
    }

    fn now(&self) -> f64 {
        self.origin.elapsed().as_secs_f64()
    }

    /// Something that the host did since `begin`.
    pub(crate) fn host(&mut self, what: &'static str, begin: Instant) {
        let begin = begin.saturating_duration_since(self.origin).as_secs_f64();
        self.host.push(Span { what, begin, end: self.now() });
    }

    /// Run `range` once.
    pub(crate) fn run(&mut self, dispatches: &Dispatches, range: Range<usize>) -> Result<()> {
        if self.clock == Clock::Host {
            for i in range {
                let begin = Instant::now();
                dispatches.submit(&self.gpu, i..i + 1, 1)?;
                self.host("submit", begin);
                self.gpu.wait()?;
                let begin = begin.duration_since(self.origin).as_secs_f64();
                self.device.push(Span { what: i, begin, end: self.now() });
            }
            return Ok(());
        }
        let mut rest = range;
        while !rest.is_empty() {
            let end = dispatches.under_watchdog(&self.gpu, rest.clone()).min(rest.start + MOST_QUERIES / 2);
            let begin = Instant::now();
            let (commands, buffer) = self.gpu.stamp_each(dispatches, rest.start..end)?;
            self.host("encode", begin);
            let (begin, submitted) = (Instant::now(), self.now());
            self.gpu.submit("step", commands)?;
            self.host("submit", begin);
            let begin = Instant::now();
            let read = self.gpu.read(&buffer, 0, 4 * (end - rest.start))?;
            // Some drivers do not take the copy before what is under way is done.
            self.host("read", begin);
            self.stamped.push((rest.start..end, read, submitted));
            rest.start = end;
        }
        Ok(())
    }

    /// Wait for all that was run, so that `device` has it.
    pub(crate) fn settle(&mut self) -> Result<()> {
        let mut shift = None;
        for (range, read, submitted) in std::mem::take(&mut self.stamped) {
            let begin = Instant::now();
            let words = read.wait()?;
            self.host("read", begin);
            let ticks: Vec<u64> = words.chunks_exact(2).map(|w| u64::from(w[0]) | u64::from(w[1]) << 32).collect();
            let Some(&first) = ticks.first() else { continue };
            let period = f64::from(self.gpu.queue().get_timestamp_period()) * 1e-9;
            // The two clocks have nothing in common: the first dispatch is taken to begin with its submission. It does not begin
            // before that, so what is under way ends before the host is done with waiting for it, and before what it submits then.
            let (base, at) = *shift.get_or_insert((first, submitted));
            let seconds = |tick: u64| at + (tick as i128 - base as i128) as f64 * period;
            let spans = range.zip(ticks.chunks_exact(2));
            self.device.extend(spans.map(|(what, t)| Span { what, begin: seconds(t[0]), end: seconds(t[1].max(t[0])) }));
        }
        Ok(())
    }
}
