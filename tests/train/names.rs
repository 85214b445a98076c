//! What a checkpoint holds by name, and what a user is told about the choices.

use crate::{config, device, pictures};
use instdisc::checkpoint::DType;
use instdisc::nn::{ResNetConfig, Stem};
use instdisc::npid::{Loss, ZRule};
use instdisc::train::{Choices, Run};
use std::collections::BTreeSet;

/// The keys of torchvision's `resnet18().state_dict()`.
fn torchvision_resnet18() -> BTreeSet<String> {
    let mut names: BTreeSet<String> = ["conv1.weight", "fc.weight", "fc.bias"].map(str::to_owned).into();
    let mut norm = |name: &str| {
        for part in ["weight", "bias", "running_mean", "running_var", "num_batches_tracked"] {
            names.insert(format!("{name}.{part}"));
        }
    };
    norm("bn1");
    let mut convolutions = Vec::new();
    for stage in 1..=4 {
        for block in 0..2 {
            for part in 1..=2 {
                convolutions.push(format!("layer{stage}.{block}.conv{part}.weight"));
                norm(&format!("layer{stage}.{block}.bn{part}"));
            }
        }
        if stage > 1 {
            convolutions.push(format!("layer{stage}.0.downsample.0.weight"));
            norm(&format!("layer{stage}.0.downsample.1"));
        }
    }
    names.extend(convolutions);
    names
}

#[test]
fn a_checkpoint_has_torchvisions_names_and_shapes() {
    let gpu = device();
    let expected = torchvision_resnet18();
    assert_eq!(expected.len(), 122, "torchvision's resnet18 has 122 entries");
    let mut config = config(4, Loss::Softmax, 1);
    config.net = ResNetConfig { width: 8, ..ResNetConfig::named("resnet18", Stem::Imagenet).unwrap() };
    let run = Run::new(&gpu, config, pictures(4), None).unwrap();
    let file = run.capture().unwrap();
    let own = |name: &&String| !name.starts_with("momentum/") && !["bank", "z"].contains(&name.as_str());
    let found: BTreeSet<String> = file.tensors.keys().filter(own).cloned().collect();
    assert_eq!(found, expected);
    for (name, shape) in [
        ("conv1.weight", &[8, 3, 7, 7][..]),
        ("layer2.0.downsample.0.weight", &[16, 8, 1, 1]),
        ("layer4.1.conv2.weight", &[64, 64, 3, 3]),
        ("layer4.1.bn2.running_var", &[64]),
        ("fc.weight", &[128, 64]),
        ("fc.bias", &[128]),
        ("bn1.num_batches_tracked", &[]),
        ("bank", &[4, 128]),
        ("momentum/conv1.weight", &[8, 3, 7, 7]),
    ] {
        assert_eq!(file.tensors[name].shape(), shape, "{name}");
    }
    assert_eq!(file.tensors["bn1.num_batches_tracked"].dtype(), DType::I64);
    for key in ["config", "step", "version", "adapter", "driver"] {
        assert!(file.metadata.contains_key(key), "{key}");
    }
    println!("scorecard checkpoint names: {} of 122 of torchvision's resnet18", found.intersection(&expected).count());
}

#[test]
fn users_are_told_what_their_choices_mean() {
    let nce = |z| Choices { loss: Some("nce".into()), z: Some(z), negatives: Some(64), ..Choices::default() };
    let (_, notes) = nce(ZRule::First).resolve(1000, 32, 0).unwrap();
    assert!(notes.len() == 1 && notes[0].contains("Z frozen") && notes[0].contains("--loss softmax"), "{notes:?}");
    assert_eq!(nce(ZRule::First).resolve(50_000, 32, 0).unwrap().1, [""; 0]);
    assert_eq!(nce(ZRule::Ema).resolve(1000, 32, 0).unwrap().1, [""; 0]);
    let (config, notes) = Choices { batch: Some(128), ..Choices::default() }.resolve(100, 32, 0).unwrap();
    assert_eq!((config.batch, config.steps_per_epoch()), (100, 1));
    assert!(notes.len() == 1 && notes[0].contains("a batch of 128 becomes 100"), "{notes:?}");
    let (_, notes) = Choices { negatives: Some(4096), ..nce(ZRule::Ema) }.resolve(1000, 32, 0).unwrap();
    assert!(notes.len() == 1 && notes[0].contains("negatives (4096)") && notes[0].contains("images (1000)"), "{notes:?}");
}

#[test]
fn choices_that_cannot_be_are_refused_by_their_option() {
    let base = Choices::default;
    for (option, choices) in [
        ("arch", Choices { arch: Some("resnet19".into()), ..base() }),
        ("--loss", Choices { loss: Some("hinge".into()), ..base() }),
        ("--lr", Choices { lr: Some(f32::NAN), ..base() }),
        ("--lr", Choices { lr: Some(0.0), ..base() }),
        ("--tau", Choices { tau: Some(-1.0), ..base() }),
        ("--tau", Choices { tau: Some(0.001), ..base() }),
        ("--bank-keep", Choices { bank_keep: Some(2.0), ..base() }),
        ("--prox", Choices { prox: Some(f32::INFINITY), ..base() }),
        ("--batch", Choices { batch: Some(0), ..base() }),
        ("--epochs", Choices { epochs: Some(0), ..base() }),
        ("--size", Choices { size: Some(4), ..base() }),
        ("--size", Choices { size: Some(10_000), ..base() }),
        ("--negatives", Choices { loss: Some("nce".into()), negatives: Some(0), ..base() }),
        ("--momentum", Choices { momentum: Some(1.0), ..base() }),
        ("--weight-decay", Choices { weight_decay: Some(-1.0), ..base() }),
        ("--width", Choices { width: Some(0), ..base() }),
        ("--dim", Choices { dim: Some(0), ..base() }),
    ] {
        match choices.resolve(1000, 32, 0) {
            Err(error) => assert!(error.to_string().contains(option), "{option}: {error}"),
            Ok(_) => panic!("{choices:?} was taken"),
        }
    }
}
