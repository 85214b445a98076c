//! A run keeps the kernels it began with: chosen ones are repeated on resume, whatever the static table says then.

use crate::{LOSSES, Trail, config, device, options, pictures, uninterrupted};
use instdisc::gpu::{Choices, Gpu};
use instdisc::ops::Problem;
use instdisc::train::{Config, Run, RunOptions};
use std::collections::BTreeSet;
use std::path::Path;
use std::sync::atomic::Ordering;

fn small() -> Config {
    config(22, LOSSES[0].1, 2)
}

fn begin(gpu: &Gpu, folder: &Path, chosen: Choices) -> Run {
    let config = small();
    Run::new_by(gpu, config.clone(), pictures(config.images), Some(folder), |_| Ok(Some(chosen))).unwrap()
}

/// Train until a few steps are done, and forget the run.
fn interrupt(mut run: Run, trail: &mut Trail) {
    let options = RunOptions { stop: Default::default(), ..options() };
    trail.train(&mut run, &options, |step| options.stop.store(step >= 3, Ordering::SeqCst)).unwrap();
    assert!(run.progress().step < 10);
}

fn resumed(gpu: &Gpu, folder: &Path, trail: &mut Trail) -> (Choices, Option<String>) {
    let config = small();
    let (mut run, note) = Run::resume(gpu, config.clone(), pictures(config.images), folder).unwrap();
    trail.train(&mut run, &options(), |_| {}).unwrap();
    (run.kernels().clone(), note)
}

fn stored(folder: &Path) -> Choices {
    serde_json::from_slice(&std::fs::read(folder.join("kernels.json")).unwrap()).unwrap()
}

/// What a run by the static table uses.
fn table(gpu: &Gpu) -> Choices {
    let config = small();
    Run::new(gpu, config.clone(), pictures(config.images), None).unwrap().kernels().clone()
}

/// Choices that give other weights than the static table.
fn other(gpu: &Gpu, by_table: &Trail) -> (Choices, Trail) {
    let table = table(gpu);
    let problems = table.iter().map(|(problem, _)| problem.parse::<Problem>().unwrap());
    let names: BTreeSet<String> = problems.flat_map(|p| p.candidates(gpu)).map(|a| a.to_string()).collect();
    for name in names {
        let mut choices = Choices::default();
        choices.set("*", &name);
        let trail = uninterrupted(&gpu.with_choices(choices.clone()), &small(), &options());
        if trail.state != by_table.state {
            return (choices, trail);
        }
    }
    panic!("every algorithm gives the same bits: nothing to tell them apart by");
}

#[test]
fn chosen_kernels_are_repeated_on_resume() {
    let gpu = device();
    let by_table = uninterrupted(&gpu, &small(), &options());
    let (chosen, whole) = other(&gpu, &by_table);
    let place = tempfile::tempdir().unwrap();
    // Neither the caller's choices nor what the table says count when a run goes on: a version whose table differs looks like the last.
    let mut contrary = Choices::default();
    table(&gpu).iter().for_each(|(problem, algorithm)| contrary.set(problem, algorithm));
    let mut without = Choices::default();
    without.allow_winograd(false);
    let later = [gpu.clone(), gpu.with_choices(contrary), gpu.with_choices(without)];
    for (i, gpu_then) in later.iter().enumerate() {
        let folder = place.path().join(i.to_string());
        let mut trail = Trail::default();
        let mut run = begin(&gpu, &folder, chosen.clone());
        let used = run.kernels().clone();
        assert!(used.iter().any(|(problem, algorithm)| table(&gpu).get(problem) != Some(algorithm)));
        assert!(used.iter().all(|(problem, algorithm)| stored(&folder).get(problem) == Some(algorithm)), "kernels.json");
        interrupt(run, &mut trail);
        let before = std::fs::read(folder.join("kernels.json")).unwrap();
        let (then, note) = resumed(gpu_then, &folder, &mut trail);
        assert_eq!((then, note), (used, None));
        assert!(trail == whole, "resumed with other bits than the run without a stop");
        assert!(trail != by_table, "chosen kernels and the table's give the same bits");
        assert_eq!(std::fs::read(folder.join("kernels.json")).unwrap(), before);
    }
    println!(
        "scorecard kernels.json: {} runs by chosen kernels, resumed without naming them, equal the run without a stop and differ from the static table's",
        later.len()
    );
}

#[test]
fn a_run_without_the_file_goes_on_by_the_static_table() {
    let gpu = device();
    let by_table = uninterrupted(&gpu, &small(), &options());
    let folder = tempfile::tempdir().unwrap();
    let mut trail = Trail::default();
    let config = small();
    interrupt(Run::new(&gpu, config.clone(), pictures(config.images), Some(folder.path())).unwrap(), &mut trail);
    std::fs::remove_file(folder.path().join("kernels.json")).unwrap();
    let (used, note) = resumed(&gpu, folder.path(), &mut trail);
    assert!(note.is_some_and(|note| note.contains("kernels.json")) && trail == by_table);
    assert_eq!((&used, &stored(folder.path())), (&table(&gpu), &used), "from now on they are written down");
}

#[test]
fn a_kernel_that_is_gone_is_named_and_the_preferred_one_used() {
    let gpu = device();
    let folder = tempfile::tempdir().unwrap();
    let mut trail = Trail::default();
    interrupt(begin(&gpu, folder.path(), Choices::default()), &mut trail);
    let table = table(&gpu);
    let (problem, preferred) = table.iter().next().unwrap();
    let mut choices = stored(folder.path());
    choices.set(problem, "tensor cores 256x128");
    std::fs::write(folder.path().join("kernels.json"), serde_json::to_vec(&choices).unwrap()).unwrap();
    let (used, note) = resumed(&gpu, folder.path(), &mut trail);
    let note = note.unwrap();
    for part in [problem, "tensor cores 256x128", preferred, "last bits"] {
        assert!(note.contains(part), "{note}");
    }
    assert_eq!(used.get(problem), Some(preferred));
    assert_eq!(stored(folder.path()).get(problem), Some(preferred), "what is in force is written down");
}

#[test]
fn a_damaged_file_stops_the_resume_and_is_left_alone() {
    let gpu = device();
    let folder = tempfile::tempdir().unwrap();
    interrupt(begin(&gpu, folder.path(), Choices::default()), &mut Trail::default());
    let path = folder.path().join("kernels.json");
    let whole = std::fs::read(&path).unwrap();
    let config = small();
    for bytes in [&whole[..whole.len() / 2], b"", b"[]", b"{\"winograd\":true}"] {
        std::fs::write(&path, bytes).unwrap();
        let refused = Run::resume(&gpu, config.clone(), pictures(config.images), folder.path()).err().unwrap().to_string();
        assert!(refused.contains("kernels.json") && refused.contains("damaged"), "{refused}");
        assert_eq!(std::fs::read(&path).unwrap(), bytes);
    }
}
