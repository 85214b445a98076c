//! Images that cannot be read when their turn comes, in a run that skips them.

use crate::{LOSSES, Trail, config, device, images, options, state};
use instdisc::data::{Dataset, Image, Memory, Sampler};
use instdisc::eval::Layer;
use instdisc::gpu::Gpu;
use instdisc::npid;
use instdisc::train::{Config, EmbedOptions, Event, Feed, Outcome, Run, RunOptions, Source, embed, embed_skipping};
use instdisc::{Error, Result};
use std::path::Path;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};

const N: usize = 22;

/// Labelled pictures of which some cannot be read once `since` is raised. Counts what is asked for.
struct Breaking {
    inner: Memory,
    broken: Vec<usize>,
    since: AtomicBool,
    asked: AtomicUsize,
}

fn breaking(broken: &[usize]) -> Arc<Breaking> {
    let labels = (0..N as u32).map(|i| Some(i % 3)).collect();
    let classes = ["a", "b", "c"].map(String::from).to_vec();
    let inner = Memory::new(images(N, 16)).unwrap().with_labels(labels, classes).unwrap();
    Arc::new(Breaking { inner, broken: broken.to_vec(), since: AtomicBool::new(true), asked: AtomicUsize::new(0) })
}

impl Dataset for Breaking {
    fn len(&self) -> usize {
        self.inner.len()
    }
    fn name(&self, i: usize) -> &str {
        self.inner.name(i)
    }
    fn label(&self, i: usize) -> Option<u32> {
        self.inner.label(i)
    }
    fn classes(&self) -> &[String] {
        self.inner.classes()
    }
    fn image(&self, i: usize) -> Result<Image> {
        self.asked.fetch_add(1, Ordering::SeqCst);
        if self.broken.contains(&i) && self.since.load(Ordering::SeqCst) {
            return Err(Error::data(format!("{i}.png"), "cut off"));
        }
        self.inner.image(i)
    }
    fn bytes(&self, i: usize) -> Option<u64> {
        self.inner.bytes(i)
    }
}

fn skipping(set: &Arc<Breaking>, feed: Feed) -> Source {
    Source { feed, threads: 2, skip_broken: true, ..Source::from(set.clone()) }
}

fn run(gpu: &Gpu, config: &Config, set: &Arc<Breaking>, feed: Feed) -> Run {
    Run::new(gpu, config.clone(), skipping(set, feed), None).unwrap()
}

/// The steps of `epochs` that take image `i`.
fn turns(i: u32, epochs: u64) -> u64 {
    let mut sampler = Sampler::new(N, 4, 3).unwrap();
    (0..5 * epochs).filter(|step| sampler.indices(*step).contains(&i)).count() as u64
}

#[test]
fn a_broken_image_is_skipped_told_and_counted_and_its_row_stays_wherever_images_are() {
    let gpu = device();
    // Some epochs leave this one over at their ends.
    let image = (0..N).find(|i| (2..4).contains(&turns(*i as u32, 4))).unwrap();
    let (turns, file) = (turns(image as u32, 4), format!("{image}.png"));
    for (name, loss) in LOSSES {
        let config = config(N, loss, 4);
        let mut trails = Vec::new();
        for feed in [Feed::Streamed, Feed::Resident, Feed::Auto] {
            let mut run = run(&gpu, &config, &breaking(&[image]), feed);
            let rows = |run: &Run| run.store().read_state(npid::BANK).unwrap();
            let before = rows(&run);
            let (mut told, mut counted) = (Vec::new(), 0);
            run.train(&options(), &mut |event| match event {
                Event::Skipped { path, reason, epoch } => told.push((epoch, path, reason)),
                Event::Epoch { skipped, .. } => counted += skipped,
                Event::Step { .. } | Event::NotJudged { .. } => {}
            })
            .unwrap();
            assert_eq!((told.len() as u64, counted as u64), (turns, turns), "{name} {feed:?}");
            assert!(told.iter().all(|(_, path, reason)| path == Path::new(&file) && reason == "cut off"), "{told:?}");
            let moved = |i: usize| rows(&run)[18 * i..18 * (i + 1)] != before[18 * i..18 * (i + 1)];
            assert_eq!((0..N).filter(|i| !moved(*i)).collect::<Vec<_>>(), [image], "{name} {feed:?}");
            trails.push(state(&run));
        }
        assert!(trails[0] == trails[1] && trails[1] == trails[2], "{name}: the feed changed bits");
        let mut whole = run(&gpu, &config, &breaking(&[]), Feed::Streamed);
        whole.train(&options(), &mut |_| {}).unwrap();
        assert!(state(&whole) != trails[0], "the image is not missed");
    }
}

