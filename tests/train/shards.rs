//! A bank in several buffers, and in 16 bits.

use crate::{IMAGES, LOSSES, Trail, config, device, fifty_steps, go_on, images, options, pictures, uninterrupted};
use instdisc::gpu::Gpu;
use instdisc::nn::ResNet;
use instdisc::npid::{self, BankFormat};
use instdisc::ops::Sgd;
use instdisc::tape::{Part, Split, Step, StoreBuilder};
use instdisc::train::{Config, Images, Run, RunOptions, StepOptions, TrainingStep};

const TILE: usize = 16;
const ROWS: usize = 7 * TILE - 3;
const STEPS: u32 = 12;

/// The bits of losses, weights, bank and Z after some steps with the bank in so many buffers. Some rows come twice in a batch.
fn bits(gpu: &Gpu, config: &Config, shards: usize) -> Vec<u32> {
    let net = ResNet::new(config.net.clone()).unwrap();
    let mut builder = StoreBuilder::default();
    net.declare(&mut builder, 1).unwrap();
    config.method.declare_split(&mut builder, ROWS, config.net.dim, 1, Split { tile: TILE, shards }).unwrap();
    let store = builder.build(gpu).unwrap();
    assert_eq!(store.state(npid::BANK).unwrap().shard_count(), shards);
    let options = StepOptions {
        batch: 4,
        images: Images::Given { side: 16 },
        method: config.method,
        sgd: Sgd { momentum: 0.9, weight_decay: 5e-4 },
        given_negatives: false,
    };
    let mut step = TrainingStep::new(gpu, &net, &store, options).unwrap();
    let pixels: Vec<f32> = images(4, 16).iter().flat_map(|i| i.rgb.iter().map(|b| f32::from(*b) / 128.0 - 1.0)).collect();
    let mut seen = Vec::new();
    for number in 0..STEPS {
        let own = [number * 9, number * 9, number * 9 + 1, 108 - number].map(|row| row % ROWS as u32);
        step.write_images(&pixels, &own).unwrap();
        let now = Step { number, seed: 5, lr: 0.03 };
        if number == 0 {
            step.find_z(now).unwrap();
        }
        step.run(now).unwrap();
        let loss = step.loss();
        seen.push(step.program().read(loss).unwrap()[0]);
    }
    for parameter in store.parameters() {
        seen.extend(store.read(&parameter.name, Part::Value).unwrap());
    }
    seen.extend(store.read_state(npid::BANK).unwrap());
    seen.extend(store.read_state(npid::Z).unwrap());
    assert!(seen.iter().all(|v| v.is_finite()) && seen[0] != seen[1]);
    seen.iter().map(|v| v.to_bits()).collect()
}

#[test]
fn a_bank_in_several_buffers_trains_bit_equal() {
    let gpu = device();
    for (name, loss) in LOSSES {
        for bank in [BankFormat::F32, BankFormat::F16] {
            let mut config = config(ROWS, loss, 1);
            config.method = npid::Method { bank, prox: 0.5, ..config.method };
            let whole = bits(&gpu, &config, 1);
            for shards in [2, 3, 7] {
                assert!(bits(&gpu, &config, shards) == whole, "{name}, {bank:?}: {shards} shards");
            }
        }
    }
    println!(
        "scorecard shards a bank in 1, 2, 3, 7 buffers, 32 and 16 bits, 2 losses x {STEPS} steps: equal weights, bank, Z, losses"
    );
}

/// A run with its bank in 16 bits goes on from its checkpoint as if nothing had happened, and its losses stay near those of
/// a bank in 32 bits.
#[test]
fn a_bank_in_16_bits_comes_back_exactly_and_trains_alike() {
    let gpu = device();
    for (name, loss) in LOSSES {
        let mut config = fifty_steps(loss);
        let full = uninterrupted(&gpu, &config, &options());
        config.method.bank = BankFormat::F16;
        let half = uninterrupted(&gpu, &config, &options());
        let folder = tempfile::tempdir().unwrap();
        let mut run = Run::new(&gpu, config.clone(), pictures(IMAGES), Some(folder.path())).unwrap();
        let mut trail = Trail::default();
        trail.train(&mut run, &RunOptions { stop_after: Some(4), ..options() }, |_| {}).unwrap();
        let file = run.capture().unwrap();
        assert_eq!(file.tensors[npid::BANK].dtype(), instdisc::checkpoint::DType::F16);
        drop(run);
        go_on(&gpu, &config, folder.path(), &mut trail);
        assert!(trail == half, "{name}: the resumed run has other bits");
        assert!(half.state != full.state, "{name}: 16 bits change nothing?");
        let off = |step: u64| {
            let [a, b] = [&full, &half].map(|trail| f32::from_bits(trail.losses[&step]));
            (a, (b - a).abs() / a)
        };
        let (first, last) = (off(*full.losses.keys().next().unwrap()), off(*full.losses.keys().last().unwrap()));
        println!(
            "scorecard 16-bit bank, {name}: the first loss {:.4} is off by {:.1e} of it, the last {:.4} by {:.1e}; resumed bit-equal",
            first.0, first.1, last.0, last.1
        );
        assert!(first.1 < 1e-3 && last.1 < 1e-2, "{name}: {first:?} {last:?}");
    }
}
