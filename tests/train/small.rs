//! R40: few images, or all the same. R11 for a whole network: the lowest temperature.

use crate::{LOSSES, config, device, images, options, pictures, state};
use instdisc::data::{Dataset, Image, Memory};
use instdisc::npid::{Loss, ZRule};
use instdisc::train::{Choices, Config, Event, Run};
use std::sync::Arc;

/// Every loss of a run over all its epochs, or the text of the error.
fn losses(gpu: &instdisc::gpu::Gpu, config: Config, set: Arc<dyn Dataset>) -> Result<Vec<f32>, String> {
    let mut all = Vec::new();
    let mut run = Run::new(gpu, config, set, None).map_err(|e| e.to_string())?;
    let mut on = |event| {
        if let Event::Step { loss, .. } = event {
            all.push(loss);
        }
    };
    run.train(&options(), &mut on).map_err(|e| e.to_string())?;
    assert!(!state(&run).is_empty());
    let bank = run.store().read_state("bank").unwrap();
    assert!(bank.iter().all(|v| v.is_finite()), "the bank is not finite");
    Ok(all)
}

#[test]
fn small_and_identical_sets_give_a_named_error_or_a_finite_loss() {
    let gpu = device();
    let mut finite = 0;
    for images in [0, 1] {
        let text = Choices::default().resolve(images, 32, 0).unwrap_err().to_string();
        assert!(text.contains("at least 2 images") && text.ends_with(&images.to_string()), "{text}");
    }
    for (name, loss) in LOSSES {
        let text = losses(&gpu, config(0, loss, 3), pictures(0)).unwrap_err();
        assert!(text.contains("at least one image") && text.ends_with("but is 0"), "{name}: {text}");
        let text = losses(&gpu, config(5, loss, 3), pictures(4)).unwrap_err();
        assert!(text.contains("5 images") && text.ends_with("but is 4"), "{name}: {text}");
    }
    // One image: NCE has no other row to draw; the softmax has nothing to tell apart, and says so by a loss of zero.
    let text = losses(&gpu, Config { batch: 1, ..config(1, LOSSES[1].1, 3) }, pictures(1)).unwrap_err();
    assert!(text.contains("at least 2 rows"), "{text}");
    let zero = losses(&gpu, Config { batch: 1, ..config(1, Loss::Softmax, 3) }, pictures(1)).unwrap();
    assert!(zero.len() == 3 && zero.iter().all(|loss| loss.abs() < 1e-5), "{zero:?}");
    for (name, loss) in [
        ("softmax", Loss::Softmax),
        ("more negatives than images", Loss::Nce { negatives: 100, z: ZRule::Ema, exclude_own: true }),
        ("the own row among the negatives", Loss::Nce { negatives: 7, z: ZRule::First, exclude_own: false }),
    ] {
        let same: Vec<Image> = vec![images(1, 16).remove(0); 8];
        let flat: Vec<Image> = vec![Image::new(16, 16, vec![77; 768]).unwrap(); 8];
        let tiny: Vec<Image> = (0..8).map(|i| Image::new(1, 1, vec![i * 30; 3]).unwrap()).collect();
        for (what, n, batch, set) in [
            ("two images", 2, 2, pictures(2)),
            ("three images one by one", 3, 1, pictures(3)),
            ("identical images", 8, 4, Arc::new(Memory::new(same).unwrap())),
            ("images of one colour", 8, 4, Arc::new(Memory::new(flat).unwrap())),
            ("images of one pixel", 8, 4, Arc::new(Memory::new(tiny).unwrap())),
        ] {
            let seen =
                losses(&gpu, Config { batch, ..config(n, loss, 6) }, set).unwrap_or_else(|e| panic!("{what}, {name}: {e}"));
            assert_eq!(seen.len(), 6 * (n / batch), "{what}, {name}");
            assert!(seen.iter().all(|loss| loss.is_finite()), "{what}, {name}: {seen:?}");
            finite += seen.len();
        }
    }
    println!(
        "scorecard R40 0 and 1 images: named errors; 2, 3, identical, flat, 1x1 images, more negatives than images: {finite} of {finite} losses finite"
    );
}

#[test]
fn a_configuration_that_makes_no_sense_is_refused() {
    let gpu = device();
    let good = config(8, Loss::Softmax, 1);
    let method = good.method;
    let bad: [(&str, Config); 10] = [
        ("--momentum", Config { momentum: 1.5, ..good.clone() }),
        ("--momentum", Config { momentum: f32::NAN, ..good.clone() }),
        ("--weight-decay", Config { weight_decay: -1.0, ..good.clone() }),
        ("--tau", Config { method: instdisc::npid::Method { tau: 0.0, ..method }, ..good.clone() }),
        ("--bank-keep", Config { method: instdisc::npid::Method { bank_keep: 1.5, ..method }, ..good.clone() }),
        ("--batch", Config { batch: 0, ..good.clone() }),
        ("--lr", Config { lr: f32::NAN, ..good.clone() }),
        ("--epochs", Config { epochs: 0, ..good.clone() }),
        ("--prox", Config { method: instdisc::npid::Method { prox: f32::NAN, ..method }, ..good.clone() }),
        (
            "--negatives",
            Config {
                method: instdisc::npid::Method { loss: Loss::Nce { negatives: 0, z: ZRule::Ema, exclude_own: true }, ..method },
                ..good.clone()
            },
        ),
    ];
    for (what, config) in bad {
        let text = losses(&gpu, config.clone(), pictures(8)).err().unwrap_or_else(|| panic!("{what} was taken: {config:?}"));
        assert!(text.contains(what), "{what}: {text}");
    }
}

#[test]
fn the_lowest_temperature_stays_finite() {
    let gpu = device();
    let mut steps = 0;
    for (name, loss) in LOSSES {
        for tau in [0.01, 0.02] {
            let mut config = config(20, loss, 8);
            config.method.tau = tau;
            let seen = losses(&gpu, config, pictures(20)).unwrap_or_else(|e| panic!("{name} {tau}: {e}"));
            assert!(seen.len() == 40 && seen.iter().all(|loss| loss.is_finite()), "{name} {tau}: {seen:?}");
            steps += seen.len();
        }
    }
    println!("scorecard R11 tau 0.01 and 0.02, softmax and nce: {steps} steps of a network, all losses finite");
}
