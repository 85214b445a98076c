//! A step in several parts: the step on all images, but for batch norm; the same bits again; nothing kept of one that breaks.

use crate::{LOSSES, Trail, config, device, go_on, options, pictures, uninterrupted};
use instdisc::Error;
use instdisc::gpu::Gpu;
use instdisc::nn::ResNet;
use instdisc::npid::{BANK, Loss, Z};
use instdisc::optim::Sgd;
use instdisc::tape::{Part, Step, Store, StoreBuilder};
use instdisc::train::{Config, Images, Run, RunOptions, StepOptions, TrainingStep};

const STEP: Step = Step { number: 0, seed: 1, lr: 0.03 };
const SIDE: usize = 16;

/// A step on 8 images in parts of `batch`, and its state before the first.
fn step_of(gpu: &Gpu, loss: Loss, batch: usize, given_negatives: bool) -> (Store, TrainingStep) {
    let config = config(8, loss, 1);
    let net = ResNet::new(config.net.clone()).unwrap();
    let mut builder = StoreBuilder::default();
    net.declare(&mut builder, 1).unwrap();
    config.method.declare(&mut builder, 8, config.net.dim, 1).unwrap();
    let store = builder.build(gpu).unwrap();
    let sgd = Sgd { momentum: 0.9, weight_decay: 0.0 };
    let options = StepOptions { batch, images: Images::Given { side: SIDE }, method: config.method, sgd, given_negatives };
    let step = TrainingStep::in_parts(gpu, &net, &store, options, 8 / batch).unwrap();
    (store, step)
}

/// The same `count` images over and over: batch norm then has the same statistics in each part as over all.
fn images(count: usize) -> Vec<f32> {
    let picture = |i: usize| ((i % (count * 3 * SIDE * SIDE)) as f32 * 0.7).sin();
    (0..8 * 3 * SIDE * SIDE).map(picture).collect()
}

/// |a − b| / |b|.
fn distance(a: &[f32], b: &[f32]) -> f64 {
    assert_eq!(a.len(), b.len());
    let square = |values: &mut dyn Iterator<Item = f64>| values.map(|v| v * v).sum::<f64>().sqrt();
    let apart = square(&mut a.iter().zip(b).map(|(a, b)| f64::from(a - b)));
    apart / square(&mut b.iter().map(|b| f64::from(*b)))
}

#[test]
fn a_step_in_parts_is_the_step_on_all_images() {
    let gpu = device();
    // A gradient's longest sum is over the 16 × 16 places of 8 images, and (1 + u)^n bounds what a sum of n terms loses of the
    // sum of their absolute values; momentum holds the gradient after a first step.
    let bound = 2048.0 * f64::from(f32::EPSILON) / 2.0;
    let mut worst = 0.0f64;
    for (name, loss) in LOSSES {
        for batch in [4, 2] {
            let rows: Vec<u32> = (0..8).collect();
            let noise: Vec<u32> = (0..8 * 12).map(|i| (i * 5 + i / 7) % 8).collect();
            let given = loss != Loss::Softmax;
            let run = |batch: usize, images: &[f32]| {
                let (store, mut step) = step_of(&gpu, loss, batch, given);
                step.write_images(images, &rows).unwrap();
                if given {
                    step.write_negatives(&noise).unwrap();
                    step.find_z(STEP).unwrap();
                }
                step.run(STEP).unwrap();
                let loss = step.loss();
                (step.program().read(loss).unwrap(), store)
            };
            let images = images(batch);
            let ((in_parts, parts), (at_once, whole)) = (run(batch, &images), run(8, &images));
            let mut check = |what: &str, a: &[f32], b: &[f32]| {
                let apart = distance(a, b);
                assert!(apart <= bound, "{name} in parts of {batch}: {what} is {apart:e} apart");
                worst = worst.max(apart);
            };
            check("loss", &in_parts, &at_once);
            for parameter in whole.parameters() {
                let momentum = |store: &Store| store.read(&parameter.name, Part::Momentum).unwrap();
                check(&parameter.name, &momentum(&parts), &momentum(&whole));
            }
            check("bank", &parts.read_state(BANK).unwrap(), &whole.read_state(BANK).unwrap());
            if given {
                check("z", &parts.read_state(Z).unwrap(), &whole.read_state(Z).unwrap());
            }
        }
    }
    println!(
        "scorecard parts: 2 losses, 8 images in 2 and 4 parts, loss, gradients, bank, Z within {worst:.1e} of one batch (bound {bound:.1e})"
    );
}

