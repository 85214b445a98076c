//! Which algorithm an op uses for a problem: what a tuner found, a run has stored, or a user wants.

use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;

/// Algorithms by problem, both as the texts that [`ops::Problem`](crate::ops::Problem) and
/// [`ops::Algorithm`](crate::ops::Algorithm) print. Where nothing fits, ops take what their static table prefers.
///
/// ```
/// # use instdisc::gpu::Choices;
/// let mut choices = Choices::default();
/// choices.set("conv2d.forward", "direct lanes 8x4");
/// choices.set("conv2d.forward b4 64->64 32x32 k3 s1", "winograd4 lanes 8x4");
/// assert_eq!(choices.get("conv2d.forward b4 64->64 32x32 k3 s1"), Some("winograd4 lanes 8x4"));
/// assert_eq!(choices.get("conv2d.forward b8 64->64 32x32 k3 s1"), Some("direct lanes 8x4"));
/// assert_eq!(choices.get("gemm.nn 8x8x8"), None);
/// ```
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Choices {
    winograd: bool,
    algorithms: BTreeMap<String, String>,
}

impl Default for Choices {
    fn default() -> Self {
        Self { winograd: true, algorithms: BTreeMap::new() }
    }
}

impl Choices {
    /// Whether Winograd's algorithms may be used, which are faster and round more; at first they may.
    pub fn allows_winograd(&self) -> bool {
        self.winograd
    }

    /// Allow Winograd's algorithms, or leave them out.
    pub fn allow_winograd(&mut self, allowed: bool) {
        self.winograd = allowed;
    }

    /// The algorithm for `problem`: what was set for it, for its name (the text before the first space), or for `*`.
    pub fn get(&self, problem: &str) -> Option<&str> {
        let name = problem.split(' ').next().unwrap_or(problem);
        [problem, name, "*"].iter().find_map(|key| self.algorithms.get(*key)).map(String::as_str)
    }

    /// Use `algorithm` for `problem`, for all problems of a name, or for `*`, all that it can solve.
    pub fn set(&mut self, problem: impl Into<String>, algorithm: impl Into<String>) {
        self.algorithms.insert(problem.into(), algorithm.into());
    }

    /// All that was set, in order of problems.
    pub fn iter(&self) -> impl Iterator<Item = (&str, &str)> {
        self.algorithms.iter().map(|(problem, algorithm)| (problem.as_str(), algorithm.as_str()))
    }

    /// Take over what `other` has set.
    pub fn extend(&mut self, other: &Self) {
        self.algorithms.extend(other.algorithms.clone());
    }
}
