//! The search: which problems in which order, which candidates of each, until when.

use super::candidate::distance;
use super::contest::{self, Clock};
use super::{Basis, Cache, Candidate, Found, Report};
use crate::gpu::Gpu;
use crate::ops::Problem;
use std::collections::BTreeMap;
use std::time::Instant;

/// How much trouble to take.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Effort {
    /// The candidates nearest to what the static table prefers, within 3 seconds on a GPU and 20 on a software adapter.
    Quick,
    /// Every candidate for every problem, however long it takes.
    Full,
}

impl Effort {
    /// Seconds that it may take on `gpu`.
    pub fn budget(self, gpu: &Gpu) -> f64 {
        match self {
            Self::Quick if gpu.facts().software => 20.0,
            Self::Quick => 3.0,
            Self::Full => f64::INFINITY,
        }
    }

    /// Samples of each candidate.
    pub(super) fn rounds(self) -> usize {
        match self {
            Self::Quick => 3,
            Self::Full => 7,
        }
    }
}

/// Candidates besides the preferred one that a quick tuning tries for a problem.
const NEAREST: usize = 5;
/// What took so many times as long as the fastest in two problems of a name and in all others, a quick tuning does not try
/// again: its pipelines are the same there.
const RIVAL: f64 = 1.2;

type Candidates = Box<dyn Fn(&Gpu, &Problem) -> Vec<Candidate>>;

/// Finds the fastest algorithms on a device, among those that its choices allow.
pub struct Tuner {
    gpu: Gpu,
    effort: Effort,
    budget: f64,
    candidates: Candidates,
}

/// What was seen of a candidate in other problems of the same name.
#[derive(Clone, Copy, Default)]
struct Past {
    /// Its best time as a multiple of the fastest one's.
    best: f64,
    problems: usize,
    failed: bool,
}

impl Tuner {
    /// A tuner with the budget of `effort` and the candidates of this crate.
    pub fn new(gpu: &Gpu, effort: Effort) -> Self {
        Self { gpu: gpu.clone(), effort, budget: effort.budget(gpu), candidates: Box::new(Candidate::all) }
    }

    /// Take `seconds` at most.
    pub fn budget(mut self, seconds: f64) -> Self {
        self.budget = seconds;
        self
    }

    /// Try these candidates, of which the first is the one that is preferred.
    pub fn candidates(mut self, of: impl Fn(&Gpu, &Problem) -> Vec<Candidate> + 'static) -> Self {
        self.candidates = Box::new(of);
        self
    }

    /// Seconds that it may take.
    pub fn seconds_at_most(&self) -> f64 {
        self.budget
    }

    /// Those of `problems` of which `cache` does not know enough.
    pub fn unknown(&self, problems: &[Problem], cache: &Cache) -> Vec<Problem> {
        problems.iter().copied().filter(|problem| cache.found(&self.gpu, problem, self.effort).is_none()).collect()
    }

    /// About how many seconds a run over `problems` takes: a rough guess from usual rates, for those who wait.
    pub fn estimate(&self, problems: &[Problem]) -> f64 {
        let software = self.gpu.facts().software;
        let (compile, rate, sample) = if software { (0.3, 1e10, 0.01) } else { (0.1, 1e12, 0.001) };
        let mut pipelines = BTreeMap::<(String, String), ()>::new();
        let mut seconds = 0.0;
        for problem in problems {
            let names = self.to_try(problem, &BTreeMap::new()).into_iter().map(|candidate| candidate.name);
            let runs = (self.effort.rounds() + 3) as f64;
            for name in names {
                seconds += runs * f64::max(problem.work().flops / rate, sample);
                pipelines.insert((family(problem), name), ());
            }
        }
        self.budget.min(seconds + compile * pipelines.len() as f64)
    }

    /// Find the fastest algorithm for each of `problems` and say so to `on`, with how many are left. What `cache` knows is
    /// taken from there, and what is found is added to it.
    ///
    /// A candidate counts once it has computed the right result. One that errs, writes beside its result or is wrong is
    /// named in what was found and never chosen. The problems are taken in the order given, and those for which no time is
    /// left keep what the static table prefers.
    pub fn run(&self, problems: &[Problem], cache: &mut Cache, on: &mut dyn FnMut(&Found, usize)) -> Report {
        let clock = Clock::new(self.budget);
        let start = Instant::now();
        let mut found: Vec<Option<Found>> = problems.iter().map(|problem| cache.found(&self.gpu, problem, self.effort)).collect();
        let order: Vec<usize> = (0..problems.len()).filter(|&i| found[i].is_none()).collect();
        let mut past = BTreeMap::new();
        let mut lost = None;
        for (done, &i) in order.iter().enumerate() {
            let one = match lost {
                None => self.one(&problems[i], &clock, &mut past),
                Some(_) => self.kept(&problems[i], Basis::Failed),
            };
            lost = lost.or_else(|| contest::lost(&self.gpu));
            cache.add(&one, self.gpu.choices().allows_winograd(), self.effort);
            on(&one, order.len() - done - 1);
            found[i] = Some(one);
        }
        Report { found: found.into_iter().flatten().collect(), seconds: start.elapsed().as_secs_f64(), lost }
    }

    /// The preferred algorithm of `problem`, unmeasured.
    fn kept(&self, problem: &Problem, basis: Basis) -> Found {
        let all = (self.candidates)(&self.gpu, problem);
        let preferred = all.first().map_or_else(|| problem.preferred(&self.gpu).to_string(), |first| first.name.clone());
        Found::preferred(problem.to_string(), preferred, all.len(), basis)
    }

    fn one(&self, problem: &Problem, clock: &Clock, past: &mut BTreeMap<(String, String), Past>) -> Found {
        let mut found = self.kept(problem, Basis::OutOfTime);
        let candidates = self.to_try(problem, past);
        let seen = contest::hold(&self.gpu, problem, &candidates, self.effort, clock, &mut found);
        let fastest = seen.iter().map(|(_, seconds)| *seconds).fold(f64::INFINITY, f64::min);
        for (name, seconds) in seen {
            let past = past.entry((family(problem), name.clone())).or_default();
            let share = seconds / fastest;
            past.best = if past.problems == 0 { share } else { past.best.min(share) };
            past.problems += 1;
        }
        for out in &found.left_out {
            past.entry((family(problem), out.algorithm.clone())).or_default().failed = true;
        }
        found
    }

    /// The candidates to try for `problem`, the preferred one first.
    fn to_try(&self, problem: &Problem, past: &BTreeMap<(String, String), Past>) -> Vec<Candidate> {
        let mut all = (self.candidates)(&self.gpu, problem);
        if self.effort == Effort::Full || all.is_empty() {
            return all;
        }
        let mut others = all.split_off(1);
        let hopeless = |candidate: &Candidate| {
            let past = past.get(&(family(problem), candidate.name.clone())).copied().unwrap_or_default();
            past.failed || (past.problems > 1 && past.best > RIVAL)
        };
        let preferred = all[0].name.clone();
        others.sort_by(|a, b| distance(&a.name, &preferred).total_cmp(&distance(&b.name, &preferred)));
        all.extend(others.into_iter().take(NEAREST).filter(|candidate| !hopeless(candidate)));
        all
    }
}

/// The problems that share pipelines with `problem`.
fn family(problem: &Problem) -> String {
    problem.to_string().split(' ').next().unwrap_or_default().to_owned()
}
