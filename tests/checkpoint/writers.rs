//! R28: many writers of one path.

use crate::{litter, sample, step_of};
use instdisc::checkpoint::{File, clean};
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};

const THREADS: u32 = 8;
const SAVES: u32 = 200;

#[test]
fn eight_threads_save_to_one_path() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("last.safetensors");
    let (saved, loaded, cleaned) = (AtomicUsize::new(0), AtomicUsize::new(0), AtomicUsize::new(0));
    let done = AtomicBool::new(false);
    sample(0, 100).save(&path).unwrap();
    std::thread::scope(|scope| {
        let writers: Vec<_> = (0..THREADS)
            .map(|thread| {
                let (path, saved) = (&path, &saved);
                scope.spawn(move || {
                    for i in 0..SAVES {
                        let step = thread * SAVES + i;
                        saved.fetch_add(usize::from(sample(step, 100 + step as usize).save(path).is_ok()), Ordering::Relaxed);
                    }
                })
            })
            .collect();
        scope.spawn(|| {
            while !done.load(Ordering::Relaxed) {
                assert!(step_of(&File::load(&path).unwrap()) < THREADS * SAVES);
                loaded.fetch_add(1, Ordering::Relaxed);
                cleaned.fetch_add(clean(folder.path()).unwrap(), Ordering::Relaxed);
            }
        });
        writers.into_iter().for_each(|writer| writer.join().unwrap());
        done.store(true, Ordering::Relaxed);
    });
    let (saved, loaded) = (saved.into_inner(), loaded.into_inner());
    println!(
        "scorecard R28 {saved} of {} saves succeeded from {THREADS} threads, {loaded} of {loaded} loads meanwhile",
        THREADS * SAVES
    );
    assert_eq!(saved, (THREADS * SAVES) as usize);
    assert!(loaded > 0);
    assert_eq!(cleaned.into_inner(), 0, "a live writer's file was removed");
    assert_eq!(litter(folder.path()), 0);
}
