//! Batches fetched ahead: in order, within bounds, stopped without hanging.

use crate::{memory, refusal, says};
use instdisc::data::{Batch, Dataset, Image, Labelled, Labels, Loader, Memory, Sampler};
use instdisc::{Error, Result};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, mpsc};
use std::time::{Duration, Instant};

/// A data set that does something before it gives an image.
struct Odd<F> {
    inner: Memory,
    before: F,
}

impl<F: Fn(usize) -> Result<()> + Send + Sync> Dataset for Odd<F> {
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
        (self.before)(i)?;
        self.inner.image(i)
    }
}

fn odd(n: usize, before: impl Fn(usize) -> Result<()> + Send + Sync + 'static) -> Arc<dyn Dataset> {
    Arc::new(Odd { inner: memory(n), before })
}

fn sampler(n: usize) -> Sampler {
    Sampler::new(n, 4, 7).unwrap()
}

fn batches(set: Arc<dyn Dataset>, steps: std::ops::Range<u64>, threads: usize) -> Vec<Batch> {
    let sampler = sampler(set.len());
    Loader::new(set, sampler, steps, threads).unwrap().map(Result::unwrap).collect()
}

#[test]
fn batches_come_in_order_with_their_images_whatever_the_threads() {
    // The first image of each batch takes longest, so that later batches are ready earlier.
    let slow = || {
        odd(50, |i| {
            std::thread::sleep(Duration::from_micros(i as u64 * 37 % 900));
            Ok(())
        })
    };
    let one = batches(slow(), 3..40, 1);
    let mut sampler = sampler(50);
    assert_eq!(one.len(), 37);
    for (batch, step) in one.iter().zip(3..) {
        let expected = Batch::gather(&memory(50), &sampler.indices(step)).unwrap();
        assert_eq!(*batch, Batch { step, ..expected });
    }
    for threads in [0, 2, 4, 8] {
        assert!(batches(slow(), 3..40, threads) == one, "{threads} threads");
    }
}

#[test]
fn a_resumed_loader_goes_on_where_the_other_would() {
    let whole = batches(Arc::new(memory(20)), 0..30, 2);
    for start in [1, 4, 5, 17, 29] {
        assert_eq!(batches(Arc::new(memory(20)), start..30, 2), whole[start as usize..]);
    }
}

#[test]
fn labels_change_nothing_in_a_batch() {
    let plain = batches(Arc::new(memory(20)), 0..10, 2);
    for turn in 0..20 {
        let labels = Labels {
            labels: (0..20).map(|i| Some((i + turn) % 20 / 4)).collect(),
            classes: (0..5).map(|i| i.to_string()).collect(),
        };
        let set = Labelled::new(Box::new(memory(20)), labels).unwrap();
        assert_eq!(set.label(0), Some(turn / 4));
        assert_eq!(batches(Arc::new(set), 0..10, 2), plain);
    }
}

#[test]
fn an_image_that_cannot_be_read_is_an_error_in_its_place() {
    let set = odd(8, |i| if i == 5 { Err(Error::data("five.png", "broken")) } else { Ok(()) });
    let mut sampler = sampler(8);
    let loader = Loader::new(set, sampler.clone(), 0..20, 3).unwrap();
    let mut errors = 0;
    for (step, batch) in loader.enumerate() {
        let broken = sampler.indices(step as u64).contains(&5);
        assert_eq!(batch.is_err(), broken);
        if let Err(error) = batch {
            errors += 1;
            says(&error.to_string(), &["five.png: broken"]);
        }
    }
    assert_eq!(errors, 10, "once an epoch of two steps");
}

#[test]
fn a_data_set_that_panics_is_an_error_and_does_not_hang() {
    let set = odd(8, |i| if i == 5 { panic!("this panic belongs to the test") } else { Ok(()) });
    let results: Vec<_> = Loader::new(set, sampler(8), 0..6, 2).unwrap().collect();
    assert_eq!(results.iter().filter(|result| result.is_err()).count(), 3);
}

