//! R18, R23: no uncaptured error, held bytes flat; padding stays zero.

use crate::{LOSSES, Trail, config, device, open, options, pictures};
use instdisc::nn::{Block, Stem};
use instdisc::train::{Config, Run};

/// Bytes of this process in memory; 0 where the system does not say.
fn resident() -> u64 {
    let text = std::fs::read_to_string("/proc/self/statm").unwrap_or_default();
    text.split(' ').nth(1).and_then(|pages| pages.parse::<u64>().ok()).unwrap_or(0) * 4096
}

#[test]
fn five_hundred_steps_hold_no_more_memory_than_twenty() {
    let _turn = device();
    let gpu = open();
    let config = config(40, LOSSES[1].1, 50);
    let mut run = Run::new(&gpu, config.clone(), pictures(40), None).unwrap();
    let (mut held, mut process) = (Vec::new(), (0, 0));
    let watch = |step: u64| {
        if step >= 20 {
            held.push(gpu.bytes());
        }
        if step == 100 {
            process.0 = resident();
        }
        process.1 = resident();
    };
    Trail::default().train(&mut run, &options(), watch).unwrap();
    assert_eq!(held.len(), 481);
    assert!(held.iter().all(|bytes| *bytes == held[0]), "{:?} then {:?}", held[0], held.last());
    assert!(held[0].0 > 10_000);
    assert_eq!(gpu.uncaptured_errors(), 0);
    let growth = process.1 as f64 / process.0.max(1) as f64 - 1.0;
    assert!(growth <= 0.02, "the process grew from {} to {} bytes between steps 100 and 500", process.0, process.1);
    drop(run);
    assert_eq!(gpu.bytes().0, 0, "a run that is dropped gives all back");
    println!(
        "scorecard R18 R23 500 steps: {} bytes held from step 20 to 500 without change, process {:+.2} % from step 100 to 500, 0 uncaptured errors",
        held[0].0,
        100.0 * growth
    );
}

#[test]
fn padding_of_weights_gradients_and_momentum_stays_zero() {
    let gpu = device();
    let mut runs = 0;
    for (_, loss) in LOSSES {
        for (block, groups, width) in [(Block::Basic, 1, 5), (Block::Bottleneck, 1, 3), (Block::Bottleneck, 2, 6)] {
            let mut config = Config { batch: 3, weight_decay: 1e-2, ..config(9, loss, 2) };
            config.net.block = block;
            config.net.groups = groups;
            config.net.width = width;
            config.net.dim = 13;
            config.net.stem = if groups == 2 { Stem::Imagenet } else { Stem::Cifar };
            config.method.prox = 0.5;
            let mut run = Run::new(&gpu, config, pictures(9), None).unwrap();
            assert!(run.store().padding_is_zero().unwrap());
            Trail::default().train(&mut run, &options(), |_| {}).unwrap();
            assert!(run.store().padding_is_zero().unwrap(), "{block:?}, {groups} groups, width {width}");
            runs += 1;
        }
    }
    println!("scorecard padding of weights, gradients, momentum: zero after 6 steps of {runs} networks with odd widths");
}
