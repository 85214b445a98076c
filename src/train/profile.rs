//! Where the time of a training step goes: a row a dispatch, the same by kernel, and what is left of the step's wall time.

use super::bench::Roofline;
use crate::error::Result;
use crate::gpu::{Clock, Gpu, Peak, Span, Work};
use crate::ops::apart;
use crate::tape::Program;
use serde::Serialize;
use std::fmt::Write;
use std::time::Instant;

/// A dispatch of a training step.
#[derive(Clone, Debug, Serialize)]
#[cfg_attr(test, derive(Default))]
pub struct Row {
    /// Its place in the step.
    pub dispatch: usize,
    /// The part of the network, as `layer1.0.conv1`.
    pub scope: String,
    /// The kernel, as `conv2d:forward rows=8 cols=4`.
    pub variant: String,
    /// Milliseconds, the median over the steps.
    pub ms: f64,
    /// 10⁹ operations a second.
    pub gflops: f64,
    /// 10⁹ bytes a second that must move at least.
    pub gbps: f64,
    /// The share of the adapter's own rate, of multiply-adds or of a copy, whichever is larger.
    pub fraction_of_peak: Option<f64>,
}

/// A kernel's part in a training step.
#[derive(Clone, Debug, Serialize)]
pub struct Share {
    /// The kernel, as `conv2d:forward rows=8 cols=4`.
    pub variant: String,
    /// Its dispatches in a step.
    pub dispatches: usize,
    /// Milliseconds of all of them.
    pub ms: f64,
    /// Their part of the whole.
    pub share: f64,
    /// 10⁹ operations a second.
    pub gflops: f64,
    /// 10⁹ bytes a second that must move at least.
    pub gbps: f64,
    /// As [`Row::fraction_of_peak`], over all of them.
    pub fraction_of_peak: Option<f64>,
}

/// Where the time of a training step goes.
#[derive(Clone, Debug, Serialize)]
#[cfg_attr(test, derive(Default))]
pub struct Profile {
    /// `device` or `host`: by whose clock dispatches were timed, see [`Clock`].
    pub clock: &'static str,
    /// Steps that were profiled.
    pub steps: usize,
    /// Milliseconds of wall time of a step that is not profiled, with others under way; `None` where none was timed.
    pub step_ms: Option<f64>,
    /// Milliseconds of wall time of a profiled step, the median: waiting for images and for the device included.
    pub profiled_ms: f64,
    /// Milliseconds a step in which at least one dispatch ran, the median over the steps.
    pub kernels_ms: f64,
    /// What of `step_ms` no dispatch ran. Below zero where timing costs more than what it leaves out.
    pub outside_ms: Option<f64>,
    /// The adapter's own multiply-adds, 10⁹ operations a second, right after the steps.
    pub peak_gflops: Option<f64>,
    /// Its own copy, 10⁹ bytes a second.
    pub peak_gbps: Option<f64>,
    /// Dispatches a step, but for Winograd's transforms and the sums of partial sums.
    pub dispatches: usize,
    /// Those.
    pub dispatches_apart: usize,
    /// The dispatches, in order.
    pub rows: Vec<Row>,
    /// The same summed by kernel, the dearest first.
    pub kernels: Vec<Share>,
    /// What host and device did, for [`trace`](Self::trace).
    #[serde(skip)]
    pub(super) spans: Spans,
}

/// What happened when, in seconds.
#[derive(Clone, Debug, Default)]
pub(super) struct Spans {
    pub(super) host: Vec<Span<&'static str>>,
    /// By places in [`Profile::rows`].
    pub(super) device: Vec<Span<usize>>,
}

/// Steps of a program that is watched.
pub(super) struct Recorder {
    /// For each step the end of its spans on the device.
    ends: Vec<usize>,
    /// And the seconds that it took, waiting for it included.
    seconds: Vec<f64>,
    since: Instant,
}

impl Recorder {
    /// Begin, with nothing under way.
    ///
    /// # Errors
    /// [`Error::DeviceLost`](crate::Error::DeviceLost).
    pub(super) fn new(program: &mut Program) -> Result<Self> {
        program.watch()?;
        Ok(Self { ends: Vec::new(), seconds: Vec::new(), since: Instant::now() })
    }

    /// Something that the host did since `begin`, and is done with.
    pub(super) fn host(&mut self, program: &mut Program, what: &'static str, begin: Instant) {
        if let Some(watch) = program.watched() {
            watch.host(what, begin);
        }
    }

    /// A step was submitted: wait for it.
    ///
    /// # Errors
    /// [`Error::DeviceLost`](crate::Error::DeviceLost).
    pub(super) fn step(&mut self, program: &mut Program) -> Result<()> {
        if let Some(watch) = program.watched() {
            watch.settle()?;
            self.ends.push(watch.device.len());
            self.seconds.push(std::mem::replace(&mut self.since, Instant::now()).elapsed().as_secs_f64());
        }
        Ok(())
    }

