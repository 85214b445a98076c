//! A profile as a trace that Perfetto (ui.perfetto.dev) and chrome://tracing open.
//!
//! **Source**: "Trace Event Format", Google, 2016: complete events (`ph` = `X`) with `ts` and `dur` in microseconds.

use super::profile::Profile;
use serde_json::{Value, json};

/// The tracks: what the host does, and what the device does.
const HOST: u32 = 1;
const DEVICE: u32 = 2;

impl Profile {
    /// The profiled steps as a trace: a track of the host (waiting for data, writing, encoding, submitting, reading) and one of
    /// the device, a slice a dispatch. The device's clock is shifted so that the first dispatch begins when it was submitted.
    pub fn trace(&self) -> String {
        let named =
            |tid: u32, name: &str| json!({ "name": "thread_name", "ph": "M", "pid": 1, "tid": tid, "args": { "name": name } });
        let mut events = vec![
            json!({ "name": "process_name", "ph": "M", "pid": 1, "args": { "name": "instdisc" } }),
            named(HOST, "host"),
            named(DEVICE, &format!("device, by the {}'s clock", self.clock)),
        ];
        let event = |name: &str, tid: u32, begin: f64, end: f64, args: Value| json!({ "name": name, "ph": "X", "pid": 1, "tid": tid, "ts": begin * 1e6, "dur": (end - begin).max(0.0) * 1e6, "args": args });
        events.extend(self.spans.host.iter().map(|span| event(span.what, HOST, span.begin, span.end, json!({}))));
        for span in &self.spans.device {
            let Some(row) = self.rows.get(span.what) else { continue };
            let name = if row.scope.is_empty() { row.variant.clone() } else { format!("{}: {}", row.scope, row.variant) };
            let args = json!({ "dispatch": row.dispatch, "gflops": row.gflops, "gbps": row.gbps, "fraction_of_peak": row.fraction_of_peak });
            events.push(event(&name, DEVICE, span.begin, span.end, args));
        }
        json!({ "traceEvents": events, "displayTimeUnit": "ms" }).to_string()
    }
}
