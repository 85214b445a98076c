//! Fails when an op, its shader or its cases are missing.

use crate::gpu;
use instdisc::gpu::{PEAK_SHADER, library};
use instdisc::ops::OPS;
use instdisc::selftest::{record, table};
use instdisc::tape::Memory;
use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;

fn listed(folder: &str) -> BTreeSet<String> {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join(folder);
    let entries = std::fs::read_dir(folder).unwrap().map(|e| e.unwrap());
    entries.filter(|e| e.path().is_file()).map(|e| e.file_name().into_string().unwrap()).collect()
}

#[test]
fn shaders_ops_and_cases_are_the_same_set() {
    let ops: BTreeSet<&str> = OPS.iter().map(|op| op.name).collect();
    assert_eq!(ops.len(), OPS.len(), "a name occurs twice");
    assert!(OPS.iter().map(|op| op.name).is_sorted());
    for op in OPS {
        assert_eq!(op.shaders[0].file(), format!("{}.wgsl", op.name));
    }
    let mut files: BTreeSet<String> = OPS.iter().flat_map(|op| op.shaders).map(|shader| shader.file().to_owned()).collect();
    files.insert(PEAK_SHADER.file().to_owned());
    assert_eq!(listed("shaders"), files);
    let pieces: BTreeSet<String> = library().iter().map(|(name, _)| name.trim_start_matches("lib/").to_owned()).collect();
    assert_eq!(listed("shaders/lib"), pieces);

    let mut cases: BTreeMap<&str, usize> = BTreeMap::new();
    let mut random: BTreeSet<String> = BTreeSet::new();
    for case in table() {
        *cases.entry(case.op).or_default() += 1;
        assert!(random.insert(format!("{case:?}")) || case.op == "finite" || case.op == "prox", "{case:?} stands twice");
    }
    assert_eq!(cases.keys().copied().collect::<BTreeSet<_>>(), ops);
    let least = cases.iter().min_by_key(|(_, n)| **n).unwrap();
    println!("scorecard ops {} ops with a shader and cases each; the fewest cases: {} of {}", ops.len(), least.1, least.0);
    assert!(*least.1 >= 24, "{least:?}");
}

/// The pieces that ops take in place of others.
const SWAPPED_IN: [&str; 7] = [
    "lib/affine.wgsl",
    "lib/bank_f16.wgsl",
    "lib/floats_in_pairs.wgsl",
    "lib/moments.wgsl",
    "lib/noise_given.wgsl",
    "lib/slopes.wgsl",
    "lib/together.wgsl",
];

#[test]
fn every_needed_piece_is_there_and_is_needed() {
    let needs = OPS.iter().flat_map(|op| op.shaders).flat_map(|shader| shader.needs());
    let needed: BTreeSet<&str> = needs.chain(SWAPPED_IN).chain(["lib/texels.wgsl"]).collect();
    assert_eq!(needed, library().iter().map(|(name, _)| *name).collect());
}

#[test]
fn every_launch_states_what_it_moves() {
    let mut silent = BTreeSet::new();
    for case in table() {
        let all = case.inputs.iter().enumerate().filter(|(_, i)| i.differentiable).fold(0, |set, (i, _)| set | 1 << i);
        let program = record(gpu(), &case, all, false, Memory::Shared).unwrap().program;
        silent.extend(program.dispatches().iter().filter(|d| d.work.bytes <= 0.0).map(|d| d.kernel.variant.to_string()));
    }
    assert!(silent.is_empty(), "{silent:?}");
}
