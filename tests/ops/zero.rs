//! R12: a dimension of zero gives an empty result, or an error that says so.

use crate::gpu;
use instdisc::Error;
use instdisc::ops::{self, Augmentation, Conv};
use instdisc::shape::Layout;
use instdisc::tape::{Tape, Tensor};

type Record = fn(&mut Tape, &[usize]) -> instdisc::Result<Tensor>;

fn images(tape: &mut Tape, d: &[usize]) -> instdisc::Result<Tensor> {
    let x = tape.input("x", d, Layout::Rows)?;
    tape.track(x)?;
    Ok(x)
}

/// Each op with its free dimensions, all consistent: one of them is then set to 0.
const OPS: [(&str, &[usize], Record); 20] = [
    ("add", &[2, 3, 4, 5], |t, d| {
        let (a, b) = (images(t, d)?, images(t, d)?);
        ops::add(t, a, b)
    }),
    ("relu", &[2, 3, 4, 5], |t, d| {
        let x = images(t, d)?;
        ops::relu(t, x)
    }),
    ("scale", &[2, 3], |t, d| {
        let x = images(t, d)?;
        ops::scale(t, x, 0.5)
    }),
    ("mean", &[2, 3], |t, d| {
        let x = images(t, d)?;
        ops::mean(t, x)
    }),
    ("l2norm", &[2, 3], |t, d| {
        let x = images(t, d)?;
        ops::l2norm(t, x, 1e-6)
    }),
    ("avg_pool", &[2, 3, 4, 5, 2, 1], |t, d| {
        let x = images(t, &d[..4])?;
        ops::avg_pool(t, x, d[4], d[5])
    }),
    ("global_avg_pool", &[2, 3, 4, 5], |t, d| {
        let x = images(t, d)?;
        ops::global_avg_pool(t, x)
    }),
    ("max_pool", &[2, 3, 4, 5, 2, 1], |t, d| {
        let x = images(t, &d[..4])?;
        ops::max_pool(t, x, d[4], d[5], 0)
    }),
    ("batch_norm", &[2, 3, 4, 5], |t, d| {
        let (x, affine) = (images(t, d)?, images(t, &[2, d[1]])?);
        let stats = ops::batch_norm_statistics(t, d[1])?;
        ops::batch_norm(t, x, ops::Norm { affine, stats, eps: 1e-5 }, ops::Then::default(), None)
    }),
    ("batch_norm_frozen", &[2, 3, 4, 5], |t, d| {
        let (x, affine) = (images(t, d)?, images(t, &[2, d[1]])?);
        let [mean, var] = [(); 2].map(|()| t.input("c", &d[1..2], Layout::Rows));
        let norm = ops::Norm { affine, stats: ops::batch_norm_statistics(t, d[1])?, eps: 1e-5 };
        ops::batch_norm_freeze(t, norm, mean?, var?)?;
        ops::batch_norm_frozen(t, x, norm, ops::Then::default())
    }),
    // n, ci, co, h, w, kh, kw, stride, groups
    ("conv2d", &[2, 3, 4, 5, 6, 3, 2, 1, 1], |t, d| {
        let x = images(t, &[d[0], d[1], d[3], d[4]])?;
        let w = t.input("w", &[d[2], d[1], d[5], d[6]], Layout::Weight)?;
        t.track(w)?;
        ops::conv2d(t, x, w, Conv { stride: d[7], pad: 1, groups: d[8] })
    }),
    ("linear", &[2, 3, 4], |t, d| {
        let x = images(t, &d[..2])?;
        let w = t.input("w", &[d[2], d[1]], Layout::Weight)?;
        let b = images(t, &d[2..3])?;
        t.track(w)?;
        ops::linear(t, x, w, Some(b))
    }),
    ("scores", &[2, 3, 4], |t, d| {
        let (f, bank) = (images(t, &d[..2])?, t.input("bank", &[d[2], d[1]], Layout::Rows)?);
        ops::scores(t, f, bank)
    }),
    // b, dim, n, m
    ("nce", &[2, 3, 4, 5], |t, d| {
        let (f, bank, z) = (images(t, &d[..2])?, t.input("v", &[d[2], d[1]], Layout::Rows)?, t.input("z", &[4], Layout::Rows)?);
        let (own, rows) = (t.input_u32("own", &d[..1])?, t.input_u32("rows", &[d[0], d[3]])?);
        Ok(ops::nce(t, f, bank, own, rows, z, 0.1)?.loss)
    }),
    ("softmax", &[2, 3, 4], |t, d| {
        let (f, bank, own) = (images(t, &d[..2])?, t.input("v", &[d[2], d[1]], Layout::Rows)?, t.input_u32("own", &d[..1])?);
        Ok(ops::softmax(t, f, bank, own, 0.1)?.loss)
    }),
    ("top_k", &[2, 3, 4, 1], |t, d| {
        let (f, bank) = (images(t, &d[..2])?, t.input("v", &[d[2], d[1]], Layout::Rows)?);
        Ok(ops::top_k(t, f, bank, d[3])?.scores)
    }),
    ("prox", &[2, 3, 4], |t, d| {
        let (f, bank, own) = (images(t, &d[..2])?, t.input("v", &[d[2], d[1]], Layout::Rows)?, t.input_u32("own", &d[..1])?);
        ops::prox(t, f, bank, own)
    }),
    ("negatives", &[2, 3, 4], |t, d| {
        let own = t.input_u32("own", &d[..1])?;
        ops::negatives(t, own, d[1], d[2], true)
    }),
    ("bank_update", &[2, 3, 4], |t, d| {
        let (f, bank, own) = (images(t, &d[..2])?, t.input("v", &[d[2], d[1]], Layout::Rows)?, t.input_u32("own", &d[..1])?);
        ops::bank_update(t, bank, f, own, 0.5)?;
        Ok(bank)
    }),
    // images, words, side
    ("augment", &[2, 12, 4], |t, d| {
        let (pixels, table) = (t.input_u32("pixels", &d[1..2])?, t.input_u32("table", &[d[0], 4])?);
        ops::augment(t, pixels, table, Augmentation { plain: true, ..Augmentation::paper(d[2]) })
    }),
];

