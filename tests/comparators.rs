//! The comparators are tested before any op is: twelve kinds of bad pairs, and every comparator must reject each.
#![cfg(feature = "selftest")]
#![allow(clippy::print_stdout, reason = "the scorecard line is printed by design")]

use instdisc::twin::compare::{
    Mismatch, Report, bits_equal, gradient_close, kinds_equal, relative_norm, same_shape, within_bound,
};
use instdisc::twin::{Reference, UNIT, wide};

const DIMS: [usize; 2] = [2, 3];
const GOOD: [f32; 6] = [1.0, -2.0, 0.5, 3.0, -0.25, 8.0];
const DEPTH: f64 = 6.0;
const RELATIVE: f64 = 1e-5;

/// One result as a test sees it: shape and elements.
type Side = (Vec<usize>, Vec<f32>);

fn side(values: [f32; 6]) -> Side {
    (DIMS.to_vec(), values.to_vec())
}

/// `GOOD` with element 2 replaced.
fn with(value: f32) -> Side {
    let mut values = GOOD;
    values[2] = value;
    side(values)
}

/// A reference whose magnitudes are those of its values, as after a sum without cancellation.
fn reference((dims, values): &Side) -> Reference {
    let value = wide(values);
    Reference { dims: dims.clone(), magnitude: value.iter().map(|x| x.abs()).collect(), value }
}

type Compare = fn(&Side, &Side) -> Result<Report, Mismatch>;

/// Each as a test calls it: first the shapes, then the elements.
const COMPARATORS: [(&str, Compare); 4] = [
    ("within_bound", |got, expected| {
        let reference = reference(expected);
        same_shape(&got.0, &reference.dims)?;
        within_bound(&got.1, &reference, DEPTH)
    }),
    ("relative_norm", |got, expected| {
        same_shape(&got.0, &expected.0)?;
        relative_norm(&got.1, &wide(&expected.1), RELATIVE)
    }),
    ("bits_equal", |got, expected| {
        same_shape(&got.0, &expected.0)?;
        bits_equal(&got.1, &expected.1)
    }),
    ("gradient_close", |got, expected| {
        same_shape(&got.0, &expected.0)?;
        gradient_close(&got.1, &wide(&expected.1), RELATIVE)
    }),
];

/// Name, what came out, what should have.
fn bad_pairs() -> Vec<(&'static str, Side, Side)> {
    let all = |value: f32| side([value; 6]);
    let mut swapped = GOOD;
    swapped.swap(0, 3);
    vec![
        ("NaN against a number", with(f32::NAN), side(GOOD)),
        ("a number against NaN", side(GOOD), with(f32::NAN)),
        ("NaN against NaN", with(f32::NAN), with(f32::NAN)),
        ("infinity of the other sign", with(f32::INFINITY), with(f32::NEG_INFINITY)),
        ("five against zero", with(5.0), with(0.0)),
        ("five against nothing but zeros", with(5.0), all(0.0)),
        ("empty", (vec![0, 3], vec![]), (vec![0, 3], vec![])),
        ("short", (vec![5], GOOD[..5].to_vec()), (vec![6], GOOD.to_vec())),
        ("long", (vec![6], GOOD.to_vec()), (vec![5], GOOD[..5].to_vec())),
        ("shape", (vec![3, 2], vec![1.0; 6]), (vec![2, 3], vec![1.0; 6])),
        ("two elements swapped", side(swapped), side(GOOD)),
        ("denormal against a number", with(1e-40), side(GOOD)),
        ("numbers against nothing but denormals", all(1e-30), all(1e-40)),
        ("huge against a number", with(f32::MAX), side(GOOD)),
        ("a number against huge", side(GOOD), with(f32::MAX)),
        ("infinity against huge", with(f32::INFINITY), with(f32::MAX)),
        ("huge against infinity", with(f32::MAX), with(f32::INFINITY)),
        ("sign", with(-0.5), side(GOOD)),
    ]
}

#[test]
fn every_comparator_rejects_every_bad_pair() {
    let (mut rejected, mut all) = (0, 0);
    let mut check = |name: &str, kind: &str, verdict: Result<Report, Mismatch>| {
        all += 1;
        match verdict {
            Err(_) => rejected += 1,
            Ok(report) => eprintln!("{name} accepts: {kind} ({report:?})"),
        }
    };
    for (kind, got, expected) in bad_pairs() {
        for (name, compare) in COMPARATORS {
            check(name, kind, compare(&got, &expected));
        }
    }
    // The same memory on both sides, for the reference's also as bytes of its f64.
    check("bits_equal", "same buffer", bits_equal(&GOOD, &GOOD));
    check("relative_norm", "same buffer", relative_norm(&GOOD, &GOOD, RELATIVE));
    let zeros = Reference { dims: vec![6], value: vec![0.0; 6], magnitude: vec![0.0; 6] };
    check("gradient_close", "same buffer", gradient_close(&bytemuck::cast_slice(&zeros.value)[..6], &zeros.value, RELATIVE));
    check("within_bound", "same buffer", within_bound(&bytemuck::cast_slice(&zeros.value)[..6], &zeros, DEPTH));
    check("within_bound", "same buffer", within_bound(&bytemuck::cast_slice(&zeros.magnitude)[..6], &zeros, DEPTH));
    println!("scorecard R1 {rejected}/{all} bad pairs rejected");
    assert_eq!(rejected, all);
}

