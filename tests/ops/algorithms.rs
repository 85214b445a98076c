//! Every algorithm of products and convolutions passes every case of the ops that choose between them.

use crate::gpu;
use instdisc::gpu::Choices;
use instdisc::ops::{Conv, ConvSizes, Direction, Form, GemmSizes, Problem};
use instdisc::selftest::{check, table};
use std::collections::{BTreeMap, BTreeSet};
use std::sync::Mutex;
use std::sync::atomic::{AtomicUsize, Ordering};

/// The ops whose products are computed by several algorithms.
const OPS: [&str; 2] = ["conv2d", "gemm"];

/// The text of every algorithm that this adapter offers for anything.
fn all() -> BTreeSet<String> {
    let conv = Conv { stride: 1, pad: 1, groups: 1 };
    let conv = ConvSizes { n: 1, h: 16, w: 16, ci: 16, co: 16, kh: 3, kw: 3, conv };
    let gemm = GemmSizes { batch: 1, rows: 16, depth: 16, cols: 16 };
    let convs = [Direction::Forward, Direction::Input, Direction::Weight].map(|direction| Problem::Conv(direction, conv));
    let gemms = [Form::Nn, Form::Nt, Form::Tn].map(|form| Problem::Gemm(form, gemm));
    let problems = convs.into_iter().chain(gemms);
    problems.flat_map(|problem| problem.candidates(gpu())).map(|algorithm| algorithm.to_string()).collect()
}

#[test]
fn every_algorithm_passes_every_case() {
    let cases: Vec<_> = table().into_iter().filter(|case| OPS.contains(&case.op)).collect();
    let algorithms: Vec<_> = all().into_iter().collect();
    let jobs: Vec<_> = algorithms.iter().flat_map(|a| cases.iter().map(move |case| (a, case))).collect();
    let next = AtomicUsize::new(0);
    let (used, failed) = (Mutex::new(BTreeMap::<&str, usize>::new()), Mutex::new(Vec::new()));
    std::thread::scope(|scope| {
        for _ in 0..2 {
            scope.spawn(|| {
                while let Some((algorithm, case)) = jobs.get(next.fetch_add(1, Ordering::SeqCst)) {
                    let mut choices = Choices::default();
                    choices.set("*", algorithm.as_str());
                    match check(&gpu().with_choices(choices), case) {
                        Ok(passed) if passed.algorithms.contains(*algorithm) => {
                            *used.lock().unwrap().entry(algorithm).or_default() += 1;
                        }
                        Ok(_) => {}
                        Err(text) => failed.lock().unwrap().push(format!("{algorithm}: {case:?}: {text}")),
                    }
                }
            });
        }
    });
    let (used, failed) = (used.into_inner().unwrap(), failed.into_inner().unwrap());
    assert!(failed.is_empty(), "{}", failed.join("\n"));
    let unused: Vec<_> = algorithms.iter().filter(|algorithm| !used.contains_key(algorithm.as_str())).collect();
    assert!(unused.is_empty(), "solve no case of the table: {unused:?}");
    let least = used.iter().min_by_key(|(_, n)| **n).unwrap();
    println!("scorecard algorithms {} pass every case of {OPS:?} they solve; the fewest: {} of {}", used.len(), least.1, least.0);
}
