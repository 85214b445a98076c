//! What is said of a run before it begins.

use crate::say::say;
use crate::show::count;
use instdisc::error::bytes;
use instdisc::gpu::Gpu;
use instdisc::npid::{Loss, Method};
use instdisc::train::{Config, Run};

/// The settings that are in force.
pub(super) fn config(config: &Config) {
    let Config { net, method, augmentation, .. } = config;
    let loss = match method.loss {
        Loss::Softmax => "exact softmax".to_owned(),
        Loss::Nce { negatives, z, .. } => format!("NCE, {}, Z {z:?}", count(negatives, "negative")),
    };
    say!(
        "network: {:?} {:?}, width {}, stem {:?}, side {}, {}",
        net.block,
        net.blocks,
        net.width,
        net.stem,
        augmentation.side,
        count(net.dim, "number")
    );
    let Method { tau, bank_keep, prox, bank, .. } = method;
    say!("loss: {loss}, tau {tau}, bank {bank:?}, bank_keep {bank_keep}, prox {prox}");
    say!(
        "training: batch {}{}, {} of {}, lr {} ({:?}), momentum {}, weight decay {}, seed {}, flip {}",
        config.batch,
        if config.accumulate > 1 { format!(" x {} parts", config.accumulate) } else { String::new() },
        count(config.epochs, "epoch"),
        count(config.steps_per_epoch(), "step"),
        config.lr,
        config.schedule,
        config.momentum,
        config.weight_decay,
        config.seed,
        if augmentation.flip > 0.0 { "on" } else { "off" }
    );
}

/// The device memory that it takes, and how much there is.
pub(super) fn memory(gpu: &Gpu, run: &mut Run) {
    let there_is =
        gpu.memory().map_or("how much there is, the driver does not say".into(), |most| format!("there are {}", bytes(most)));
    say!("device memory: {}; {there_is}", run.needs());
}