#[test]
fn a_run_in_parts_has_the_same_bits_again_and_goes_on_after_a_stop() {
    let gpu = device();
    for (name, loss) in LOSSES {
        let config = Config { batch: 2, accumulate: 3, ..config(22, loss, 6) };
        assert_eq!(config.steps_per_epoch(), 3);
        let whole = uninterrupted(&gpu, &config, &options());
        assert!(uninterrupted(&gpu, &config, &options()) == whole, "{name}");
        let other = Config { batch: 6, accumulate: 1, ..config.clone() };
        assert!(uninterrupted(&gpu, &other, &options()).losses != whole.losses, "{name}: batch norm sees smaller batches");
        let folder = tempfile::tempdir().unwrap();
        let mut run = Run::new(&gpu, config.clone(), pictures(22), Some(folder.path())).unwrap();
        let mut trail = Trail::default();
        trail.train(&mut run, &RunOptions { stop_after: Some(2), ..options() }, |_| {}).unwrap();
        drop(run);
        let said = Run::resume(&gpu, Config { accumulate: 2, ..config.clone() }, pictures(22), folder.path()).err();
        assert!(said.is_some_and(|e| e.to_string().contains("--accumulate 3, now 2")), "{name}");
        go_on(&gpu, &config, folder.path(), &mut trail);
        assert!(trail == whole, "{name}: stopped after epoch 2");
    }
    for (accumulate, part) in [(0, "at least 1"), (12, "at most 11: 22 images, 2 a part")] {
        let config = Config { batch: 2, accumulate, ..config(22, Loss::Softmax, 1) };
        let said = Run::new(&gpu, config, pictures(22), None).err().unwrap().to_string();
        assert!(said.contains("--accumulate") && said.contains(part), "{said}");
    }
    println!("scorecard parts: 2 losses x 18 steps of 3 parts, twice and stopped in between: equal bits");
}

#[test]
fn a_part_that_breaks_stops_the_whole_step() {
    let gpu = device();
    for (name, loss) in LOSSES {
        for broken in 0..4 {
            let (store, mut step) = step_of(&gpu, loss, 2, false);
            let lasting = || {
                let of = |part| store.parameters().map(move |p| (p.name.clone(), part));
                let parts = of(Part::Value).chain(of(Part::Momentum));
                let all: Vec<Vec<f32>> = parts.map(|(name, part)| store.read(&name, part).unwrap()).collect();
                (all, store.read_state(BANK).unwrap(), store.read_state(Z).unwrap())
            };
            let mut pixels = images(8);
            step.write_images(&pixels, &[0, 1, 2, 3, 4, 5, 6, 7]).unwrap();
            step.find_z(STEP).unwrap();
            step.run(STEP).unwrap();
            let before = lasting();
            pixels[broken * 2 * 3 * SIDE * SIDE + 5] = f32::NAN;
            step.write_images(&pixels, &[0, 1, 2, 3, 4, 5, 6, 7]).unwrap();
            let second = Step { number: 1, ..STEP };
            step.run(second).unwrap();
            assert_ne!(step.program().read_guard().unwrap().unwrap().wait().unwrap()[0], 0, "{name}, part {broken}");
            assert!(lasting() == before, "{name}: part {broken} reached the state");
            match step.find_non_finite(second) {
                Err(Error::NotFinite { tensor, step: 1, .. }) => assert_eq!(tensor, "x", "{name}, part {broken}"),
                other => panic!("{name}, part {broken}: {other:?}"),
            }
        }
    }
    println!(
        "scorecard parts: NaN in each of 4 parts, 2 losses: nothing reaches weights, momentum, bank or Z; named with its step"
    );
}
