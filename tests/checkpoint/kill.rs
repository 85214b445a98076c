//! R24: `kill -9` at any moment of a save. The child is this test binary, started again.

use crate::{litter, random, sample, step_of};
use instdisc::checkpoint::{File, JsonLines, clean};
use std::io::{BufRead, BufReader, Write};
use std::path::Path;
use std::process::{Command, Stdio};
use std::time::Duration;

const FOLDER: &str = "INSTDISC_TEST_KILL_FOLDER";
const KILLS: u64 = 500;

/// Saves steps from where the folder stands, and says so after each, until it is killed. Does nothing in an ordinary run.
#[test]
fn child_saves_until_killed() {
    let Some(folder) = std::env::var_os(FOLDER) else { return };
    let folder = Path::new(&folder);
    clean(folder).unwrap();
    assert_eq!(litter(folder), 0, "litter at start");
    let path = folder.join("last.safetensors");
    let first = File::load(&path).map_or(0, |file| step_of(&file) + 1);
    let mut log = JsonLines::open(folder.join("metrics.jsonl")).unwrap();
    let mut out = std::io::stdout();
    writeln!(out, "\nready").unwrap();
    for step in first.. {
        sample(step, 100_000).save(&path).unwrap();
        log.push(&serde_json::json!({ "step": step, "pad": "x".repeat(20_000) })).unwrap();
        writeln!(out, "saved {step}").unwrap();
    }
}

/// Starts a child, kills it after some time, and says what it confirmed last.
fn kill_one(folder: &Path, delay: Duration) -> Option<u32> {
    let mut child = Command::new(std::env::current_exe().unwrap())
        .args(["--exact", "kill::child_saves_until_killed", "--nocapture", "--test-threads=1"])
        .env(FOLDER, folder)
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    let mut lines = BufReader::new(child.stdout.take().unwrap()).lines().map(|line| line.unwrap_or_default());
    assert!(lines.any(|line| line == "ready"), "the child ended before it was ready");
    std::thread::sleep(delay);
    child.kill().unwrap(); // SIGKILL
    child.wait().unwrap();
    lines.filter_map(|line| line.strip_prefix("saved ")?.parse().ok()).last()
}

#[test]
fn a_killed_save_leaves_the_old_file_or_the_new_one() {
    let workers = 2;
    let totals: Vec<[u64; 4]> = std::thread::scope(|scope| {
        let work = |worker: u64| {
            let folder = tempfile::tempdir().unwrap();
            let (folder, path) = (folder.path(), folder.path().join("last.safetensors"));
            let (mut broken, mut littered, mut between, mut last) = (0, 0, 0, None);
            for i in 0..KILLS / workers {
                let delay = Duration::from_micros(random(worker, i) % 20_000);
                let confirmed = kill_one(folder, delay).or(last);
                littered += u64::from(litter(folder) > 0);
                last = match (confirmed, File::load(&path).map(|file| step_of(&file))) {
                    (None, Ok(0)) => Some(0),
                    (None, Err(_)) if !path.exists() => None,
                    (Some(step), Ok(found)) if found == step || found == step + 1 => {
                        between += u64::from(found == step + 1);
                        Some(found)
                    }
                    _ => {
                        broken += 1;
                        None
                    }
                };
            }
            clean(folder).unwrap();
            drop(JsonLines::open(folder.join("metrics.jsonl")).unwrap());
            crate::faults::steps(&folder.join("metrics.jsonl"));
            [broken, littered, between, litter(folder) as u64]
        };
        let workers: Vec<_> = (0..workers).map(|worker| scope.spawn(move || work(worker))).collect();
        workers.into_iter().map(|worker| worker.join().unwrap()).collect()
    });
    let [broken, littered, between, left] = [0, 1, 2, 3].map(|i| totals.iter().map(|t| t[i]).sum::<u64>());
    println!(
        "scorecard R24 {KILLS} kills: {broken} unreadable or lost, {littered} left litter, {between} after the rename; litter after the next start: {left}"
    );
    assert_eq!((broken, left), (0, 0));
    assert!(littered > KILLS / 20, "only {littered} kills fell into a save: the test proves too little");
}
