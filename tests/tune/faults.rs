//! Candidates that are wrong, err or bring the device down: named, left out, never chosen.

use crate::{few, gpu, problem, tuned};
use instdisc::gpu::{Bound, Choices, Gpu};
use instdisc::ops::{self, Problem};
use instdisc::shape::Layout;
use instdisc::tape::{Element, Tape, Tensor};
use instdisc::train::tune::{Basis, Cache, Candidate, Effort, Report, Tuner};
use instdisc::{Error, Result};

type Spoil = fn(&mut Tape, Tensor) -> Result<Tensor>;

/// `problem` computed rightly and then spoilt.
fn spoilt(problem: Problem, name: &str, spoil: Spoil) -> Candidate {
    Candidate::new(name, 0.0, move |tape, operands| {
        let y = problem.record(tape, operands)?;
        spoil(tape, y)
    })
}

/// `y` plus `value` in the word `place`.
fn plus(tape: &mut Tape, y: Tensor, place: usize, value: f32) -> Result<Tensor> {
    let gpu = tape.gpu().clone();
    let buffer = gpu.buffer("spike", y.words())?;
    gpu.write(&buffer, place, &[value.to_bits()])?;
    let range = Bound { buffer, offset: 0, words: y.words() };
    let spike = tape.bound("spike", y.shape().dims(), y.layout(), Element::F32, range)?;
    ops::add(tape, y, spike)
}

/// Ways to be wrong, with what must be said of each.
fn ways() -> Vec<(&'static str, Spoil, &'static str)> {
    vec![
        ("a little too large", |tape, y| ops::scale(tape, y, 1.000_001), "instead of"),
        ("the wrong sign", |tape, y| ops::scale(tape, y, -1.0), "instead of"),
        ("not a number", |tape, y| plus(tape, y, 77, f32::NAN), "NaN in its result"),
        ("infinite", |tape, y| plus(tape, y, 77, f32::INFINITY), "inf in its result"),
        ("one element off", |tape, y| plus(tape, y, y.words() / 2 + 1, 1.0), "instead of"),
        ("the last element off", |tape, y| plus(tape, y, y.words() - 1, 0.5), "instead of"),
        ("nothing written", |tape, y| tape.output("y", y.shape().dims(), y.layout()), "NaN in its result"),
        ("an error", |tape, y| ops::linear(tape, y, y, None), "errs: linear: `weight`"),
    ]
}

/// A problem without padding, so that every word of the result is an element.
const WHOLE: &str = "gemm.nn 24x40x64";

fn with(candidates: impl Fn(&Gpu, &Problem) -> Vec<Candidate> + 'static) -> Report {
    tuned(&Tuner::new(gpu(), Effort::Full).candidates(candidates), &[problem(WHOLE)])
}

#[test]
fn wrong_candidates_are_named_and_never_chosen() {
    let mut named = 0;
    for (name, spoil, said) in ways() {
        // Among right ones, and in the place of the preferred one.
        for first in [false, true] {
            let report = with(move |gpu, problem| {
                let mut all = Candidate::all(gpu, problem);
                all.insert(if first { 0 } else { 1 }, spoilt(*problem, name, spoil));
                all
            });
            let found = &report.found[0];
            assert_eq!(found.basis, Basis::Measured, "{name}: {found:?}");
            assert_ne!(found.algorithm, name);
            assert_eq!(found.left_out.len(), 1, "{name}: {found:?}");
            assert_eq!(found.left_out[0].algorithm, name);
            assert!(found.left_out[0].why.contains(said), "{name}: {}", found.left_out[0].why);
            assert_eq!(found.tried, found.candidates);
            named += 1;
        }
    }
    println!("scorecard tune wrong candidates: {named} of {named} named and left out, also in the preferred one's place");
}

/// A driver that spoils a whole family of kernels spoils them alike.
#[test]
fn candidates_that_are_wrong_in_the_same_way_do_not_outvote_right_ones() {
    let report = with(|gpu, problem| {
        let off: Spoil = |tape, y| plus(tape, y, y.words() / 2 + 1, 1.0);
        let wrong = ["first", "second"].map(|name| spoilt(*problem, name, off));
        wrong.into_iter().chain(Candidate::all(gpu, problem)).collect()
    });
    let found = &report.found[0];
    let out: Vec<_> = found.left_out.iter().map(|one| one.algorithm.as_str()).collect();
    assert_eq!((found.basis, out), (Basis::Measured, vec!["first", "second"]), "{found:?}");
}

