//! Images on the device or streamed: the same bits, the same faults, and a stop that does not wait for a slow disk.

use crate::{LOSSES, Trail, config, device, images, open, options, state};
use instdisc::data::{Dataset, Image, Memory};
use instdisc::eval::Layer;
use instdisc::gpu::{Gpu, OpenOptions, Uploads};
use instdisc::train::{Config, EmbedOptions, Event, Feed, Outcome, Run, RunOptions, Source, embed};
use instdisc::{Error, Result};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::time::{Duration, Instant};

/// Pictures of four sizes, so that offsets and sizes matter.
fn mixed(n: usize) -> Arc<dyn Dataset> {
    let sizes = [9, 16, 17, 31];
    let all = sizes.map(|side| images(n, side));
    Arc::new(Memory::new((0..n).map(|i| all[i % 4][i].clone()).collect()).unwrap())
}

fn source(dataset: &Arc<dyn Dataset>, feed: Feed) -> Source {
    Source { feed, threads: 2, ..Source::from(dataset.clone()) }
}

fn trained(gpu: &Gpu, config: &Config, source: Source, says: &str, options: &RunOptions) -> Trail {
    let mut run = Run::new(gpu, config.clone(), source, None).unwrap();
    assert!(run.feed().contains(says), "{}", run.feed());
    let mut trail = Trail::default();
    assert_eq!(trail.train(&mut run, options, |_| {}).unwrap(), Outcome::Done);
    trail
}

#[test]
fn resident_and_streamed_images_train_the_same_bits() {
    let gpu = device();
    let set = mixed(22);
    let mut compared = 0;
    for (name, loss) in LOSSES {
        let config = config(22, loss, 4);
        let streamed = trained(&gpu, &config, source(&set, Feed::Streamed), "streamed", &options());
        assert!(streamed.losses.values().collect::<std::collections::BTreeSet<_>>().len() > 15, "the losses hardly change");
        for (feed, says) in [(Feed::Resident, "stay on the device"), (Feed::Auto, "stay on the device")] {
            let resident = trained(&gpu, &config, source(&set, feed), says, &options());
            assert!(resident == streamed, "{name} {feed:?}: {:016x} {:016x}", resident.hash(), streamed.hash());
            compared += 1;
        }
        // The other images of the set are there too, and must not be taken.
        let others: Arc<dyn Dataset> = Arc::new(Memory::new(images(44, 16).split_off(22)).unwrap());
        assert!(trained(&gpu, &config, source(&others, Feed::Resident), "device", &options()) != streamed);
        for threads in [1, 3] {
            let again = trained(&gpu, &config, source(&set, Feed::Streamed), "asked for", &RunOptions { threads, ..options() });
            assert!(again == streamed, "{name}: {threads} threads");
            compared += 1;
        }
    }
    println!("scorecard feed: {compared} runs of 20 steps, resident, chosen, and streamed by 1 and 3 threads: equal bits");
}

#[test]
fn every_image_of_a_set_that_is_sent_in_parts_is_where_its_row_says() {
    let gpu = device();
    // More than two of the parts in which images go to the device.
    let (set, config) = (mixed(150), config(150, LOSSES[1].1, 1));
    let streamed = trained(&gpu, &config, source(&set, Feed::Streamed), "streamed", &options());
    assert!(trained(&gpu, &config, source(&set, Feed::Resident), "stay on the device", &options()) == streamed);
}

#[test]
fn a_run_may_be_resumed_by_the_other_feed() {
    let gpu = device();
    let (set, config) = (mixed(22), config(22, LOSSES[1].1, 4));
    let whole = trained(&gpu, &config, source(&set, Feed::Streamed), "streamed", &options());
    for (first, second) in [(Feed::Resident, Feed::Streamed), (Feed::Streamed, Feed::Resident)] {
        let place = tempfile::tempdir().unwrap();
        let folder = place.path().join("run");
        let mut trail = Trail::default();
        let mut run = Run::new(&gpu, config.clone(), source(&set, first), Some(&folder)).unwrap();
        let stop = Arc::new(AtomicBool::new(false));
        let raised = stop.clone();
        let outcome = trail.train(&mut run, &RunOptions { stop, ..options() }, |step| raised.store(step >= 7, Ordering::SeqCst));
        assert_eq!(outcome.unwrap(), Outcome::Stopped);
        drop(run);
        let (mut run, note) = Run::resume(&gpu, config.clone(), source(&set, second), &folder).unwrap();
        assert_eq!(note, None);
        assert_eq!(trail.train(&mut run, &options(), |_| {}).unwrap(), Outcome::Done);
        assert!(trail == whole, "{first:?} then {second:?}");
    }
}

#[test]
fn the_loss_before_training_is_the_same_wherever_images_are() {
    let gpu = device();
    let (set, config) = (mixed(22), config(22, LOSSES[1].1, 1));
    let loss = |feed| Run::new(&gpu, config.clone(), source(&set, feed), None).unwrap().loss_without_update(5).unwrap();
    assert_eq!(loss(Feed::Resident).to_bits(), loss(Feed::Streamed).to_bits());
}

