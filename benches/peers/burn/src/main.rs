//! Burn as a peer: says on a line of JSON what runs, then reads a case a line from standard input and answers each with a line of
//! JSON. See ../README.md.
#![recursion_limit = "256"]

mod case;
mod measure;
mod resnet;

use burn::tensor::Device;
use case::Case;
use measure::Timed;
use serde_json::json;
use std::io::{BufRead, Write};
use std::panic::{AssertUnwindSafe, catch_unwind};

/// Seconds that a sample takes at least, where `--seconds` does not say.
const SECONDS: f64 = 0.05;
/// Samples a request, where `--samples` does not say.
const SAMPLES: usize = 3;

fn main() {
    let words: Vec<String> = std::env::args().skip(1).collect();
    let device = device();
    let compiler = if cfg!(feature = "vulkan") { "SPIR-V" } else { "WGSL" };
    let fusion = if cfg!(feature = "fusion") { ", fusion" } else { "" };
    let identity = device.identity();
    say(&json!({
        "name": "Burn", "version": "0.22.1", "adapter": identity.as_ref().map(|i| i.name.clone()),
        "options": format!("{compiler}, autotune{fusion}"),
    }));
    let samples = option(&words, "--samples").unwrap_or(SAMPLES);
    let seconds = option(&words, "--seconds").unwrap_or(SECONDS);
    // The last case stays prepared, so that asking again costs its samples alone.
    let mut held: Option<(String, Timed)> = None;
    for line in std::io::stdin().lock().lines().map_while(Result::ok) {
        // Burn panics where a kernel cannot be launched; that is the answer for this case, not the end of the others.
        let answer = catch_unwind(AssertUnwindSafe(|| {
            if held.as_ref().is_none_or(|(name, _)| *name != line) {
                held = None;
                let case: Case = line.parse()?;
                held = Some((line.clone(), Timed::new(&case, &device, seconds)?));
            }
            held.as_mut().map_or_else(|| Err("no case".into()), |(_, timed)| timed.sample(&line, samples))
        }));
        let answer = answer.unwrap_or_else(|_| Err("Burn panicked; its message is on standard error".into()));
        say(&answer.unwrap_or_else(|error| {
            held = None;
            json!({ "case": line, "error": error })
        }));
    }
}

#[cfg(feature = "vulkan")]
fn device() -> Device {
    Device::vulkan(Default::default())
}

#[cfg(not(feature = "vulkan"))]
fn device() -> Device {
    Device::wgpu(Default::default())
}

/// The value after `name` among the arguments.
fn option<T: std::str::FromStr>(words: &[String], name: &str) -> Option<T> {
    words.iter().position(|w| w == name).and_then(|at| words.get(at + 1)).and_then(|w| w.parse().ok())
}

fn say(line: &serde_json::Value) {
    let mut out = std::io::stdout().lock();
    // Whoever asked has gone when this fails; the end of standard input will say so too.
    let _ = writeln!(out, "{line}").and_then(|()| out.flush());
}
