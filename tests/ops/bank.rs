//! What the losses and the search promise beyond the table of cases: equal bits by other ways, and rounding.

use crate::gpu;
use instdisc::gpu::{Choices, Gpu, OpenOptions};
use instdisc::ops::{self, Bank, Noise};
use instdisc::rng::{Sequence, Stream};
use instdisc::shape::Layout::Rows;
use instdisc::tape::{Program, Step, Tape, Tensor};
use instdisc::{eval, wgpu};

fn numbers(count: usize, seed: u32) -> Vec<f32> {
    let mut random = Sequence::new(7, Stream::Test, seed);
    (0..count).map(|_| random.normal()).collect()
}

/// Write f, the bank and the own rows, run, and read the words of `results`.
fn run(mut program: Program, [f, bank]: [Tensor; 2], own: Option<Tensor>, results: &[Tensor]) -> Vec<Vec<u32>> {
    program.write(f, &numbers(f.shape().count(), 1)).unwrap();
    program.write(bank, &numbers(bank.shape().count(), 2)).unwrap();
    if let Some(own) = own {
        let rows = bank.shape()[0] as u32;
        program.write_u32(own, &(0..own.shape()[0] as u32).map(|b| b * 13 % rows).collect::<Vec<_>>()).unwrap();
    }
    program.set_step(Step { number: 9, seed: 0xabcd_ef01_2345, lr: 0.0 }).unwrap();
    program.run().unwrap();
    results.iter().map(|t| program.read_words(*t).unwrap()).collect()
}

#[test]
fn noise_drawn_in_the_loss_is_the_noise_that_is_drawn_before_it() {
    for (m, exclude_own) in [(1, false), (31, true), (130, true), (257, false)] {
        let record = |inside: bool| {
            let mut tape = Tape::new(gpu());
            let (f, v) = (tape.input("f", &[5, 12], Rows).unwrap(), tape.input("v", &[40, 12], Rows).unwrap());
            let (own, z) = (tape.input_u32("own", &[5]).unwrap(), tape.input("z", &[4], Rows).unwrap());
            tape.track(f).unwrap();
            let noise = match inside {
                true => Noise::Drawn { negatives: m, exclude_own },
                false => ops::negatives(&mut tape, own, m, 40, exclude_own).unwrap().into(),
            };
            let nce = ops::nce(&mut tape, f, v, own, noise, z, 0.5).unwrap();
            let _ = [nce.losses, nce.spread].map(|t| tape.keep(t).unwrap());
            tape.backward(nce.loss).unwrap();
            let df = tape.grad(f).unwrap();
            run(tape.compile().unwrap(), [f, v], Some(own), &[nce.loss, nce.losses, nce.spread, df])
        };
        assert!(record(true) == record(false), "{m} negatives, own left out: {exclude_own}");
    }
}

#[test]
fn a_loss_that_nothing_weighs_brings_its_gradient_without_a_dispatch() {
    let record = |one: bool| {
        let mut tape = Tape::new(gpu());
        let (f, v) = (tape.input("f", &[6, 8], Rows).unwrap(), tape.input("v", &[30, 8], Rows).unwrap());
        let own = tape.input_u32("own", &[6]).unwrap();
        tape.track(f).unwrap();
        let softmax = ops::softmax(&mut tape, f, v, own, 0.5).unwrap();
        let given = tape.input("upstream", &[1], Rows).unwrap();
        if one {
            tape.backward(softmax.loss).unwrap()
        } else {
            tape.backward_from(softmax.loss, given).unwrap()
        }
        let df = tape.grad(f).unwrap();
        let mut program = tape.compile().unwrap();
        let count = program.dispatches().len();
        if !one {
            program.write(given, &[1.0]).unwrap();
        }
        (count, run(program, [f, v], Some(own), &[softmax.loss, df]))
    };
    let ((free, bits), (weighed, same)) = (record(true), record(false));
    assert_eq!((free, weighed), (3, 4));
    assert!(bits == same);
    println!("scorecard losses {free} dispatches for the softmax and its gradient");
}

