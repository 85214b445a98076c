//! A run's folder that is used again: by a second process, after a failure, with other settings and other images.

use crate::{Place, checkpoint, command, done, refused, step, train};
use std::io::{BufRead, BufReader};
use std::process::{Child, Stdio};

/// Starts the command, and waits for a line that begins with `after`.
fn started(args: &[&str], after: &str) -> (Child, BufReader<std::process::ChildStderr>) {
    let mut process = command(args).stderr(Stdio::piped()).spawn().unwrap();
    let mut lines = BufReader::new(process.stderr.take().unwrap());
    let mut line = String::new();
    while !line.starts_with(after) {
        line.clear();
        assert!(lines.read_line(&mut line).unwrap() > 0, "the command ended before `{after}`");
    }
    (process, lines)
}

#[test]
fn a_second_process_is_refused_and_the_lock_of_a_killed_one_is_none() {
    let place = Place::new();
    let data = place.pictures("data", 40);
    let out = place.arg("run");
    let long = ["train", &data, "--out", &out, "--width", "4", "--size", "16", "--batch", "4", "--epochs", "5000"];
    let (mut first, _lines) = started(&long, "step 1 ");
    let id = format!("process {}", first.id());
    refused(&[&long[..], &["--resume"]].concat(), &["run", &id, "is training in this folder", "another --out"]);
    // Reading a run does not disturb it.
    done(&["embed", &out, &data, "--out", &place.arg("vectors.npy")]);
    assert!(first.try_wait().unwrap().is_none(), "the first process ended");
    first.kill().unwrap();
    first.wait().unwrap();
    assert!(place.path("run/lock").exists(), "a killed process leaves its file");
    let said = done(&[&long[..], &["--resume", "--stop-after", "1"]].concat());
    assert!(said.err.contains("going on from step"), "{}", said.err);
    assert!(!place.path("run/lock").exists(), "the file of the lock was left");
    println!("scorecard cli lock: a second process refused with the first one's number; that of a killed one locks nothing");
}

#[test]
fn a_checkpoint_every_so_often_survives_a_kill_in_mid_epoch() {
    let place = Place::new();
    let data = place.pictures("data", 62);
    let (out, whole) = (place.arg("run"), place.arg("whole"));
    done(&train(&data, &whole, &[]));
    // 0.00001 minutes: after every step.
    let (mut process, mut lines) = started(&train(&data, &out, &["--save-every", "0.00001", "--eval-every", "0"]), "step 1 ");
    while step(&out) < 5 {
        assert!(process.try_wait().unwrap().is_none(), "the run ended");
    }
    process.kill().unwrap();
    process.wait().unwrap();
    let mut rest = String::new();
    std::io::Read::read_to_string(&mut lines, &mut rest).unwrap();
    let step = step(&out);
    assert!(!rest.contains("epoch 2/2"), "killed too late to show anything: {rest}");
    let said = done(&["train", &data, "--out", &out, "--resume"]);
    assert!(said.err.contains(&format!("going on from step {step}")), "{}", said.err);
    assert!(checkpoint(&place.path("run")) == checkpoint(&place.path("whole")), "other bytes than without a kill");
    refused(&train(&data, &place.arg("other"), &["--save-every", "-1"]), &["--save-every", "minutes"]);
    println!(
        "scorecard cli --save-every: killed in mid-epoch, resumed from step {step} of 30 to the bytes of an uninterrupted run"
    );
}

