//! R17 and R42: the device is lost (`destroy`) after any step and before any submission of a step.

use crate::{IMAGES, LOSSES, Trail, config, device, go_on, open, options, pictures, uninterrupted};
use instdisc::Error;
use instdisc::checkpoint::File;
use instdisc::nn::ResNet;
use instdisc::optim::Sgd;
use instdisc::tape::{Step, StoreBuilder, Tape};
use instdisc::train::{Folder, Images, Run, StepOptions, TrainingStep};

#[track_caller]
fn lost<T>(result: instdisc::Result<T>, what: &str) {
    match result {
        Err(Error::DeviceLost { .. }) => {}
        Err(other) => panic!("{what}: {other}"),
        Ok(_) => panic!("{what}: done on a lost device"),
    }
}

#[test]
fn a_device_lost_after_any_step_ends_the_run_and_a_resumed_one_has_the_same_bits() {
    let gpu = device();
    let mut losses = 0;
    for (name, loss) in LOSSES {
        let config = config(IMAGES, loss, 4); // twenty steps
        let whole = uninterrupted(&gpu, &config, &options());
        let steps: Vec<u64> = if name == "nce" { (1..=19).step_by(2).collect() } else { vec![4, 10, 14] };
        for k in steps {
            let folder = tempfile::tempdir().unwrap();
            let own = open();
            let mut run = Run::new(&own, config.clone(), pictures(config.images), Some(folder.path())).unwrap();
            let mut trail = Trail::default();
            let destroy = |step: u64| {
                if step == k {
                    own.device().destroy();
                }
            };
            lost(trail.train(&mut run, &options(), destroy), "train");
            let stopped = run.progress().step;
            // Losses of steps that were under way may have been on the host already, but no step goes unseen.
            assert!((k..k + 3).contains(&stopped) && trail.losses.len() as u64 == stopped, "{k} {stopped}");
            lost(run.train(&options(), &mut |_| {}), "train again");
            lost(run.save(), "save");
            lost(run.capture(), "capture");
            lost(run.loss_without_update(1), "loss");
            lost(own.wait(), "wait");
            lost(own.buffer("more", 4), "buffer");
            lost(Run::new(&own, config.clone(), pictures(config.images), None), "another run");
            assert_eq!(own.uncaptured_errors(), 0);
            drop(run);
            let file = File::load(Folder::checkpoint(folder.path())).unwrap();
            let at: u64 = file.metadata["step"].parse().unwrap();
            assert!(at % 5 == 0 && at + 5 >= k && at <= stopped, "lost after step {k}, checkpoint of step {at}");
            go_on(&gpu, &config, folder.path(), &mut trail);
            assert!(trail == whole, "{name}: lost after step {k}");
            losses += 1;
        }
    }
    println!(
        "scorecard R17 R42 device lost after a step: {losses} places of 20-step runs, DeviceLost from the next call, checkpoint intact, resume bit-equal"
    );
}

/// The calls of a step that submit something.
const CALLS: usize = 9;
/// The first of them that waits for the device.
const READ: usize = 7;

/// Make each call of a step in turn, with the device destroyed before call `place`. Returns how many later calls there were.
///
/// wgpu tells of a loss when the queue has run dry, and lets calls pass without effect until then. So with nothing under
/// way the next call must say it, and with work under way the first call that waits.
fn lose_before(place: usize, idle: bool) -> usize {
    let gpu = open();
    let config = config(IMAGES, LOSSES[1].1, 1);
    let net = ResNet::new(config.net.clone()).unwrap();
    let mut builder = StoreBuilder::default();
    net.declare(&mut builder, 1).unwrap();
    config.method.declare(&mut builder, config.images, config.net.dim, 1).unwrap();
    let store = builder.build(&gpu).unwrap();
    let options = StepOptions {
        batch: 4,
        images: Images::Given { side: 16 },
        method: config.method,
        sgd: Sgd { momentum: 0.9, weight_decay: 0.0 },
        given_negatives: false,
    };
    let mut step = TrainingStep::new(&gpu, &net, &store, options).unwrap();
    let loss = step.loss();
    let now = Step { number: 0, seed: 1, lr: 0.03 };
    let pixels: Vec<f32> = (0..4 * 3 * 16 * 16).map(|i| (i as f32).sin()).collect();
    let calls: [&dyn Fn(&mut TrainingStep) -> instdisc::Result<()>; CALLS] = [
        &|s| s.write_images(&pixels, &[0, 1, 2, 3]),
        &|s| s.program().set_step(now),
        &|s| s.program().run_segment("forward"),
        &|s| s.program().run_segment("backward"),
        &|s| s.program().run_segment("update"),
        &|s| s.program().run_segment("z"),
        &|s| s.program().run_segment("bank"),
        &|s| s.program().read(loss).map(drop),
        &|s| s.program().read_guard()?.unwrap().wait().map(drop),
    ];
    let (mut told, mut later) = (false, 0);
    for (i, call) in calls.iter().enumerate() {
        if i == place {
            if idle {
                gpu.wait().unwrap();
            }
            gpu.device().destroy();
        }
        let result = call(&mut step);
        if i < place {
            result.unwrap();
            continue;
        }
        later += 1;
        if told || idle || i >= READ || result.is_err() {
            lost(result, &format!("call {i}, lost before {place}, idle {idle}"));
            told = true;
        }
    }
    lost(store.read_state("bank"), "the bank");
    lost(gpu.buffer("x", 4), "a new buffer");
    lost(Tape::new(&gpu).compile(), "a new program");
    assert_eq!(gpu.uncaptured_errors(), 0);
    later
}

#[test]
fn a_device_lost_before_any_submission_of_a_step_is_seen() {
    let _turn = device();
    let idle: usize = (0..CALLS).map(|place| lose_before(place, true)).sum();
    let busy: usize = (0..CALLS).map(|place| lose_before(place, false)).sum();
    println!(
        "scorecard R17 device lost before each of {CALLS} calls of a step: idle, {idle} of {idle} later calls DeviceLost; busy, all {busy} from the first that waits; no panic"
    );
}
