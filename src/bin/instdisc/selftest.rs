//! `instdisc selftest`.

use crate::say::result;
use crate::show;
use instdisc::selftest::{Selection, run as check_all};
use instdisc::{Error, Result};
use serde_json::json;
use std::time::Instant;

/// Check every op against its reference on this adapter: a table to paste into a bug report
///
/// Forward results are compared with references in 64 bits, gradients with differences of those; every result must be
/// complete, stay inside its buffer, and come out with the same bits twice. `worst` is the largest error as a share of what
/// the op's own arithmetic may cause.
#[derive(clap::Args)]
pub(crate) struct Args {
    /// Only ops whose name holds this text
    #[arg(long, value_name = "TEXT")]
    filter: Option<String>,
    /// All cases, as the project's tests run them, instead of a quick choice
    #[arg(long)]
    full: bool,
    /// One JSON object an op
    #[arg(long)]
    json: bool,
    /// Part of the adapter's name, or its number in `instdisc adapters` [default: the best]
    #[arg(long)]
    adapter: Option<String>,
}

pub(crate) fn run(args: &Args) -> Result<()> {
    let gpu = show::gpu(args.adapter.as_deref())?;
    let start = Instant::now();
    if !args.json {
        result!(
            "instdisc {} on {} ({}, {})",
            env!("CARGO_PKG_VERSION"),
            gpu.facts().name,
            gpu.facts().backend,
            gpu.facts().driver
        );
        result!("{:14} {:>5} {:>14} {:>15}  verdict", "op", "cases", "worst forward", "worst gradient");
    }
    let selection = Selection { filter: args.filter.clone(), quick: !args.full };
    let verdicts = check_all(&gpu, &selection, |v| {
        if args.json {
            let line = json!({
                "op": v.op, "cases": v.cases, "worst_forward": v.worst_forward, "worst_gradient": v.worst_gradient,
                "passed": v.passed, "message": v.message, "adapter": gpu.facts().name, "driver": gpu.facts().driver,
            });
            result!("{line}");
        } else {
            let verdict = if v.passed { "ok" } else { "FAILED" };
            result!("{:14} {:>5} {:>14.3} {:>15.3}  {verdict} {}", v.op, v.cases, v.worst_forward, v.worst_gradient, v.message);
        }
    });
    let failed = verdicts.iter().filter(|v| !v.passed).count();
    if verdicts.is_empty() {
        return Err(Error::value("selftest", "--filter", "part of an op's name", args.filter.clone().unwrap_or_default()));
    }
    if failed > 0 {
        let got = format!("{failed} of {} failed; please report the table above", show::count(verdicts.len(), "op"));
        return Err(Error::value("selftest", "ops", "right on this adapter", got));
    }
    if !args.json {
        result!("{} passed in {:.0} s", show::count(verdicts.len(), "op"), start.elapsed().as_secs_f64());
    }
    Ok(())
}
