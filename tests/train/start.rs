//! The loss and Z with which a run begins, against the guide's formulas. The network is untrained and the images are
//! alike, but the bank is random, and that is what the formulas lean on.

use crate::{config, device, images};
use instdisc::data::{Dataset, Image};
use instdisc::npid::{self, Loss, ZRule};
use instdisc::train::{Config, Run};
use std::sync::Arc;

/// `n` images of which there are only a few different ones: the bank has a row for each.
struct Repeated {
    images: Vec<Image>,
    n: usize,
}

impl Dataset for Repeated {
    fn len(&self) -> usize {
        self.n
    }
    fn name(&self, _: usize) -> &str {
        ""
    }
    fn label(&self, _: usize) -> Option<u32> {
        None
    }
    fn classes(&self) -> &[String] {
        &[]
    }
    fn image(&self, i: usize) -> instdisc::Result<Image> {
        Ok(self.images[i % self.images.len()].clone())
    }
}

/// The mean loss over `samples` without an update, and ln Z after the first batch.
fn begin(gpu: &instdisc::gpu::Gpu, n: usize, loss: Loss, tau: f32, samples: usize) -> (Config, f64, f64) {
    let mut config = config(n, loss, 1);
    config.net.dim = 128;
    config.batch = 64;
    config.method.tau = tau;
    let set = Arc::new(Repeated { images: images(256, 16), n });
    let mut run = Run::new(gpu, config.clone(), set, None).unwrap();
    let mean = run.loss_without_update(samples as u64 / 64).unwrap();
    let log_z = f64::from(run.store().read_state(npid::Z).unwrap()[0]);
    (config, mean, log_z)
}

const SAMPLES: usize = 8_192;

#[test]
fn the_loss_at_the_start_is_the_papers() {
    let gpu = device();
    let nce = Loss::Nce { negatives: 4096, z: ZRule::First, exclude_own: false };
    // The guide's values for NCE hold for any n; that of the softmax has ln n in it, and is given for 50,000. Its cost
    // grows with n, so there it is taken for fewer rows.
    const ROWS: usize = 4_096;
    let ln_ratio = (50_000f64 / ROWS as f64).ln();
    for (name, n, loss, tau, guide) in [
        ("nce", 50_000, nce, 0.07, 10.1),
        ("nce", 50_000, nce, 0.1, 9.71),
        ("softmax", ROWS, Loss::Softmax, 0.07, 11.6 - ln_ratio),
        ("softmax", ROWS, Loss::Softmax, 0.1, 11.21 - ln_ratio),
    ] {
        let (config, mean, log_z) = begin(&gpu, n, loss, tau, SAMPLES);
        let formula = config.method.loss_at_start(n, 128);
        let off = (mean - formula).abs() / formula;
        assert!((formula - guide).abs() / guide <= 0.005, "{name} {tau}: the formula gives {formula}, the guide {guide}");
        assert!(off <= 0.01, "{name} tau {tau}: {mean} instead of {formula}");
        println!(
            "scorecard start loss {name} tau {tau} n {n}: {mean:.4} over {SAMPLES} samples, formula {formula:.4}, off {:.3} %",
            100.0 * off
        );
        if let Loss::Nce { .. } = loss {
            let expected = (n as f64).ln() + 1.0 / (2.0 * 128.0 * f64::from(tau).powi(2));
            let off = (log_z - expected).abs() / expected;
            assert!(off <= 0.01, "ln Z {log_z} instead of {expected}");
            println!("scorecard start ln Z tau {tau} n {n}: {log_z:.4}, formula {expected:.4}, off {:.3} %", 100.0 * off);
        }
    }
}

#[test]
fn looking_at_the_loss_changes_nothing_but_z() {
    let gpu = device();
    let set = Arc::new(Repeated { images: images(16, 16), n: 40 });
    let loss = Loss::Nce { negatives: 8, z: ZRule::Ema, exclude_own: true };
    let mut run = Run::new(&gpu, config(40, loss, 1), set, None).unwrap();
    let mut before = run.capture().unwrap();
    run.loss_without_update(3).unwrap();
    let mut after = run.capture().unwrap();
    let (before_z, after_z) = (before.tensors.remove(npid::Z), after.tensors.remove(npid::Z));
    assert_ne!(before_z, after_z);
    assert!(before == after);
}