#[test]
fn every_comparator_accepts_good_pairs() {
    let zeros = side([0.0; 6]);
    for (name, compare) in COMPARATORS {
        for pair in [&side(GOOD), &zeros, &with(0.0), &with(1e-40), &side([f32::MAX; 6])] {
            let report = compare(pair, &pair.clone()).unwrap_or_else(|e| panic!("{name} rejects {pair:?}: {e}"));
            assert_eq!((report.worst, report.count), (0.0, 6));
        }
    }
    // One rounding off, which only the comparison of bits refuses.
    for (name, compare) in COMPARATORS {
        let off = with(0.5 + f32::EPSILON / 2.0);
        assert_eq!(compare(&off, &side(GOOD)).is_ok(), name != "bits_equal", "{name}");
    }
}

#[test]
fn each_refusal_has_its_reason() {
    let good = reference(&side(GOOD));
    assert_eq!(within_bound(&[], &Reference::default(), DEPTH), Err(Mismatch::Empty));
    assert_eq!(within_bound(&GOOD[..5], &good, DEPTH), Err(Mismatch::Length { got: 5, expected: 6 }));
    assert_eq!(bits_equal(&GOOD[..4], &GOOD[2..]), Err(Mismatch::SameBuffer));
    assert_eq!(same_shape(&[2, 0], &[2, 0]), Err(Mismatch::Empty));
    assert_eq!(same_shape(&[2, 3], &[3, 2]), Err(Mismatch::Shape { got: vec![2, 3], expected: vec![3, 2] }));
    let short = Reference { magnitude: vec![1.0; 5], ..good.clone() };
    assert_eq!(within_bound(&GOOD, &short, DEPTH), Err(Mismatch::Length { got: 6, expected: 5 }));
    match within_bound(&with(0.75).1, &good, DEPTH) {
        Err(Mismatch::Value { index: 2, got, expected, .. }) => assert_eq!((got, expected), (0.75, 0.5)),
        other => panic!("{other:?}"),
    }
}

#[test]
fn the_bound_is_where_it_says() {
    let reference = Reference { dims: vec![1], value: vec![1.0], magnitude: vec![3.0] };
    let edge = |steps: f64| [(1.0 + steps * UNIT) as f32];
    // (1 + 2) · 2⁻²³ · 3 is nine steps above 1.
    let report = within_bound(&edge(9.0), &reference, 1.0).unwrap();
    assert!(report.worst <= 1.0 && report.worst > 0.999);
    assert!(within_bound(&edge(10.0), &reference, 1.0).is_err());
    // M = 0 asks for the very value.
    let exact = Reference { magnitude: vec![0.0], ..reference };
    assert!(within_bound(&[1.0], &exact, 100.0).is_ok() && within_bound(&edge(1.0), &exact, 100.0).is_err());
    let zero = Reference { dims: vec![1], value: vec![0.0], magnitude: vec![0.0] };
    assert!(within_bound(&[1e-40], &zero, 100.0).is_err());
    // A denormal may be taken for zero, and no more than that.
    let denormal = Reference { dims: vec![1], value: vec![1e-40], magnitude: vec![1e-40] };
    assert!(within_bound(&[0.0], &denormal, 0.0).is_ok() && within_bound(&[1e-37], &denormal, 0.0).is_err());
    // A small gradient is measured by the mean one, not forgiven: 0.004 does not stand for −0.004.
    assert!(gradient_close(&[1.0, 0.004], &[1.0, -0.004], 1e-3).is_err());
    assert!(gradient_close(&[1.0, 0.004], &[1.0, 0.004_3], 1e-3).is_ok());
    // Norms: 3 in 4 of length 5.
    assert!(relative_norm(&[3.0f32, 4.0], &[0.0f64, 4.0], 0.75).is_ok());
    assert!(relative_norm(&[3.0f32, 4.0], &[0.0f64, 4.0], 0.74).is_err());
    assert!(relative_norm(&[1e-200, 0.0], &[2e-200, 0.0], 0.4).is_err(), "squares must not vanish");
    assert!(relative_norm(&[1e200, 0.0], &[1e200 + 1e190, 0.0], 1e-9).is_ok(), "squares must not overflow");
}

#[test]
fn no_tolerance_makes_nan_or_infinity_pass() {
    for tolerance in [f64::NAN, f64::INFINITY, f64::MAX, -1.0] {
        for value in [f32::NAN, f32::INFINITY, 7.0] {
            let (got, expected) = (with(value), reference(&side(GOOD)));
            if value == 7.0 && tolerance == f64::MAX {
                continue; // a finite tolerance is the caller's word
            }
            assert!(within_bound(&got.1, &expected, tolerance - 2.0).is_err());
            assert!(relative_norm(&got.1, &expected.value, tolerance).is_err());
            assert!(gradient_close(&got.1, &expected.value, tolerance).is_err());
        }
    }
    let endless = Reference { magnitude: vec![f64::INFINITY; 6], ..reference(&side(GOOD)) };
    assert!(within_bound(&with(7.0).1, &endless, DEPTH).is_err());
    let unknown = Reference { magnitude: vec![f64::NAN; 6], ..reference(&side(GOOD)) };
    assert!(within_bound(&GOOD, &unknown, DEPTH).is_err());
}

#[test]
fn kinds_are_compared_only_on_request() {
    let kinds = [f32::NAN, f32::INFINITY, f32::NEG_INFINITY, 1.0];
    assert!(kinds_equal(&kinds, &[f64::NAN, f64::INFINITY, f64::NEG_INFINITY, -3.0]).is_ok());
    for i in 0..4 {
        for j in 0..4 {
            assert_eq!(kinds_equal(&kinds[i..=i], &[f64::from(kinds[j])]).is_ok(), i == j, "{i} {j}");
        }
    }
    assert_eq!(kinds_equal(&[], &[]), Err(Mismatch::Empty));
    assert!(kinds_equal(&kinds, &[0.0]).is_err());
}