/// Pictures of which some cannot be had, or take their time; sizes are told or not.
pub(crate) struct Odd {
    pub(crate) inner: Arc<dyn Dataset>,
    pub(crate) known: bool,
    pub(crate) before: Box<dyn Fn(usize) -> Result<()> + Send + Sync>,
}

impl Dataset for Odd {
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
    fn bytes(&self, i: usize) -> Option<u64> {
        self.inner.bytes(i).filter(|_| self.known)
    }
}

fn odd(known: bool, before: impl Fn(usize) -> Result<()> + Send + Sync + 'static) -> Arc<dyn Dataset> {
    Arc::new(Odd { inner: mixed(22), known, before: Box::new(before) })
}

#[test]
fn sizes_that_nobody_knows_are_streamed_unless_asked_otherwise() {
    let gpu = device();
    let (set, config) = (odd(false, |_| Ok(())), config(22, LOSSES[0].1, 1));
    let streamed = trained(&gpu, &config, source(&set, Feed::Auto), "sizes are not known", &options());
    assert!(trained(&gpu, &config, source(&set, Feed::Resident), "stay on the device", &options()) == streamed);
}

#[test]
fn images_over_the_largest_binding_are_streamed_or_refused_where_they_must_be_resident() {
    let _turn = device();
    let limits = wgpu::Limits { max_storage_buffer_binding_size: 1 << 20, ..wgpu::Limits::defaults() };
    let gpu = Gpu::open(&OpenOptions { limits: Some(limits), ..OpenOptions::default() }).unwrap();
    // 22 pictures of 150 x 150: 1.5 MB in all, 270 kB a batch.
    let set: Arc<dyn Dataset> = Arc::new(Memory::new(images(22, 150)).unwrap());
    let config = config(22, LOSSES[0].1, 1);
    trained(&gpu, &config, Source::from(set.clone()), "1.5 MB are over the 1.0 MB", &options());
    let refused = Run::new(&gpu, config, source(&set, Feed::Resident), None).err().unwrap();
    assert!(matches!(&refused, Error::Limit { what, .. } if what.contains("images")), "{refused}");
    assert_eq!(gpu.uncaptured_errors(), 0);
}

#[test]
fn an_image_that_cannot_be_read_is_named_in_the_middle_of_a_run_or_before_it() {
    let gpu = device();
    let config = config(22, LOSSES[0].1, 2);
    let broken = |i: usize| if i == 13 { Err(Error::data("13.png", "broken")) } else { Ok(()) };
    let set = odd(true, broken);
    let refused = Run::new(&gpu, config.clone(), source(&set, Feed::Auto), None).err().unwrap();
    assert!(matches!(&refused, Error::Data { path, .. } if path.ends_with("13.png")), "{refused}");

    let place = tempfile::tempdir().unwrap();
    let folder = place.path().join("run");
    let mut run = Run::new(&gpu, config.clone(), source(&set, Feed::Streamed), Some(&folder)).unwrap();
    let mut trail = Trail::default();
    let refused = trail.train(&mut run, &options(), |_| {}).unwrap_err();
    assert!(matches!(&refused, Error::Data { path, .. } if path.ends_with("13.png")), "{refused}");
    let done = run.progress().step;
    assert_eq!(done, trail.losses.len() as u64, "what was under way is counted");
    assert_eq!(std::fs::read(folder.join("last.safetensors")).unwrap(), state(&run), "and kept");
    drop(run);
    // Mended, the run ends as if nothing had been.
    let (mut run, _) = Run::resume(&gpu, config.clone(), source(&mixed(22), Feed::Streamed), &folder).unwrap();
    trail.train(&mut run, &options(), |_| {}).unwrap();
    let whole = trained(&gpu, &config, source(&mixed(22), Feed::Streamed), "streamed", &options());
    assert!(trail == whole, "after {done} steps");
}

#[test]
fn a_stop_does_not_wait_for_images() {
    let gpu = device();
    let stop = Arc::new(AtomicBool::new(false));
    let slow = Arc::new(AtomicBool::new(false));
    let crawl = slow.clone();
    let set = odd(true, move |_| {
        std::thread::sleep(Duration::from_millis(if crawl.load(Ordering::SeqCst) { 1_500 } else { 0 }));
        Ok(())
    });
    let mut run = Run::new(&gpu, config(22, LOSSES[0].1, 9), source(&set, Feed::Streamed), None).unwrap();
    let options = RunOptions { stop: stop.clone(), threads: 1, ..options() };
    let raised = stop.clone();
    let (sender, asked) = std::sync::mpsc::channel();
    let mut steps = 0;
    // From the fourth step on a batch takes six seconds; the stop comes half a second later.
    let outcome = run.train(&options, &mut |event| {
        if let Event::Step { step, .. } = event {
            steps = step;
            if step == 4 {
                slow.store(true, Ordering::SeqCst);
                let (raised, sender) = (raised.clone(), sender.clone());
                std::thread::spawn(move || {
                    std::thread::sleep(Duration::from_millis(500));
                    raised.store(true, Ordering::SeqCst);
                    sender.send(Instant::now()).unwrap();
                });
            }
        }
    });
    let seconds = asked.recv().unwrap().elapsed().as_secs_f64();
    assert_eq!(outcome.unwrap(), Outcome::Stopped);
    assert!(run.progress().step == steps && steps < 12, "{steps}");
    // A thread finishes the image that it is at.
    assert!(seconds < 3.0, "{seconds} s after the stop");
}

