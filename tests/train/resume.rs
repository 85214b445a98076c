//! R42: a run that stopped, by return or by `kill -9`, ends with the bits of one that did not. (By device loss: `lost`.)

use crate::{LOSSES, Trail, child, device, fifty_steps, go_on, open, options, pictures, uninterrupted};
use instdisc::checkpoint::File;
use instdisc::train::{Folder, Outcome, Run, RunOptions};
use std::io::{BufRead, BufReader};
use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::sync::atomic::Ordering;

/// The first step, the middle and the ends of epochs, where steps are under way ahead of the one looked at.
const STOPS: [u64; 8] = [1, 3, 5, 7, 14, 25, 33, 48];

fn step_of(folder: &Path) -> u64 {
    File::load(Folder::checkpoint(folder)).unwrap().metadata["step"].parse().unwrap()
}

#[test]
fn a_run_that_returned_early_goes_on_to_the_same_bits() {
    let gpu = device();
    for (name, loss) in LOSSES {
        let config = fifty_steps(loss);
        let whole = uninterrupted(&gpu, &config, &options());
        for k in STOPS {
            let folder = tempfile::tempdir().unwrap();
            let mut trail = Trail::default();
            let mut run = Run::new(&gpu, config.clone(), pictures(config.images), Some(folder.path())).unwrap();
            let options = RunOptions { stop: Default::default(), ..options() };
            let raise = |step| options.stop.store(step >= k, Ordering::SeqCst);
            let outcome = trail.train(&mut run, &options, raise).unwrap();
            let stopped = run.progress().step;
            drop(run);
            assert_eq!(outcome, if stopped < 50 { Outcome::Stopped } else { Outcome::Done });
            assert!((k..k + 3).contains(&stopped), "{name}: stopped at {stopped} after {k}");
            assert_eq!(step_of(folder.path()), stopped);
            go_on(&gpu, &config, folder.path(), &mut trail);
            assert!(trail == whole, "{name}: stopped at step {stopped}");
        }
    }
    // A stop twice, and the end of an epoch that is asked for.
    let config = fifty_steps(LOSSES[1].1);
    let whole = uninterrupted(&gpu, &config, &options());
    let folder = tempfile::tempdir().unwrap();
    let mut trail = Trail::default();
    let mut run = Run::new(&gpu, config.clone(), pictures(config.images), Some(folder.path())).unwrap();
    for epoch in [2, 3] {
        trail.train(&mut run, &RunOptions { stop_after: Some(epoch), ..options() }, |_| {}).unwrap();
        assert_eq!(run.progress().step, 5 * epoch as u64);
    }
    drop(run);
    go_on(&gpu, &config, folder.path(), &mut trail);
    assert!(trail == whole, "--stop-after");
    println!("scorecard R42 by return: {} stops x 2 losses, all equal to the run without a stop", STOPS.len());
}

#[test]
fn the_log_of_a_resumed_run_says_each_step_once() {
    let gpu = device();
    let config = fifty_steps(LOSSES[0].1);
    let folder = tempfile::tempdir().unwrap();
    let every = RunOptions { log_every: 1, stop: Default::default(), ..options() };
    let mut run = Run::new(&gpu, config.clone(), pictures(config.images), Some(folder.path())).unwrap();
    let mut trail = Trail::default();
    // The device is fine, but the process dies after step 13: the checkpoint is that of step 10.
    let saved = folder.path().join("saved");
    let checkpoint = Folder::checkpoint(folder.path());
    let keep = |step: u64| {
        if step == 13 {
            std::fs::copy(&checkpoint, &saved).unwrap();
            every.stop.store(true, Ordering::SeqCst);
        }
    };
    trail.train(&mut run, &every, keep).unwrap();
    drop(run);
    std::fs::rename(&saved, &checkpoint).unwrap();
    let (mut run, _) = Run::resume(&gpu, config.clone(), pictures(config.images), folder.path()).unwrap();
    assert_eq!(run.progress().step, 10);
    every.stop.store(false, Ordering::SeqCst);
    trail.train(&mut run, &every, |_| {}).unwrap();
    let text = std::fs::read_to_string(folder.path().join("metrics.jsonl")).unwrap();
    let lines: Vec<serde_json::Value> = text.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    let steps: Vec<u64> = lines.iter().filter(|l| l.get("epoch").is_none()).map(|l| l["step"].as_u64().unwrap()).collect();
    assert_eq!(steps, (1..=50).collect::<Vec<_>>());
    let epochs: Vec<u64> = lines.iter().filter_map(|l| l.get("epoch")?.as_u64()).collect();
    assert_eq!(epochs, (1..=10).collect::<Vec<_>>());
    for line in &lines {
        assert!(line["loss"].as_f64().is_some_and(f64::is_finite) && line["lr"].as_f64().is_some(), "{line}");
    }
}

const FOLDER: &str = "INSTDISC_TEST_RUN_FOLDER";
const LOSS: &str = "INSTDISC_TEST_RUN_LOSS";

/// Begins a run and says each step, until it is killed. Does nothing in an ordinary run.
#[test]
fn child_trains_until_killed() {
    let Some(folder) = std::env::var_os(FOLDER).map(PathBuf::from) else { return };
    let loss = LOSSES.iter().find(|(name, _)| std::env::var(LOSS).as_deref() == Ok(name)).unwrap().1;
    let config = fifty_steps(loss);
    let gpu = open();
    let mut run = Run::new(&gpu, config.clone(), pictures(config.images), Some(&folder)).unwrap();
    Trail::default().train(&mut run, &options(), |step| println!("\nstep {step}")).unwrap();
}

#[test]
fn a_killed_run_goes_on_to_the_same_bits() {
    let gpu = device();
    let mut found = Vec::new();
    for (name, loss) in LOSSES {
        let config = fifty_steps(loss);
        let mut whole = uninterrupted(&gpu, &config, &options());
        whole.losses.clear(); // the child kept them
        whole.epochs.clear();
        for k in [1, 6, 10, 29] {
            let folder = tempfile::tempdir().unwrap();
            let run = folder.path().join("run");
            let mut command = child("resume::child_trains_until_killed");
            let mut process = command.env(FOLDER, &run).env(LOSS, name).stdout(Stdio::piped()).spawn().unwrap();
            let mut lines = BufReader::new(process.stdout.take().unwrap()).lines().map_while(Result::ok);
            assert!(lines.any(|line| line == format!("step {k}")), "the child ended before step {k}");
            process.kill().unwrap(); // SIGKILL
            process.wait().unwrap();
            let step = step_of(&run);
            // The child may have gone on before the signal came; the line of an epoch's last step comes before its checkpoint.
            assert!(step.is_multiple_of(5) && step + 5 >= k && step < 50, "killed after step {k}, checkpoint of step {step}");
            let mut trail = Trail::default();
            go_on(&gpu, &config, &run, &mut trail);
            trail.losses.clear();
            trail.epochs.clear();
            assert!(trail == whole, "{name}: killed after step {k}");
            found.push(step);
        }
    }
    println!(
        "scorecard R42 by kill -9: {} kills, resumed from steps {found:?}, all equal to the run without a stop",
        found.len()
    );
}