#[test]
fn a_run_that_skips_goes_on_to_the_same_bits_and_the_same_count() {
    let gpu = device();
    let config = config(N, LOSSES[1].1, 4);
    let set = breaking(&[13]);
    let mut whole = Trail::default();
    let mut uninterrupted = run(&gpu, &config, &set, Feed::Streamed);
    assert_eq!(whole.train(&mut uninterrupted, &options(), |_| {}).unwrap(), Outcome::Done);
    let mut counts = std::collections::BTreeSet::new();
    for k in 1..16 {
        let place = tempfile::tempdir().unwrap();
        let folder = place.path().join("run");
        let mut trail = Trail::default();
        let mut run = Run::new(&gpu, config.clone(), skipping(&set, Feed::Streamed), Some(&folder)).unwrap();
        let options = RunOptions { stop: Arc::default(), ..options() };
        trail.train(&mut run, &options, |step| options.stop.store(step >= k, Ordering::SeqCst)).unwrap();
        let progress = run.progress();
        drop(run);
        let (mut run, _) = Run::resume(&gpu, config.clone(), skipping(&set, Feed::Resident), &folder).unwrap();
        assert_eq!(run.progress(), progress);
        counts.insert(progress.skipped);
        assert_eq!(trail.train(&mut run, &crate::options(), |_| {}).unwrap(), Outcome::Done);
        assert!(trail == whole, "stopped at {}", progress.step);
    }
    assert_eq!(counts.into_iter().collect::<Vec<_>>(), [0, 1], "stops before and after the image in its epoch");
}

#[test]
fn an_image_that_breaks_in_mid_epoch_is_skipped_from_then_on() {
    let gpu = device();
    let set = breaking(&[13]);
    set.since.store(false, Ordering::SeqCst);
    let mut run = run(&gpu, &config(N, LOSSES[0].1, 6), &set, Feed::Streamed);
    let told = Mutex::new(Vec::new());
    run.train(&options(), &mut |event| match event {
        Event::Step { step: 6, .. } => set.since.store(true, Ordering::SeqCst),
        Event::Skipped { epoch, .. } => told.lock().unwrap().push(epoch),
        _ => {}
    })
    .unwrap();
    let told = told.into_inner().unwrap();
    assert!(!told.is_empty() && told.iter().all(|epoch| *epoch >= 2), "{told:?}");
}

#[test]
fn more_than_may_be_skipped_end_the_run_with_what_was_done_kept() {
    let gpu = device();
    let config = config(N, LOSSES[0].1, 4);
    let set = breaking(&[13, 2]);
    let refused = |error: Error| {
        let text = error.to_string();
        for part in [".png: cut off", "more than 1 of the images cannot be read", "0.1 %", "--resume"] {
            assert!(text.contains(part), "`{text}` does not say `{part}`");
        }
    };
    refused(Run::new(&gpu, config.clone(), skipping(&set, Feed::Resident), None).err().unwrap());
    let place = tempfile::tempdir().unwrap();
    let folder = place.path().join("run");
    let mut run = Run::new(&gpu, config.clone(), skipping(&set, Feed::Streamed), Some(&folder)).unwrap();
    let mut trail = Trail::default();
    refused(trail.train(&mut run, &options(), |_| {}).unwrap_err());
    assert_eq!(run.progress().step, trail.losses.len() as u64);
    assert_eq!(std::fs::read(folder.join("last.safetensors")).unwrap(), state(&run));
    // Without the option the first one ends it, with the words as they are.
    let mut run = Run::new(&gpu, config, Source { skip_broken: false, ..skipping(&set, Feed::Streamed) }, None).unwrap();
    let error = run.train(&options(), &mut |_| {}).unwrap_err().to_string();
    assert!(error.ends_with(".png: cut off"), "{error}");
}

