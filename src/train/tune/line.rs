//! A line of a cache: what was found for one problem on one adapter, with a checksum.

use super::{Basis, Effort, Found, LeftOut};
use crate::gpu::{Gpu, library};
use crate::ops::OPS;
use serde::{Deserialize, Serialize};

/// What a measurement holds for: the adapter, its driver, and the kernels.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Place {
    adapter: String,
    vendor: u32,
    device: u32,
    driver: String,
    backend: String,
    kernels: u32,
}

/// A checksum of every shader and of this crate's version, which decides how they are launched.
fn kernels() -> u32 {
    let shaders = OPS.iter().flat_map(|op| op.shaders).map(|shader| shader.text);
    let texts = shaders.chain(library().iter().map(|(_, text)| *text)).chain([env!("CARGO_PKG_VERSION")]);
    texts.fold(0, |sum, text| crc32c::crc32c_append(sum, text.as_bytes()))
}

impl Place {
    /// What is measured on `gpu` now holds for this.
    pub(super) fn of(gpu: &Gpu) -> Self {
        let facts = gpu.facts();
        let (adapter, driver, backend) = (facts.name.clone(), facts.driver.clone(), facts.backend.clone());
        Self { adapter, vendor: facts.vendor, device: facts.device, driver, backend, kernels: kernels() }
    }

    /// A name for a file that is this adapter's and driver's alone.
    pub(super) fn file(&self) -> String {
        let Self { adapter, vendor, device, driver, backend, .. } = self;
        let text = format!("{adapter}\n{vendor}\n{device}\n{driver}\n{backend}");
        format!("kernels-{:08x}.jsonl", crc32c::crc32c(text.as_bytes()))
    }
}

/// What was found. Times are whole numbers, so that a line can be written again as it was.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Entry {
    pub(super) place: Place,
    pub(super) problem: String,
    /// Whether Winograd's algorithms were allowed.
    pub(super) winograd: bool,
    /// Whether every candidate was tried.
    pub(super) full: bool,
    algorithm: String,
    nanoseconds: Option<u64>,
    preferred: String,
    preferred_nanoseconds: Option<u64>,
    tried: usize,
    candidates: usize,
    left_out: Vec<LeftOut>,
}

#[derive(Serialize, Deserialize)]
struct Line {
    checksum: u32,
    entry: Entry,
}

impl Entry {
    /// What to keep of `found`: measurements, and that a candidate brought the device down, so that it is not tried again.
    pub(super) fn of(place: &Place, found: &Found, winograd: bool, effort: Effort) -> Option<Self> {
        let works = found.left_out.iter().all(|out| out.algorithm != found.algorithm);
        let keep = found.basis == Basis::Measured || (found.basis == Basis::Failed && works && !found.left_out.is_empty());
        let nanoseconds = |ms: Option<f64>| ms.map(|ms| (ms * 1e6).round() as u64);
        keep.then(|| Self {
            place: place.clone(),
            problem: found.problem.clone(),
            winograd,
            // A failure ends the search: what is left of it would fail again.
            full: effort == Effort::Full && (found.tried == found.candidates || found.basis == Basis::Failed),
            algorithm: found.algorithm.clone(),
            nanoseconds: nanoseconds(found.ms),
            preferred: found.preferred.clone(),
            preferred_nanoseconds: nanoseconds(found.preferred_ms),
            tried: found.tried,
            candidates: found.candidates,
            left_out: found.left_out.clone(),
        })
    }

    pub(super) fn found(&self) -> Found {
        let ms = |nanoseconds: Option<u64>| nanoseconds.map(|n| n as f64 * 1e-6);
        Found {
            problem: self.problem.clone(),
            algorithm: self.algorithm.clone(),
            ms: ms(self.nanoseconds),
            preferred: self.preferred.clone(),
            preferred_ms: ms(self.preferred_nanoseconds),
            tried: self.tried,
            candidates: self.candidates,
            basis: Basis::Cached,
            left_out: self.left_out.clone(),
        }
    }

    pub(super) fn algorithm(&self) -> &str {
        &self.algorithm
    }

    /// Whether it stands in for `other`, which is about the same.
    pub(super) fn supersedes(&self, other: &Self) -> bool {
        self.full || !other.full
    }

    pub(super) fn line(&self) -> String {
        let line = Line { checksum: self.checksum(), entry: self.clone() };
        serde_json::to_string(&line).unwrap_or_default()
    }

    /// The entry of a line that is whole.
    pub(super) fn parse(line: &str) -> Option<Self> {
        let line: Line = serde_json::from_str(line).ok()?;
        (line.checksum == line.entry.checksum()).then_some(line.entry)
    }

    fn checksum(&self) -> u32 {
        crc32c::crc32c(serde_json::to_string(self).unwrap_or_default().as_bytes())
    }
}
