//! A budget is kept, and what it did not suffice for is said.

use crate::{few, full, gpu, small, tuned};
use instdisc::gpu::Choices;
use instdisc::train::tune::{Basis, Candidate, Effort, Tuner, problems};

#[test]
fn a_quick_tuning_of_a_small_network_keeps_its_budget() {
    let all = problems(gpu(), &small()).unwrap();
    let tuner = Tuner::new(gpu(), Effort::Quick);
    let budget = Effort::Quick.budget(gpu());
    assert_eq!(budget, if gpu().facts().software { 20.0 } else { 3.0 });
    let mut left = Vec::new();
    let mut cache = instdisc::train::tune::Cache::in_memory(gpu());
    let report = tuner.run(&all, &mut cache, &mut |_, rest| left.push(rest));
    assert!(report.seconds <= budget, "{} s", report.seconds);
    assert_eq!(left, (0..all.len()).rev().collect::<Vec<_>>());
    let measured = report.found.iter().filter(|found| found.basis == Basis::Measured).count();
    assert_eq!(measured + report.out_of_time(), all.len());
    assert!(measured > 0 && report.lost.is_none());
    for (found, problem) in report.found.iter().zip(&all) {
        assert_eq!(found.problem, problem.to_string());
        assert!(found.left_out.is_empty(), "{found:?}");
        assert!(found.basis != Basis::Measured || found.ms.unwrap() <= found.preferred_ms.unwrap(), "{found:?}");
    }
    println!(
        "scorecard tune quick: a small network's {} problems, {measured} measured within the budget of {budget} s",
        all.len()
    );
}

#[test]
fn without_time_everything_keeps_the_static_table() {
    let report = tuned(&Tuner::new(gpu(), Effort::Quick).budget(0.0), &few());
    assert_eq!(report.out_of_time(), few().len());
    for (found, problem) in report.found.iter().zip(few()) {
        assert_eq!((found.algorithm.as_str(), found.tried), (problem.preferred(gpu()).to_string().as_str(), 0));
    }
    assert_eq!(report.choices(Choices::default()), Choices::default());
}

/// A budget that ends in the middle: nothing half measured is chosen.
#[test]
fn time_that_runs_out_on_the_way_is_kept_too() {
    for budget in [0.02, 0.1, 0.3] {
        let report = tuned(&Tuner::new(gpu(), Effort::Full).budget(budget), &few());
        for found in &report.found {
            match found.basis {
                Basis::Measured => assert!(found.ms.is_some()),
                Basis::OutOfTime => assert_eq!((found.ms, &found.algorithm), (None, &found.preferred)),
                other => panic!("{other:?}: {found:?}"),
            }
        }
    }
}

#[test]
fn a_full_tuning_tries_every_candidate_and_finds_all_right() {
    let report = tuned(&full(), &few());
    let mut tried = 0;
    for (found, problem) in report.found.iter().zip(few()) {
        assert_eq!(found.basis, Basis::Measured, "{found:?}");
        assert_eq!((found.tried, found.candidates), (Candidate::all(gpu(), &problem).len(), found.tried));
        assert!(found.left_out.is_empty(), "{found:?}");
        assert!(problem.candidates(gpu()).iter().any(|a| a.to_string() == found.algorithm));
        tried += found.tried;
    }
    let choices = report.choices(Choices::default());
    assert_eq!(choices.iter().count(), few().len());
    println!("scorecard tune full: {} problems, {tried} candidates, each equal to the reference and to each other", few().len());
}

/// Winograd's algorithms are among the candidates only where they may be used.
#[test]
fn what_is_not_allowed_is_not_tried() {
    let mut choices = Choices::default();
    choices.allow_winograd(false);
    let gpu = gpu().with_choices(choices);
    let problem = few()[0];
    let names: Vec<_> = Candidate::all(&gpu, &problem).iter().map(|c| c.name().to_owned()).collect();
    assert!(!names.is_empty() && names.iter().all(|name| !name.starts_with("winograd")), "{names:?}");
}
