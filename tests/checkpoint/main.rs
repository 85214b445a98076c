//! Checkpoints: the codec, the atomic writer, the log. Goals R24–R31 of the reliability guide; each prints a line that
//! begins with `scorecard` (seen with `cargo test --test checkpoint -- --nocapture`).
#![allow(clippy::print_stdout, reason = "the scorecard is assembled from standard output")]
#![allow(clippy::unwrap_used, clippy::panic, reason = "clippy knows test functions, but not their helpers")]

mod adversarial;
mod codec;
mod crash;
mod damage;
mod disk;
mod fakes;
mod faults;
#[cfg(target_os = "linux")]
mod kill;
mod lines;
#[cfg(target_os = "linux")]
mod memory;
mod writers;

use instdisc::checkpoint::{File, Tensor};

/// A small checkpoint of every element type, told apart by `step`.
fn sample(step: u32, elements: usize) -> File {
    let mut file = File::default();
    let floats: Vec<f32> = (0..elements).map(|i| (i as f32).sin() + step as f32).collect();
    let mut add = |name: &str, tensor: instdisc::Result<Tensor>| file.tensors.insert(name.into(), tensor.unwrap());
    add("fc.weight", Tensor::f32(&[elements], &floats));
    add("step", Tensor::u32(&[], &[step]));
    add("loss", Tensor::f64(&[2], &[f64::from(step), -0.5]));
    add("counts", Tensor::i32(&[1, 3], &[-1, 0, 1]));
    add("tracked", Tensor::i64(&[], &[i64::MIN]));
    add("mask", Tensor::u8(&[3], &[1, 2, 3]));
    add("half", Tensor::new(instdisc::checkpoint::DType::F16, &[1, 1], vec![0, 0x3c]));
    add("none", Tensor::f32(&[0, 4], &[]));
    file.metadata.insert("step".into(), step.to_string());
    file.metadata.insert("name, \"quoted\" \u{1f600}\n".into(), "two\nlines".into());
    file
}

fn step_of(file: &File) -> u32 {
    file.get("step").unwrap().as_u32().unwrap()[0]
}

/// A counter-based random number, as in `instdisc::rng`: tests repeat.
fn random(seed: u64, index: u64) -> u64 {
    let mut z = seed.wrapping_mul(0x9e37_79b9_7f4a_7c15) ^ index.wrapping_mul(0xbf58_476d_1ce4_e5b9);
    z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    z ^ (z >> 31)
}

/// Temporary files of writers in `folder`.
fn litter(folder: &std::path::Path) -> usize {
    let names = std::fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().file_name().into_string().unwrap());
    names.filter(|name| name.starts_with(".instdisc-")).count()
}
