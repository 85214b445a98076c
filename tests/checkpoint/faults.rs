//! R25: every file operation fails in turn, in each way, once and for good.

use crate::fakes::{Failing, Fault};
use crate::{litter, sample, step_of};
use instdisc::checkpoint::{File, JsonLines, write, write_parts_on};
use std::collections::BTreeSet;

const EINTR: i32 = 4;
const ERRORS: [(i32, &str); 4] = [(5, "EIO"), (28, "ENOSPC"), (EINTR, "EINTR"), (30, "EROFS")];

#[test]
fn whichever_file_operation_fails_the_old_file_is_intact() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("last.safetensors");
    let (old, new) = (sample(1, 10).encode().unwrap(), sample(2, 700).encode().unwrap());
    let (mut attempts, mut hits) = (0, BTreeSet::new());
    for (errno, name) in ERRORS {
        for (fault, sticky) in
            [(Fault::Errno(errno), false), (Fault::Errno(errno), true), (Fault::Short(errno), false), (Fault::Short(errno), true)]
        {
            for k in 0.. {
                write(&path, &old).unwrap();
                let fs = Failing::new(k, fault, sticky);
                let result = write_parts_on(&fs, &path, &[&new[..100], &new[100..]]);
                let (hit, step) = (fs.hit(), step_of(&File::load(&path).unwrap()));
                let case = format!("operation {k}, {name}, {fault:?}, sticky {sticky}: {hit:?}, {result:?}");
                if hit.is_empty() {
                    assert!(result.is_ok() && k > 5, "{case}");
                    break;
                }
                attempts += 1;
                let in_place = hit.contains(&"folder sync");
                assert_eq!(step, if result.is_ok() || in_place { 2 } else { 1 }, "{case}");
                assert_eq!(result.is_ok(), errno == EINTR && !sticky, "{case}");
                if !hit.contains(&"remove") {
                    assert_eq!(litter(folder.path()), 0, "{case}");
                }
                if let Err(e) = result {
                    assert!(e.to_string().contains("last.safetensors"), "{case}");
                }
                hits.extend(hit);
                for entry in std::fs::read_dir(folder.path()).unwrap() {
                    let entry = entry.unwrap().path();
                    if entry != path {
                        std::fs::remove_file(entry).unwrap();
                    }
                }
            }
        }
    }
    for op in ["look", "open", "write", "short write", "sync", "rename", "folder sync", "remove"] {
        assert!(hits.contains(op), "{op} never failed");
    }
    println!(
        "scorecard R25 old or new file intact after {attempts} of {attempts} failed operations (EIO, ENOSPC, EINTR, EROFS; once and sticky)"
    );
}

#[test]
fn whichever_file_operation_fails_the_log_holds_whole_lines() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("metrics.jsonl");
    let mut attempts = 0;
    for (errno, _) in ERRORS {
        for (fault, sticky) in
            [(Fault::Errno(errno), false), (Fault::Errno(errno), true), (Fault::Short(errno), false), (Fault::Short(errno), true)]
        {
            for k in 0.. {
                std::fs::write(&path, "{\"step\":0}\n{\"step\":1,\"torn\":\"").unwrap();
                let fs = Failing::new(k, fault, sticky);
                let mut kept = vec![0];
                let mut all_well = true;
                if let Ok(mut log) = JsonLines::open_on(&fs, &path) {
                    for step in 1..5 {
                        match log.push(&serde_json::json!({ "step": step, "pad": "x".repeat(1500) })) {
                            Ok(()) => kept.push(step),
                            Err(_) => all_well = false,
                        }
                    }
                    all_well &= log.sync().is_ok();
                } else {
                    all_well = false;
                }
                drop(JsonLines::open(&path).unwrap());
                assert_eq!(steps(&path), kept, "operation {k}, {fault:?}, sticky {sticky}: {:?}", fs.hit());
                if fs.hit().is_empty() {
                    assert!(all_well && k > 5);
                    break;
                }
                assert_eq!(all_well, errno == EINTR && !sticky, "operation {k}, {fault:?}, sticky {sticky}: {:?}", fs.hit());
                attempts += 1;
            }
        }
    }
    println!("scorecard R25b log held its whole lines after {attempts} of {attempts} failed operations");
}

/// The steps in a log of whole lines.
pub(crate) fn steps(path: &std::path::Path) -> Vec<u64> {
    let text = std::fs::read_to_string(path).unwrap();
    assert!(text.is_empty() || text.ends_with('\n'));
    text.lines().map(|line| serde_json::from_str::<serde_json::Value>(line).unwrap()["step"].as_u64().unwrap()).collect()
}
