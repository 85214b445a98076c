//! Cases of the losses, of the rows that they draw, and of the bank.

use super::{Case, Input, Numbers, Tiny};
use crate::error::Result;
use crate::ops::{self, Bank, Noise};
use crate::rng::{self, Stream};
use crate::shape::{Layout, padded};
use crate::tape::Tensor;
use crate::twin::{self, Reference};

pub(super) fn cases() -> Vec<Case> {
    let mut cases = Vec::new();
    // b, n, dim, m
    let mut shapes = vec![
        [1, 1, 1, 1],
        [1, 2, 4, 1],
        [3, 7, 5, 3],
        [8, 33, 8, 31],
        [9, 64, 12, 32],
        [7, 100, 16, 33],
        [16, 257, 16, 64],
        [5, 255, 128, 65],
        [2, 256, 128, 127],
        [4, 300, 4, 255],
        [31, 40, 5, 39],
        [65, 50, 4, 7],
        [13, 1021, 8, 100],
        [3, 600, 3, 599],
        [1, 10, 16, 9],
        [17, 17, 16, 16],
    ];
    let mut random = Numbers::new(90);
    shapes.extend((0..8).map(|_| {
        let dim = [1, 3, 4, 5, 8, 12, 16, 128][random.below(8)];
        [1 + random.below(20), 2 + random.below(300), dim, 1 + random.below(80)]
    }));
    for (i, shape) in shapes.iter().enumerate() {
        let tau = [0.07, 0.5, 0.1, 0.01][i % 4];
        cases.push(nce(*shape, tau, 9000 + i));
        cases.push(estimate(*shape, tau, 9000 + i));
        cases.push(softmax(*shape, tau, 9000 + i));
        cases.push(prox(*shape, 9000 + i));
        cases.push(update(*shape, [0.5, 0.0, 1.0, 0.9][i % 4], 9000 + i));
        cases.push(negatives(*shape, 9000 + i));
        cases.push(drawn(*shape, tau, 9300 + i));
        // The same in several tensors, of two sizes and the last of them not whole, and in 16 bits.
        if shape[1] > TILE {
            let tiles = (1 + i % 3).max(shape[1].div_ceil(6 * TILE));
            cases.push(split(nce(*shape, tau, 9400 + i), tiles));
            cases.push(split(drawn(*shape, tau, 9400 + i), tiles));
            cases.push(split(softmax(*shape, tau, 9400 + i), tiles));
            cases.push(split(prox(*shape, 9400 + i), tiles));
            cases.push(split(update(*shape, 0.75, 9400 + i), tiles));
            cases.push(split(half(softmax(*shape, tau, 9500 + i)), tiles));
        }
        cases.push(half(nce(*shape, tau, 9500 + i)));
        cases.push(half(softmax(*shape, tau, 9600 + i)));
        cases.push(half(prox(*shape, 9500 + i)));
    }
    cases.extend(nearest());
    // n - 1 negatives, all scores equal, many negatives, a bank above the rounds that a lane may loop.
    cases.push(nce([4, 64, 8, 63], 0.01, 9100));
    cases.push(equal(nce([3, 20, 8, 19], 0.07, 9101)));
    // Its gradient is zero, and what is left of two large terms is not.
    let mut flat = equal(softmax([3, 20, 8, 1], 0.01, 9102));
    flat.kinks = true;
    cases.push(flat);
    cases.push(learnt());
    // All scores near −100: exp of them alone is nothing.
    let mut far = softmax([3, 20, 8, 1], 0.01, 9110);
    let mut random = Numbers::new(9111);
    let first = far.inputs[0].values[..8].to_vec();
    let near = |sign: f32, rows: usize, random: &mut Numbers| -> Vec<f32> {
        random.normal(rows * 8).iter().zip(first.iter().cycle()).map(|(noise, x)| sign * x + 0.01 * noise).collect()
    };
    far.inputs[0].values = near(1.0, 3, &mut random);
    far.inputs[1].values = near(-1.0, 20, &mut random);
    far.label.push_str(", all scores near -100");
    cases.push(far);
    cases.push(nce([1, 500, 128, 20_000], 0.1, 9103).samples(4));
    cases.push(nce([1, 500, 512, 20_000], 0.1, 9107).samples(2));
    cases.push(softmax([2, 70_000, 4, 1], 0.1, 9104).samples(2));
    cases.push(softmax([1, 30_000, 128, 1], 0.1, 9105).samples(1));
    cases.push(softmax([2, 40, 512, 1], 0.1, 9108).samples(2));
    cases.push(negatives([2, 70_000, 4, 40_000], 9106));
    // A row named twice and often: in order, whatever lane takes it.
    for (b, n, dim) in [(5, 2, 4), (70, 3, 5), (1100, 1, 128)] {
        cases.push(update([b, n, dim, 1], 0.5, 9200 + b));
    }
    cases
}

