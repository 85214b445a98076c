//! Which problems a network's step has.

use crate::{gpu, small};
use instdisc::ops::{Direction, Problem};
use instdisc::train::tune::{problems, problems_of};
use std::collections::BTreeSet;

#[test]
fn every_problem_of_a_step_is_listed_once_the_dearest_first() {
    let all = problems(gpu(), &small()).unwrap();
    assert_eq!(all.iter().map(Problem::to_string).collect::<BTreeSet<_>>().len(), all.len());
    let of = |direction| all.iter().filter(|p| matches!(p, Problem::Conv(d, _) if *d == direction)).count();
    // ResNet-18 has eleven distinct convolutions; the stem's input needs no gradient.
    assert_eq!([Direction::Forward, Direction::Input, Direction::Weight].map(of), [11, 10, 11]);
    let products: Vec<_> = all.iter().filter(|p| matches!(p, Problem::Gemm(..))).map(Problem::to_string).collect();
    for text in ["gemm.nn 2x64x16", "gemm.nt 2x16x64", "gemm.tn 64x2x16"] {
        assert!(products.iter().any(|p| p == text), "{text}: {products:?}");
    }
    assert_eq!(all.len(), 35);
    assert!(all.windows(2).all(|pair| pair[0].work().flops >= pair[1].work().flops));
}

#[test]
fn a_text_that_is_no_problem_is_an_error() {
    let mut choices = instdisc::gpu::Choices::default();
    choices.set("conv3d 4x4", "direct");
    assert!(problems_of(&choices).is_err());
}
