//! `instdisc bench`: algorithms side by side, the roofline, comparisons with earlier runs.

use crate::{Place, done, refused, tool};
use serde_json::Value;

/// A case that is quick, by a few of its algorithms.
const QUICK: [&str; 5] = ["bench", "--filter", "512x512x512", "--variants", "lanes 8x"];

fn rows(text: &str) -> Vec<Value> {
    text.lines().map(|line| serde_json::from_str(line).unwrap()).collect()
}

fn with<'a>(more: &[&'a str]) -> Vec<&'a str> {
    [&QUICK, more].concat()
}

#[test]
fn algorithms_stand_side_by_side_and_are_compared_with_an_earlier_run() {
    let place = Place::new();
    let (picture, earlier) = (place.arg("roofline.svg"), place.arg("earlier.jsonl"));
    let said = done(&with(&["--json", "--repeat", "2", "--plot", &picture]));
    let all = rows(&said.out);
    let found: Vec<&Value> = all.iter().filter(|row| !row["case"].as_str().unwrap().starts_with("peak.")).collect();
    assert!(found.len() >= 3 && all.len() == found.len() + 2, "{}", said.out);
    let marked = |field: &str| found.iter().filter(|row| row[field] == Value::Bool(true)).count();
    assert_eq!((marked("preferred"), marked("fastest")), (1, 1), "{}", said.out);
    for &row in &found {
        assert!(row["case"] == "gemm" && row["shape"] == "512x512x512" && row["rounds"] == 2, "{row}");
        let held = row["preferred"] == true || row["algorithm"].as_str().unwrap().contains("lanes 8x");
        assert!(held, "not asked for: {row}");
        for field in ["median_ms", "gflops", "gbps", "fraction_of_peak", "peak_gflops", "peak_gbps", "attainable_gflops"] {
            assert!(row[field].as_f64().is_some_and(|v| v > 0.0), "{field}: {row}");
        }
        // 2 · 512³ operations on three matrices of 512² floats.
        assert!((row["flop_per_byte"].as_f64().unwrap() - 512.0 / 6.0).abs() < 1e-9, "{row}");
        assert!(row["spread"].as_f64().is_some() && row["fraction_spread"].as_f64().is_some(), "{row}");
    }
    let drawn = std::fs::read_to_string(&picture).unwrap();
    assert!(drawn.ends_with("</svg>\n") && drawn.contains("gemm 512x512x512"), "{drawn}");

    // The same rows again, and one that is gone.
    let gone = said.out.lines().last().unwrap().replace("512x512x512", "7x512x512x512");
    place.write("earlier.jsonl", format!("{}{gone}\n", said.out).as_bytes());
    let again = done(&with(&["--json", "--compare", &earlier]));
    let (measured, compared): (Vec<Value>, Vec<Value>) =
        rows(&again.out).into_iter().partition(|row| row["comparison"].is_null());
    assert_eq!((measured.len(), compared.len()), (all.len(), all.len() + 1), "{}", again.out);
    for row in &compared[..all.len()] {
        assert!(["same", "faster", "slower"].contains(&row["comparison"].as_str().unwrap()), "{row}");
        assert!(row["time_ratio"].as_f64().is_some() && row["fraction_ratio"].as_f64().is_some(), "{row}");
    }
    assert!(compared.last().unwrap()["comparison"] == "missing", "{}", again.out);

    let people = done(&["bench", "--filter", "512x512x512", "--roofline", "--compare", &earlier]).out;
    for part in ["of peak", "roofline: ", "ridge at", "FLOP/byte", "now / then:", "missing now"] {
        assert!(people.contains(part), "no `{part}`: {people}");
    }
    println!("scorecard cli bench: {} algorithms of a product side by side, drawn, compared with an earlier run", found.len());
}

#[test]
fn what_bench_cannot_use_is_refused_before_measuring() {
    let place = Place::new();
    place.write("text.jsonl", b"hello\n");
    place.write("metrics.jsonl", b"{\"epoch\":1}\n");
    place.write("empty.jsonl", b"\n");
    for (file, parts) in [
        ("none.jsonl", &["none.jsonl", "reading"][..]),
        ("text.jsonl", &["text.jsonl", "line 1", "instdisc bench --json"]),
        ("metrics.jsonl", &["metrics.jsonl", "line 1", "missing field `case`"]),
        ("empty.jsonl", &["empty.jsonl", "no measurement", "instdisc bench --json"]),
    ] {
        refused(&with(&["--compare", &place.arg(file)]), parts);
    }
    refused(&with(&["--plot", &place.arg("x.png")]), &["--plot", ".svg", "x.png"]);
    refused(&with(&["--plot", &place.arg("nowhere/x.svg")]), &["nowhere", "folder"]);
    refused(&with(&["--repeat", "0"]), &["--repeat", "at least 1"]);
    refused(&["bench", "--filter", "peak.fma", "--plot", &place.arg("x.svg")], &["plot", "at least one kernel"]);
    for line in [&["bench", "--set", "both", "--size", "64"][..], &["bench", "--profile", "--repeat", "2"]] {
        assert_eq!(tool(line).code, Some(2), "{line:?}");
    }
    println!("scorecard cli bench: 4 files that are no earlier run, 3 pictures and 3 settings refused");
}

#[test]
fn a_training_step_is_profiled_dispatch_by_dispatch() {
    let place = Place::new();
    let trace = place.arg("trace.json");
    let small = ["bench", "--profile", "--width", "4", "--batch", "1", "--trace", &trace];
    let json: Value = serde_json::from_str(&done(&[&small[..], &["--json"]].concat()).out).unwrap();
    let (rows, kernels) = (json["rows"].as_array().unwrap(), json["kernels"].as_array().unwrap());
    let whole = |field: &str| json[field].as_u64().unwrap() as usize;
    assert_eq!(rows.len(), whole("dispatches") + whole("dispatches_apart"));
    assert_eq!(kernels.iter().map(|k| k["dispatches"].as_u64().unwrap() as usize).sum::<usize>(), rows.len());
    let events: Value = serde_json::from_slice(&std::fs::read(place.path("trace.json")).unwrap()).unwrap();
    let slices = events["traceEvents"].as_array().unwrap().iter().filter(|e| e["ph"] == "X" && e["tid"] != 1).count();
    assert_eq!(slices, whole("steps") * rows.len());
    let people = done(&small).out;
    for part in ["scope", "layer4.1.conv2", "GFLOP/s", "of peak", "outside of kernels", "multiply-adds"] {
        assert!(people.contains(part), "no `{part}`: {people}");
    }
    assert_eq!(tool(&["bench", "--trace", &trace]).code, Some(2), "a trace without a profile");
    println!("scorecard cli profile: {} dispatches of {} kernels, {slices} slices in the trace", rows.len(), kernels.len());
}
