//! What is tried for a problem.

use crate::error::Result;
use crate::gpu::Gpu;
use crate::ops::Problem;
use crate::tape::{Tape, Tensor};

type Record = Box<dyn Fn(&mut Tape, [Tensor; 2]) -> Result<Tensor>>;

/// One way to solve a problem: a name, under which it is chosen, and what records it.
pub struct Candidate {
    pub(super) name: String,
    pub(super) tolerance: f64,
    pub(super) record: Record,
}

impl Candidate {
    /// `record` gets a tape whose device has chosen `name` for the problem, and operands as
    /// [`Problem::operands`] describes them; what it returns has the shape of [`Problem::record`]'s result. It may be off
    /// by `tolerance` times the sum of the absolute terms where plain sums are exact.
    pub fn new(
        name: impl Into<String>,
        tolerance: f64,
        record: impl Fn(&mut Tape, [Tensor; 2]) -> Result<Tensor> + 'static,
    ) -> Self {
        Self { name: name.into(), tolerance, record: Box::new(record) }
    }

    /// Every algorithm of this crate that solves `problem` on `gpu`, the preferred one first.
    pub fn all(gpu: &Gpu, problem: &Problem) -> Vec<Self> {
        let preferred = problem.preferred(gpu);
        let mut all = problem.candidates(gpu);
        all.retain(|algorithm| *algorithm != preferred);
        all.insert(0, preferred);
        let problem = *problem;
        let candidate =
            |a: crate::ops::Algorithm| Self::new(a.to_string(), a.tolerance(), move |tape, x| problem.record(tape, x));
        all.into_iter().map(candidate).collect()
    }

    /// The name under which it is chosen.
    pub fn name(&self) -> &str {
        &self.name
    }
}

impl std::fmt::Debug for Candidate {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Candidate({})", self.name)
    }
}

/// How far the names of two algorithms lie apart: a word that differs counts one, a number in it as often as one must be
/// doubled to reach the other. So `8x4` is nearer to `8x2` than to `32x1`, and everything is far from `scalar`.
pub(super) fn distance(a: &str, b: &str) -> f64 {
    let (a, b): (Vec<_>, Vec<_>) = (a.split(' ').collect(), b.split(' ').collect());
    let more = a.len().abs_diff(b.len());
    a.iter().zip(&b).map(|(a, b)| between_words(a, b)).sum::<f64>() + more as f64
}

fn between_words(a: &str, b: &str) -> f64 {
    let (a, b) = (runs(a), runs(b));
    let mut sum = 0.0;
    for (a, b) in a.iter().zip(&b) {
        match (a.parse::<u32>(), b.parse::<u32>()) {
            (Ok(a), Ok(b)) => sum += (f64::from(a.max(1)) / f64::from(b.max(1))).log2().abs(),
            _ if a == b => {}
            _ => return 1.0,
        }
    }
    if a.len() == b.len() { sum } else { 1.0 }
}

/// The runs of digits and of other letters in `word`.
fn runs(word: &str) -> Vec<&str> {
    let mut runs = Vec::new();
    let mut rest = word;
    while let Some(first) = rest.chars().next() {
        let digits = first.is_ascii_digit();
        let end = rest.find(|c: char| c.is_ascii_digit() != digits).unwrap_or(rest.len());
        let (run, after) = rest.split_at(end);
        runs.push(run);
        rest = after;
    }
    runs
}

#[cfg(test)]
mod tests {
    use super::distance;

    #[test]
    fn algorithms_that_differ_little_are_near() {
        let near = |a, b| distance(a, b);
        assert_eq!(near("direct lanes 8x4", "direct lanes 8x4"), 0.0);
        assert_eq!(near("direct lanes 8x4", "direct lanes 8x2"), 1.0);
        assert_eq!(near("direct lanes 32x1 across 8", "direct lanes 16x2 across 8"), 2.0);
        assert_eq!(near("direct lanes 32x1 across 8", "winograd4 lanes 32x1 across 8"), 1.0);
        assert_eq!(near("winograd2 lanes 8x4", "winograd4 lanes 8x4"), 1.0);
        assert_eq!(near("direct lanes 8x4", "scalar"), 3.0);
        assert_eq!(near("direct lanes 8x1", "direct lanes 8x1 across 8"), 2.0);
        assert_eq!(near("a\u{e9}1", "a\u{e9}4"), 2.0);
    }
}
