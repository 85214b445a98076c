//! The instrument: the profile of a run's steps, and the trace that Perfetto opens.

use crate::{NCE, Trail, config, device, options, pictures, uninterrupted};
use instdisc::train::{Run, RunOptions};
use serde_json::Value;
use std::path::Path;

const STEPS: usize = 3;

fn read(folder: &Path, name: &str) -> Value {
    serde_json::from_str(&std::fs::read_to_string(folder.join(name)).unwrap()).unwrap()
}

#[test]
fn a_run_that_is_profiled_has_the_same_bits_and_says_where_its_time_went() {
    let gpu = device();
    let config = config(22, NCE, 4); // twenty steps
    let whole = uninterrupted(&gpu, &config, &options());
    let folder = tempfile::tempdir().unwrap();
    let mut run = Run::new(&gpu, config.clone(), pictures(22), Some(folder.path())).unwrap();
    let dispatches = run.dispatches();
    let mut trail = Trail::default();
    trail.train(&mut run, &RunOptions { profile: STEPS, ..options() }, |_| {}).unwrap();
    assert!(trail == whole, "profiling changed the bits");

    let found = run.profile().unwrap();
    assert_eq!((found.steps, found.rows.len(), found.dispatches + found.dispatches_apart), (STEPS, dispatches, dispatches));
    assert!(found.dispatches_apart > 0, "partial sums of weight gradients");
    let (sum, kernels): (f64, f64) = (found.rows.iter().map(|r| r.ms).sum(), found.kernels.iter().map(|k| k.ms).sum());
    assert!(sum > 0.0 && (sum / kernels - 1.0).abs() < 1e-6, "{sum} {kernels}");
    assert_eq!(found.kernels.iter().map(|k| k.dispatches).sum::<usize>(), dispatches);
    assert!((found.kernels.iter().map(|k| k.share).sum::<f64>() - 1.0).abs() < 1e-6);
    let (step, outside) = (found.step_ms.unwrap(), found.outside_ms.unwrap());
    assert!(step > 0.0 && (step - outside - found.kernels_ms).abs() < 1e-6);
    let mut costed = 0;
    // What a step's kernels take lies within that step, so the medians over the steps do too. (The sum of the dispatches' medians
    // bounds nothing: each step may have been held up in another dispatch.)
    assert!(found.profiled_ms >= 0.99 * found.kernels_ms, "{} {}", found.profiled_ms, found.kernels_ms);
    for row in &found.rows {
        assert!(row.ms >= 0.0 && row.gflops >= 0.0 && row.fraction_of_peak.is_some_and(|share| share >= 0.0), "{row:?}");
        costed += usize::from(row.gbps > 0.0 && row.fraction_of_peak > Some(0.0));
    }
    // Only what is too small to count does not say what it costs: the draw of negatives, Z, running statistics.
    assert!(costed * 10 >= found.rows.len() * 8, "{costed} of {}", found.rows.len());
    assert!(found.rows.iter().any(|row| row.scope == "layer1.0.conv1"), "rows name the part of the network");

    let text = std::fs::read_to_string(folder.path().join("profile.txt")).unwrap();
    for part in ["layer1.0.conv1", "of peak", "outside of kernels", "clock", &format!("the median of {STEPS} steps")] {
        assert!(text.contains(part), "no `{part}`: {text}");
    }
    let json = read(folder.path(), "profile.json");
    assert_eq!(json["rows"].as_array().unwrap().len(), dispatches);

    let events = read(folder.path(), "trace.json")["traceEvents"].as_array().unwrap().clone();
    let of = |kind: &str| events.iter().filter(|e| e["ph"] == kind).collect::<Vec<_>>();
    let (complete, meta) = (of("X"), of("M"));
    assert_eq!(complete.len() + meta.len(), events.len());
    let names: Vec<&str> = meta.iter().map(|e| e["args"]["name"].as_str().unwrap()).collect();
    assert!(names.contains(&"host") && names.iter().any(|name| name.starts_with("device")), "{names:?}");
    for event in &complete {
        for field in ["ts", "dur"] {
            assert!(event[field].as_f64().is_some_and(|v| v >= 0.0), "{field}: {event}");
        }
        assert!(event["name"].is_string() && event["pid"] == 1, "{event}");
    }
    let (host, device): (Vec<_>, Vec<_>) = complete.iter().copied().partition(|e| e["tid"] == 1);
    assert_eq!(device.len(), STEPS * dispatches);
    // Dispatches follow each other: none begins before the one in front of it.
    let starts: Vec<f64> = device.iter().map(|e| e["ts"].as_f64().unwrap()).collect();
    assert!(starts.windows(2).all(|pair| pair[0] <= pair[1]));
    // The host waits for a step before it prepares the next one.
    let waits = host.iter().filter(|e| e["name"] == "wait for images").skip(1);
    for (wait, step) in waits.zip(device.chunks(dispatches)) {
        let ends = step.iter().map(|e| e["ts"].as_f64().unwrap() + e["dur"].as_f64().unwrap());
        assert!(ends.fold(0.0, f64::max) <= wait["ts"].as_f64().unwrap(), "a step ends after the host is done with it: {wait}");
    }
    for what in ["wait for images", "write images", "submit"] {
        assert!(host.iter().any(|e| e["name"] == what), "no `{what}` on the host");
    }
    println!(
        "scorecard profile: {dispatches} dispatches of {STEPS} steps by the {}'s clock, {:.2} of {step:.2} ms in kernels; trace with {} slices; same bits",
        found.clock,
        found.kernels_ms,
        complete.len()
    );
}

#[test]
fn a_run_too_short_to_profile_says_nothing() {
    let gpu = device();
    let mut run = Run::new(&gpu, config(8, NCE, 1), pictures(8), None).unwrap();
    run.train(&RunOptions { profile: 5, ..options() }, &mut |_| {}).unwrap();
    assert!(run.profile().is_none());
}
