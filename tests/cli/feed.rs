//! Where images are during a run: said, told how much it waited for them, and no bit different.

use crate::{Place, checkpoint, done, refused_option, tool, train};
use serde_json::Value;

/// What a run by this feed said, its checkpoint, and how long it waited in each epoch.
fn run(place: &Place, data: &str, name: &str, more: &[&str]) -> (String, Vec<u8>, Vec<f64>) {
    let out = place.arg(name);
    let said = done(&train(data, &out, more));
    let text = std::fs::read_to_string(place.path(name).join("metrics.jsonl")).unwrap();
    let lines = text.lines().map(|line| serde_json::from_str::<Value>(line).unwrap());
    let waited = lines.filter(|line| line.get("epoch").is_some()).map(|line| line["waited"].as_f64().unwrap()).collect();
    (said.err, checkpoint(&place.path(name)), waited)
}

#[test]
fn resident_and_streamed_runs_end_with_the_same_checkpoint() {
    let place = Place::new();
    let data = place.pictures("data", 12);
    let (auto, weights, waited) = run(&place, &data, "auto", &[]);
    assert!(auto.contains("images: 14.4 kB stay on the device") && auto.contains("(0.0 s waiting for images)"), "{auto}");
    assert_eq!(waited, [0.0, 0.0]);
    for (name, more, says) in [
        ("streamed", &["--feed", "streamed"][..], "images: streamed by decoding threads: as asked for"),
        ("one", &["--feed", "streamed", "--threads", "1"], "images: streamed"),
        ("resident", &["--feed", "resident"], "stay on the device"),
    ] {
        let (text, other, waited) = run(&place, &data, name, more);
        assert!(text.contains(says) && waited.len() == 2, "{text}");
        assert!(other == weights, "{name}");
    }
    assert_eq!(tool(&["train", &data, "--out", "x", "--feed", "magic"]).code, Some(2));
    refused_option(&["selftest", "--feed", "auto"], "--feed");
    println!(
        "scorecard cli feed: resident and streamed runs write equal checkpoints; the wait is in metrics.jsonl and on the line of an epoch"
    );
}
