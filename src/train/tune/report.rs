//! What tuning found.

use crate::gpu::Choices;
use serde::{Deserialize, Serialize};

/// Why an algorithm is the chosen one.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Basis {
    /// It was the fastest of those tried.
    Measured,
    /// An earlier tuning measured it.
    Cached,
    /// There was no time left, so it is what the static table prefers.
    OutOfTime,
    /// Nothing could be measured, so it is what the static table prefers.
    Failed,
}

/// A candidate that was left out, and why.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct LeftOut {
    /// Its name.
    pub algorithm: String,
    /// What is wrong with it.
    pub why: String,
}

/// What was found for one problem.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Found {
    /// The problem, as [`Problem`](crate::ops::Problem) prints it.
    pub problem: String,
    /// The algorithm to use.
    pub algorithm: String,
    /// Milliseconds that it takes, where it was measured.
    pub ms: Option<f64>,
    /// What the static table prefers.
    pub preferred: String,
    /// Milliseconds that this takes.
    pub preferred_ms: Option<f64>,
    /// Candidates that were checked.
    pub tried: usize,
    /// Candidates that there are.
    pub candidates: usize,
    /// Why it is the one to use.
    pub basis: Basis,
    /// What does not work here.
    pub left_out: Vec<LeftOut>,
}

impl Found {
    /// Nothing measured yet: the preferred algorithm.
    pub(super) fn preferred(problem: String, preferred: String, candidates: usize, basis: Basis) -> Self {
        let algorithm = preferred.clone();
        Self { problem, algorithm, ms: None, preferred, preferred_ms: None, tried: 0, candidates, basis, left_out: Vec::new() }
    }

    /// How many times faster than the preferred algorithm it is.
    pub fn gain(&self) -> Option<f64> {
        Some(self.preferred_ms? / self.ms?)
    }

    /// Whether it stands on a measurement.
    pub fn measured(&self) -> bool {
        matches!(self.basis, Basis::Measured | Basis::Cached)
    }
}

/// What was found for all problems.
#[derive(Clone, Debug, Default)]
pub struct Report {
    /// Each problem, in the order in which they were given.
    pub found: Vec<Found>,
    /// Seconds that it took.
    pub seconds: f64,
    /// Why the device is gone, if a candidate brought it down.
    pub lost: Option<String>,
}

impl Report {
    /// `choices` with what was measured.
    pub fn choices(&self, mut choices: Choices) -> Choices {
        let measured = self.found.iter().filter(|found| found.measured());
        measured.for_each(|found| choices.set(&found.problem, &found.algorithm));
        choices
    }

    /// Problems for which no time was left.
    pub fn out_of_time(&self) -> usize {
        self.found.iter().filter(|found| found.basis == Basis::OutOfTime).count()
    }

    /// The gain over all problems together: what the preferred algorithms take, over what the chosen ones do, each once.
    pub fn gain(&self) -> Option<f64> {
        let both = self.found.iter().filter_map(|found| Some((found.preferred_ms?, found.ms?)));
        let (before, after) = both.fold((0.0, 0.0), |(a, b), (x, y)| (a + x, b + y));
        (after > 0.0).then_some(before / after)
    }
}
