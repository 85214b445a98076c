//! The rooms of the house and the arrows between them: ARCHITECTURE.md, read from the sources.

use std::path::{Path, PathBuf};

/// What each room may import besides itself.
const ARROWS: &[(&str, &[&str])] = &[
    ("error", &[]),
    ("shape", &["error"]),
    ("rng", &[]),
    ("gpu", &["error", "shape", "rng"]),
    ("tape", &["gpu", "error", "shape", "rng"]),
    ("ops", &["tape", "gpu", "error", "shape", "rng"]),
    ("nn", &["ops", "tape", "gpu", "error", "shape", "rng"]),
    ("optim", &["ops", "tape", "gpu", "error", "shape", "rng"]),
    ("npid", &["nn", "ops", "tape", "gpu", "error", "shape", "rng"]),
    ("eval", &["npid", "nn", "optim", "ops", "tape", "gpu", "error", "shape", "rng"]),
    ("data", &["error", "shape", "rng"]),
    ("checkpoint", &["error", "shape"]),
    ("train", &["eval", "npid", "optim", "nn", "data", "checkpoint", "ops", "tape", "gpu", "error", "shape", "rng"]),
    ("twin", &["shape", "rng"]),
    ("selftest", &["ops", "tape", "gpu", "twin", "error", "shape", "rng"]),
];

fn sources(folder: &Path) -> Vec<PathBuf> {
    let mut found = Vec::new();
    for entry in std::fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            found.extend(sources(&path));
        } else if path.extension().is_some_and(|e| e == "rs") {
            found.push(path);
        }
    }
    found.sort();
    found
}

/// The room of a file below `src`: its folder, or its own name.
fn room(path: &Path) -> String {
    let below = path.strip_prefix(root()).unwrap();
    let first = below.components().next().unwrap().as_os_str().to_str().unwrap();
    first.trim_end_matches(".rs").to_owned()
}

fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("src")
}

/// The rooms that a line of code names after `crate::`.
fn named(line: &str) -> impl Iterator<Item = &str> {
    line.split("crate::").skip(1).map(|rest| rest.split(|c: char| !c.is_alphanumeric() && c != '_').next().unwrap_or(""))
}

/// Lines of code, numbered, without comments.
fn code(text: &str) -> impl Iterator<Item = (usize, &str)> {
    let lines = text.lines().enumerate().map(|(i, line)| (i + 1, line));
    lines.filter(|(_, line)| !line.trim_start().starts_with("//"))
}

fn wrong_arrows(path: &Path, text: &str) -> Vec<String> {
    let own = room(path);
    let Some((_, allowed)) = ARROWS.iter().find(|(name, _)| *name == own) else {
        return if own == "lib" || own == "bin" {
            Vec::new()
        } else {
            vec![format!("{}: room `{own}` has no row", path.display())]
        };
    };
    let mut wrong = Vec::new();
    for (number, line) in code(text) {
        for other in named(line) {
            let is_room = ARROWS.iter().any(|(name, _)| *name == other);
            if is_room && other != own && !allowed.contains(&other) {
                wrong.push(format!("{}:{number}: `{own}` may not use `{other}`", path.display()));
            }
        }
    }
    wrong
}

#[test]
fn imports_follow_the_arrows() {
    let all: Vec<String> = sources(&root()).iter().flat_map(|p| wrong_arrows(p, &std::fs::read_to_string(p).unwrap())).collect();
    assert!(all.is_empty(), "{}", all.join("\n"));
}

#[test]
fn a_wrong_arrow_is_found() {
    let text = "use crate::error::Result;\n// use crate::train::Run;\nuse crate::train::Run;\n";
    let wrong = wrong_arrows(&root().join("ops/relu.rs"), text);
    assert_eq!(wrong.len(), 1);
    assert!(wrong[0].ends_with("relu.rs:3: `ops` may not use `train`"), "{wrong:?}");
}

#[test]
fn only_the_gpu_room_says_wgpu_and_only_one_file_is_unsafe() {
    let mut wrong = Vec::new();
    for path in sources(&root()) {
        let text = std::fs::read_to_string(&path).unwrap();
        let (own, name) = (room(&path), path.display().to_string());
        for (number, line) in code(&text) {
            // The front page re-exports wgpu; a program records itself into an application's encoder.
            let may =
                own == "gpu" || line == "pub use wgpu;" || line.contains("encode(&self, encoder: &mut wgpu::CommandEncoder)");
            if line.contains("wgpu::") && !line.contains("instdisc::wgpu") && !may || line.contains("use wgpu") && !may {
                wrong.push(format!("{name}:{number}: says wgpu"));
            }
            if line.contains("unsafe ") && !name.ends_with("gpu/trusted.rs") {
                wrong.push(format!("{name}:{number}: unsafe"));
            }
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}