#[test]
fn no_more_than_the_bound_is_fetched_ahead() {
    let read = Arc::new(AtomicUsize::new(0));
    let counter = Arc::clone(&read);
    let set = odd(400, move |_| {
        counter.fetch_add(1, Ordering::Relaxed);
        Ok(())
    });
    let mut loader = Loader::new(set, sampler(400), 0..u64::MAX, 2).unwrap();
    let settled = |at: usize| {
        let start = Instant::now();
        while read.load(Ordering::Relaxed) < at && start.elapsed() < Duration::from_secs(10) {
            std::thread::sleep(Duration::from_millis(1));
        }
        std::thread::sleep(Duration::from_millis(30));
        assert_eq!(read.load(Ordering::Relaxed), at);
    };
    // Two threads: three batches of four.
    settled(12);
    loader.next().unwrap().unwrap();
    settled(16);
}

/// Says that its images are huge.
struct Huge(Memory, AtomicUsize);

impl Dataset for Huge {
    fn len(&self) -> usize {
        self.0.len()
    }
    fn name(&self, i: usize) -> &str {
        self.0.name(i)
    }
    fn label(&self, i: usize) -> Option<u32> {
        self.0.label(i)
    }
    fn classes(&self) -> &[String] {
        self.0.classes()
    }
    fn image(&self, i: usize) -> Result<Image> {
        self.1.fetch_add(1, Ordering::Relaxed);
        self.0.image(i)
    }
    fn bytes(&self, _: usize) -> Option<u64> {
        Some(100 << 20)
    }
}

#[test]
fn no_more_bytes_than_the_bound_are_fetched_ahead() {
    // Batches of 400 MiB: two are within a GiB, though eight threads would fetch nine; and one of 2 GiB comes alone.
    for (batch, ahead) in [(4, 8), (20, 20)] {
        let set = Arc::new(Huge(memory(400), AtomicUsize::new(0)));
        let sampler = Sampler::new(400, batch, 1).unwrap();
        let mut loader = Loader::new(set.clone(), sampler, 0..10, 8).unwrap();
        for taken in 0..3 {
            let start = Instant::now();
            while set.1.load(Ordering::Relaxed) < ahead + taken * batch && start.elapsed() < Duration::from_secs(10) {
                std::thread::sleep(Duration::from_millis(1));
            }
            std::thread::sleep(Duration::from_millis(30));
            assert_eq!(set.1.load(Ordering::Relaxed), ahead + taken * batch);
            loader.next().unwrap().unwrap();
        }
        assert_eq!(loader.count(), 7);
    }
}

#[test]
fn listed_images_come_in_their_order_and_the_last_batch_may_be_smaller() {
    let indices: Vec<u32> = (0..11).rev().chain([3, 3]).collect();
    for threads in [1, 3] {
        let loader = Loader::listed(Arc::new(memory(11)), indices.clone(), 5, threads).unwrap();
        let found: Vec<Batch> = loader.map(Result::unwrap).collect();
        assert_eq!(found.iter().map(Batch::len).collect::<Vec<_>>(), [5, 5, 3]);
        for (step, (batch, indices)) in found.iter().zip(indices.chunks(5)).enumerate() {
            assert_eq!(*batch, Batch { step: step as u64, ..Batch::gather(&memory(11), indices).unwrap() });
        }
    }
    assert_eq!(Loader::listed(Arc::new(memory(3)), Vec::new(), 5, 2).unwrap().count(), 0);
    assert!(Loader::listed(Arc::new(memory(3)), vec![0], 0, 2).is_err());
}

#[test]
fn waiting_ends_after_the_time_that_it_is_given() {
    let set = odd(8, |_| {
        std::thread::sleep(Duration::from_millis(50));
        Ok(())
    });
    let mut loader = Loader::new(set, sampler(8), 0..1, 1).unwrap();
    assert!(!loader.wait(Duration::from_millis(20)));
    assert!(loader.wait(Duration::from_secs(10)) && loader.waited() >= Duration::from_millis(150));
    loader.next().unwrap().unwrap();
    assert!(loader.wait(Duration::ZERO) && loader.next().is_none());
}

