//! `instdisc adapters`.

use crate::say::result;
use instdisc::Result;
use instdisc::gpu::{adapters, none_found};

/// List the graphics adapters that can train, the best first
#[derive(clap::Args)]
pub(crate) struct Args {
    /// One JSON object a line
    #[arg(long)]
    json: bool,
}

pub(crate) fn run(args: &Args) -> Result<()> {
    let all = adapters();
    if all.is_empty() {
        return Err(none_found());
    }
    for (number, a) in all.iter().enumerate() {
        if args.json {
            result!("{}", serde_json::json!({ "number": number, "adapter": a }));
            continue;
        }
        let mib = |bytes: u64| bytes >> 20;
        result!("{number}: {}", a.name);
        result!("   {} through {}, {}{}", a.kind, a.backend, a.driver, if a.software { " (software)" } else { "" });
        result!(
            "   largest binding {} MiB, largest buffer {} MiB, {} storage buffers a kernel, {} KiB workgroup memory, {} invocations",
            mib(a.max_binding),
            mib(a.max_buffer),
            a.storage_buffers,
            a.workgroup_memory >> 10,
            a.invocations
        );
        let yes = |on| if on { "yes" } else { "no" };
        result!("   timestamps {}, 16-bit floats {}, subgroups {}", yes(a.timestamps), yes(a.f16), yes(a.subgroups));
    }
    Ok(())
}