/// Record, differentiate, compile, run and read.
fn run(record: Record, dims: &[usize]) -> instdisc::Result<(usize, bool)> {
    let mut tape = Tape::new(gpu());
    let y = record(&mut tape, dims)?;
    tape.keep(y)?;
    let mut upstream = None;
    if tape.tracked(y) && y.element() == instdisc::tape::Element::F32 {
        let given = tape.input("upstream", y.shape().dims(), y.layout())?;
        match tape.backward_from(y, given) {
            Err(Error::Value { .. }) if dims.first() == Some(&0) => {}
            other => other?,
        }
        upstream = Some(given);
    }
    let mut program = tape.compile()?;
    if let Some(given) = upstream {
        program.write(given, &vec![1.0; given.shape().count()])?;
    }
    program.run()?;
    let words = program.read_words(y)?;
    // A shape with a zero in it holds nothing; one without (the bank, of an empty batch) is as it was.
    Ok((words.len(), words.iter().all(|w| f32::from_bits(*w).is_finite())))
}

#[test]
fn a_dimension_of_zero_gives_nothing_or_an_error() {
    let (mut empty, mut refused, mut wrong) = (0, 0, Vec::new());
    for (op, dims, record) in OPS {
        assert!(run(record, dims).is_ok(), "{op}: {:?}", run(record, dims));
        for i in 0..dims.len() {
            let mut zero = dims.to_vec();
            zero[i] = 0;
            match run(record, &zero) {
                Ok((_, true)) => empty += 1,
                Err(Error::Shape { .. } | Error::Value { .. }) => refused += 1,
                other => wrong.push(format!("{op} {zero:?}: {other:?}")),
            }
        }
    }
    println!(
        "scorecard R12 {} zero sizes: {empty} empty results, {refused} errors, {} wrong",
        empty + refused + wrong.len(),
        wrong.len()
    );
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
    assert_eq!(gpu().uncaptured_errors(), 0);
}
