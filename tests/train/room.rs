//! Room for images of all sizes, and for judging features, on a device with little more than a step needs.

use crate::feed::Odd;
use crate::{NCE, Trail, config, device, images, open, options};
use instdisc::data::{Dataset, Memory, Sampler};
use instdisc::gpu::Gpu;
use instdisc::train::{Config, Event, Feed, Outcome, Run, RunOptions, Source};
use std::sync::Arc;

const N: usize = 22;

/// Small pictures of two classes, one of them large; sizes are told or not.
fn one_large(large: usize, known: bool) -> Source {
    let (small, big) = (images(N, 9), images(N, 300));
    let all = Memory::new((0..N).map(|i| if i == large { big[i].clone() } else { small[i].clone() }).collect()).unwrap();
    let labels = (0..N as u32).map(|i| Some(i % 2)).collect();
    let inner = Arc::new(all.with_labels(labels, vec!["even".to_owned(), "odd".to_owned()]).unwrap());
    let dataset: Arc<dyn Dataset> = Arc::new(Odd { inner, known, before: Box::new(|_| Ok(())) });
    Source { feed: Feed::Streamed, ..Source::from(dataset) }
}

/// The step in which an image has its first turn.
fn first_turn(config: &Config, image: usize) -> Option<u64> {
    let mut sampler = Sampler::new(N, config.batch, config.seed).unwrap();
    (0..20).find(|step| sampler.indices(*step).contains(&(image as u32)))
}

fn trained(gpu: &Gpu, config: &Config, source: Source) -> (Trail, u64, u64) {
    let mut run = Run::new(gpu, config.clone(), source, None).unwrap();
    let before = run.needs().total();
    let mut trail = Trail::default();
    assert_eq!(trail.train(&mut run, &options(), |_| {}).unwrap(), Outcome::Done);
    (trail, before, run.needs().total())
}

#[test]
fn a_step_for_larger_images_needs_no_room_beside_the_one_before() {
    let _turn = device();
    let gpu = open();
    let config = config(N, NCE, 2);
    let large = (0..N).find(|i| first_turn(&config, *i).is_some_and(|step| (3..10).contains(&step))).unwrap();
    let (known, first, last) = trained(&gpu, &config, one_large(large, true));
    assert_eq!(first, last, "sizes that are known have room from the start");
    let (plain, before, after) = trained(&gpu, &config, one_large(large, false));
    assert!(before < after && before > after / 8, "{before} then {after} bytes: both must not fit at once");
    gpu.limit_memory(after + after / 8);
    let (tight, ..) = trained(&gpu, &config, one_large(large, false));
    assert!(tight == plain && plain == known, "room changes no bit");
    gpu.limit_memory(after - 1000);
    let mut run = Run::new(&gpu, config, one_large(large, false), None).unwrap();
    let error = Trail::default().train(&mut run, &options(), |_| {}).unwrap_err();
    assert!(matches!(error, instdisc::Error::Memory { .. }), "{error}");
    assert!(run.progress().step >= 3, "what was trained is counted: {:?}", run.progress());
    println!("scorecard room: {before} bytes grow to {after} on a device with {}, same bits", after + after / 8);
}

#[test]
fn a_profile_goes_on_when_larger_images_come() {
    let _turn = device();
    let gpu = open();
    // Three steps warm up, two are timed whole, then two are watched: the second has the large image.
    let of = |seed| Config { seed, ..config(N, NCE, 2) };
    let comes = |seed| (0..N).find(|i| first_turn(&of(seed), *i) == Some(6)).map(|i| (seed, i));
    let (seed, large) = (0..100).find_map(comes).unwrap();
    let mut run = Run::new(&gpu, of(seed), one_large(large, false), None).unwrap();
    let profiled = RunOptions { profile: 2, ..options() };
    assert_eq!(run.train(&profiled, &mut |_| {}).unwrap(), Outcome::Done);
    assert!(run.profile().is_some());
}

#[test]
fn a_run_goes_on_where_there_is_no_room_to_judge_features() {
    let _turn = device();
    let gpu = open();
    let config = config(N, NCE, 2);
    let judge = RunOptions { eval_every: 1, ..RunOptions::default() };
    let (mut judged, mut missed) = (0, 0);
    for spare in [1 << 30, 1000] {
        let mut run = Run::new(&gpu, config.clone(), one_large(0, true), None).unwrap();
        gpu.limit_memory(run.needs().total() + spare);
        let outcome = run.train(&judge, &mut |event| match event {
            Event::Epoch { evaluation: Some(_), .. } => judged += 1,
            Event::NotJudged { reason, .. } => {
                assert!(reason.contains("memory"), "{reason}");
                missed += 1;
            }
            _ => {}
        });
        assert_eq!(outcome.unwrap(), Outcome::Done);
        drop(run);
        gpu.limit_memory(1 << 40);
    }
    assert_eq!((judged, missed), (2, 2));
}