/// What fits 64 KiB with the guard words behind it.
fn large(words: usize) -> Tiny {
    if words > 16_320 { Tiny::Limit } else { Tiny::Runs }
}

/// The same row everywhere in the bank.
fn equal(mut case: Case) -> Case {
    if let Some(bank) = case.inputs.last_mut() {
        let first = bank.values[..bank.dims[1]].to_vec();
        bank.values.chunks_mut(first.len()).for_each(|row| row.copy_from_slice(&first));
    }
    case.label.push_str(", all scores equal");
    case
}

/// `f` and the bank, of unit rows, and each sample's own row.
fn against(op: &'static str, [b, n, dim, _]: [usize; 4], what: &str, seed: usize) -> Case {
    let mut random = Numbers::new(seed);
    let case = Case::new(op, format!("f [{b}, {dim}], bank [{n}, {dim}]{what}"));
    let case = case.tracked("f", &[b, dim], Layout::Rows, random.unit_rows(b, dim));
    let case = case.input("bank", &[n, dim], Layout::Rows, random.unit_rows(n, dim));
    case.integers("own", &[b], random.indices(b, n)).tiny(large(n.max(b) * padded(dim)))
}

fn nce(shape: [usize; 4], tau: f32, seed: usize) -> Case {
    with_z(shape, tau, seed, false)
}

/// As [`nce`], and Z from the batch. It moves Z, which the loss reads, so that no gradient is asked for.
fn estimate(shape: [usize; 4], tau: f32, seed: usize) -> Case {
    let mut case = with_z(shape, tau, seed, true);
    case.label.push_str(", and Z");
    case
}

/// A loss near zero: every positive is as near as can be, and every negative as far. 1 + exp(a) would lose what is left.
fn learnt() -> Case {
    let (b, dim, m) = (5, 8, 6);
    let mut random = Numbers::new(9109);
    let near = random.unit_rows(b, dim);
    let bank = near.iter().copied().chain(near.iter().map(|x| -x)).collect();
    let own: Vec<u32> = (0..b as u32).collect();
    let rows: Vec<u32> = own.iter().flat_map(|row| vec![row + b as u32; m]).collect();
    let case = Case::new("nce", "positives as near and negatives as far as can be");
    let case = case.tracked("f", &[b, dim], Layout::Rows, near).input("z", &[4], Layout::Rows, vec![0.0, 1.0, 0.0, 0.0]);
    let case = case.input("bank", &[2 * b, dim], Layout::Rows, bank);
    let case = case.integers("own", &[b], own.clone()).integers("rows", &[b, m], rows.clone());
    case.op(
        padded(dim) / 4 + 3 + 1 + 32 + 9,
        |tape, x, own| Ok(vec![ops::nce(tape, x[0], x[2], own[0], own[1], x[1], 0.07)?.loss]),
        move |x, _| vec![twin::mean::of(&twin::nce::nce(&x[0], &x[2], dim, &own, &rows, f64::from(0.07f32), 0.0))],
    )
}

/// Z's state, before the bank.
fn z_before_bank(mut case: Case, values: Vec<f32>) -> Case {
    let bank = case.inputs.pop();
    case = case.input("z", &[4], Layout::Rows, values);
    case.inputs.extend(bank);
    case
}

