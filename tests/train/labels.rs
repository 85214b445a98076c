//! R37: labels judge, and never train.

use crate::{IMAGES, LOSSES, Trail, config, device, images, options, state};
use instdisc::data::Memory;
use instdisc::rng::{Sequence, Stream, below};
use instdisc::train::{Run, RunOptions};
use rand::Rng;
use std::sync::Arc;

#[test]
fn weights_are_the_same_under_any_labels_and_none() {
    let gpu = device();
    let mut judged = 0;
    for ((name, loss), permutations) in LOSSES.into_iter().zip([20, 5]) {
        let config = config(IMAGES, loss, 1);
        let run = |labels: Option<Vec<Option<u32>>>| {
            let plain = Memory::new(images(IMAGES, 16)).unwrap();
            let classes = (0..4).map(|c| format!("class {c}")).collect();
            let has_labels = labels.is_some();
            let set = match labels {
                Some(labels) => plain.with_labels(labels, classes).unwrap(),
                None => plain,
            };
            let mut run = Run::new(&gpu, config.clone(), Arc::new(set), None).unwrap();
            let options = RunOptions { eval_every: 1, ..options() };
            Trail::default().train(&mut run, &options, |_| {}).unwrap();
            let evaluation = run.evaluate(&options).unwrap();
            assert_eq!(evaluation.is_some(), has_labels);
            (state(&run), evaluation)
        };
        let (without, _) = run(None);
        let mut labels: Vec<Option<u32>> = (0..IMAGES as u32).map(|i| Some(i % 4)).collect();
        let mut accuracies = std::collections::BTreeSet::new();
        for permutation in 0..permutations {
            let mut random = Sequence::new(5, Stream::Order, permutation);
            for last in (1..labels.len()).rev() {
                labels.swap(last, below(random.next_u32(), last as u32 + 1) as usize);
            }
            let (with, evaluation) = run(Some(labels.clone()));
            assert!(with == without, "{name}: the labels of permutation {permutation} reached the weights");
            accuracies.extend(evaluation.map(|e| (e.bank * 1e6) as u64));
            judged += 1;
        }
        assert!(accuracies.len() > 2, "the permutations are all alike: {accuracies:?}");
    }
    println!("scorecard R37 {judged} runs with permuted labels and 2 without any: weights bit-equal");
}