/// The row of a bank in 16 bits is that of a bank in 32 bits, rounded: to the nearest, and ties to even.
#[test]
fn sixteen_bit_rows_are_rounded_to_the_nearest() {
    let (b, dim) = (64, 128);
    let mut tape = Tape::new(gpu());
    let f = tape.input("f", &[b, dim], Rows).unwrap();
    let (full, half) = (tape.input("full", &[b, dim], Rows).unwrap(), tape.input_f16("half", &[b, dim]).unwrap());
    let own = tape.input_u32("own", &[b]).unwrap();
    ops::bank_update(&mut tape, full, f, own, 0.0).unwrap();
    ops::bank_update(&mut tape, half, f, own, 0.0).unwrap();
    let mut program = tape.compile().unwrap();
    // Of all magnitudes, down to those that 16 bits cannot hold.
    let values: Vec<f32> = numbers(b * dim, 3).iter().enumerate().map(|(i, x)| x * 0.5f32.powi((i % 30) as i32)).collect();
    program.write(f, &values).unwrap();
    program.write_u32(own, &(0..b as u32).collect::<Vec<_>>()).unwrap();
    program.run().unwrap();
    let (full, half) = (program.read(full).unwrap(), program.read(half).unwrap());
    let mut exact = 0;
    for (x, rounded) in full.iter().zip(&half) {
        let nearest = half::f16::from_f32(*x).to_f32();
        exact += usize::from(nearest.to_bits() == rounded.to_bits());
        // Half a step of 16 bits, and the last place of a number that another driver may have summed otherwise.
        assert!((x - rounded).abs() <= x.abs() * 0.000_489 + 3e-8, "{x} became {rounded}");
    }
    println!("scorecard 16-bit bank: {exact} of {} numbers are the nearest", full.len());
    assert!(exact * 1000 >= full.len() * 999);
}

/// Scores and a sort of all of them.
fn sorted(gpu: &Gpu, [q, n, dim, k]: [usize; 4]) -> Vec<Vec<u32>> {
    let mut tape = Tape::new(gpu);
    let (f, v) = (tape.input("f", &[q, dim], Rows).unwrap(), tape.input("v", &[n, dim], Rows).unwrap());
    let scores = ops::scores(&mut tape, f, v).unwrap();
    tape.keep(scores).unwrap();
    let words = run(tape.compile().unwrap(), [f, v], None, &[scores]).remove(0);
    let (mut best, mut rows) = (Vec::new(), Vec::new());
    for scores in words.chunks(n.div_ceil(4) * 4) {
        let scores: Vec<f32> = scores[..n].iter().map(|w| f32::from_bits(*w)).collect();
        let mut order: Vec<u32> = (0..n as u32).collect();
        order.sort_by(|a, b| scores[*b as usize].total_cmp(&scores[*a as usize]).then(a.cmp(b)));
        best.extend(order[..k].iter().map(|row| scores[*row as usize].to_bits()));
        rows.extend(&order[..k]);
    }
    vec![best, rows]
}

#[test]
fn the_best_rows_are_those_that_all_scores_give() {
    let mut choices = Choices::default();
    choices.set("*", "direct lanes 8x4");
    let gpu = gpu().with_choices(choices);
    for [q, n, dim, k] in [[70, 3000, 20, 200], [1, 5000, 128, 10], [200, 1025, 7, 3], [3, 700, 64, 700]] {
        let mut tape = Tape::new(&gpu);
        let (f, v) = (tape.input("f", &[q, dim], Rows).unwrap(), tape.input("v", &[n, dim], Rows).unwrap());
        let found = ops::top_k(&mut tape, f, v, k).unwrap();
        for kept in [found.scores, found.rows] {
            tape.keep(kept).unwrap();
        }
        let mut got = run(tape.compile().unwrap(), [f, v], None, &[found.scores, found.rows]);
        got[0] = got[0].chunks(k.div_ceil(4) * 4).flat_map(|row| row[..k].to_vec()).collect();
        assert!(got == sorted(&gpu, [q, n, dim, k]), "{k} of [{n}, {dim}] for {q}");
    }
}

#[test]
fn a_bank_that_fills_many_bindings_has_the_same_neighbours() {
    let limits = wgpu::Limits {
        max_storage_buffer_binding_size: 65_536,
        max_buffer_size: 131_072,
        min_storage_buffer_offset_alignment: 256,
        ..wgpu::Limits::default()
    };
    let tiny = Gpu::open(&OpenOptions { limits: Some(limits), ..Default::default() }).unwrap();
    let bank = eval::Matrix::new(17, numbers(17 * 5000, 4)).unwrap();
    let queries = eval::Matrix::new(17, numbers(17 * 33, 5)).unwrap();
    let [few, one] = [&tiny, gpu()].map(|gpu| eval::neighbours(gpu, &bank, &queries, 20).unwrap());
    assert_eq!(few, one);
    assert!(few.iter().all(|found| found.len() == 20 && found.windows(2).all(|w| w[0].score >= w[1].score)));
}

#[test]
fn shards_that_are_no_whole_tiles_are_refused() {
    let mut tape = Tape::new(gpu());
    let mut rows = |n: usize, dim: usize| tape.input("v", &[n, dim], Rows).unwrap();
    let (a, b, other) = (rows(16, 4), rows(5, 4), rows(16, 8));
    assert_eq!(Bank::new(&[a, b], 16).unwrap().rows(), 21);
    for (shards, tile) in [(vec![b, a], 16), (vec![a, other], 16), (vec![a, b], 12), (vec![a, b], 32), (vec![], 16)] {
        assert!(Bank::new(&shards, tile).is_err(), "{shards:?} in tiles of {tile}");
    }
}