#[test]
fn dropping_stops_the_threads_in_the_middle_of_a_batch() {
    let read = Arc::new(AtomicUsize::new(0));
    let counter = Arc::clone(&read);
    let set = odd(4_000, move |_| {
        counter.fetch_add(1, Ordering::Relaxed);
        std::thread::sleep(Duration::from_millis(20));
        Ok(())
    });
    let weak = Arc::downgrade(&set);
    let loader = Loader::new(set, Sampler::new(4_000, 2_000, 1).unwrap(), 0..9, 2).unwrap();
    std::thread::sleep(Duration::from_millis(60));
    let (done, dropped) = mpsc::channel();
    std::thread::spawn(move || {
        drop(loader);
        done.send(()).unwrap()
    });
    dropped.recv_timeout(Duration::from_secs(10)).expect("the drop hangs");
    assert!(weak.upgrade().is_none(), "a thread still holds the data set");
    assert!(read.load(Ordering::Relaxed) < 1_000);
}

#[test]
fn dropping_stops_threads_that_wait_for_room() {
    let (done, dropped) = mpsc::channel();
    std::thread::spawn(move || {
        let mut loader = Loader::new(Arc::new(memory(9)), sampler(9), 0..u64::MAX, 4).unwrap();
        loader.next().unwrap().unwrap();
        std::thread::sleep(Duration::from_millis(30));
        drop(loader);
        done.send(()).unwrap();
    });
    dropped.recv_timeout(Duration::from_secs(10)).expect("the drop hangs");
}

#[test]
fn waiting_is_measured() {
    let set = odd(8, |_| {
        std::thread::sleep(Duration::from_millis(10));
        Ok(())
    });
    let mut loader = Loader::new(set, sampler(8), 0..2, 1).unwrap();
    assert_eq!(loader.waited(), Duration::ZERO);
    loader.next().unwrap().unwrap();
    assert!(loader.waited() >= Duration::from_millis(20), "{:?}", loader.waited());
    std::thread::sleep(Duration::from_millis(200));
    let before = loader.waited();
    loader.next().unwrap().unwrap();
    assert!(loader.waited() - before < Duration::from_millis(20), "the second batch was ready");
    assert!(loader.next().is_none() && loader.next().is_none());
}

#[test]
fn a_sampler_of_more_images_than_there_are_is_refused() {
    says(&refusal(Loader::new(Arc::new(memory(3)), sampler(4), 0..1, 1)), &["at most 3 images", "is 4"]);
    assert!(Loader::new(Arc::new(memory(4)), sampler(3), 0..1, 1).is_ok());
}

#[test]
fn no_steps_and_a_backward_range_give_no_batch() {
    assert!(batches(Arc::new(memory(3)), 5..5, 2).is_empty());
    let backward = std::ops::Range { start: 5, end: 2 };
    assert!(batches(Arc::new(memory(3)), backward, 2).is_empty());
}

/// Eleven of twenty images can be read, in a batch of four.
fn half_broken() -> (Arc<dyn Dataset>, [u32; 9]) {
    let broken = [0, 3, 5, 6, 7, 11, 13, 14, 19];
    let reads = move |i: usize| match (broken.contains(&(i as u32)), i % 2) {
        (true, 0) => Err(Error::io("reading", format!("{i}.png"), std::io::Error::other("gone"))),
        (true, _) => Err(Error::data(format!("{i}.png"), "cut off")),
        (false, _) => Ok(()),
    };
    (odd(20, reads), broken)
}

fn skipping(steps: std::ops::Range<u64>, threads: usize, most: usize) -> Vec<Result<Batch>> {
    let (set, _) = half_broken();
    Loader::skipping(set, sampler(20), steps, threads, most).unwrap().collect()
}

