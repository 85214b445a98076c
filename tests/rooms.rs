//! The rooms of the house and who may import whom: arrows point down only. Reads the sources; no device is needed.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "a test may")]
#![allow(clippy::print_stdout, reason = "the scorecard line is printed by design")]

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};

/// A room and all that it may import from.
const ROOMS: [(&str, &[&str]); 17] = [
    ("name", &[]),
    ("error", &["name"]),
    ("shape", &["error"]),
    ("rng", &[]),
    ("gpu", &["shape", "error", "rng", "name"]),
    ("tape", &["gpu", "shape", "error", "rng"]),
    ("ops", &["tape", "gpu", "shape", "error", "rng"]),
    ("nn", &["ops", "tape", "gpu", "shape", "error", "rng"]),
    ("npid", &["nn", "ops", "tape", "gpu", "shape", "error", "rng"]),
    ("optim", &["ops", "tape", "gpu", "shape", "error", "rng"]),
    ("data", &["shape", "error", "rng", "name"]),
    ("checkpoint", &["shape", "error", "rng"]),
    ("eval", &["npid", "nn", "optim", "ops", "tape", "gpu", "shape", "error", "rng"]),
    ("train", &["eval", "npid", "optim", "nn", "data", "checkpoint", "ops", "tape", "gpu", "shape", "error", "rng", "name"]),
    ("twin", &["shape", "rng"]),
    ("selftest", &["ops", "tape", "gpu", "twin", "shape", "rng", "error"]),
    // The map: it re-exports.
    ("lib", &["error"]),
];

fn files(folder: &Path, found: &mut Vec<PathBuf>) {
    let mut entries: Vec<_> = std::fs::read_dir(folder).unwrap().map(|e| e.unwrap().path()).collect();
    entries.sort();
    for path in entries {
        if path.is_dir() {
            files(&path, found);
        } else if path.extension().is_some_and(|e| e == "rs") {
            found.push(path);
        }
    }
}

fn room_of(path: &str) -> &str {
    path.split(['/', '.']).next().unwrap_or("")
}

/// The text with comments and the contents of strings blanked out, line breaks kept.
fn bare(text: &str) -> String {
    let mut out = String::new();
    let mut rest = text;
    while let Some(c) = rest.chars().next() {
        let blank = if rest.starts_with("//") {
            rest.find('\n').unwrap_or(rest.len())
        } else if c == '"' {
            let mut end = 1;
            let bytes = rest.as_bytes();
            while end < bytes.len() && bytes[end] != b'"' {
                end += if bytes[end] == b'\\' { 2 } else { 1 };
            }
            (end + 1).min(rest.len())
        } else if rest.starts_with("'\"'") {
            3
        } else {
            out.push(c);
            rest = &rest[c.len_utf8()..];
            continue;
        };
        out.extend(rest[..blank].chars().map(|c| if c == '\n' { '\n' } else { ' ' }));
        rest = &rest[blank..];
    }
    out
}

/// The rooms that `text` names after `crate::`, each with its line; `use crate::{a, b::c}` too.
fn imports(text: &str) -> Vec<(usize, String)> {
    let mut found = Vec::new();
    for (at, _) in text.match_indices("crate::") {
        let line = text[..at].lines().count().max(1);
        let rest = &text[at + 7..];
        let name = |s: &str| s.trim_start().split(|c: char| !c.is_alphanumeric() && c != '_').next().unwrap_or("").to_owned();
        let Some(list) = rest.strip_prefix('{') else {
            found.push((line, name(rest)));
            continue;
        };
        let (mut depth, mut start) = (1, 0);
        for (i, c) in list.char_indices() {
            match c {
                '{' => depth += 1,
                '}' => depth -= 1,
                _ => {}
            }
            if (c == ',' && depth == 1) || depth == 0 {
                let item = list[start..i].trim_start();
                found.push((line + list[..i - item.len()].matches('\n').count(), name(item)));
                start = i + 1;
            }
            if depth == 0 {
                break;
            }
        }
    }
    found.retain(|(_, name)| !name.is_empty());
    found
}

