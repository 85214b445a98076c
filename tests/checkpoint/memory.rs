//! The memory of R31, and whether other programs read our files.

use crate::adversarial::cases;
use instdisc::checkpoint::File;
use std::process::Command;

const FOLDER: &str = "INSTDISC_TEST_MEMORY_FOLDER";

/// A line of this process's status, in KiB.
fn status(key: &str) -> u64 {
    let text = std::fs::read_to_string("/proc/self/status").unwrap();
    let line = text.lines().find(|line| line.starts_with(key)).unwrap();
    line.split_whitespace().nth(1).unwrap().parse().unwrap()
}

/// Imports every file of the folder and prints the most memory that it took. Does nothing in an ordinary run.
#[test]
fn child_imports_all() {
    let Some(folder) = std::env::var_os(FOLDER) else { return };
    let before = status("VmRSS");
    for entry in std::fs::read_dir(folder).unwrap() {
        let _ = File::import(entry.unwrap().path());
    }
    println!("\npeak {}", status("VmHWM").saturating_sub(before));
}

#[test]
fn adversarial_files_take_little_memory() {
    let folder = tempfile::tempdir().unwrap();
    for (i, case) in cases().into_iter().enumerate() {
        std::fs::write(folder.path().join(i.to_string()), case.bytes).unwrap();
    }
    // a terabyte of nothing costs no disk; neither may it cost memory
    for (name, header) in [("zeros", 0u64), ("claims all", 1 << 40)] {
        let file = std::fs::File::create(folder.path().join(name)).unwrap();
        std::io::Write::write_all(&mut &file, &header.to_le_bytes()).unwrap();
        file.set_len(1 << 40).unwrap();
    }
    let run = Command::new(std::env::current_exe().unwrap())
        .args(["--exact", "memory::child_imports_all", "--nocapture", "--test-threads=1"])
        .env(FOLDER, folder.path())
        .output()
        .unwrap();
    let text = String::from_utf8_lossy(&run.stdout);
    let peak: u64 = text.lines().find_map(|line| line.strip_prefix("peak ")?.parse().ok()).unwrap_or_else(|| panic!("{text}"));
    println!("scorecard R31 at most {peak} KiB of memory for all adversarial files");
    assert!(peak <= 64 << 10);
}

/// Run with `INSTDISC_TEST_PYTHON` naming a Python that has `safetensors` and `numpy` (default: `python3`).
#[test]
#[ignore = "needs Python with the packages safetensors and numpy"]
fn python_reads_our_files_and_we_read_its() {
    let folder = tempfile::tempdir().unwrap();
    let (ours, theirs) = (folder.path().join("ours"), folder.path().join("theirs"));
    let file = crate::sample(5, 100);
    file.save(&ours).unwrap();
    let script = "import sys\nfrom safetensors.numpy import load_file, save_file\n\
        t = load_file(sys.argv[1])\nassert t['step'] == 5 and t['counts'].tolist() == [[-1, 0, 1]], t\n\
        assert t['half'].tolist() == [[1.0]] and t['none'].shape == (0, 4), t\nsave_file(t, sys.argv[2], metadata={'a': 'b', 'c': 'd'})";
    let python = std::env::var("INSTDISC_TEST_PYTHON").unwrap_or_else(|_| "python3".into());
    let run = Command::new(python).args(["-c", script]).arg(&ours).arg(&theirs).output().unwrap();
    assert!(run.status.success(), "{}", String::from_utf8_lossy(&run.stderr));
    let back = File::import(&theirs).unwrap();
    assert!(!back.verified());
    assert_eq!(back.tensors, file.tensors);
    assert_eq!(back.metadata["a"], "b");
    for trace in std::fs::read_dir(std::env::var("INSTDISC_TEST_TRACES").unwrap_or_default()).into_iter().flatten() {
        let path = trace.unwrap().path();
        if path.extension().is_some_and(|e| e == "safetensors") {
            let file = File::import(&path).unwrap();
            println!("{}: {} tensors", path.display(), file.tensors.len());
        }
    }
}
