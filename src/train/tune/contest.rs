//! One problem: candidates are checked one after the other, and those that are right are timed in turns.

use super::trial::{Task, Trial};
use super::{Basis, Candidate, Effort, Found, LeftOut};
use crate::error::{Error, Result};
use crate::gpu::Gpu;
use crate::ops::Problem;
use std::cell::Cell;
use std::time::Instant;

/// What takes so many times as long as the fastest is not timed any further.
const HOPELESS: f64 = 1.5;
/// Another than the preferred algorithm must take at most this part of its time: choices should not follow noise.
const WORTH: f64 = 0.97;
/// Seconds that a sample takes at least, by the device's clock and by the wall clock.
const SAMPLE_ON_DEVICE: f64 = 0.0005;
const SAMPLE: f64 = 0.01;

/// The time that is left, and how long the longest step took so far: none is begun that would end too late.
pub(super) struct Clock {
    start: Instant,
    budget: f64,
    longest: Cell<f64>,
}

impl Clock {
    pub(super) fn new(budget: f64) -> Self {
        Self { start: Instant::now(), budget, longest: Cell::new(0.0) }
    }

    fn left(&self) -> f64 {
        self.budget - self.start.elapsed().as_secs_f64()
    }

    /// Whether making and checking another candidate fits, as far as one can tell.
    fn fits(&self) -> bool {
        self.left() > self.longest.get()
    }

    /// Do `step` and remember how long it took.
    fn step<T>(&self, step: impl FnOnce() -> T) -> T {
        let before = Instant::now();
        let value = step();
        self.longest.set(self.longest.get().max(before.elapsed().as_secs_f64()));
        value
    }
}

/// A candidate that computes what it should.
struct Sound<'a> {
    candidate: &'a Candidate,
    trial: Trial,
    /// Runs a sample; 0 before the first look.
    times: usize,
    samples: Vec<f64>,
    hopeless: bool,
}

impl Sound<'_> {
    fn least(&self) -> f64 {
        self.samples.iter().copied().fold(f64::INFINITY, f64::min)
    }

    fn median(&self) -> f64 {
        let mut samples = self.samples.clone();
        samples.sort_by(f64::total_cmp);
        samples.get(samples.len() / 2).copied().unwrap_or(f64::INFINITY)
    }
}

/// Find the fastest of `candidates`, of which the first is the preferred one, and write it into `found`. Returns every
/// candidate that was timed, with its seconds.
pub(super) fn hold(
    gpu: &Gpu,
    problem: &Problem,
    candidates: &[Candidate],
    effort: Effort,
    clock: &Clock,
    found: &mut Found,
) -> Vec<(String, f64)> {
    if !clock.fits() {
        return Vec::new();
    }
    let mut task = match clock.step(|| Task::new(gpu, problem)) {
        Ok(task) => task,
        Err(error) => {
            found.left_out.push(LeftOut { algorithm: found.preferred.clone(), why: reason(&error) });
            found.basis = Basis::Failed;
            return Vec::new();
        }
    };
    let mut sound = check(gpu, &mut task, candidates, clock, found);
    let whole = time(&mut sound, gpu, effort, clock, found);
    if lost(gpu).is_some() || (sound.is_empty() && !found.left_out.is_empty()) {
        found.basis = Basis::Failed;
        return Vec::new();
    }
    sound.retain(|one| !one.samples.is_empty());
    let seen = sound.iter().map(|one| (one.candidate.name.clone(), one.median())).collect();
    let fastest = sound.iter().min_by(|a, b| a.median().total_cmp(&b.median()));
    // Out of time, the preferred one stays; unless it was found wrong.
    let refuted = found.left_out.iter().any(|one| one.algorithm == found.preferred);
    let Some(fastest) = fastest.filter(|_| whole || refuted) else { return seen };
    let preferred = sound.iter().find(|one| one.candidate.name == found.preferred);
    let chosen = preferred.filter(|preferred| fastest.median() > WORTH * preferred.median()).unwrap_or(fastest);
    found.basis = Basis::Measured;
    found.algorithm = chosen.candidate.name.clone();
    found.ms = Some(chosen.median() * 1e3);
    found.preferred_ms = preferred.map(|one| one.median() * 1e3);
    seen
}

