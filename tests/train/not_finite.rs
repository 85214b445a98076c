//! R9: NaN, infinity and minus infinity in every tensor of a step.

use crate::{IMAGES, LOSSES, Trail, config, device, options, pictures, state};
use instdisc::Error;
use instdisc::checkpoint::{File, Tensor};
use instdisc::gpu::{Bound, Gpu};
use instdisc::nn::ResNet;
use instdisc::optim::Sgd;
use instdisc::tape::{Step, StoreBuilder};
use instdisc::train::{Folder, Images, Run, StepOptions, TrainingStep};
use std::collections::BTreeMap;

const BAD: [f32; 3] = [f32::NAN, f32::INFINITY, f32::NEG_INFINITY];

/// Change one number of tensor `name` in a checkpoint.
fn spoil(file: &mut File, name: &str, value: f32) -> usize {
    let tensor = &file.tensors[name];
    let (shape, mut values) = (tensor.shape().to_vec(), tensor.as_f32().unwrap());
    // Z has its logarithm first and a mark after it.
    let place = if name == "z" { 0 } else { values.len() / 2 };
    values[place] = value;
    file.tensors.insert(name.to_owned(), Tensor::f32(&shape, &values).unwrap());
    place
}

#[test]
fn a_run_reports_what_is_not_finite_in_its_state_and_keeps_its_checkpoint() {
    let gpu = device();
    let (mut at_once, mut later, mut at_save) = (0, 0, 0);
    for (loss_name, loss) in LOSSES {
        let config = config(IMAGES, loss, 3);
        let folder = tempfile::tempdir().unwrap();
        let path = Folder::checkpoint(folder.path());
        let mut run = Run::new(&gpu, config.clone(), pictures(IMAGES), Some(folder.path())).unwrap();
        Trail::default().train(&mut run, &instdisc::train::RunOptions { stop_after: Some(2), ..options() }, |_| {}).unwrap();
        drop(run);
        let good = File::load(&path).unwrap();
        let names = good.tensors.iter().filter(|(_, tensor)| tensor.as_f32().is_ok()).map(|(name, _)| name.clone());
        for name in names.collect::<Vec<_>>() {
            for value in BAD {
                let what = format!("{loss_name}: {value} in {name}");
                let mut file = good.clone();
                let place = spoil(&mut file, &name, value);
                file.save(&path).unwrap();
                let bytes = std::fs::read(&path).unwrap();
                let (mut run, _) = Run::resume(&gpu, config.clone(), pictures(IMAGES), folder.path()).unwrap();
                let before = state(&run);
                let result = run.train(&options(), &mut |_| {});
                let Err(Error::NotFinite { tensor, index, step }) = result else { panic!("{what}: {result:?}") };
                assert_eq!(std::fs::read(&path).unwrap(), bytes, "{what}: the checkpoint");
                // In training nothing reads the running statistics, nor the softmax Z; momentum does not reach a gradient,
                // but the weights after it. These are found when the state would be saved.
                let silent = name.contains("running_") || name == "z" && loss_name == "softmax";
                if silent {
                    assert_eq!((tensor.as_str(), step), (name.as_str(), 15), "{what}");
                    assert!(index as usize == place || name.contains("running_"), "{what}");
                    at_save += 1;
                } else if name.starts_with("momentum/") {
                    at_save += 1;
                } else if value == f32::NEG_INFINITY && (name.contains("bn") || name.contains(".1.")) && name.ends_with("bias") {
                    // The ReLU behind it makes it 0, with no gradient; weight decay then makes it NaN, which is seen.
                    assert_eq!((tensor.as_str(), step), (name.as_str(), 11), "{what}");
                    later += 1;
                } else {
                    assert_eq!((tensor.as_str(), step), (name.as_str(), 10), "{what}");
                    assert!(state(&run) == before, "{what}: the state changed");
                    at_once += 1;
                }
                assert!(matches!(run.save(), Err(Error::NotFinite { .. })), "{what}: saved");
                assert_eq!(std::fs::read(&path).unwrap(), bytes, "{what}: the checkpoint, later");
            }
        }
    }
    println!(
        "scorecard R9 state: {at_once} of {at_once} places in weights, bank, Z reported by name within one step, state bit-equal; {later} times -inf before a ReLU, which reaches nothing, seen in the step after; {at_save} in momentum and running statistics, which reach no gradient, kept out of the checkpoint"
    );
}