fn with_z(shape: [usize; 4], tau: f32, seed: usize, estimated: bool) -> Case {
    let [b, n, dim, m] = shape;
    let mut random = Numbers::new(seed + 500);
    let wide_tau = f64::from(tau);
    let mut case = against("nce", shape, &format!(", {m} negatives, tau {tau}"), seed);
    let (own, rows) = (case.integers[0].values.clone(), random.indices(b * m, n));
    case = case.integers("rows", &[b, m], rows.clone());
    case.inputs[0].differentiable = !estimated;
    // Near what the batch itself would estimate, set or not yet.
    let estimate = (n as f32).ln() + random.between(1, -0.5, 0.5)[0] + 0.5 / (dim as f32 * tau * tau).max(0.5);
    let set = !seed.is_multiple_of(3);
    case = z_before_bank(case, vec![estimate, f32::from(u8::from(set)), 0.0, 0.0]);
    let dim4 = padded(dim) / 4;
    let lanes = (m * (2 * dim4 + 3)).div_ceil(48_000).next_power_of_two().max(32);
    let keep = [0.99f32, 1.0, 0.0][seed % 3];
    case.tiny(large((n * padded(dim)).max(b * lanes * (padded(dim) + 4)))).op(
        dim4 + 3 + (m + 1).div_ceil(lanes) + lanes + b.div_ceil(256) + 8,
        move |tape, x, own| {
            let nce = ops::nce(tape, x[0], bank(&x[2..])?, own[0], own[1], x[1], tau)?;
            if estimated {
                ops::nce_estimate(tape, nce.spread, x[1], m, n, keep)?;
            }
            Ok(vec![nce.loss, nce.losses, nce.spread, x[1]])
        },
        move |x, got| {
            let bank = x[2..].concat();
            let losses = twin::nce::nce(&x[0], &bank, dim, &own, &rows, wide_tau, x[1][0]);
            let loss = twin::mean::of(&losses);
            if got.is_empty() {
                return vec![loss];
            }
            // A sample's ln sum of exp: its own ln Z less ln n, plus ln(m + 1).
            let counts = (n as f64).ln() - ((m + 1) as f64).ln();
            let spread = (0..own.len()).map(|i| {
                let z = twin::nce::ln_z(&x[0][i * dim..][..dim], &bank, dim, &own[i..=i], &rows[i * m..][..m], wide_tau);
                (z.value[0] - counts, z.magnitude[0])
            });
            let spread = Reference::new(&[own.len()], spread);
            let batch = twin::nce::ln_z(&x[0], &bank, dim, &own, &rows, wide_tau);
            if !estimated {
                return vec![loss, losses, spread, Reference::new(&[4], x[1].iter().map(|z| (*z, 0.0)))];
            }
            let new = if set { twin::nce::blend_ln_z(x[1][0], batch.value[0], f64::from(keep)) } else { batch.value[0] };
            let magnitude = batch.magnitude[0] + x[1][0].abs() + 1.0;
            vec![loss, losses, spread, Reference::new(&[4], [(new, magnitude), (1.0, 0.0), (0.0, 0.0), (0.0, 0.0)])]
        },
    )
}

/// Noise that is drawn as it is gathered: the rows that `negatives` draws.
fn drawn(shape: [usize; 4], tau: f32, seed: usize) -> Case {
    let [b, n, dim, m] = shape;
    let exclude_own = n > 1 && seed.is_multiple_of(2);
    let mut case = against("nce", shape, &format!(", {m} negatives drawn, tau {tau}"), seed);
    case.step.number = (seed * 5) as u32;
    let (step, own, ln_z) = (case.step, case.integers[0].values.clone(), (n as f32).ln());
    let key = rng::key(step.seed, Stream::Negatives);
    let rows = twin::negatives::negatives(key, step.number, &own, m as u32, n as u32, exclude_own);
    case.tiny = large((n * padded(dim)).max(beside(&case, 256)));
    z_before_bank(case, vec![ln_z, 1.0, 0.0, 0.0]).op(
        padded(dim) / 4 + 3 + (m + 1).div_ceil(32) + 32 + b.div_ceil(256) + 8,
        move |tape, x, own| {
            let nce = ops::nce(tape, x[0], bank(&x[2..])?, own[0], Noise::Drawn { negatives: m, exclude_own }, x[1], tau)?;
            Ok(vec![nce.loss, nce.losses])
        },
        move |x, got| {
            let losses = twin::nce::nce(&x[0], &x[2..].concat(), dim, &own, &rows, f64::from(tau), f64::from(ln_z));
            let loss = twin::mean::of(&losses);
            if got.is_empty() { vec![loss] } else { vec![loss, losses] }
        },
    )
}

