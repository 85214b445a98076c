//! Networks whose store and tape are not theirs alone: two views on one tape, a head with a norm of its own.

use crate::gpu;
use instdisc::nn::{BatchNorm2d, Block, Mode, ResNet, ResNetConfig, Stem};
use instdisc::ops;
use instdisc::rng::{Sequence, Stream};
use instdisc::shape::Layout::Rows;
use instdisc::tape::{Part, Store, StoreBuilder, Tape};
use instdisc::twin::compare::relative_norm;
use std::collections::BTreeMap;

const SIDE: usize = 8;
const IMAGES: usize = 3;

fn net() -> ResNet {
    let config = ResNetConfig { block: Block::Basic, blocks: vec![1, 1], width: 8, groups: 1, stem: Stem::Cifar, dim: 12 };
    ResNet::new(config).unwrap()
}

fn numbers(count: usize, number: u32) -> Vec<f32> {
    let mut random = Sequence::new(11, Stream::Test, number);
    (0..count).map(|_| random.normal()).collect()
}

/// The gradient of every parameter of the sum over `views` of the embeddings' products with what comes from above.
fn gradients(net: &ResNet, store: &Store, views: &[u32], mode: Mode) -> BTreeMap<String, Vec<f32>> {
    let mut tape = Tape::new(gpu());
    let (mut inputs, mut sum) = (Vec::new(), None);
    for _ in views {
        let x = tape.input("x", &[IMAGES, 3, SIDE, SIDE], Rows).unwrap();
        let embedding = net.forward(&mut tape, store, x, mode).unwrap().embedding;
        sum = Some(sum.map_or(embedding, |sum| ops::add(&mut tape, sum, embedding).unwrap()));
        inputs.push(x);
    }
    let sum = sum.unwrap();
    let upstream = tape.input("upstream", sum.shape().dims(), Rows).unwrap();
    tape.backward_from(sum, upstream).unwrap();
    let mut program = tape.compile().unwrap();
    for (x, view) in inputs.into_iter().zip(views) {
        program.write(x, &numbers(x.shape().count(), *view)).unwrap();
    }
    program.write(upstream, &numbers(upstream.shape().count(), 9)).unwrap();
    program.run().unwrap();
    let names = store.parameters().map(|p| p.name.clone());
    names.map(|name| (name.clone(), store.read(&name, Part::Grad).unwrap())).collect()
}

#[test]
fn two_views_on_one_tape_have_the_sum_of_the_gradients_of_each() {
    let net = net();
    let mut builder = StoreBuilder::default();
    net.declare(&mut builder, 3).unwrap();
    let store = builder.build(gpu()).unwrap();
    let mut worst = 0.0f64;
    for mode in [Mode::Train, Mode::Unfused] {
        let [first, second] = [1, 2].map(|view| gradients(&net, &store, &[view], mode));
        for (name, both) in gradients(&net, &store, &[1, 2], mode) {
            let sum: Vec<f32> = first[&name].iter().zip(&second[&name]).map(|(a, b)| a + b).collect();
            let near = relative_norm(&both, &sum, 1e-5).unwrap_or_else(|e| panic!("{mode:?} {name}: {e}"));
            worst = worst.max(near.worst * 1e-5);
        }
    }
    println!("scorecard two views on one tape: gradients within {worst:.1e} of 1e-5 of the sum of each alone");
}

/// All running statistics after a batch, of a network beside which `others` are declared, before it and behind it.
fn running(net: &ResNet, others: &[BatchNorm2d]) -> BTreeMap<String, Vec<f32>> {
    let mut builder = StoreBuilder::default();
    others.first().into_iter().for_each(|norm| norm.declare(&mut builder).unwrap());
    net.declare(&mut builder, 3).unwrap();
    others.iter().skip(1).for_each(|norm| norm.declare(&mut builder).unwrap());
    let store = builder.build(gpu()).unwrap();
    let mut tape = Tape::new(gpu());
    let x = tape.input("x", &[IMAGES, 3, SIDE, SIDE], Rows).unwrap();
    net.forward(&mut tape, &store, x, Mode::Train).unwrap().statistics.update(&mut tape, &store).unwrap();
    let mut program = tape.compile().unwrap();
    program.write(x, &numbers(x.shape().count(), 1)).unwrap();
    program.run().unwrap();
    let states = store.states();
    states.map(|state| (state.name.clone(), store.read_state(&state.name).unwrap())).collect()
}

#[test]
fn statistics_of_norms_that_were_not_recorded_stay() {
    let net = net();
    let mut expected = running(&net, &[]);
    assert!(expected.values().all(|values| values.iter().all(|v| ![0.0, 1.0].contains(v))), "every norm's move: {expected:?}");
    let others = ["early", "late"].map(|name| BatchNorm2d { name: name.into(), channels: 5 });
    for BatchNorm2d { name, channels } in &others {
        expected.insert(format!("{name}.running_mean"), vec![0.0; *channels]);
        expected.insert(format!("{name}.running_var"), vec![1.0; *channels]);
    }
    assert_eq!(running(&net, &others), expected);
}