#[test]
fn a_resumed_run_has_its_own_settings_and_names_what_differs() {
    let place = Place::new();
    let data = place.pictures("data", 12);
    let (out, whole) = (place.arg("run"), place.arg("whole"));
    done(&train(&data, &whole, &["--limit", "5"]));
    done(&train(&data, &out, &["--limit", "5", "--stop-after", "1"]));
    let resume = ["train", &data, "--out", &out, "--resume"];
    let before = checkpoint(&place.path("run"));
    for (more, parts) in [
        (&["--size", "64"][..], &["config.json", "--size 16, now 64", "leave these options out"][..]),
        (&["--lr", "0.5", "--tau", "0.2"], &["--tau 0.1, now 0.2", "--lr 0.03, now 0.5"]),
        (&["--limit", "4"], &["--limit 5, now 4"]),
        (&["--epochs", "1"], &["--epochs 2, now 1"]),
        (&["--preset", "paper-imagenet"], &["--arch resnet18, now resnet50", "--loss softmax, now nce"]),
        (&["--lr", "-1"], &["--lr", "above 0"]),
    ] {
        refused(&[&resume[..], more].concat(), parts);
    }
    // Images that came and went are named.
    place.picture("data/b/new.png", 20, 20, 99);
    std::fs::rename(place.path("data/b/01.png"), place.path("away.png")).unwrap();
    std::fs::rename(place.path("data/b/03.png"), place.path("data/b/0renamed.png")).unwrap();
    let line =
        refused(&resume, &["2 images came (b/0renamed.png", "2 images went (b/01.png, b/03.png)", "--skip-broken", "put back"]);
    assert!(!line.contains("checksum"), "{line}");
    std::fs::rename(place.path("away.png"), place.path("data/b/01.png")).unwrap();
    std::fs::rename(place.path("data/b/0renamed.png"), place.path("data/b/03.png")).unwrap();
    std::fs::remove_file(place.path("data/b/new.png")).unwrap();
    assert!(checkpoint(&place.path("run")) == before, "a refused command changed the checkpoint");
    // Without any setting it goes on to the same bytes.
    done(&resume);
    assert!(checkpoint(&place.path("run")) == checkpoint(&place.path("whole")));
    // A finished run may be made longer, and that is then its setting.
    let said = done(&[&resume[..], &["--epochs", "3"]].concat());
    assert!(said.err.contains("3 epochs instead of 2") && said.err.contains("epoch 3/3"), "{}", said.err);
    let config = std::fs::read_to_string(place.path("run/config.json")).unwrap();
    assert!(config.contains("\"epochs\": 3"), "{config}");
    let said = done(&resume);
    assert!(said.err.contains("going on from step 6"), "{}", said.err);
    println!(
        "scorecard cli --resume: settings of the run; 6 differences named by option and value, images by name; longer by --epochs"
    );
}

#[test]
fn a_folder_whose_first_checkpoint_failed_can_be_begun_again() {
    let place = Place::new();
    let data = place.pictures("data", 8);
    let out = place.arg("run");
    done(&train(&data, &out, &["--stop-after", "1"]));
    let good = checkpoint(&place.path("run"));
    std::fs::remove_file(place.path("run/last.safetensors")).unwrap();
    done(&train(&data, &out, &["--stop-after", "1"]));
    assert!(checkpoint(&place.path("run")) == good);
    let lines = std::fs::read_to_string(place.path("run/metrics.jsonl")).unwrap();
    assert_eq!(lines.lines().count(), 1, "the log of what failed stays: {lines}");
    std::fs::remove_file(place.path("run/last.safetensors")).unwrap();
    place.write("run/notes.txt", b"mine");
    refused(&train(&data, &out, &[]), &["not empty", "another --out"]);
    println!("scorecard cli a run whose first checkpoint failed: the same command begins it again");
}

#[test]
fn what_cannot_be_written_is_refused_before_the_work() {
    let place = Place::new();
    let data = place.pictures("data", 8);
    let out = place.arg("run");
    done(&train(&data, &out, &["--stop-after", "1"]));
    place.write("labels.txt", b"a.png\tcat\n");
    for (file, parts) in [
        (place.arg("labels.npy"), &["labels.txt", "no list"][..]),
        (place.arg("absent/vectors.npy"), &["absent/vectors.npy"]),
        ("/proc/vectors.npy".to_owned(), &["/proc/vectors.npy"]),
    ] {
        let said = crate::tool(&["embed", &out, &data, "--out", &file]);
        crate::check_refused(&said, parts);
        assert_eq!(said.err.lines().count(), 1, "work began before it was refused: {}", said.err);
    }
    assert_eq!(std::fs::read(place.path("labels.txt")).unwrap(), b"a.png\tcat\n");
    for out in ["/proc/run", "/proc/self/status/run"] {
        let said = crate::tool(&train(&data, out, &[]));
        crate::check_refused(&said, &[out]);
        assert_eq!(said.err.lines().count(), 1, "images were opened before it was refused: {}", said.err);
    }
    println!("scorecard cli places that cannot be written: 5 refused before any work, nobody's file overwritten");
}

/// Containers, ssh and cron have no XDG_RUNTIME_DIR, and a layer of Mesa's has words on that.
#[test]
fn nothing_but_our_own_words_is_said_where_there_is_no_session() {
    let mut command = command(&["adapters"]);
    command.env_remove("XDG_RUNTIME_DIR").env_remove("WAYLAND_DISPLAY").env_remove("DISPLAY");
    let said = crate::finish(command);
    assert_eq!((said.code, said.err.as_str()), (Some(0), ""));
    println!("scorecard cli without XDG_RUNTIME_DIR: not a word on standard error");
}

#[test]
fn a_variable_that_leads_to_no_driver_is_named() {
    for variable in ["VK_DRIVER_FILES", "VK_ICD_FILENAMES"] {
        let mut command = command(&["adapters"]);
        command.env_remove("VK_DRIVER_FILES").env_remove("VK_ICD_FILENAMES").env(variable, "/no/such/driver.json");
        let parts = ["no usable graphics adapter", variable, "/no/such/driver.json cannot be read", "correct or unset it"];
        crate::check_refused(&crate::finish(command), &parts);
    }
}
