//! Memory that is not there, said before anything is allocated; a smaller run works afterwards.

use crate::{NCE, Trail, config, device, open, options, pictures};
use instdisc::Error;
use instdisc::error::bytes;
use instdisc::train::{Config, Feed, Run, Source};

/// Images that are streamed: those that are to stay on the device are streamed too where it has no memory for them.
pub(crate) fn streamed(n: usize) -> Source {
    Source { feed: Feed::Streamed, ..Source::from(pictures(n)) }
}

#[test]
fn a_batch_that_does_not_fit_is_refused_with_one_that_does() {
    let _turn = device();
    let gpu = open();
    assert!(gpu.memory().is_none_or(|most| most > 1 << 20), "{:?}", gpu.memory());
    let config = Config { batch: 64, ..config(64, NCE, 1) };
    let needs = Run::new(&gpu, config.clone(), streamed(64), None).unwrap().needs();
    assert_eq!(gpu.bytes().0, 0);
    assert!(needs.step.live <= needs.step.activations && needs.step.activations < needs.step.unshared, "{needs:?}");
    gpu.limit_memory(needs.total());
    Run::new(&gpu, config.clone(), streamed(64), None).unwrap();
    let most = needs.total() / 3;
    gpu.limit_memory(most);
    let peak = gpu.bytes().1;
    let error = Run::new(&gpu, config.clone(), streamed(64), None).err().unwrap();
    let Error::Memory { needed, available, batch, fits: Some(fits) } = error else { panic!("{error}") };
    assert_eq!((needed, available, batch), (needs.total(), most, 64));
    assert_eq!(gpu.bytes(), (0, peak), "nothing is held");
    let said = error.to_string();
    for part in [&format!("batch of 64 would need {}", bytes(needed)), &bytes(available), &format!("--batch {fits}")] {
        assert!(said.contains(part), "{said}");
    }
    let smaller = Config { batch: fits, accumulate: 64 / fits, ..config.clone() };
    let mut run = Run::new(&gpu, smaller, streamed(64), None).unwrap();
    Trail::default().train(&mut run, &options(), |_| {}).unwrap();
    let (held, needs) = (gpu.bytes().0, run.needs().total());
    assert!(needs / 2 < held && held <= needs && needs <= most, "{held} bytes are held, of {needs}, {most} are allowed");
    drop(run);
    gpu.limit_memory(10_000);
    match Run::new(&gpu, config, streamed(64), None).err() {
        Some(Error::Memory { available: 10_000, fits: None, .. }) => {}
        other => panic!("{other:?}"),
    }
    println!(
        "scorecard memory: a batch of 64 refused before it is allocated, {fits} proposed, which trains in {} parts",
        64 / fits
    );
}

/// A processor has what the machine has left, and that changes: a program reads its images after it has opened the device.
#[test]
fn the_memory_of_a_software_adapter_is_what_is_left_now() {
    let _turn = device();
    let gpu = open();
    if !gpu.facts().software {
        println!("SKIPPED: {} has memory of its own", gpu.facts().name);
        return;
    }
    const TAKEN: u64 = 256 << 20;
    let before = gpu.memory().unwrap();
    // A machine may have memory in hand that counts as taken already: so much of it that this is used up.
    let mut images = Vec::new();
    let fell = (0..8).any(|_| {
        images.push(std::hint::black_box(vec![1u8; TAKEN as usize]));
        gpu.memory().unwrap() + TAKEN / 2 < before
    });
    assert!(fell, "{before} bytes, and after {} times {TAKEN} were taken {:?}", images.len(), gpu.memory());
    gpu.limit_memory(1 << 40);
    assert_eq!(gpu.memory(), Some(1 << 40), "what was said stays");
}
