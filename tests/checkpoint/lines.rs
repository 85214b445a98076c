//! The log holds whole lines, and litter is told from files in use.

use crate::faults::steps;
use instdisc::checkpoint::{JsonLines, clean};
use serde_json::json;

#[test]
fn a_torn_line_is_cut_off_wherever_it_was_torn() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("metrics.jsonl");
    {
        let mut log = JsonLines::open(&path).unwrap();
        for step in 0..4 {
            log.push(&json!({ "step": step, "text": "line\nfeed \u{1f600}", "pad": "y".repeat(3000) })).unwrap();
        }
        log.sync().unwrap();
    }
    let whole = std::fs::read(&path).unwrap();
    assert_eq!(steps(&path), [0, 1, 2, 3]);
    for length in (0..=whole.len()).step_by(7).chain([whole.len(), whole.len() - 1, 1]) {
        std::fs::write(&path, &whole[..length]).unwrap();
        let mut log = JsonLines::open(&path).unwrap();
        log.push(&json!({ "step": 9 })).unwrap();
        let complete = whole[..length].iter().filter(|&&b| b == b'\n').count() as u64;
        assert_eq!(steps(&path), (0..complete).chain([9]).collect::<Vec<_>>(), "cut at {length}");
    }
}

#[test]
fn a_log_in_a_missing_folder_is_an_error() {
    let folder = tempfile::tempdir().unwrap();
    let error = JsonLines::open(folder.path().join("absent/metrics.jsonl")).err().unwrap().to_string();
    assert!(error.contains("absent/metrics.jsonl"), "{error}");
}

#[cfg(target_os = "linux")]
#[test]
fn only_files_of_dead_writers_are_removed() {
    let folder = tempfile::tempdir().unwrap();
    let own = std::process::id();
    let stat = std::fs::read_to_string("/proc/self/stat").unwrap();
    let start: u64 = stat.rsplit(')').next().unwrap().split_whitespace().nth(19).unwrap().parse().unwrap();
    let alive = [format!(".instdisc-{own}-{start}-0.tmp"), format!(".instdisc-{own}-0-1.tmp")]; // 0: start unknown, file young
    let dead = [format!(".instdisc-{own}-{}-0.tmp", start + 1), ".instdisc-4194999-5-0.tmp".into()]; // a number used again; no such process
    let others = [
        "last.safetensors",
        ".instdisc-x-1-2.tmp",
        ".instdisc-1-2.tmp",
        ".instdisc-1-2-3-4.tmp",
        ".instdisc-1-2-3.tmp~",
        "instdisc-1-2-3.tmp",
    ];
    for name in alive.iter().chain(&dead).map(String::as_str).chain(others) {
        std::fs::write(folder.path().join(name), b"x").unwrap();
    }
    assert_eq!(clean(folder.path()).unwrap(), 2);
    for name in alive.iter().map(String::as_str).chain(others) {
        assert!(folder.path().join(name).exists(), "{name} was removed");
    }
    assert_eq!(clean(folder.path().join("absent")).unwrap(), 0);
}
