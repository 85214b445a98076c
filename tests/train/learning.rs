//! That anything is learnt at all: the loss falls, and images find themselves in the bank.

use crate::{config, device, options, pictures};
use instdisc::eval::{Layer, Matrix, neighbours};
use instdisc::npid::{self, Loss, ZRule};
use instdisc::train::{Config, EmbedOptions, Event, Run, embed};

const N: usize = 48;
const EPOCHS: usize = 80;

#[test]
fn a_short_run_lowers_the_loss_and_raises_instance_recall() {
    let gpu = device();
    for (name, loss) in [("softmax", Loss::Softmax), ("nce", Loss::Nce { negatives: 32, z: ZRule::Ema, exclude_own: true })] {
        let mut config = Config { batch: 8, lr: 0.06, ..config(N, loss, EPOCHS) };
        config.net.width = 8;
        config.net.dim = 32;
        // Pictures that differ in colour too: colours may not be shuffled away.
        config.augmentation =
            instdisc::ops::Augmentation { jitter: [0.1; 3], hue: 0.0, grey: 0.0, area: [0.5, 1.0], ..config.augmentation };
        let set = pictures(N);
        let mut run = Run::new(&gpu, config.clone(), set.clone(), None).unwrap();
        let recall = |run: &Run| {
            let bank = Matrix::new(config.net.dim, run.store().read_state(npid::BANK).unwrap()).unwrap();
            let options = EmbedOptions { augmentation: config.augmentation, batch: 8, layer: Layer::Embedding, threads: 0 };
            let own = embed(&gpu, run.net(), run.store(), &set, options).unwrap();
            let found = neighbours(&gpu, &bank, &own, 1).unwrap();
            found.iter().enumerate().filter(|(i, best)| best[0].row == *i as u32).count() as f64 / N as f64
        };
        let before = recall(&run);
        let mut epochs = Vec::new();
        let mut on = |event| {
            if let Event::Epoch { loss, .. } = event {
                epochs.push(loss);
            }
        };
        run.train(&options(), &mut on).unwrap();
        let after = recall(&run);
        let (first, last) = (epochs[0], epochs[epochs.len() - 1]);
        println!(
            "scorecard learning {name}: loss {first:.3} to {last:.3} in {} steps, instance recall {:.1} % to {:.1} % (chance {:.1} %)",
            config.steps_per_epoch() * EPOCHS as u64,
            100.0 * before,
            100.0 * after,
            100.0 / N as f64
        );
        assert!(last < 0.8 * first, "{epochs:?}");
        // Seven of 48 by chance: less than once in ten thousand.
        assert!(before < 0.1 && after > 0.14, "{before} {after}");
    }
}