    /// Steps so far.
    pub(super) fn steps(&self) -> usize {
        self.ends.len()
    }

    /// End, and say where the time went, of steps that take `seconds` when nobody watches.
    ///
    /// # Errors
    /// [`Error::DeviceLost`](crate::Error::DeviceLost).
    pub(super) fn finish(self, gpu: &Gpu, program: &mut Program, seconds: Option<f64>) -> Result<Profile> {
        let Some(watch) = program.unwatch() else { return Err(crate::Error::value("profile", "program", "watched", "not")) };
        let starts = std::iter::once(0).chain(self.ends.iter().copied());
        let steps: Vec<&[Span<usize>]> =
            starts.zip(&self.ends).filter_map(|(start, end)| watch.device.get(start..*end)).collect();
        // Where the device has no memory for the two kernels of the peak, the rest is worth having.
        let peak = gpu.peak().ok();
        let rows: Vec<(Row, Work)> = (0..steps.iter().map(|step| step.len()).min().unwrap_or(0))
            .map(|place| {
                let dispatch = &program.dispatches()[steps[0][place].what];
                let seconds = median(steps.iter().map(|step| step[place].end - step[place].begin).collect());
                let (scope, variant) = (dispatch.scope().to_owned(), dispatch.kernel.variant.to_string());
                let [gflops, gbps, fraction] = rates(dispatch.work, seconds, peak);
                let fraction_of_peak = peak.map(|_| fraction);
                (Row { dispatch: place, scope, variant, ms: seconds * 1e3, gflops, gbps, fraction_of_peak }, dispatch.work)
            })
            .collect();
        let count = |wanted: bool| {
            let first = steps.first().copied().unwrap_or_default();
            first.iter().filter(|span| apart(&program.dispatches()[span.what]) == wanted).count()
        };
        let kernels_ms = 1e3 * median(steps.iter().map(|step| busy(step)).collect());
        let step_ms = seconds.map(|seconds| seconds * 1e3);
        let mut device = Vec::with_capacity(watch.device.len());
        for step in &steps {
            device.extend(step.iter().enumerate().map(|(place, span)| Span { what: place, ..span.clone() }));
        }
        Ok(Profile {
            clock: if watch.clock == Clock::Device { "device" } else { "host" },
            steps: steps.len(),
            step_ms,
            profiled_ms: 1e3 * median(self.seconds),
            kernels_ms,
            outside_ms: step_ms.map(|ms| ms - kernels_ms),
            peak_gflops: peak.map(|p| p.flops / 1e9),
            peak_gbps: peak.map(|p| p.bytes_per_second / 1e9),
            dispatches: count(false),
            dispatches_apart: count(true),
            kernels: by_kernel(&rows, peak),
            rows: rows.into_iter().map(|(row, _)| row).collect(),
            spans: Spans { host: watch.host, device },
        })
    }
}

fn median(values: Vec<f64>) -> f64 {
    super::bench::median(values)
}

/// GFLOP/s, GB/s, and the share of the peak.
fn rates(work: Work, seconds: f64, peak: Option<Peak>) -> [f64; 3] {
    let seconds = seconds.max(1e-9);
    let share = peak.map_or(0.0, |peak| Roofline::from(peak).seconds(work) / seconds);
    [work.flops / seconds / 1e9, work.bytes / seconds / 1e9, share]
}

/// Seconds in which at least one of `spans` was running.
fn busy(spans: &[Span<usize>]) -> f64 {
    let mut sorted: Vec<(f64, f64)> = spans.iter().map(|s| (s.begin, s.end)).collect();
    sorted.sort_by(|a, b| a.0.total_cmp(&b.0));
    let (mut total, mut until) = (0.0, f64::NEG_INFINITY);
    for (begin, end) in sorted {
        total += (end - begin.max(until)).max(0.0);
        until = until.max(end);
    }
    total
}

fn by_kernel(rows: &[(Row, Work)], peak: Option<Peak>) -> Vec<Share> {
    let mut kernels: Vec<(Share, f64)> = Vec::new();
    let mut works: Vec<Work> = Vec::new();
    let total: f64 = rows.iter().map(|(row, _)| row.ms).sum();
    for (row, work) in rows {
        let place = kernels.iter().position(|(share, _)| share.variant == row.variant).unwrap_or_else(|| {
            let variant = row.variant.clone();
            let share = Share { variant, dispatches: 0, ms: 0.0, share: 0.0, gflops: 0.0, gbps: 0.0, fraction_of_peak: None };
            kernels.push((share, 0.0));
            works.push(Work::default());
            kernels.len() - 1
        });
        let (share, least) = &mut kernels[place];
        share.dispatches += 1;
        share.ms += row.ms;
        *least += row.ms * row.fraction_of_peak.unwrap_or(0.0);
        works[place].flops += work.flops;
        works[place].bytes += work.bytes;
    }
    let filled = kernels.into_iter().zip(works).map(|((share, least), work)| {
        let [gflops, gbps, _] = rates(work, share.ms / 1e3, None);
        let fraction_of_peak = peak.map(|_| least / share.ms.max(1e-9));
        Share { share: share.ms / total.max(1e-9), gflops, gbps, fraction_of_peak, ..share }
    });
    let mut kernels: Vec<Share> = filled.collect();
    kernels.sort_by(|a, b| b.ms.total_cmp(&a.ms));
    kernels
}

