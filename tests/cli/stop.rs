//! Ctrl-C, `--stop-after` and `--resume` from the outside.

use crate::{Place, checkpoint, command, done, train};
use std::io::{BufRead, BufReader, Read};
use std::process::Stdio;

#[test]
fn ctrl_c_writes_a_checkpoint_and_resume_ends_with_the_same_bytes() {
    let place = Place::new();
    let data = place.pictures("data", 62);
    let mut stops = Vec::new();
    for (name, more) in [("softmax", &[][..]), ("nce", &["--loss", "nce", "--negatives", "20"])] {
        let (whole, parts) = (place.arg(&format!("{name}-whole")), place.arg(&format!("{name}-parts")));
        done(&train(&data, &whole, more));
        let mut command = command(&train(&data, &parts, more));
        let mut process = command.stderr(Stdio::piped()).spawn().unwrap();
        let mut lines = BufReader::new(process.stderr.take().unwrap());
        let mut line = String::new();
        while !line.starts_with("step 1 ") {
            line.clear();
            assert!(lines.read_line(&mut line).unwrap() > 0, "the command ended before its first step");
        }
        let sent = std::process::Command::new("kill").args(["-INT", &process.id().to_string()]).status().unwrap();
        assert!(sent.success());
        let mut rest = String::new();
        lines.read_to_string(&mut rest).unwrap();
        assert_eq!(process.wait().unwrap().code(), Some(0), "{rest}");
        let stopped = rest.split_once("stopped at step ").unwrap_or_else(|| panic!("{rest}")).1;
        let step: u64 = stopped.split(';').next().unwrap().parse().unwrap();
        assert!(rest.contains("stopping after this step") && rest.contains("--resume"), "{rest}");
        assert!(step < 30 && step % 15 != 0, "stopped at step {step}: not in the middle of an epoch");
        let said = done(&train(&data, &parts, &[more, &["--resume"]].concat()));
        assert!(said.err.contains(&format!("going on from step {step}")), "{}", said.err);
        let bytes = |run: &str| checkpoint(std::path::Path::new(run));
        assert!(bytes(&whole) == bytes(&parts), "{name}: stopped at {step}, other bytes");
        stops.push(step);
    }
    println!(
        "scorecard cli Ctrl-C in mid-epoch (steps {stops:?} of 30): exit code 0, resumed to the bytes of an uninterrupted run"
    );
}

#[test]
fn stop_after_an_epoch_and_resume_end_with_the_same_bytes() {
    let place = Place::new();
    let data = place.pictures("data", 10);
    let (whole, parts) = (place.arg("whole"), place.arg("parts"));
    done(&train(&data, &whole, &[]));
    let said = done(&train(&data, &parts, &["--stop-after", "1"]));
    assert!(said.err.contains("epoch 1/1") && said.err.contains("done: step 2"), "{}", said.err);
    done(&train(&data, &parts, &["--resume"]));
    let bytes = |run: &str| checkpoint(&place.path(run));
    assert!(bytes("whole") == bytes("parts"));
    println!("scorecard cli --stop-after 1, then --resume: the bytes of an uninterrupted run");
}
