//! Every algorithm of products and convolutions passes every case of the ops that choose between them.

use crate::gpu;
use instdisc::Result;
use instdisc::gpu::{Choices, Gpu, Variant};
use instdisc::ops::{self, Conv, ConvSizes, Direction, Form, GemmSizes, Problem};
use instdisc::selftest::{Case, check, record, table};
use instdisc::shape::Layout;
use instdisc::tape::{Memory, Tape, Tensor};
use std::collections::{BTreeMap, BTreeSet};
use std::sync::Mutex;
use std::sync::atomic::{AtomicUsize, Ordering};

/// The ops whose products are computed by several algorithms.
const OPS: [&str; 2] = ["conv2d", "gemm"];

/// The text of every algorithm that this adapter offers for anything.
fn all() -> BTreeSet<String> {
    let conv = Conv { stride: 1, pad: 1, groups: 1 };
    // Winograd's algorithms take the tiles that suit a shape: those of an even, a long and a wide one of the table.
    let sizes = [[1, 16, 16], [2, 64, 4], [8, 8, 32]];
    let sizes = sizes.map(|[n, side, c]| ConvSizes { n, h: side, w: side, ci: c, co: c, kh: 3, kw: 3, conv });
    let depthwise = [1, 2].map(|stride| ConvSizes { ci: 1, conv: Conv { groups: 16, stride, ..conv }, ..sizes[0] });
    let few = [(4, 16), (8, 8)].map(|(ci, co)| ConvSizes { ci, co, ..sizes[0] });
    let directions = [Direction::Forward, Direction::Input, Direction::Weight];
    let sizes = sizes.into_iter().chain(depthwise).chain(few);
    let convs = sizes.flat_map(|sizes| directions.map(|direction| Problem::Conv(direction, sizes)));
    let gemm = GemmSizes { batch: 1, rows: 16, depth: 16, cols: 16 };
    let gemms = [Form::Nn, Form::Nt, Form::Tn].map(|form| Problem::Gemm(form, gemm));
    let problems = convs.chain(gemms);
    problems.flat_map(|problem| problem.candidates(gpu())).map(|algorithm| algorithm.to_string()).collect()
}

/// Every so many cases are checked with an algorithm, from a place on that differs from one algorithm to the next; 0 leaves
/// it out. Those for GPUs take seconds to compile for a processor, and their tiles differ in sizes alone: a small, a large, a
/// narrow and an oblong one stand for all. `INSTDISC_ALGORITHMS=all` checks all with all cases, `=TEXT` those that hold TEXT.
fn stride(algorithm: &str, filter: Option<&str>) -> usize {
    let tiles = ["32x32x16 4x4", "64x64x8 8x8", "128x8x8 4x4", "128x64x8 8x4"];
    match filter {
        Some(text) => usize::from(text == "all" || algorithm.contains(text)),
        None if algorithm.contains("tiled") && !tiles.iter().any(|tile| algorithm.ends_with(tile)) => 0,
        None if algorithm.starts_with("direct tiled") => 6,
        None => 1,
    }
}

/// Whether `case` is computed by `algorithm` on `gpu`, at least in one direction. What cannot be recorded is to be checked.
fn solves(gpu: &Gpu, algorithm: &str, case: &Case) -> bool {
    let all = case.inputs.iter().enumerate().filter(|(_, i)| i.differentiable).fold(0, |set, (i, _)| set | 1 << i);
    let recorded = record(gpu, case, all, false, Memory::Shared);
    recorded.is_err() || recorded.is_ok_and(|r| r.program.choices().iter().any(|(_, chosen)| chosen == algorithm))
}