impl Profile {
    /// Both tables for people, and the summary.
    pub fn text(&self) -> String {
        let mut text = self.table();
        text.push('\n');
        text.push_str(&self.kernel_table());
        text.push('\n');
        text.push_str(&self.summary());
        text
    }

    /// A line a dispatch.
    pub fn table(&self) -> String {
        let wide = self.rows.iter().map(|r| r.scope.chars().count()).max().unwrap_or(0).max(5);
        let names = self.rows.iter().map(|r| r.variant.chars().count()).max().unwrap_or(0).max(6);
        let mut text = format!(
            "{:>4} {:wide$} {:names$} {:>10} {:>9} {:>8} {:>8}\n",
            "#", "scope", "kernel", "ms", "GFLOP/s", "GB/s", "of peak"
        );
        for r in &self.rows {
            let _ = writeln!(
                text,
                "{:>4} {:wide$} {:names$} {:>10.4} {:>9.2} {:>8.2} {:>8}",
                r.dispatch,
                r.scope,
                r.variant,
                r.ms,
                r.gflops,
                r.gbps,
                percent(r.fraction_of_peak)
            );
        }
        text
    }

    /// A line a kernel.
    pub fn kernel_table(&self) -> String {
        let names = self.kernels.iter().map(|k| k.variant.chars().count()).max().unwrap_or(0).max(6);
        let mut text = format!(
            "{:names$} {:>5} {:>10} {:>6} {:>9} {:>8} {:>8}\n",
            "kernel", "times", "ms", "share", "GFLOP/s", "GB/s", "of peak"
        );
        for k in &self.kernels {
            let _ = writeln!(
                text,
                "{:names$} {:>5} {:>10.3} {:>5.1}% {:>9.2} {:>8.2} {:>8}",
                k.variant,
                k.dispatches,
                k.ms,
                k.share * 100.0,
                k.gflops,
                k.gbps,
                percent(k.fraction_of_peak)
            );
        }
        text
    }

    /// Dispatches, the step's wall time and what of it is outside of kernels, and what the method cannot see.
    pub fn summary(&self) -> String {
        let sum: f64 = self.rows.iter().map(|r| r.ms).sum();
        let mut text = format!(
            "{} dispatches a step, and {} transforms of Winograd and sums of partial sums; all together {sum:.3} ms, the median of {} steps\n",
            self.dispatches, self.dispatches_apart, self.steps
        );
        if let (Some(step), Some(outside)) = (self.step_ms, self.outside_ms) {
            let share = 100.0 * outside / step;
            let _ = writeln!(
                text,
                "a step that is not profiled takes {step:.3} ms of wall time: kernels {:.3} ms, outside of kernels {outside:.3} ms ({share:.1} %); a profiled one takes {:.3} ms",
                self.kernels_ms, self.profiled_ms
            );
        }
        if let (Some(flops), Some(bytes)) = (self.peak_gflops, self.peak_gbps) {
            let _ = writeln!(
                text,
                "peak of this adapter, measured after the steps: {flops:.1} GFLOP/s of multiply-adds, {bytes:.1} GB/s of a copy; `of peak` is the larger share"
            );
        }
        text.push_str(match self.clock {
            "device" => {
                "timed by the device's clock, each dispatch in a pass of its own: what the device does between dispatches (barriers, copies, zero fills) counts as outside of kernels, and dispatches that would overlap may not\n"
            }
            _ => {
                "timed by the host's clock, each dispatch submitted and waited for alone: what submitting costs counts as the dispatch's, so small kernels look slow, and what is outside of kernels looks small\n"
            }
        });
        text
    }

    /// All of it but the trace.
    pub fn json(&self) -> String {
        serde_json::to_string_pretty(self).unwrap_or_default()
    }
}

fn percent(share: Option<f64>) -> String {
    share.map_or("?".into(), |share| format!("{:.1} %", 100.0 * share))
}

#[cfg(test)]
mod tests {
    use super::{Span, busy};

    #[test]
    fn time_counts_once_where_dispatches_overlap() {
        let span = |begin, end| Span { what: 0, begin, end };
        let seconds = busy(&[span(5.0, 6.0), span(0.0, 2.0), span(1.0, 1.5), span(1.5, 3.0)]);
        assert_eq!(seconds, 4.0);
        assert_eq!(busy(&[]), 0.0);
    }
}