#[test]
fn a_learning_rate_that_explodes_is_reported_and_the_checkpoint_kept() {
    let gpu = device();
    for (name, loss) in LOSSES {
        let folder = tempfile::tempdir().unwrap();
        let config = instdisc::train::Config { lr: 1e38, ..config(IMAGES, loss, 2) };
        let mut run = Run::new(&gpu, config, pictures(IMAGES), Some(folder.path())).unwrap();
        let path = Folder::checkpoint(folder.path());
        let first = std::fs::read(&path).unwrap();
        let mut seen = Vec::new();
        let result = run.train(&options(), &mut |event| {
            if let instdisc::train::Event::Step { step, loss, .. } = event {
                seen.push((step, loss));
            }
        });
        let Err(Error::NotFinite { step, .. }) = result else { panic!("{name}: {result:?}, {seen:?}") };
        assert!(step <= 2 && seen.iter().all(|(_, loss)| loss.is_finite()), "{name}: step {step}, {seen:?}");
        assert_eq!(run.progress().step, step, "no step that was not done counts");
        assert_eq!(std::fs::read(&path).unwrap(), first);
    }
}

/// What a kernel may write without its reaching the loss, Z or a gradient, and why.
const HARMLESS: [(&str, &str); 6] = [
    ("batch_norm.y -inf", "the max-pool behind it takes another one of the window"),
    ("l2norm.len_out inf", "the gradient is divided by it"),
    ("l2norm.len_out -inf", "the gradient is divided by it"),
    ("max_pool.chosen_out NaN", "a whole number"),
    ("max_pool.chosen_out inf", "a whole number"),
    ("max_pool.chosen_out -inf", "a whole number"),
];

/// A step on float images whose every buffer can be read and written.
struct Rig {
    gpu: Gpu,
    step: TrainingStep,
    tensors: BTreeMap<String, Bound>,
    now: Step,
    images: Vec<f32>,
}

impl Rig {
    /// After a step, so that momentum and statistics are not zero.
    fn new(gpu: &Gpu, loss: instdisc::npid::Loss) -> Self {
        let mut rig = Self::fresh(gpu, loss);
        if loss != instdisc::npid::Loss::Softmax {
            rig.step.find_z(rig.now).unwrap();
        }
        rig.step.run(rig.now).unwrap();
        rig
    }

    /// Before the first step.
    fn fresh(gpu: &Gpu, loss: instdisc::npid::Loss) -> Self {
        let mut config = config(8, loss, 1);
        config.net.stem = instdisc::nn::Stem::Imagenet; // for the max-pool
        config.method.prox = 0.5;
        let net = ResNet::new(config.net.clone()).unwrap();
        let mut builder = StoreBuilder::default();
        net.declare(&mut builder, 1).unwrap();
        config.method.declare(&mut builder, 8, config.net.dim, 1).unwrap();
        let store = builder.build(gpu).unwrap();
        let options = StepOptions {
            batch: 4,
            images: Images::Given { side: 16 },
            method: config.method,
            sgd: Sgd { momentum: 0.9, weight_decay: 1e-3 },
            given_negatives: false,
        };
        let mut step = TrainingStep::new(gpu, &net, &store, options).unwrap();
        let images: Vec<f32> = (0..4 * 3 * 16 * 16).map(|i| (i as f32 * 0.7).sin()).collect();
        let now = Step { number: 0, seed: 1, lr: 0.03 };
        step.write_images(&images, &[0, 3, 5, 6]).unwrap();
        let tensors = step.program().tensors().map(|(name, _, bound)| (name.to_owned(), bound.clone())).collect();
        Self { gpu: gpu.clone(), step, tensors, now, images }
    }

    fn read(&self, bound: &Bound) -> Vec<u32> {
        self.gpu.read_now(&bound.buffer, bound.offset, bound.words).unwrap()
    }

    /// Everything that a step may change for good.
    fn state(&self) -> Vec<(String, Vec<u32>)> {
        let lasting = |name: &str| ["parameters", "momentum", "bank", "z"].contains(&name) || name.contains("running_");
        let lasting = self.tensors.iter().filter(|(name, _)| lasting(name));
        lasting.map(|(name, bound)| (name.clone(), self.read(bound))).collect()
    }

    fn restore(&self, state: &[(String, Vec<u32>)]) {
        for (name, words) in state {
            let bound = &self.tensors[name];
            self.gpu.write(&bound.buffer, bound.offset, words).unwrap();
        }
    }

    /// Whether loss or gradients hold something that is not finite, as the host sees it.
    fn reached(&mut self) -> bool {
        let loss = self.step.loss();
        let loss = self.step.program().read(loss).unwrap();
        let gradients = self.read(&self.tensors["gradients"]);
        loss.into_iter().chain(gradients.into_iter().map(f32::from_bits)).any(|v| !v.is_finite())
    }

    fn guard(&mut self) -> bool {
        self.step.program().read_guard().unwrap().unwrap().wait().unwrap()[0] != 0
    }
}

