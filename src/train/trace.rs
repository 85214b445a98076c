//! A profile as a trace that Perfetto (ui.perfetto.dev) and chrome://tracing open.
//!
//! **Source**: "Trace Event Format", Google, 2016: complete events (`ph` = `X`) with `ts` and `dur` in microseconds. Perfetto's importer
//! cuts both to whole nanoseconds, and drops a slice that begins within another of its track and ends after it.

use super::profile::Profile;
use crate::gpu::Span;
use serde_json::{Value, json};

/// The track of what the host does. Those of the device follow.
const HOST: usize = 1;

impl Profile {
    /// The profiled steps as a trace: a track of the host (waiting for data, writing, encoding, submitting, reading) and one of
    /// the device, a slice a dispatch; dispatches that ran while another did lie on further tracks. The device's clock is shifted
    /// so that the first dispatch begins with its submission.
    pub fn trace(&self) -> String {
        let named =
            |tid: usize, name: &str| json!({ "name": "thread_name", "ph": "M", "pid": 1, "tid": tid, "args": { "name": name } });
        let mut events =
            vec![json!({ "name": "process_name", "ph": "M", "pid": 1, "args": { "name": "instdisc" } }), named(HOST, "host")];
        let tracks = tracks(&self.spans.device);
        for track in 0..=tracks.iter().copied().max().unwrap_or(0) {
            let more = if track == 0 { "" } else { ", at the same time" };
            events.push(named(HOST + 1 + track, &format!("device, by the {}'s clock{more}", self.clock)));
        }
        events.extend(self.spans.host.iter().map(|span| event(span.what, HOST, span, json!({}))));
        for (span, track) in self.spans.device.iter().zip(tracks) {
            let Some(row) = self.rows.get(span.what) else { continue };
            let name = if row.scope.is_empty() { row.variant.clone() } else { format!("{}: {}", row.scope, row.variant) };
            let args = json!({ "dispatch": row.dispatch, "gflops": row.gflops, "gbps": row.gbps, "fraction_of_peak": row.fraction_of_peak });
            events.push(event(&name, HOST + 1 + track, span, args));
        }
        json!({ "traceEvents": events, "displayTimeUnit": "ms" }).to_string()
    }
}

/// Begin and end in whole nanoseconds.
fn nanoseconds<T>(span: &Span<T>) -> [u64; 2] {
    [span.begin, span.end.max(span.begin)].map(|seconds| (seconds * 1e9).round() as u64)
}

/// A complete event. Half a nanosecond is added to its begin, so that one that is no binary fraction is not cut to the nanosecond
/// before, in which the slice that it follows has not ended.
fn event<T>(name: &str, tid: usize, span: &Span<T>, args: Value) -> Value {
    let [begin, end] = nanoseconds(span);
    json!({ "name": name, "ph": "X", "pid": 1, "tid": tid, "ts": (begin as f64 + 0.5) / 1e3, "dur": (end - begin) as f64 / 1e3, "args": args })
}

/// For each span the first track on which no other is under way.
fn tracks(spans: &[Span<usize>]) -> Vec<usize> {
    let mut order: Vec<usize> = (0..spans.len()).collect();
    order.sort_by_key(|&i| nanoseconds(&spans[i]));
    let (mut ends, mut tracks) = (Vec::new(), vec![0; spans.len()]);
    for i in order {
        let [begin, end] = nanoseconds(&spans[i]);
        let free = ends.iter().position(|&end| end <= begin);
        tracks[i] = free.unwrap_or_else(|| {
            ends.push(0);
            ends.len() - 1
        });
        ends[tracks[i]] = end;
    }
    tracks
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::train::profile::{Row, Spans};
    use std::collections::BTreeMap;

    /// The tracks of a trace of dispatches with these begins and ends, their slices in nanoseconds as Perfetto takes them, by begin.
    fn read(spans: impl Iterator<Item = [f64; 2]>) -> BTreeMap<u64, Vec<[u64; 2]>> {
        let device = spans.map(|[begin, end]| Span { what: 0, begin, end }).collect();
        let row = Row { variant: "relu:forward".into(), ..Row::default() };
        let profile = Profile { rows: vec![row], spans: Spans { host: Vec::new(), device }, ..Profile::default() };
        let trace: Value = serde_json::from_str(&profile.trace()).unwrap();
        let mut tracks: BTreeMap<u64, Vec<[u64; 2]>> = BTreeMap::new();
        for event in trace["traceEvents"].as_array().unwrap().iter().filter(|event| event["ph"] == "X") {
            let [begin, length] = ["ts", "dur"].map(|key| (event[key].as_f64().unwrap() * 1000.0) as u64);
            tracks.entry(event["tid"].as_u64().unwrap()).or_default().push([begin, begin + length]);
        }
        tracks.values_mut().for_each(|slices| slices.sort_unstable());
        tracks
    }

    fn partly_over(slices: &[[u64; 2]]) -> usize {
        slices.windows(2).filter(|pair| pair[1][0] < pair[0][1]).count()
    }

    #[test]
    fn slices_that_follow_each_other_at_once_stay_on_one_track_and_do_not_overlap() {
        for tick in [1e-9, 32e-9, 1e-6 / 12.0, 1e-6] {
            let tracks = read((0..10_000).map(|i| [i, i + 1].map(|i| 1e-3 + f64::from(i) * tick)));
            assert_eq!(tracks.keys().copied().collect::<Vec<_>>(), [2]);
            assert_eq!((tracks[&2].len(), partly_over(&tracks[&2])), (10_000, 0), "{tick}");
        }
    }

    #[test]
    fn dispatches_that_overlap_lie_on_tracks_of_their_own() {
        let tracks = read([[3.0, 5.0], [0.0, 2.0], [1.0, 4.0], [1.5, 2.5], [4.0, 4.5]].into_iter());
        let seconds = |slices: &Vec<[u64; 2]>| slices.iter().map(|s| s.map(|t| t as f64 / 1e9)).collect::<Vec<_>>();
        assert_eq!(
            tracks.values().map(seconds).collect::<Vec<_>>(),
            [vec![[0.0, 2.0], [3.0, 5.0]], vec![[1.0, 4.0], [4.0, 4.5]], vec![[1.5, 2.5]]]
        );
    }
}
