//! Images a second: of training alone, whatever the length of epochs and whatever happens between them.

use crate::{NCE, config, device, options, pictures};
use instdisc::train::{Event, Run};
use std::time::Duration;

/// Every step is made to take so long at least.
const STEP: Duration = Duration::from_millis(60);
/// What the end of an epoch may take, without its being counted.
const PAUSE: Duration = Duration::from_secs(3);

#[test]
fn images_a_second_are_those_of_training_alone() {
    let gpu = device();
    let mut seen = Vec::new();
    // Epochs shorter than what is averaged over, and longer ones.
    for (images, epochs) in [(12, 10), (48, 3)] {
        let mut run = Run::new(&gpu, config(images, NCE, epochs), pictures(images), None).unwrap();
        let mut rates = Vec::new();
        run.train(&options(), &mut |event| match event {
            Event::Step { images_per_second, .. } => {
                rates.push(images_per_second);
                std::thread::sleep(STEP);
            }
            Event::Skipped { .. } | Event::NotJudged { .. } => {}
            Event::Epoch { epoch: 2, .. } => std::thread::sleep(PAUSE),
            Event::Epoch { .. } => {}
        })
        .unwrap();
        // The first is of the step that came first alone.
        rates.dedup();
        let later = rates.split_off(1);
        let most = 4.0 / STEP.as_secs_f64();
        // At least half a second of steps with the pause would be fewer than 12.
        assert!(later.len() > 1 && later.iter().all(|rate| (12.0..=most).contains(rate)), "{images} images: {later:?}");
        seen.extend(later);
    }
    println!("scorecard pace: {} rates of steps alone, in epochs of 3 and of 12 steps with a pause", seen.len());
}