#[test]
fn every_algorithm_passes_every_case() {
    let cases: Vec<_> = table().into_iter().filter(|case| OPS.contains(&case.op) && case.algorithm.is_none()).collect();
    let filter = std::env::var("INSTDISC_ALGORITHMS").ok();
    let every = |algorithm: &str| stride(algorithm, filter.as_deref());
    let mut algorithms: Vec<_> = all().into_iter().collect();
    algorithms.retain(|algorithm| every(algorithm) > 0);
    let mut jobs: Vec<(&String, &Case)> = Vec::new();
    for (i, algorithm) in algorithms.iter().enumerate() {
        let every = every(algorithm);
        jobs.extend(cases.iter().skip(i % every).step_by(every).map(|case| (algorithm, case)));
    }
    let next = AtomicUsize::new(0);
    let (used, failed) = (Mutex::new(BTreeMap::<&str, usize>::new()), Mutex::new(Vec::new()));
    std::thread::scope(|scope| {
        for _ in 0..2 {
            scope.spawn(|| {
                while let Some((algorithm, case)) = jobs.get(next.fetch_add(1, Ordering::SeqCst)) {
                    let mut choices = Choices::default();
                    choices.set("*", algorithm.as_str());
                    let gpu = gpu().with_choices(choices);
                    if !solves(&gpu, algorithm, case) {
                        continue;
                    }
                    match check(&gpu, case) {
                        Ok(_) => *used.lock().unwrap().entry(algorithm).or_default() += 1,
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
    let (least, checks) = (used.iter().min_by_key(|(_, n)| **n).unwrap(), used.values().sum::<usize>());
    println!("scorecard algorithms {} pass {checks} cases of {OPS:?}; the fewest: {} of {}", used.len(), least.1, least.0);
}

/// Every entry point that computes a product through workgroup memory; the last of each file may do so in parts.
const PRODUCTS: [(&str, [&str; 3]); 2] =
    [("conv2d_tiled.wgsl", ["forward", "grad_input", "grad_weight"]), ("gemm_tiled.wgsl", ["nn", "nt", "tn"])];

/// One of them, whether it leaves out the tests of sizes, and whether its sum is in parts.
type Product = (&'static str, bool, bool);

/// The text of the tile that a kernel was made for.
fn tile(variant: &Variant) -> String {
    let size = |name| variant.tune.iter().find(|(constant, _)| *constant == name).map_or(0, |(_, size)| *size);
    let [m, n, k, rows, cols] = ["TILE_M", "TILE_N", "TILE_K", "ROWS", "COLS"].map(size);
    format!("tiled {m}x{n}x{k} {rows}x{cols}")
}

/// The products in which `algorithm`, the choice of `gpu`, computes `case`.
fn products(gpu: &Gpu, algorithm: &str, case: &Case) -> Vec<Product> {
    let program = record(gpu, case, 0b11, false, Memory::Shared).unwrap().program;
    let variants = || program.dispatches().iter().map(|dispatch| &dispatch.kernel.variant);
    let parts = |entry: &str| variants().any(|other| other.entry.strip_suffix("_sum") == Some(entry));
    let own = variants().filter(|variant| algorithm.ends_with(&tile(variant)));
    let own = own.filter(|variant| PRODUCTS.iter().any(|(_, entries)| entries.contains(&variant.entry)));
    own.map(|variant| (variant.entry, variant.on.contains(&"ALIGNED"), parts(variant.entry))).collect()
}

/// Among the cases that [`every_algorithm_passes_every_case`] runs are all forms of the kernels for GPUs: each tile's direct ones,
/// and those of Winograd's algorithms by one tile or another.
#[test]
fn the_cases_are_whole_multiples_of_every_tile_and_leave_a_rest_in_one_sum_and_in_parts() {
    let cases: Vec<_> = table().into_iter().filter(|case| OPS.contains(&case.op) && case.algorithm.is_none()).collect();
    let cases: Vec<_> = cases.into_iter().filter(|case| case.inputs.iter().take(2).all(|input| input.differentiable)).collect();
    let mut seen = BTreeMap::<String, BTreeSet<Product>>::new();
    for algorithm in all().into_iter().filter(|algorithm| algorithm.contains("tiled")) {
        let mut choices = Choices::default();
        choices.set("*", algorithm.as_str());
        let gpu = gpu().with_choices(choices);
        let who = if algorithm.starts_with("direct") { &algorithm } else { algorithm.split(' ').next().unwrap() };
        let met = cases.iter().flat_map(|case| products(&gpu, &algorithm, case));
        seen.entry(who.to_owned()).or_default().extend(met);
    }
    let forms = [(false, false), (true, false), (false, true), (true, true)];
    for (who, met) in &seen {
        let files = if who.starts_with("direct") { &PRODUCTS[..] } else { &PRODUCTS[1..] };
        for (_, entries @ [.., last]) in files {
            let wanted = entries.iter().flat_map(|entry| forms.map(|(whole, parts)| (*entry, whole, parts)));
            // Winograd's would have to be large for whole multiples in parts: by its direct products they are met.
            let there = |form: &Product| !form.2 || (form.0 == *last && (!form.1 || who.starts_with("direct")));
            let missing: Vec<_> = wanted.filter(|form| there(form) && !met.contains(form)).collect();
            assert!(missing.is_empty(), "{who}: no case is {missing:?} (entry, whole multiples, in parts)");
        }
    }
    println!("scorecard tiles for GPUs: {} algorithms meet whole multiples and a rest in every product", seen.len());
}

/// Records an op of an input and a weight.
type Record = fn(&mut Tape, Tensor, Tensor) -> Result<Tensor>;

/// The words of the result and of the input's gradient of an op with fixed values, where `algorithm` computes them.
fn words(algorithm: &str, (x, weight, record): (&[usize], &[usize], Record)) -> Result<[Option<Vec<u32>>; 2]> {
    let mut choices = Choices::default();
    choices.set("*", algorithm);
    let mut tape = Tape::new(&gpu().with_choices(choices));
    let (x, weight) = (tape.input("x", x, Layout::Rows)?, tape.input("weight", weight, Layout::Weight)?);
    tape.track(x)?;
    let y = record(&mut tape, x, weight)?;
    tape.keep(y)?;
    let dy = tape.input("dy", y.shape().dims(), Layout::Rows)?;
    tape.backward_from(y, dy)?;
    let dx = tape.grad(x)?;
    let mut program = tape.compile()?;
    let by = |names: [&str; 2]| {
        let of = |problem: &str| names.iter().any(|name| problem.starts_with(name));
        program.choices().iter().any(|(problem, chosen)| of(problem) && chosen == algorithm)
    };
    let used = [by(["conv2d.forward", "gemm.nn"]), by(["conv2d.grad_input", "gemm.nt"])];
    for tensor in [x, weight, dy] {
        let hash = |i: usize| (i as u32 + 1).wrapping_mul(2_654_435_761) >> 8;
        let values: Vec<f32> = (0..tensor.shape().count()).map(|i| hash(i) as f32 / 8_388_608.0 - 1.0).collect();
        program.write(tensor, &values)?;
    }
    program.run()?;
    let [y, dx] = [program.read_words(y)?, program.read_words(dx)?];
    Ok([used[0].then_some(y), used[1].then_some(dx)])
}

/// Results and input gradients are sums in one order, whatever the tile. (Weight gradients are summed in parts.)
#[test]
fn every_tile_gives_the_same_bits() {
    // Of the first seven the last three are whole multiples of every tile, in one direction or both.
    let cases: [(&[usize], &[usize], Record); 9] = [
        (&[3, 12, 9, 14], &[36, 12, 3, 3], |t, x, w| ops::conv2d(t, x, w, Conv { stride: 1, pad: 1, groups: 1 })),
        (&[2, 16, 15, 11], &[24, 8, 3, 2], |t, x, w| ops::conv2d(t, x, w, Conv { stride: 2, pad: 1, groups: 2 })),
        (&[2, 3, 19, 23], &[10, 3, 7, 7], |t, x, w| ops::conv2d(t, x, w, Conv { stride: 2, pad: 3, groups: 1 })),
        (&[150, 77], &[141, 77], |t, x, w| ops::linear(t, x, w, None)),
        (&[256, 128], &[128, 128], |t, x, w| ops::linear(t, x, w, None)),
        (&[2, 32, 9, 9], &[128, 32, 2, 2], |t, x, w| ops::conv2d(t, x, w, Conv { stride: 1, pad: 0, groups: 1 })),
        (&[2, 128, 8, 8], &[16, 128, 3, 3], |t, x, w| ops::conv2d(t, x, w, Conv { stride: 1, pad: 1, groups: 1 })),
        (&[2, 8, 9, 21], &[8, 4, 3, 3], |t, x, w| ops::conv2d(t, x, w, Conv { stride: 1, pad: 1, groups: 2 })),
        (&[2, 16, 13, 7], &[16, 8, 3, 3], |t, x, w| ops::conv2d(t, x, w, Conv { stride: 1, pad: 1, groups: 2 })),
    ];
    // By strips a sum goes over channels before it goes along a line.
    let direct = |algorithm: &str| algorithm.starts_with("direct");
    let strips = |algorithm: &str| ["window", "line_buffer"].iter().any(|name| algorithm.starts_with(name));
    let families = [direct as fn(&str) -> bool, strips];
    let families = families.map(|of| all().into_iter().filter(|algorithm| of(algorithm)).collect::<Vec<_>>());
    let mut seen = BTreeSet::new();
    for (i, case) in cases.into_iter().enumerate() {
        for family in &families {
            let mut first = [None, None];
            for algorithm in family {
                for (first, found) in first.iter_mut().zip(words(algorithm, case).unwrap()) {
                    let Some(found) = found else { continue };
                    seen.insert(algorithm.as_str());
                    assert!(found.iter().any(|word| *word != 0));
                    let (expected, by) = first.get_or_insert_with(|| (found.clone(), algorithm));
                    assert!(found == *expected, "case {i}: {algorithm} gives another result or gradient than {by}");
                }
            }
        }
    }
    let algorithms = families.concat();
    assert_eq!(seen.len(), algorithms.len(), "of {algorithms:?}");
    println!("scorecard tiles {} give the same bits in {} results and as many gradients", algorithms.len(), cases.len());
}
