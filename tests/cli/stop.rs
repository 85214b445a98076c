//! Ctrl-C, `--stop-after` and `--resume` from the outside.

use crate::{Place, checkpoint, command, done, step, train};
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
        assert_eq!(process.wait().unwrap().code(), Some(130), "{rest}");
        let stopped = rest.split_once("stopped at step ").unwrap_or_else(|| panic!("{rest}")).1;
        let step: u64 = stopped.split(' ').next().unwrap().parse().unwrap();
        assert!(
            rest.contains("stopping after this step") && rest.contains("of 30 (epoch") && rest.contains("--resume"),
            "{rest}"
        );
        assert!(step < 30 && !step.is_multiple_of(15), "stopped at step {step}: not in the middle of an epoch");
        let said = done(&train(&data, &parts, &[more, &["--resume"]].concat()));
        assert!(said.err.contains(&format!("going on from step {step}")), "{}", said.err);
        let bytes = |run: &str| checkpoint(std::path::Path::new(run));
        assert!(bytes(&whole) == bytes(&parts), "{name}: stopped at {step}, other bytes");
        stops.push(step);
    }
    println!(
        "scorecard cli Ctrl-C in mid-epoch (steps {stops:?} of 30): exit code 130, resumed to the bytes of an uninterrupted run"
    );
}

#[test]
fn stop_after_an_epoch_and_resume_end_with_the_same_bytes() {
    let place = Place::new();
    let data = place.pictures("data", 10);
    let (whole, parts) = (place.arg("whole"), place.arg("parts"));
    done(&train(&data, &whole, &[]));
    let said = done(&train(&data, &parts, &["--stop-after", "1"]));
    assert!(
        said.err.contains("epoch 1/1") && said.err.contains("done: step 2, epoch 1 of 2; --resume goes on with the other 1"),
        "{}",
        said.err
    );
    done(&train(&data, &parts, &["--resume"]));
    let bytes = |run: &str| checkpoint(&place.path(run));
    assert!(bytes("whole") == bytes("parts"));
    println!("scorecard cli --stop-after 1, then --resume: the bytes of an uninterrupted run");
}

/// Starts a long run, waits for its first step, and returns the process and what it says from then on.
fn begun(args: &[&str]) -> (std::process::Child, BufReader<std::process::ChildStderr>) {
    let mut process = command(args).stderr(Stdio::piped()).spawn().unwrap();
    let mut lines = BufReader::new(process.stderr.take().unwrap());
    let mut line = String::new();
    while !line.starts_with("step 1 ") {
        line.clear();
        assert!(lines.read_line(&mut line).unwrap() > 0, "the command ended before its first step");
    }
    (process, lines)
}

fn send(process: &std::process::Child, signal: &str) {
    let sent = std::process::Command::new("kill").args([signal, &process.id().to_string()]).status().unwrap();
    assert!(sent.success());
}

#[test]
fn signals_that_come_together_are_one_and_the_exit_code_says_which() {
    let place = Place::new();
    let data = place.pictures("data", 40);
    for (name, signals, code) in
        [("int", &["-INT", "-INT", "-TERM"][..], 130), ("term", &["-TERM", "-TERM"], 143), ("hup", &["-HUP"], 129)]
    {
        let out = place.arg(name);
        let (mut process, mut lines) =
            begun(&["train", &data, "--out", &out, "--width", "4", "--size", "16", "--batch", "4", "--epochs", "5000"]);
        signals.iter().for_each(|signal| send(&process, signal));
        let mut rest = String::new();
        lines.read_to_string(&mut rest).unwrap();
        assert_eq!(process.wait().unwrap().code(), Some(code), "{name}: {rest}");
        assert!(rest.contains("of 50000 (epoch ") && !rest.contains("panicked"), "{name}: {rest}");
        let said = done(&["train", &data, "--out", &out, "--resume", "--stop-after", "1"]);
        assert!(said.err.contains("going on from step"), "{}", said.err);
    }
    println!("scorecard cli signals: three at once are one, and a checkpoint; exit codes 130, 143 and 129");
}