/// Those of `candidates` that compute the right result; what is wrong with others goes into `found`. One that would take the
/// preferred one's place with no other to agree with is held against the host's numbers as far as those can be had.
fn check<'a>(gpu: &Gpu, task: &mut Task, candidates: &'a [Candidate], clock: &Clock, found: &mut Found) -> Vec<Sound<'a>> {
    let mut sound: Vec<Sound<'a>> = Vec::new();
    // The first that is right; all others are compared with it in every element.
    let mut base: Option<Vec<f32>> = None;
    for candidate in candidates {
        if !clock.fits() || lost(gpu).is_some() {
            break;
        }
        found.tried += 1;
        let out = |why: String| LeftOut { algorithm: candidate.name.clone(), why };
        let made = clock.step(|| -> Result<_> {
            let mut trial = Trial::new(gpu, task, candidate)?;
            let checked = trial.check(task)?;
            Ok((trial, checked))
        });
        let (trial, computed) = match made {
            Ok((trial, Ok(computed))) => (trial, computed),
            Ok((_, Err(why))) => {
                found.left_out.push(out(format!("is wrong: {why}")));
                continue;
            }
            Err(error) => {
                found.left_out.push(out(reason(&error)));
                continue;
            }
        };
        if let (Some(first), Some(base)) = (sound.first(), &base) {
            match trial.compare(task, &computed, (&first.trial, base)) {
                Err(why) => {
                    found.left_out.push(out(format!("is wrong: {why}")));
                    continue;
                }
                Ok(Some(why)) => {
                    // The others agreed with the first one in every element, so they are as wrong.
                    found.left_out.extend(sound.drain(..).map(|one| {
                        let algorithm = one.candidate.name.clone();
                        LeftOut { algorithm, why: format!("is wrong, or agrees with what is: {why}") }
                    }));
                }
                Ok(None) => {}
            }
        }
        if sound.is_empty() {
            base = Some(computed);
        }
        sound.push(Sound { candidate, trial, times: 0, samples: Vec::new(), hopeless: false });
    }
    if let ([only], Some(base)) = (sound.as_slice(), &base)
        && only.candidate.name != found.preferred
        && let Some(why) = only.trial.whole(task, base)
    {
        found.left_out.push(LeftOut { algorithm: only.candidate.name.clone(), why: format!("is wrong: {why}") });
        sound.clear();
    }
    sound
}

/// Time `sound` in turns; what errs goes into `found`. Whether there was time for all of it.
fn time(sound: &mut Vec<Sound<'_>>, gpu: &Gpu, effort: Effort, clock: &Clock, found: &mut Found) -> bool {
    let least_sample = if gpu.has_clock() { SAMPLE_ON_DEVICE } else { SAMPLE };
    let wanted = effort.rounds();
    while sound.iter().any(|one| !one.hopeless && one.samples.len() < wanted) {
        let mut place = 0;
        while let Some(one) = sound.get_mut(place) {
            if one.hopeless {
                place += 1;
                continue;
            }
            if lost(gpu).is_some() || clock.left() < expected(one) {
                return false;
            }
            match one.trial.seconds(one.times.max(1)) {
                Ok(seconds) if one.times == 0 => {
                    // The first look says how many runs make a sample; where one does, it is one.
                    one.times = (least_sample / seconds.max(1e-9)).ceil().clamp(1.0, 4096.0) as usize;
                    one.samples.extend((one.times == 1).then_some(seconds));
                }
                Ok(seconds) => one.samples.push(seconds),
                Err(error) => {
                    found.left_out.push(LeftOut { algorithm: one.candidate.name.clone(), why: reason(&error) });
                    sound.remove(place);
                    continue;
                }
            }
            place += 1;
        }
        let least = sound.iter().map(Sound::least).fold(f64::INFINITY, f64::min);
        for one in sound.iter_mut().filter(|one| one.candidate.name != found.preferred && !one.samples.is_empty()) {
            // One sample may have met other work on the machine.
            let limit = if one.samples.len() == 1 { 1.5 * HOPELESS } else { HOPELESS };
            one.hopeless |= one.least() > limit * least;
        }
    }
    !sound.is_empty()
}