#[test]
fn what_any_kernel_writes_is_caught_before_the_update() {
    let gpu = device();
    let (mut caught, mut harmless) = (0, BTreeMap::<String, usize>::new());
    for (loss_name, loss) in LOSSES {
        let mut rig = Rig::new(&gpu, loss);
        let update = rig.step.program().segments().iter().find(|s| s.name == "update").unwrap().range.start;
        let end = rig.step.program().dispatches().len();
        rig.step.program().set_step(Step { number: 1, ..rig.now }).unwrap();
        let before = rig.state();
        // Without a fault the step changes the state, so that "unchanged" says something.
        rig.step.program().run_range(0..end).unwrap();
        assert!(!rig.guard() && !rig.reached());
        assert!(rig.state().iter().zip(&before).filter(|(now, was)| now.1 != was.1).count() >= 5);
        rig.restore(&before);
        for i in 0..update {
            let dispatch = rig.step.program().dispatches()[i].clone();
            let bindings = dispatch.kernel.point.bindings.iter().filter(|b| b.name != "params");
            if bindings.clone().any(|b| b.name == "guard") {
                continue; // what it writes it has looked at itself
            }
            for (binding, bound) in bindings.zip(&dispatch.bound).filter(|(binding, _)| binding.writable) {
                if ["negatives.wgsl", "finite.wgsl"].contains(&dispatch.kernel.variant.file) {
                    continue; // whole numbers
                }
                for value in BAD {
                    let what = format!("{loss_name}: {value} in {} of {i} {}", binding.name, dispatch.label);
                    let mut found = false;
                    // Some channels of two pixels: a ReLU may hide a few of them, hardly all.
                    let middle = bound.words / 8 * 4;
                    for element in (0..bound.words.min(6)).chain(middle..bound.words.min(middle + 6)) {
                        rig.step.program().clear_guard().unwrap();
                        rig.step.program().run_range(0..i + 1).unwrap();
                        gpu.write(&bound.buffer, bound.offset + element, &[value.to_bits()]).unwrap();
                        rig.step.program().run_range(i + 1..end).unwrap();
                        // Z alone is estimated from the spread.
                        let (guard, reached) = (rig.guard(), rig.reached() || binding.name == "spread_out");
                        assert_eq!(guard, reached, "{what}: the guard and the host disagree");
                        if guard {
                            assert!(rig.state() == before, "{what}: the state changed");
                            found = true;
                            break;
                        }
                        rig.restore(&before);
                    }
                    caught += usize::from(found);
                    if !found {
                        let file = dispatch.kernel.variant.file.trim_end_matches(".wgsl");
                        *harmless.entry(format!("{file}.{} {value}", binding.name)).or_default() += 1;
                    }
                }
            }
        }
    }
    for (place, count) in &harmless {
        assert!(HARMLESS.iter().any(|(known, _)| known == place), "{place} reaches neither loss nor gradient, {count} times");
    }
    assert!(caught >= 200, "{caught}");
    println!(
        "scorecard R9 kernels: {caught} of {caught} places that reach loss, Z or gradients caught, state bit-equal; {} places reach none",
        harmless.values().sum::<usize>()
    );
}

#[test]
fn z_is_not_found_from_what_is_not_finite() {
    let gpu = device();
    let (_, nce) = LOSSES[1];
    for value in BAD {
        let mut rig = Rig::fresh(&gpu, nce);
        let mut images = rig.images.clone();
        images[1000] = value;
        let before = rig.state();
        rig.step.write_images(&images, &[0, 3, 5, 6]).unwrap();
        rig.step.find_z(rig.now).unwrap();
        assert!(rig.guard() && rig.state() == before, "{value}: Z was written");
        // With images as they should be it is found.
        rig.step.program().clear_guard().unwrap();
        rig.step.write_images(&rig.images, &[0, 3, 5, 6]).unwrap();
        rig.step.find_z(rig.now).unwrap();
        let z: Vec<f32> = rig.read(&rig.tensors["z"]).into_iter().map(f32::from_bits).collect();
        assert!(!rig.guard() && z[0].is_finite() && z[1] == 1.0, "{value}: {z:?}");
    }
    println!("scorecard R9 first batch of nce: {} of {} times Z was left as it was", BAD.len(), BAD.len());
}

#[test]
fn images_that_are_not_finite_are_named() {
    let gpu = device();
    for (name, loss) in LOSSES {
        for value in BAD {
            let mut rig = Rig::new(&gpu, loss);
            let before = rig.state();
            let mut images = rig.images.clone();
            images[1000] = value;
            rig.step.write_images(&images, &[0, 3, 5, 6]).unwrap();
            rig.step.run(Step { number: 1, ..rig.now }).unwrap();
            assert!(rig.guard() && rig.state() == before, "{name} {value}");
            let found = rig.step.program().find_non_finite(1);
            let Err(Error::NotFinite { tensor, step: 1, .. }) = &found else { panic!("{found:?}") };
            assert_eq!(tensor, "x");
            assert!(rig.state() == before, "{name} {value}: the search changed the state");
        }
    }
    println!("scorecard R9 images: {} of {} reported as `x` within one step, state bit-equal", 2 * BAD.len(), 2 * BAD.len());
}