fn softmax(shape: [usize; 4], tau: f32, seed: usize) -> Case {
    let [b, n, dim, _] = shape;
    let case = against("softmax", shape, &format!(", tau {tau}"), seed);
    let own = case.integers[0].values.clone();
    let dim4 = padded(dim) / 4;
    let chunk_rows = n.div_ceil(64).next_power_of_two().max(256);
    case.op(
        dim4 + 3 + chunk_rows + n.div_ceil(chunk_rows) + b.div_ceil(256) + 8,
        move |tape, x, own| {
            let softmax = ops::softmax(tape, x[0], bank(&x[1..])?, own[0], tau)?;
            Ok(vec![softmax.loss, softmax.losses])
        },
        move |x, got| {
            let losses = twin::softmax::softmax(&x[0], &x[1..].concat(), dim, &own, f64::from(tau));
            let loss = twin::mean::of(&losses);
            if got.is_empty() { vec![loss] } else { vec![loss, losses] }
        },
    )
}

/// Rows of a tile where a case has its bank in several tensors.
const TILE: usize = 16;

/// The bank of a case: its last inputs.
fn bank(x: &[Tensor]) -> Result<Bank> {
    if let &[whole] = x { Ok(whole.into()) } else { Bank::new(x, TILE) }
}

/// Words of the largest tensor of a case beside its bank; more than there are where it needs too many workgroups.
fn beside(case: &Case, chunk: usize) -> usize {
    let (b, dim) = (case.inputs[0].dims[0], padded(case.inputs[0].dims[1]));
    let rows: usize = case.inputs.last().map_or(0, |bank| bank.dims[0]);
    match case.op {
        "nce" if b > 64 => usize::MAX,
        "nce" => b * 32 * (dim + 4),
        "softmax" => rows.div_ceil(chunk) * b * (dim + 4),
        "top_k" if matches!(case.tiny, Tiny::Limit) => usize::MAX,
        _ => b * dim,
    }
}

/// `case`, whose last input is a bank, with that bank in tensors of so many tiles each.
fn split(mut case: Case, tiles: usize) -> Case {
    let most = beside(&case, TILE);
    let Some(bank) = case.inputs.pop() else { return case };
    let cols = bank.dims[1];
    case.tiny = large(most.max(TILE * tiles * padded(cols) / (1 + usize::from(bank.half))));
    let parts = bank.values.chunks(TILE * tiles * cols).enumerate().map(|(i, values)| Input {
        name: ["bank a", "bank b", "bank c", "bank d"][i % 4],
        dims: vec![values.len() / cols, cols],
        values: values.to_vec(),
        ..bank.clone()
    });
    case.inputs.extend(parts);
    case.label.push_str(&format!(", {tiles} tiles a shard"));
    case
}

/// The same with its bank in 16 bits.
fn half(mut case: Case) -> Case {
    let most = beside(&case, 256);
    if let Some(bank) = case.inputs.last_mut() {
        bank.half = true;
        case.tiny = large(most.max(bank.dims[0] * padded(bank.dims[1]) / 2));
        bank.values.iter_mut().for_each(|x| *x = half::f16::from_f32(*x).to_f32());
    }
    case.label.push_str(", 16 bits");
    case
}

fn prox(shape: [usize; 4], seed: usize) -> Case {
    let dim = shape[2];
    let case = against("prox", shape, "", seed);
    let own = case.integers[0].values.clone();
    case.op(
        padded(dim) / 4 + 3,
        |tape, x, own| Ok(vec![ops::prox(tape, x[0], bank(&x[1..])?, own[0])?]),
        move |x, _| vec![twin::prox::prox(&x[0], &x[1..].concat(), dim, &own)],
    )
}

fn update(shape: [usize; 4], keep: f32, seed: usize) -> Case {
    let dim = shape[2];
    let mut case = against("bank_update", shape, &format!(", keep {keep}"), seed);
    case.inputs[0].differentiable = false;
    // Not of the bank's length: of two equal ones it makes no difference which is weighed how.
    case.inputs[0].values.iter_mut().for_each(|x| *x *= 1.75);
    let own = case.integers[0].values.clone();
    case.op(
        padded(dim) / 4 + 3,
        move |tape, x, own| {
            ops::bank_update(tape, bank(&x[1..])?, x[0], own[0], keep)?;
            Ok(x[1..].to_vec())
        },
        move |x, _| {
            let all = twin::bank_update::bank_update(&x[1..].concat(), &x[0], dim, &own, f64::from(keep), 1e-12);
            let mut pairs = all.value.into_iter().zip(all.magnitude);
            x[1..].iter().map(|shard| Reference::new(&[shard.len() / dim, dim], pairs.by_ref().take(shard.len()))).collect()
        },
    )
}