/// Seconds that the next sample takes.
fn expected(one: &Sound<'_>) -> f64 {
    if one.samples.is_empty() { 0.0 } else { one.least() * one.times as f64 }
}

/// Why the device is gone, if it is.
pub(super) fn lost(gpu: &Gpu) -> Option<String> {
    match gpu.check() {
        Err(Error::DeviceLost { reason }) => Some(reason),
        _ => None,
    }
}

/// An error as a reason to leave a candidate out.
fn reason(error: &Error) -> String {
    match error {
        Error::Gpu { text, .. } => format!("does not compile or run: {}", text.lines().next().unwrap_or_default()),
        Error::DeviceLost { reason } => format!("brings the device down: {reason}"),
        other => format!("errs: {other}"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::gpu::Shader;
    use crate::shape::Layout;
    use crate::tape::{Launch, Tape, Tensor};

    fn broken(shader: &'static Shader) -> impl Fn(&mut Tape, [Tensor; 2]) -> Result<Tensor> {
        move |tape, [x, _]| {
            let y = tape.output("y", x.shape().dims(), Layout::Rows)?;
            tape.launch(Launch::new(shader, "main").bind("x", x).bind("y", y).groups(1))?;
            Ok(y)
        }
    }

    #[test]
    fn what_does_not_compile_is_named_and_left_out() {
        static NO_WGSL: Shader = Shader { file: "no.wgsl", text: "fn main( {" };
        static NO_ENTRY: Shader = Shader { file: "none.wgsl", text: "fn other() {}" };
        static TOO_LARGE: Shader = Shader {
            file: "large.wgsl",
            text:
                "@group(0) @binding(0) var<storage, read> x: array<f32>;
                @group(0) @binding(1) var<storage, read_write> y: array<f32>;
                var<workgroup> held: array<f32, 1000000>;
                @compute @workgroup_size(64) fn main(@builtin(local_invocation_index) i: u32) { held[i] = x[i]; y[i] = held[i]; }",
        };
        let gpu = Gpu::open(&Default::default()).unwrap();
        let problem: Problem = "gemm.nn 4x4x4".parse().unwrap();
        for (shader, said) in
            [(&NO_WGSL, "does not compile"), (&NO_ENTRY, "no such entry point"), (&TOO_LARGE, "workgroup memory")]
        {
            for first in [0, 1] {
                let mut candidates = Candidate::all(&gpu, &problem);
                candidates.insert(first, Candidate::new("broken", 0.0, broken(shader)));
                let preferred = candidates[0].name.clone();
                let mut found = Found::preferred(problem.to_string(), preferred, candidates.len(), Basis::OutOfTime);
                let seen = hold(&gpu, &problem, &candidates, Effort::Quick, &Clock::new(60.0), &mut found);
                assert_eq!((found.basis, seen.len()), (Basis::Measured, candidates.len() - 1), "{found:?}");
                assert_ne!(found.algorithm, "broken");
                assert!(found.left_out.len() == 1 && found.left_out[0].algorithm == "broken", "{:?}", found.left_out);
                assert!(found.left_out[0].why.contains(said), "{said}: {}", found.left_out[0].why);
            }
        }
        assert_eq!(gpu.uncaptured_errors(), 0);
    }
}
