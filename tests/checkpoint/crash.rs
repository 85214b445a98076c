//! R26: power is lost after any operation, and any part of what was not synced is lost with it.

use crate::fakes::{Op, Recorder};
use crate::{random, sample, step_of};
use instdisc::checkpoint::{File, write_parts_on};
use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

const SAVES: u32 = 3;

/// What the disk holds at `path` if power fails after the first `end` operations and `keep` says which unsynced ones survive.
fn image(ops: &[Op], end: usize, path: &Path, keep: &mut dyn FnMut() -> bool) -> Option<Vec<u8>> {
    let done = &ops[..end];
    let last_folder_sync = done.iter().rposition(|op| matches!(op, Op::SyncFolder)).map_or(0, |i| i + 1);
    let last_sync = |file| done.iter().rposition(|op| matches!(op, Op::Sync { file: f } if *f == file)).map_or(0, |i| i + 1);
    let (mut names, mut data): (BTreeMap<PathBuf, usize>, BTreeMap<usize, Vec<u8>>) = Default::default();
    for (i, op) in done.iter().enumerate() {
        match op {
            Op::Create { file, path } if i < last_folder_sync || keep() => drop(names.insert(path.clone(), *file)),
            Op::Rename { file, from, to } if i < last_folder_sync || keep() => {
                names.remove(from);
                names.insert(to.clone(), *file);
            }
            Op::Write { file, at, bytes } if i < last_sync(*file) || keep() => {
                let data = data.entry(*file).or_default();
                data.resize(data.len().max(at + bytes.len()), 0);
                data[*at..at + bytes.len()].copy_from_slice(bytes);
            }
            _ => {}
        }
    }
    names.get(path).map(|file| data.remove(file).unwrap_or_default())
}

/// Saves a few steps and counts (images tried, images from which neither the last confirmed step nor the next one loads).
fn crashes(fs: &Recorder) -> (usize, usize) {
    let path = Path::new("run/last.safetensors");
    let (head, tail) = (700, 1500);
    for step in 0..SAVES {
        let bytes = sample(step, 500).encode().unwrap();
        write_parts_on(fs, path, &[&bytes[..head], &bytes[head..tail], &bytes[tail..]]).unwrap();
        fs.push(Op::Done { step });
    }
    let ops = fs.ops();
    let mut bad = 0;
    let mut check = |end: usize, keep: &mut dyn FnMut() -> bool| {
        let confirmed = ops[..end].iter().rev().find_map(|op| if let Op::Done { step } = op { Some(*step) } else { None });
        let found = image(&ops, end, path, keep).map(|bytes| File::decode_own(path, &bytes).map(|file| step_of(&file)));
        let good = match (confirmed, found) {
            (None, None | Some(Ok(0))) => true,
            (Some(step), Some(Ok(found))) => found == step || found == step + 1,
            _ => false,
        };
        bad += usize::from(!good);
    };
    let mut tried = 0;
    for end in 0..=ops.len() {
        check(end, &mut || true);
        check(end, &mut || false);
        tried += 2;
    }
    for i in 0..10_000 {
        let end = (random(1, i) % (ops.len() as u64 + 1)) as usize;
        let (mut draws, odds) = (0, random(2, i) % 15 + 1); // some crashes keep most, some lose most
        check(end, &mut || {
            draws += 1;
            random(i + 3, draws) % 16 < odds
        });
        tried += 1;
    }
    (tried, bad)
}

#[test]
fn power_loss_leaves_the_old_file_or_the_new_one() {
    let (tried, bad) = crashes(&Recorder::default());
    println!("scorecard R26 old or new loads from {} of {tried} crash images", tried - bad);
    assert_eq!(bad, 0);
}

#[test]
fn a_writer_that_does_not_sync_is_found_out() {
    let (_, bad) = crashes(&Recorder::lazy(true, false));
    assert!(bad > 100, "{bad}");
}

#[test]
fn a_writer_that_does_not_sync_the_folder_is_found_out() {
    let (_, bad) = crashes(&Recorder::lazy(false, true));
    assert!(bad > 100, "{bad}");
}
