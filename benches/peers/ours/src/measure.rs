//! A case made ready to be sampled again and again.

use instdisc::gpu::Gpu;
use instdisc::train::bench::{Case, Prepared};
use instdisc::{Error, Result};
use serde_json::{Value, json};
use std::time::Instant;

/// The programs that make up a case, with the runs of each that make a sample.
pub(crate) struct Timed {
    parts: Vec<(Prepared, usize)>,
    /// Milliseconds of the very first run: recording, compiling, and one run.
    first_ms: f64,
}

impl Timed {
    /// Prepare the case that `line` names. `conv2d.forward+backward` is three programs, one a direction, whose times add up.
    ///
    /// # Errors
    /// As [`Prepared::new`] and the reading of a [`Case`].
    pub(crate) fn new(gpu: &Gpu, line: &str, seconds: f64) -> Result<Self> {
        let lines = match line.strip_prefix("conv2d.forward+backward") {
            Some(shape) => ["forward", "grad_input", "grad_weight"].map(|name| format!("conv2d.{name}{shape}")).to_vec(),
            None => vec![line.to_owned()],
        };
        let start = Instant::now();
        let mut parts = Vec::new();
        for line in &lines {
            let case: Case = line.parse()?;
            let prepared = Prepared::new(gpu, &case)?;
            parts.extend(prepared.map(|p| (p, 1)));
        }
        for (part, _) in &mut parts {
            part.seconds(1)?;
        }
        let first_ms = start.elapsed().as_secs_f64() * 1e3;
        for (part, times) in &mut parts {
            let each = part.seconds(1)?;
            *times = (seconds / each.max(1e-9)).ceil().max(1.0) as usize;
            // Once more at the length of a sample: a single short run says little about many.
            let each = part.seconds(*times)?;
            *times = (seconds / each.max(1e-9)).ceil().max(1.0) as usize;
        }
        Ok(Self { parts, first_ms })
    }

    /// The answer to `line`: `samples` samples.
    ///
    /// # Errors
    /// As [`Prepared::seconds`]; [`Error::Value`] for no sample at all.
    pub(crate) fn sample(&mut self, line: &str, samples: usize) -> Result<Value> {
        let mut found = Vec::with_capacity(samples);
        for _ in 0..samples {
            let mut seconds = 0.0;
            for (part, times) in &mut self.parts {
                seconds += part.seconds(*times)?;
            }
            found.push(seconds * 1e3);
        }
        let mut sorted = found.clone();
        sorted.sort_by(f64::total_cmp);
        let none = || Error::value("peer", "samples", "at least 1", samples);
        let median = sorted.get(sorted.len() / 2).copied().ok_or_else(none)?;
        let flops: f64 = self.parts.iter().map(|(part, _)| part.flops()).sum();
        let (case, shape) = line.split_once(' ').unwrap_or((line, ""));
        Ok(json!({
            "case": case, "shape": shape, "median_ms": median, "samples_ms": found, "gflops": flops / median / 1e6,
            "first_ms": self.first_ms,
        }))
    }
}