/// The nearest rows: of whole numbers, whose scores are exact and often equal, and of unit vectors.
fn nearest() -> Vec<Case> {
    // q, n, dim, k
    let mut shapes = vec![
        [1, 1, 1, 1],
        [3, 17, 4, 1],
        [8, 16, 5, 16],
        [9, 33, 8, 20],
        [65, 40, 3, 39],
        [2, 255, 12, 200],
        [70, 100, 16, 10],
        [4, 600, 3, 200],
        [7, 257, 20, 257],
        [1, 3000, 4, 64],
    ];
    let mut random = Numbers::new(95);
    shapes.extend((0..6).map(|_| {
        let n = 1 + random.below(300);
        [1 + random.below(80), n, [1, 3, 4, 7, 16, 40][random.below(6)], 1 + random.below(n.min(200))]
    }));
    let mut cases = Vec::new();
    for (i, shape) in shapes.into_iter().enumerate() {
        cases.push(top_k(shape, true, 9700 + i));
        cases.push(top_k(shape, false, 9700 + i));
        if shape[1] > TILE {
            cases.push(split(top_k(shape, true, 9800 + i), (1 + i % 3).max(shape[1].div_ceil(6 * TILE))));
            cases.push(half(top_k(shape, true, 9900 + i)));
        }
    }
    // Rising scores, so that every row enters the list; and rows longer than any lane of a GPU could hold.
    let mut rising = top_k([2, 3000, 1, 200], true, 9990);
    rising.inputs[0].values = vec![1.0, 0.5];
    rising.inputs[1].values = (0..3000).map(|i| i as f32).collect();
    rising.label.push_str(", rising");
    cases.push(rising);
    cases.push(top_k([5, 40, 3000, 7], false, 9991));
    cases
}

fn top_k([q, n, dim, k]: [usize; 4], whole: bool, seed: usize) -> Case {
    let mut random = Numbers::new(seed);
    let mut values = |rows: usize| match whole {
        true => random.between(rows * dim, -2.0, 3.0).into_iter().map(f32::floor).collect(),
        false => random.unit_rows(rows, dim),
    };
    let kind = if whole { "whole numbers" } else { "unit rows" };
    let case = Case::new("top_k", format!("{k} of [{n}, {dim}] for {q}, {kind}"));
    let case = case.input("f", &[q, dim], Layout::Rows, values(q)).input("bank", &[n, dim], Layout::Rows, values(n));
    let chunks = if n > 1024 { 3 } else { 1 };
    case.tiny(large((n * padded(dim)).max(2 * chunks * k * q).max(q * padded(dim)))).op(
        padded(dim),
        move |tape, x, _| {
            let found = ops::top_k(tape, x[0], bank(&x[1..])?, k)?;
            Ok(vec![found.scores, found.rows])
        },
        move |x, _| twin::top_k::top_k(&x[0], &x[1..].concat(), dim, k).to_vec(),
    )
}

fn negatives([b, n, _, m]: [usize; 4], seed: usize) -> Case {
    let exclude = n > 1 && seed.is_multiple_of(2);
    let mut case = Case::new("negatives", format!("{m} of {n} for {b}{}", if exclude { ", not the own row" } else { "" }));
    let own = Numbers::new(seed).indices(b, n);
    case = case.integers("own", &[b], own.clone()).tiny(large(b * m));
    case.step.number = (seed * 7) as u32;
    let step = case.step;
    case.op(
        0,
        move |tape, _, own| Ok(vec![ops::negatives(tape, own[0], m, n, exclude)?]),
        move |_, _| {
            let key = rng::key(step.seed, Stream::Negatives);
            let rows = twin::negatives::negatives(key, step.number, &own, m as u32, n as u32, exclude);
            vec![Reference::new(&[b, m], rows.iter().map(|r| (f64::from(*r), 0.0)))]
        },
    )
}