#[test]
fn the_next_of_the_epoch_that_can_be_read_takes_the_place_of_an_image_that_cannot() {
    let (_, broken) = half_broken();
    let whole: Vec<Batch> = skipping(0..40, 1, 9).into_iter().map(Result::unwrap).collect();
    let mut sampler = sampler(20);
    let mut replaced = 0;
    for (batch, step) in whole.iter().zip(0..) {
        let own = sampler.indices(step);
        let mut others = sampler.stand_ins(step).into_iter().filter(|i| !broken.contains(i));
        let expected: Vec<u32> = own.iter().map(|i| if broken.contains(i) { others.next().unwrap() } else { *i }).collect();
        // Pixels and indices belong together, and no row of a bank has two images in a step.
        let gathered = Batch::gather(&memory(20), &expected).unwrap();
        assert_eq!((&batch.pixels, &batch.table, batch.step), (&gathered.pixels, &gathered.table, step));
        assert_eq!(expected.iter().collect::<std::collections::BTreeSet<_>>().len(), 4);
        let skipped: Vec<u32> = batch.skipped.iter().map(|skipped| skipped.index).collect();
        assert_eq!(skipped, own.into_iter().filter(|i| broken.contains(i)).collect::<Vec<_>>());
        for skipped in &batch.skipped {
            assert_eq!(skipped.path, std::path::Path::new(&format!("{}.png", skipped.index)));
            assert_eq!(skipped.reason, if skipped.index.is_multiple_of(2) { "reading: gone" } else { "cut off" });
        }
        replaced += skipped.len();
    }
    assert_eq!(replaced, 8 * 9, "each in each of eight epochs");
    for (start, threads) in [(0, 3), (7, 2), (13, 1)] {
        let again: Vec<Batch> = skipping(start..40, threads, 9).into_iter().map(Result::unwrap).collect();
        assert!(again == whole[start as usize..], "from {start} on by {threads} threads");
    }
}

#[test]
fn too_many_broken_images_or_none_to_take_a_place_are_an_error() {
    let tried = |batch: &Result<Batch>| batch.as_ref().map_or(9, |batch| batch.skipped.len());
    let mut errors = 0;
    for (strict, free) in skipping(0..40, 2, 2).iter().zip(&skipping(0..40, 2, 9)) {
        match strict {
            Ok(batch) => assert_eq!(batch, free.as_ref().unwrap()),
            Err(error) => {
                errors += 1;
                says(&error.to_string(), &[".png: ", "more than 2 of the images cannot be read", "0.1 %"]);
            }
        }
        assert!(tried(free) <= 2 || strict.is_err());
    }
    assert!(errors > 5, "{errors}");
    let set = odd(4, |i| if i == 2 { Err(Error::data("2.png", "cut off")) } else { Ok(()) });
    let batch = Loader::skipping(set, sampler(4), 0..1, 1, 9).unwrap().next().unwrap();
    says(&refusal(batch), &["2.png: cut off", "all images that there are"]);
    // What is wrong with the data set, and not with an image, is never skipped.
    let set = odd(8, |i| if i == 2 { Err(Error::value("set", "image", "fine", i)) } else { Ok(()) });
    assert_eq!(Loader::skipping(set, sampler(8), 0..2, 1, 9).unwrap().filter(Result::is_err).count(), 1);
}

#[test]
fn listed_images_that_cannot_be_read_are_left_out() {
    let (set, broken) = half_broken();
    let found: Vec<Batch> = Loader::listed_skipping(set, (0..20).collect(), 2, 3).unwrap().map(Result::unwrap).collect();
    assert_eq!(found.len(), 10);
    for (batch, own) in found.iter().zip((0..20).collect::<Vec<u32>>().chunks(2)) {
        let readable: Vec<u32> = own.iter().copied().filter(|i| !broken.contains(i)).collect();
        assert_eq!(batch.table, Batch::gather(&memory(20), &readable).unwrap().table);
        let skipped: Vec<u32> = batch.skipped.iter().map(|skipped| skipped.index).collect();
        assert_eq!(skipped, own.iter().copied().filter(|i| broken.contains(i)).collect::<Vec<_>>());
    }
}
