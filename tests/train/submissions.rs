//! How a step reaches the device: in a handful of submissions, and with the same bits in any number of them.

use crate::{LOSSES, config, device, images, options, pictures};
use instdisc::data::Batch;
use instdisc::nn::ResNet;
use instdisc::npid::Loss;
use instdisc::ops::Augmentation;
use instdisc::optim::Sgd;
use instdisc::tape::{Part, Step, StoreBuilder};
use instdisc::train::{Config, Images, Pixels, Run, StepOptions, TrainingStep};

/// All weights, momentum, running statistics, bank and Z as bits after three steps in `submissions` each.
fn three_steps(gpu: &instdisc::gpu::Gpu, loss: Loss, submissions: usize) -> Vec<Vec<u32>> {
    let config = config(12, loss, 1);
    let net = ResNet::new(config.net.clone()).unwrap();
    let mut builder = StoreBuilder::default();
    net.declare(&mut builder, 1).unwrap();
    config.method.declare(&mut builder, 12, config.net.dim, 1).unwrap();
    let store = builder.build(gpu).unwrap();
    let sgd = Sgd { momentum: 0.9, weight_decay: 1e-3 };
    let images_from = Images::Augmented { settings: Augmentation::paper(16), pixels: Pixels::Written { words: 4 * 192 } };
    let options = StepOptions { batch: 4, images: images_from, method: config.method, sgd, given_negatives: false };
    let mut step = TrainingStep::new(gpu, &net, &store, options).unwrap();
    let all = images(12, 16);
    for number in 0..3 {
        let mut batch = Batch::default();
        for i in 0..4 {
            let image = 4 * number + i;
            batch.push(image as u32, &all[image]).unwrap();
        }
        step.write_batch(&batch).unwrap();
        let now = Step { number: number as u32, seed: 1, lr: 0.03 };
        if number == 0 {
            step.find_z(now).unwrap();
        }
        step.program().set_step(now).unwrap();
        let count = step.program().dispatches().len();
        assert!(count > 50, "{count} dispatches");
        let before = gpu.submissions();
        step.program().run_split(0..count, submissions).unwrap();
        assert_eq!(gpu.submissions() - before, submissions as u64);
    }
    let bits = |values: Vec<f32>| values.into_iter().map(f32::to_bits).collect();
    let of = |part| store.parameters().map(move |p| (&p.name, part));
    let parts = of(Part::Value).chain(of(Part::Momentum)).map(|(name, part)| bits(store.read(name, part).unwrap()));
    parts.chain(store.states().map(|s| bits(store.read_state(&s.name).unwrap()))).collect()
}

#[test]
fn one_four_and_sixteen_submissions_give_the_same_bits() {
    let gpu = device();
    for (name, loss) in LOSSES {
        let once = three_steps(&gpu, loss, 1);
        for submissions in [4, 16] {
            assert!(three_steps(&gpu, loss, submissions) == once, "{name}: {submissions} submissions");
        }
    }
    println!("scorecard same bits: 2 losses x 3 steps in 1, 4 and 16 submissions a step");
}

#[test]
fn a_step_is_a_handful_of_submissions() {
    let gpu = device();
    for (accumulate, most) in [(1, 3), (3, 9)] {
        for (name, loss) in LOSSES {
            let config = Config { batch: 2, accumulate, ..config(24, loss, 1) };
            let mut run = Run::new(&gpu, config.clone(), pictures(24), None).unwrap();
            let mut seen = Vec::new();
            run.train(&options(), &mut |_| seen.push(gpu.submissions())).unwrap();
            let steps = config.steps_per_epoch();
            let each = (seen.last().unwrap() - seen[0]) as f64 / (steps - 1) as f64;
            // When the first is looked at three are under way.
            let all = seen.last().unwrap() - seen[0];
            assert!(all <= most * steps, "{name}, {accumulate} parts: {each:.1} submissions a step");
        }
    }
    println!("scorecard submissions: at most 3 a step, 9 a step of 3 parts, the read of loss and guard included");
}
