//! R13: on a device with tiny limits every case gives its normal result or `Error::Limit`, as its row says. R18.

use instdisc::gpu::{Choices, Gpu, OpenOptions};
use instdisc::selftest::{Tiny, check, record, table};
use instdisc::shape::Layout;
use instdisc::tape::{Memory, Tape};
use instdisc::{Error, ops, wgpu};

fn tiny() -> Gpu {
    let limits = wgpu::Limits {
        max_storage_buffer_binding_size: 65_536,
        max_buffer_size: 131_072,
        max_compute_workgroups_per_dimension: 4,
        min_storage_buffer_offset_alignment: 256,
        ..wgpu::Limits::default()
    };
    Gpu::open(&OpenOptions { limits: Some(limits), ..Default::default() }).expect("an adapter")
}

/// A case with guard words needs more than the same without; so these are only recorded and compiled, or run in full.
#[test]
fn tiny_limits_are_met_or_named() {
    let gpu = tiny();
    let (mut ran, mut limited, mut wrong) = (0, 0, Vec::new());
    for case in table() {
        let all = case.inputs.iter().enumerate().filter(|(_, i)| i.differentiable).fold(0, |set, (i, _)| set | 1 << i);
        match (record(&gpu, &case, all, false, Memory::Guarded), case.tiny) {
            (Ok(_), Tiny::Runs) => match check(&gpu, &case) {
                Ok(_) => ran += 1,
                Err(text) => wrong.push(format!("{case:?}: {text}")),
            },
            (Err(Error::Limit { asked, allowed, .. }), Tiny::Limit) if asked > allowed => limited += 1,
            (Ok(_), Tiny::Limit) => wrong.push(format!("{case:?}: should be Limit, and is recorded")),
            (Err(e), expected) => wrong.push(format!("{case:?}: should be {expected:?}, and says: {e}")),
        }
    }
    println!(
        "scorecard R13 {} cases on 64 KiB bindings and 4 workgroups a dimension: {ran} run, {limited} Limit, {} wrong",
        ran + limited + wrong.len(),
        wrong.len()
    );
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
    assert_eq!(gpu.uncaptured_errors(), 0);
}

/// So do the tiles for GPUs, which fold other grids.
#[test]
fn tiles_for_gpus_meet_tiny_limits() {
    let mut choices = Choices::default();
    let algorithm = "direct tiled 32x32x8 4x4";
    choices.set("*", algorithm);
    let gpu = tiny().with_choices(choices);
    let (mut ran, mut limited, mut wrong) = (0, 0, Vec::new());
    for case in table().iter().filter(|case| ["conv2d", "gemm"].contains(&case.op)) {
        let all = case.inputs.iter().enumerate().filter(|(_, i)| i.differentiable).fold(0, |set, (i, _)| set | 1 << i);
        match record(&gpu, case, all, false, Memory::Guarded) {
            Ok(_) => match check(&gpu, case) {
                // Narrow groups have a kernel of their own.
                Ok(passed) => ran += usize::from(passed.algorithms.contains(algorithm)),
                Err(text) => wrong.push(format!("{case:?}: {text}")),
            },
            Err(Error::Limit { asked, allowed, .. }) if asked > allowed => limited += 1,
            Err(e) => wrong.push(format!("{case:?}: {e}")),
        }
    }
    println!("scorecard tiles on a tiny device: {ran} cases run, {limited} Limit, {} wrong", wrong.len());
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
    assert!(ran > 40, "{ran}");
}

#[test]
fn a_request_above_a_limit_says_what_was_asked_and_allowed() {
    let gpu = tiny();
    match gpu.buffer("large", 16_385) {
        Err(Error::Limit { asked: 65_540, allowed: 65_536, .. }) => {}
        other => panic!("{other:?}"),
    }
    // 65 workgroups of 256 words are 66,560 bytes, so the grid is asked by hand: 4 · 4 · 4 workgroups and one more.
    assert_eq!(gpu.grid("op", 64).unwrap(), [4, 4, 4]);
    match gpu.grid("op", 65) {
        Err(Error::Limit { asked: 65, allowed: 64, .. }) => {}
        other => panic!("{other:?}"),
    }
    // The device works on.
    let mut tape = Tape::new(&gpu);
    let x = tape.input("x", &[3], Layout::Rows).unwrap();
    let y = ops::relu(&mut tape, x).unwrap();
    tape.keep(y).unwrap();
    let mut program = tape.compile().unwrap();
    program.write(x, &[1.0, -1.0, 2.0]).unwrap();
    program.run().unwrap();
    assert_eq!(program.read(y).unwrap(), [1.0, 0.0, 2.0]);
}

#[test]
fn a_grid_holds_every_workgroup_and_no_side_is_over_the_limit() {
    let gpu = tiny();
    for groups in 1..=64 {
        let [x, y, z] = gpu.grid("op", groups).unwrap();
        assert!(x.max(y).max(z) <= 4 && (x * y * z) as usize >= groups, "{groups}: {x} {y} {z}");
    }
}

/// Error scopes are a thread's own: what another thread does wrong comes to the handler, and so to the next call.
#[test]
fn an_error_on_another_thread_is_reported_by_the_next_call() {
    let gpu = tiny();
    let device = gpu.device().clone();
    std::thread::spawn(move || {
        device.create_buffer(&wgpu::BufferDescriptor {
            label: Some("too large"),
            size: 1 << 40,
            usage: wgpu::BufferUsages::STORAGE,
            mapped_at_creation: false,
        })
    })
    .join()
    .unwrap();
    assert_eq!(gpu.uncaptured_errors(), 1);
    match gpu.buffer("next", 4) {
        Err(Error::Gpu { text, .. }) => assert!(text.contains("too large"), "{text}"),
        other => panic!("{other:?}"),
    }
    assert!(gpu.buffer("after", 4).is_ok(), "an error is reported once");
    println!("scorecard R18 an error on another thread is reported by the next call");
}
