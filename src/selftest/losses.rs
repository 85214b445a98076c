//! Cases of the losses, of the rows that they draw, and of the bank.

use super::{Case, Numbers, Tiny};
use crate::ops;
use crate::rng::{self, Stream};
use crate::shape::{Layout, padded};
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
    }
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

fn large(words: usize) -> Tiny {
    if words > 16_384 { Tiny::Limit } else { Tiny::Runs }
}

/// The same row everywhere in the bank.
fn equal(mut case: Case) -> Case {
    let dim = case.inputs[1].dims[1];
    let first = case.inputs[1].values[..dim].to_vec();
    case.inputs[1].values.chunks_mut(dim).for_each(|row| row.copy_from_slice(&first));
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
    let case = case.tracked("f", &[b, dim], Layout::Rows, near).input("bank", &[2 * b, dim], Layout::Rows, bank);
    let case = case.input("z", &[4], Layout::Rows, vec![0.0, 1.0, 0.0, 0.0]);
    let case = case.integers("own", &[b], own.clone()).integers("rows", &[b, m], rows.clone());
    case.op(
        padded(dim) / 4 + 3 + 1 + 32,
        |tape, x, own| Ok(vec![ops::nce(tape, x[0], x[1], own[0], own[1], x[2], 0.07)?.loss]),
        move |x, _| vec![twin::nce::nce(&x[0], &x[1], dim, &own, &rows, f64::from(0.07f32), 0.0)],
    )
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
    case = case.input("z", &[4], Layout::Rows, vec![estimate, f32::from(u8::from(set)), 0.0, 0.0]);
    let dim4 = padded(dim) / 4;
    let lanes = (m * (2 * dim4 + 1)).div_ceil(48_000).next_power_of_two().max(32);
    let keep = [0.99f32, 1.0, 0.0][seed % 3];
    case.tiny(large((n * padded(dim)).max(b * lanes * (padded(dim) + 4)))).op(
        dim4 + 3 + (m + 1).div_ceil(lanes) + lanes,
        move |tape, x, own| {
            let nce = ops::nce(tape, x[0], x[1], own[0], own[1], x[2], tau)?;
            if estimated {
                ops::nce_estimate(tape, nce.spread, x[2], m, n, keep)?;
            }
            Ok(vec![nce.loss, nce.spread, x[2]])
        },
        move |x, got| {
            let loss = twin::nce::nce(&x[0], &x[1], dim, &own, &rows, wide_tau, x[2][0]);
            if got.is_empty() {
                return vec![loss];
            }
            // A sample's ln sum of exp: its own ln Z less ln n, plus ln(m + 1).
            let counts = (n as f64).ln() - ((m + 1) as f64).ln();
            let spread = (0..own.len()).map(|i| {
                let z = twin::nce::ln_z(&x[0][i * dim..][..dim], &x[1], dim, &own[i..=i], &rows[i * m..][..m], wide_tau);
                (z.value[0] - counts, z.magnitude[0])
            });
            let spread = Reference::new(&[own.len()], spread);
            let batch = twin::nce::ln_z(&x[0], &x[1], dim, &own, &rows, wide_tau);
            if !estimated {
                return vec![loss, spread, Reference::new(&[4], x[2].iter().map(|z| (*z, 0.0)))];
            }
            let new = if set { twin::nce::blend_ln_z(x[2][0], batch.value[0], f64::from(keep)) } else { batch.value[0] };
            let magnitude = batch.magnitude[0] + x[2][0].abs() + 1.0;
            vec![loss, spread, Reference::new(&[4], [(new, magnitude), (1.0, 0.0), (0.0, 0.0), (0.0, 0.0)])]
        },
    )
}

fn softmax(shape: [usize; 4], tau: f32, seed: usize) -> Case {
    let [_, n, dim, _] = shape;
    let case = against("softmax", shape, &format!(", tau {tau}"), seed);
    let own = case.integers[0].values.clone();
    let dim4 = padded(dim) / 4;
    let chunk_rows = n.div_ceil(n.div_ceil(256).min(64)).min(48_000 / (3 * dim4 + 2));
    case.op(
        dim4 + 3 + chunk_rows + n.div_ceil(chunk_rows),
        move |tape, x, own| Ok(vec![ops::softmax(tape, x[0], x[1], own[0], tau)?]),
        move |x, _| vec![twin::softmax::softmax(&x[0], &x[1], dim, &own, f64::from(tau))],
    )
}

fn prox(shape: [usize; 4], seed: usize) -> Case {
    let dim = shape[2];
    let case = against("prox", shape, "", seed);
    let own = case.integers[0].values.clone();
    case.op(
        padded(dim) / 4 + 3,
        |tape, x, own| Ok(vec![ops::prox(tape, x[0], x[1], own[0])?]),
        move |x, _| vec![twin::prox::prox(&x[0], &x[1], dim, &own)],
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
            ops::bank_update(tape, x[1], x[0], own[0], keep)?;
            Ok(vec![x[1]])
        },
        move |x, _| vec![twin::bank_update::bank_update(&x[1], &x[0], dim, &own, f64::from(keep), 1e-12)],
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
