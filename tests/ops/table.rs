//! Every case of every op, with all checks: R2, R3, R7, and R11 by the cases that are degenerate.

use crate::gpu;
use instdisc::ops::OPS;
use instdisc::selftest::{Passed, Selection, check, run, table};
use std::collections::{BTreeMap, BTreeSet};
use std::sync::Mutex;
use std::sync::atomic::{AtomicUsize, Ordering};

/// A case's place in the table, what its checks found, and seconds.
type Checked = (usize, Result<Passed, String>, f64);

#[test]
fn every_case_passes_every_check() {
    let mut cases = table();
    if let Ok(filter) = std::env::var("INSTDISC_OPS") {
        cases.retain(|case| filter.split(',').any(|name| name == case.op)); // to look at one op by hand
    }
    let next = AtomicUsize::new(0);
    let results: Mutex<Vec<Checked>> = Mutex::default();
    let threads = std::thread::available_parallelism().map_or(1, |n| n.get().min(2));
    std::thread::scope(|scope| {
        for _ in 0..threads {
            scope.spawn(|| {
                loop {
                    let i = next.fetch_add(1, Ordering::SeqCst);
                    let Some(case) = cases.get(i) else { return };
                    let start = std::time::Instant::now();
                    let result = check(gpu(), case);
                    results.lock().unwrap().push((i, result, start.elapsed().as_secs_f64()));
                }
            });
        }
    });
    let (mut failed, mut entries) = (Vec::new(), BTreeSet::new());
    let mut ops: BTreeMap<&str, (usize, Passed, f64)> = BTreeMap::new();
    for (i, result, seconds) in results.into_inner().unwrap() {
        if seconds > 2.0 {
            println!("{:?} took {seconds:.1} s", cases[i]);
        }
        let row = ops.entry(cases[i].op).or_default();
        row.0 += 1;
        row.2 += seconds;
        match result {
            Err(text) => failed.push(format!("{:?}: {text}", cases[i])),
            Ok(passed) => {
                row.1.forward = row.1.forward.max(passed.forward);
                row.1.gradient = row.1.gradient.max(passed.gradient);
                row.1.elements += passed.elements;
                row.1.slopes += passed.slopes;
                row.1.kinks += passed.kinks;
                row.1.subsets += passed.subsets;
                entries.extend(passed.entries);
            }
        }
    }
    for (op, (cases, passed, seconds)) in &ops {
        println!(
            "{op:12} {cases:3} cases  forward {:.4} of the bound ({} elements)  gradient {:.4} of 1e-5 ({} slopes, {} kinks, {} subsets)  {seconds:.1} s",
            passed.forward, passed.elements, passed.gradient, passed.slopes, passed.kinks, passed.subsets
        );
    }
    failed.sort();
    let total = cases.len();
    println!("{} of {total} cases failed", failed.len());
    assert!(failed.is_empty(), "{}", failed.join("\n"));
    let shaders = OPS.iter().flat_map(|op| op.shaders);
    let mut all: BTreeSet<(&str, String)> =
        shaders.flat_map(|shader| shader.reflect(&[], &[], &[]).unwrap().into_iter().map(|p| (shader.file(), p.name))).collect();
    let seen: BTreeSet<(&str, String)> = entries.into_iter().map(|(file, entry)| (file, entry.to_owned())).collect();
    // What the other kind of adapter runs: a software adapter can be opened as a GPU (as_gpu.rs), a GPU not as a processor.
    let software = gpu().facts().software;
    let other = if software {
        [("nce_tiled.wgsl", "gather"), ("softmax_tiled.wgsl", "stream")]
    } else {
        [("nce.wgsl", "gather"), ("softmax.wgsl", "stream")]
    };
    all.retain(|(file, entry)| !other.contains(&(*file, entry.as_str())));
    // By strips and line buffers processors compute alone.
    all.retain(|(file, _)| software || !["window.wgsl", "line_buffer.wgsl"].contains(file));
    println!("scorecard R2 {}/{} entry points, {total} cases", seen.len(), all.len());
    assert_eq!(seen, all);
    let sum = |f: fn(&Passed) -> usize| ops.values().map(|(_, passed, _)| f(passed)).sum::<usize>();
    println!(
        "scorecard R3 {} gradient elements of {} tracked subsets, once and twice recorded; {} left out at kinks",
        sum(|p| p.slopes),
        sum(|p| p.subsets),
        sum(|p| p.kinks)
    );
    println!("scorecard R7 {} elements, none unwritten, no guard word touched, padding zero", sum(|p| p.elements));
    assert_eq!(gpu().uncaptured_errors(), 0);
    println!("scorecard R18 0 uncaptured errors");
}

/// What `instdisc selftest` runs.
#[test]
fn the_quick_selection_passes_within_a_minute() {
    let start = std::time::Instant::now();
    let mut told = 0;
    let verdicts = run(gpu(), &Selection { filter: None, quick: true }, |_| told += 1);
    let seconds = start.elapsed().as_secs_f64();
    let wrong: Vec<_> = verdicts.iter().filter(|v| !v.passed).collect();
    assert!(wrong.is_empty(), "{wrong:?}");
    assert_eq!((verdicts.len(), told), (OPS.len(), OPS.len()));
    println!("scorecard R22 {} cases of {told} ops in {seconds:.1} s", verdicts.iter().map(|v| v.cases).sum::<usize>());
    assert!(seconds <= 60.0);
    let one = run(gpu(), &Selection { filter: Some("relu".into()), quick: true }, |_| ());
    assert_eq!(one.iter().map(|v| v.op).collect::<Vec<_>>(), ["relu"]);
}
