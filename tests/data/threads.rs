//! That what is opened and loaded does not depend on the number of threads.

use crate::files::png;
use crate::{Contents, contents, write};
use instdisc::data::{Batch, ImageFolder, Loader, Options, Report, Sampler};
use std::path::Path;
use std::sync::Arc;

fn opened(root: &Path, threads: usize, memory_bytes: u64) -> ImageFolder {
    ImageFolder::open(root, &Options { threads, memory_bytes, skip_broken: true, ..Options::default() }).unwrap()
}

#[derive(PartialEq)]
struct Run {
    report: Report,
    images: Vec<Contents>,
    batches: Vec<Result<Batch, String>>,
}

/// Everything of a folder and of two epochs of batches.
fn run(root: &Path, threads: usize, memory_bytes: u64) -> Run {
    let set = opened(root, threads, memory_bytes);
    let sampler = Sampler::new(set.report().images, 7, 3).unwrap();
    let steps = 0..2 * sampler.batches_per_epoch();
    let (report, images) = (set.report().clone(), contents(&set));
    let batches = Loader::new(Arc::new(set), sampler, steps, threads).unwrap();
    Run { report, images, batches: batches.map(|batch| batch.map_err(|error| error.to_string())).collect() }
}

#[test]
fn one_two_and_four_threads_give_the_same() {
    let root = tempfile::tempdir().unwrap();
    for i in 0..60u8 {
        let mut file = png(5 + u32::from(i % 7), 40 - u32::from(i % 11) * 3, i);
        if i % 8 == 4 {
            // Broken in the pixels, which only decoding shows.
            file.truncate(70);
        }
        if i % 17 == 5 {
            file.truncate(20);
        }
        write(root.path(), &format!("{}/{i:02}.png", i % 3), &file);
    }
    for memory_bytes in [1 << 30, 20_000, 0] {
        let one = run(root.path(), 1, memory_bytes);
        assert_eq!(one.report.in_memory == one.report.images, memory_bytes == 1 << 30, "{:?}", one.report);
        for threads in [2, 4, 2, 4, 2, 4] {
            assert!(run(root.path(), threads, memory_bytes) == one, "{threads} threads, {memory_bytes} bytes");
        }
    }
    let partly = run(root.path(), 4, 20_000);
    assert!(partly.report.in_memory > 0 && !partly.report.skipped.is_empty());
    assert!(partly.images.iter().any(|(_, _, image)| image.is_err()), "a broken image past the memory is found when asked for");
}