#[test]
fn waiting_is_told_where_images_are_streamed_and_none_where_they_are_on_the_device() {
    let gpu = device();
    let set = odd(true, |_| {
        std::thread::sleep(Duration::from_millis(20));
        Ok(())
    });
    let waited = |feed| {
        let mut run = Run::new(&gpu, config(22, LOSSES[0].1, 2), source(&set, feed), None).unwrap();
        let mut waited = Vec::new();
        run.train(&RunOptions { threads: 1, ..options() }, &mut |event| {
            if let Event::Epoch { waited: seconds, .. } = event {
                waited.push(seconds);
            }
        })
        .unwrap();
        waited
    };
    let (streamed, resident) = (waited(Feed::Streamed), waited(Feed::Resident));
    assert!(streamed.iter().all(|seconds| *seconds > 0.05), "{streamed:?}: twenty images of 20 ms an epoch, and short steps");
    assert_eq!(resident, [0.0, 0.0]);
}

#[test]
fn images_on_the_device_are_counted_and_given_back() {
    let _turn = device();
    let gpu = open();
    let set: Arc<dyn Dataset> = Arc::new(Memory::new(images(22, 100)).unwrap());
    let held = |feed| {
        let run = Run::new(&gpu, config(22, LOSSES[0].1, 1), source(&set, feed), None).unwrap();
        let held = gpu.bytes().0;
        drop(run);
        assert_eq!(gpu.bytes().0, 0);
        held
    };
    let (resident, streamed) = (held(Feed::Resident), held(Feed::Streamed));
    // A batch of four has room for its own.
    assert_eq!(resident as i64 - streamed as i64, (22 - 4) * 30_000);
}

/// How many images were asked for at once, at most, while `work` ran on a set of which each takes a while.
fn at_once(work: impl FnOnce(Arc<dyn Dataset>)) -> usize {
    let (now, most) = (Arc::new(AtomicUsize::new(0)), Arc::new(AtomicUsize::new(0)));
    let (entering, highest) = (now, most.clone());
    work(odd(true, move |_| {
        highest.fetch_max(entering.fetch_add(1, Ordering::SeqCst) + 1, Ordering::SeqCst);
        std::thread::sleep(Duration::from_millis(5));
        entering.fetch_sub(1, Ordering::SeqCst);
        Ok(())
    }));
    most.load(Ordering::SeqCst)
}

#[test]
fn as_many_threads_embed_as_were_asked_for_with_equal_bits() {
    let gpu = device();
    let config = config(22, LOSSES[0].1, 1);
    let run = Run::new(&gpu, config.clone(), source(&mixed(22), Feed::Auto), None).unwrap();
    let mut rows = Vec::new();
    for threads in [1, 3] {
        let options = EmbedOptions { augmentation: config.augmentation, batch: 4, layer: Layer::Embedding, threads };
        let most = at_once(|set| rows.push(embed(&gpu, run.net(), run.store(), &set, options).unwrap()));
        assert_eq!(most, threads);
    }
    assert_eq!(rows[0], rows[1]);
}

#[test]
fn small_writes_and_large_ones_arrive_in_order_and_large_ones_alone_hold_memory() {
    let _turn = device();
    let gpu = open();
    for words in [1, 1_000, Uploads::DIRECT, Uploads::DIRECT + 1, 5 << 20] {
        let buffer = gpu.buffer("pixels", words + 3).unwrap();
        let before = gpu.bytes().0;
        let mut uploads = gpu.uploads();
        // Twice round the ring, and more.
        let reads: Vec<_> = (0..7u32)
            .map(|turn| {
                let sent: Vec<u32> = (0..words as u32).map(|i| i.wrapping_mul(turn + 1) + turn).collect();
                uploads.write(&buffer, 3, &sent).unwrap();
                (sent, gpu.read(&buffer, 3, words).unwrap())
            })
            .collect();
        for (turn, (sent, read)) in reads.into_iter().enumerate() {
            assert!(read.wait().unwrap() == sent, "{words} words, write {turn}");
        }
        assert_eq!(gpu.bytes().0 - before, 4 * Uploads::held(words) as u64, "{words} words");
        assert!(uploads.write(&buffer, 4, &vec![0; words]).is_err(), "past the end");
    }
    assert_eq!((Uploads::held(Uploads::DIRECT), Uploads::held(5 << 20)), (0, 3 << 23));
}
