//! The order of images: a function of seed and step.

use crate::{refusal, says};
use instdisc::data::Sampler;
use std::collections::BTreeMap;

fn sampler(n: usize, batch: usize, seed: u64) -> Sampler {
    Sampler::new(n, batch, seed).unwrap()
}

#[test]
fn an_epoch_takes_each_image_once_and_drops_the_rest() {
    let mut sampler = sampler(23, 5, 1);
    assert_eq!((sampler.batches_per_epoch(), sampler.batch()), (4, 5));
    for epoch in 0..3 {
        let mut taken: Vec<u32> = (0..4).flat_map(|i| sampler.indices(epoch * 4 + i)).collect();
        assert_eq!(taken, sampler.permutation(epoch as u32)[..20]);
        taken.sort_unstable();
        taken.dedup();
        assert_eq!(taken.len(), 20);
        assert_eq!(sampler.epoch(epoch * 4 + 3), epoch);
    }
    let mut all = sampler.permutation(9);
    all.sort_unstable();
    assert!(all.into_iter().eq(0..23));
}

#[test]
fn a_step_has_the_same_images_whatever_was_asked_before() {
    let mut one = sampler(50, 8, 5);
    let straight: Vec<_> = (0..30).map(|step| one.indices(step)).collect();
    for step in (0..30).rev() {
        assert_eq!(sampler(50, 8, 5).indices(step), straight[step as usize], "resumed at {step}");
        assert_eq!(one.indices(step), straight[step as usize], "backwards at {step}");
    }
    assert_eq!(one.indices(u64::MAX).len(), 8);
}

#[test]
fn epochs_and_seeds_differ() {
    let sampler_5 = sampler(50, 8, 5);
    assert_ne!(sampler_5.permutation(0), sampler_5.permutation(1));
    assert_ne!(sampler_5.permutation(0), sampler(50, 8, 6).permutation(0));
    assert_ne!(sampler_5.permutation(0), sampler(50, 8, 5 + (1 << 32)).permutation(0));
}

#[test]
fn every_order_is_as_likely() {
    let mut counts = BTreeMap::new();
    let sampler = sampler(4, 4, 1);
    for epoch in 0..24_000 {
        *counts.entry(sampler.permutation(epoch)).or_insert(0u32) += 1;
    }
    assert_eq!(counts.len(), 24);
    // 1,000 each with a deviation of 31.
    assert!(counts.values().all(|count| (850..=1_150).contains(count)), "{counts:?}");
}

#[test]
fn the_order_is_the_one_it_was_in_earlier_versions() {
    // Printed by this test when it was written: a resumed run needs the same order from a later version.
    assert_eq!(sampler(8, 4, 7).permutation(3), GOLDEN);
}

const GOLDEN: [u32; 8] = [0, 2, 5, 1, 7, 4, 6, 3];

#[test]
fn small_sets_are_one_batch_and_none_is_an_error() {
    says(&refusal(Sampler::new(0, 4, 1)), &["at least 1 image", "is 0"]);
    says(&refusal(Sampler::new(4, 0, 1)), &["`batch` must be at least 1"]);
    assert_eq!(sampler(1, 4, 1).indices(9), [0]);
    let mut two = sampler(2, 4, 1);
    assert_eq!((two.batch(), two.batches_per_epoch()), (2, 1));
    let mut indices = two.indices(5);
    indices.sort_unstable();
    assert_eq!(indices, [0, 1]);
    assert_eq!(sampler(4, usize::MAX, 1).batch(), 4);
}