#[test]
fn a_hang_up_that_is_ignored_from_the_start_stays_ignored() {
    let place = Place::new();
    let data = place.pictures("data", 40);
    let out = place.arg("run");
    let mut shell = std::process::Command::new("sh");
    let tool = env!("CARGO_BIN_EXE_instdisc");
    let line = format!(
        "trap '' HUP; exec '{tool}' train '{data}' --out '{out}' --width 4 --size 16 --batch 4 --epochs 5000 --eval-every 0"
    );
    let mut process = shell.args(["-c", &line]).stderr(Stdio::piped()).spawn().unwrap();
    let mut lines = BufReader::new(process.stderr.take().unwrap()).lines().map_while(Result::ok);
    assert!(lines.any(|line| line.starts_with("step 1 ")));
    send(&process, "-HUP");
    // Lines of steps go on.
    assert!(lines.by_ref().filter(|line| line.starts_with("step ")).nth(1).is_some(), "a hang-up ended the run");
    send(&process, "-TERM");
    lines.for_each(drop);
    assert_eq!(process.wait().unwrap().code(), Some(143));
}

#[test]
fn a_run_whose_words_nobody_takes_goes_on_to_its_end() {
    let place = Place::new();
    let data = place.pictures("data", 12);
    let tool = env!("CARGO_BIN_EXE_instdisc");
    let whole = place.arg("whole");
    done(&train(&data, &whole, &[]));
    for (name, to) in [("full", "2>/dev/full"), ("head", "2>&1 | head -n 1"), ("closed", "2>&-")] {
        let out = place.arg(name);
        let line = format!("'{tool}' {} {to}", train(&data, &out, &[]).join(" "));
        let output = std::process::Command::new("sh").args(["-c", &line]).output().unwrap();
        assert!(output.status.success(), "{name}: {output:?}");
        // `head` ends before the run does.
        let at = std::time::Instant::now();
        while step(&out) < 6 && at.elapsed().as_secs() < 60 {
            std::thread::sleep(std::time::Duration::from_millis(50));
        }
        assert!(checkpoint(&place.path(name)) == checkpoint(&place.path("whole")), "{name}: the run did not end");
    }
    for (line, code) in [("adapters | head -n 0", 0), ("adapters >/dev/full", 1), ("--help | head -n 0", 0)] {
        let output = std::process::Command::new("sh").args(["-c", &format!("'{tool}' {line}")]).output().unwrap();
        let err = String::from_utf8(output.stderr).unwrap();
        assert_eq!(output.status.code(), Some(code), "{line}: {err}");
        assert!(!err.contains("panicked") && (code == 0 || err.contains("standard output")), "{line}: {err}");
    }
    println!(
        "scorecard cli closed pipes and a full disk under its words: 3 runs go on to the same bytes; results end quietly or are errors"
    );
}

#[test]
fn a_dumb_terminal_has_its_lines() {
    let place = Place::new();
    let data = place.pictures("data", 12);
    let there = std::process::Command::new("script").arg("--version").output().is_ok_and(|output| output.status.success());
    if !there {
        println!("scorecard cli TERM=dumb: NOT TESTED, `script` is not here");
        return;
    }
    let line = format!("'{}' {}", env!("CARGO_BIN_EXE_instdisc"), train(&data, &place.arg("run"), &[]).join(" "));
    let mut script = std::process::Command::new("script");
    let output = script.args(["-qec", &line, "/dev/null"]).env("TERM", "dumb").stdin(Stdio::null()).output().unwrap();
    let text = String::from_utf8_lossy(&output.stdout);
    assert!(text.contains("step 1 epoch 1/2") && text.contains("epoch 2/2: loss"), "{text}");
    println!("scorecard cli TERM=dumb: the lines of steps and epochs are there");
}