#[test]
fn where_nothing_works_the_static_table_stays() {
    let report = with(|_, problem| ways().into_iter().map(|(name, spoil, _)| spoilt(*problem, name, spoil)).collect());
    let found = &report.found[0];
    assert_eq!((found.basis, found.left_out.len()), (Basis::Failed, ways().len()), "{found:?}");
    assert_eq!(report.choices(Choices::default()), Choices::default());
    let none = with(|_, _| Vec::new());
    assert_eq!(none.choices(Choices::default()), Choices::default());
}

/// An algorithm that may round is held to its tolerance.
#[test]
fn a_tolerance_is_allowed_and_no_more() {
    for (tolerance, fine) in [(1e-5, true), (1e-9, false)] {
        let report = with(move |gpu, problem| {
            let right = *problem;
            let rounds = Candidate::new("rounds", tolerance, move |tape, operands| {
                let y = right.record(tape, operands)?;
                ops::scale(tape, y, 1.000_001)
            });
            let mut all = Candidate::all(gpu, problem);
            all.push(rounds);
            all
        });
        assert_eq!(report.found[0].left_out.is_empty(), fine, "{tolerance:e}: {:?}", report.found[0]);
    }
}

#[test]
fn the_padding_is_looked_at() {
    let odd = problem("gemm.nn 9x17x33");
    let report = tuned(
        &Tuner::new(gpu(), Effort::Full).candidates(|gpu, problem| {
            let mut all = Candidate::all(gpu, problem);
            let spoil: Spoil = |tape, y| plus(tape, y, 35, 1.0);
            all.push(spoilt(*problem, "padding", spoil));
            all
        }),
        &[odd],
    );
    let out = &report.found[0].left_out;
    assert!(out.len() == 1 && out[0].why.contains("padding"), "{out:?}");
    assert_eq!(Layout::Rows.count(instdisc::shape::Shape::new(&[9, 33]).unwrap()), 9 * 36);
}

#[test]
fn a_lost_device_ends_the_search_and_its_cause_is_remembered() {
    let own = Gpu::open(&Default::default()).unwrap();
    let mut cache = Cache::in_memory(&own);
    let problems = few();
    let tuner = Tuner::new(&own, Effort::Full).candidates(|gpu, problem| {
        let right = *problem;
        let mut all = Candidate::all(gpu, problem);
        let killer = Candidate::new("killer", 0.0, move |tape, operands| {
            tape.gpu().device().destroy();
            right.record(tape, operands)
        });
        if problem.to_string().starts_with("conv2d.grad_input") {
            all.insert(1, killer);
        }
        all
    });
    let report = tuner.run(&problems, &mut cache, &mut |_, _| {});
    assert!(report.lost.is_some() && matches!(own.check(), Err(Error::DeviceLost { .. })));
    let bases: Vec<_> = report.found.iter().map(|found| found.basis).collect();
    assert_eq!(bases[..2], [Basis::Measured; 2], "before it");
    assert!(bases[2..].iter().all(|basis| *basis == Basis::Failed), "{bases:?}");
    let out = &report.found[2].left_out;
    assert!(out.len() == 1 && out[0].algorithm == "killer" && out[0].why.contains("device"), "{out:?}");
    // On a new device the problem counts as known, and the killer is not tried again; the others are.
    let known: Vec<_> = problems.iter().map(|problem| cache.found(gpu(), problem, Effort::Full).is_some()).collect();
    assert_eq!(known, [true, true, true, false, false, false, false, false, false]);
    let again = cache.found(gpu(), &problems[2], Effort::Full).unwrap();
    assert_eq!((again.algorithm, again.left_out.len()), (problems[2].preferred(gpu()).to_string(), 1));
    println!("scorecard tune lost device: named, the search ends, the candidate is not tried again");
}