#[test]
fn features_are_judged_without_the_broken_image_and_alike_wherever_images_are() {
    let gpu = device();
    let mut config = config(N, LOSSES[0].1, 2);
    config.batch = 5;
    let judge = RunOptions { eval_every: 1, ..options() };
    let mut all = Vec::new();
    for broken in [&[][..], &[13]] {
        let mut evaluations = Vec::new();
        for feed in [Feed::Streamed, Feed::Resident] {
            let set = breaking(broken);
            let mut run = run(&gpu, &config, &set, feed);
            let asked = set.asked.load(Ordering::SeqCst);
            let (mut found, mut told) = (Vec::new(), 0);
            run.train(&judge, &mut |event| match event {
                Event::Epoch { evaluation, .. } => found.push(evaluation.unwrap()),
                Event::Skipped { .. } => told += 1,
                Event::Step { .. } | Event::NotJudged { .. } => {}
            })
            .unwrap();
            assert!(found.iter().all(|e| e.queries == N - broken.len()), "{found:?}");
            assert!(told >= 2 * broken.len(), "told {told} times");
            let asked = set.asked.load(Ordering::SeqCst) - asked;
            match feed {
                // Nothing can go up that was never fetched.
                Feed::Resident => assert_eq!(asked, 0, "images on the device were fetched again"),
                _ => assert!(asked >= 2 * N, "{asked}"),
            }
            evaluations.push(found);
        }
        assert_eq!(evaluations[0], evaluations[1], "the feed changed what features are worth");
        all.extend(evaluations.pop());
    }
    assert_ne!(all[0], all[1]);
}

#[test]
fn broken_test_images_are_not_judged() {
    let gpu = device();
    let mut run = run(&gpu, &config(N, LOSSES[0].1, 1), &breaking(&[]), Feed::Auto);
    let judged = |run: &Run, broken: &[usize]| {
        let test: Arc<dyn Dataset> = breaking(broken);
        run.evaluate(&RunOptions { test: Some(test), ..options() })
    };
    run.train(&options(), &mut |_| {}).unwrap();
    assert_eq!(judged(&run, &[]).unwrap().unwrap().queries, N);
    assert_eq!(judged(&run, &[4]).unwrap().unwrap().queries, N - 1);
    let error = judged(&run, &[4, 5]).unwrap_err().to_string();
    assert!(error.contains("5.png: cut off; with it more than 1"), "{error}");
}

#[test]
fn vectors_of_broken_images_are_left_out_and_the_others_stay_theirs() {
    let gpu = device();
    let config = config(N, LOSSES[0].1, 1);
    let run = run(&gpu, &config, &breaking(&[]), Feed::Streamed);
    let (augmentation, layer) = (config.augmentation, Layer::Embedding);
    let options = EmbedOptions { augmentation, batch: 4, layer, threads: 2 };
    let whole: Arc<dyn Dataset> = breaking(&[]);
    let whole = embed(&gpu, run.net(), run.store(), &whole, options).unwrap();
    // All images of a batch among them, and the last.
    let broken = [1, 8, 9, 10, 11, N - 1];
    let set: Arc<dyn Dataset> = breaking(&broken);
    let found = embed_skipping(&gpu, run.net(), run.store(), &set, options).unwrap();
    assert_eq!(found.skipped.iter().map(|image| image.index as usize).collect::<Vec<_>>(), broken);
    let left: Vec<u32> = (0..N).filter(|i| !broken.contains(i)).map(|i| i as u32).collect();
    assert_eq!((&found.images, found.rows.rows()), (&left, left.len()));
    for (row, image) in left.iter().enumerate() {
        assert!(found.rows.row(row) == whole.row(*image as usize), "row {row} is not of image {image}");
    }
    let error = embed(&gpu, run.net(), run.store(), &set, options).unwrap_err().to_string();
    assert!(error.ends_with("1.png: cut off"), "{error}");
    let none: Arc<dyn Dataset> = breaking(&(0..N).collect::<Vec<_>>());
    let error = embed_skipping(&gpu, run.net(), run.store(), &none, options).unwrap_err().to_string();
    assert!(error.contains("0.png: cut off; no other image can be read"), "{error}");
}