/// What is wrong with one file.
fn faults(path: &str, source: &str) -> Vec<String> {
    let text = bare(source);
    // Unit tests at a file's foot are no part of the house, but for the rooms they could not reach anyway.
    let code = text.split("#[cfg(test)]").next().unwrap_or("");
    let room = room_of(path);
    let mut wrong = Vec::new();
    if room != "bin" {
        let allowed = ROOMS.iter().find(|(name, _)| *name == room);
        let Some((_, allowed)) = allowed else { return vec![format!("src/{path}: the room `{room}` is not in the list")] };
        for (line, to) in imports(code) {
            // A type at the top of the crate is one that `lib` re-exports: of the room `error`.
            let to = if to == "Error" || to == "Result" { "error".to_owned() } else { to };
            if to != room && !allowed.contains(&to.as_str()) {
                wrong.push(format!("src/{path}:{line}: `{room}` imports `{to}`"));
            }
        }
    }
    for (i, line) in code.lines().enumerate() {
        let says = |word: &str| line.split(|c: char| !c.is_alphanumeric() && c != '_').any(|w| w == word);
        let wgpu_here = room == "gpu"
            || (path == "lib.rs" && line.trim() == "pub use wgpu;")
            || (path == "tape/program/mod.rs" && line.contains("fn encode(&self, encoder: &mut wgpu::CommandEncoder)"));
        if says("wgpu") && !wgpu_here {
            wrong.push(format!("src/{path}:{}: says `wgpu`", i + 1));
        }
        if says("unsafe") && path != "gpu/trusted.rs" {
            wrong.push(format!("src/{path}:{}: says `unsafe`", i + 1));
        }
    }
    wrong
}

#[test]
fn arrows_point_down_only() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("src");
    let mut found = Vec::new();
    files(&root, &mut found);
    let (mut wrong, mut arrows) = (Vec::new(), BTreeSet::new());
    for path in &found {
        let name = path.strip_prefix(&root).unwrap().to_str().unwrap().replace('\\', "/");
        let source = std::fs::read_to_string(path).unwrap();
        wrong.extend(faults(&name, &source));
        let room = room_of(&name).to_owned();
        arrows.extend(imports(&bare(&source)).into_iter().map(|(_, to)| (room.clone(), to)).filter(|(from, to)| from != to));
    }
    let rooms: BTreeSet<&str> = ROOMS.iter().map(|(name, _)| *name).collect();
    let arrows = arrows.iter().filter(|(_, to)| rooms.contains(to.as_str())).count();
    println!("scorecard rooms {} files, {arrows} arrows between rooms, {} wrong", found.len(), wrong.len());
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

#[test]
fn the_list_of_rooms_has_no_cycle_and_every_room_is_there() {
    for (i, (room, allowed)) in ROOMS.iter().enumerate() {
        for to in *allowed {
            let place = ROOMS.iter().position(|(name, _)| name == to).unwrap_or_else(|| panic!("{room}: {to}"));
            // `lib`, `twin` and `selftest` stand beside the house.
            assert!(place < i, "{room} imports {to}, which stands above it");
        }
        let src = Path::new(env!("CARGO_MANIFEST_DIR")).join("src");
        assert!(src.join(room).is_dir() || src.join(format!("{room}.rs")).is_file(), "there is no room `{room}`");
    }
}

#[test]
fn a_wrong_import_is_found_with_its_line() {
    let wrong = [
        ("gpu/a.rs", "use crate::ops::add;\n", "src/gpu/a.rs:1: `gpu` imports `ops`"),
        ("ops/a.rs", "\n\nuse crate::{error::Result, nn::Net};\n", "src/ops/a.rs:3: `ops` imports `nn`"),
        ("nn/a.rs", "use crate::{\n    error::Result,\n    npid::Method,\n};\n", "src/nn/a.rs:3: `nn` imports `npid`"),
        ("data/a.rs", "fn f() { crate::gpu::adapters(); }\n", "src/data/a.rs:1: `data` imports `gpu`"),
        ("twin/a.rs", "use crate::error::Error;\n", "src/twin/a.rs:1: `twin` imports `error`"),
        ("ops/a.rs", "\nfn f(d: &wgpu::Device) {}\n", "src/ops/a.rs:2: says `wgpu`"),
        ("gpu/a.rs", "fn f() { unsafe { g() } }\n", "src/gpu/a.rs:1: says `unsafe`"),
        ("shop/a.rs", "", "src/shop/a.rs: the room `shop` is not in the list"),
        ("eval/a.rs", "use crate::data::Batch;\n", "src/eval/a.rs:1: `eval` imports `data`"),
    ];
    for (path, source, expected) in wrong {
        assert_eq!(faults(path, source), [expected], "{source}");
    }
    let right = [
        ("eval/a.rs", "use crate::{nn::Net, npid::Bank, ops};\n"),
        ("ops/a.rs", "// use crate::nn::Net;\nconst A: &str = \"crate::nn wgpu unsafe\";\n"),
        ("gpu/a.rs", "use wgpu::Device;\n"),
        ("gpu/trusted.rs", "unsafe fn f() {}\n"),
    ];
    for (path, source) in right {
        assert!(faults(path, source).is_empty(), "{path}: {:?}", faults(path, source));
    }
}
