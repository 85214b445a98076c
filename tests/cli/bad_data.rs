//! Images and labels that are not what they should be.

use crate::output::npy;
use crate::{Place, Said, check_refused, checkpoint, command, done, finish, refused, train};
use instdisc::data::{Options, Sampler};
use instdisc::train::Scans;
use std::io::{BufRead, BufReader, Read};
use std::path::Path;
use std::process::Stdio;
use std::time::Duration;

#[test]
fn data_that_cannot_be_trained_on_is_named() {
    let place = Place::new();
    let out = place.arg("run");
    let mut errors = 0;
    let mut check = |data: &str, more: &[&str], parts: &[&str]| {
        refused(&train(data, &out, more), parts);
        assert!(!place.path("run").exists(), "a refused command made the run's folder");
        errors += 1;
    };
    check(&place.arg("absent"), &[], &["absent", "no such folder", "check the path"]);
    std::fs::create_dir(place.path("empty")).unwrap();
    check(&place.arg("empty"), &[], &["empty", "the folder is empty", "put images into it"]);
    place.write("texts/notes.txt", b"hello");
    place.write("texts/deep/more.md", b"hello");
    check(&place.arg("texts"), &[], &["texts", "no file in it is an image (there are 2;", "more.md", "files ending in png"]);
    check(&place.arg("texts/notes.txt"), &[], &["notes.txt", "a file, not a folder"]);
    place.picture("one/only.png", 20, 20, 1);
    check(&place.arg("one"), &[], &["at least 2 images", "but is 1"]);
    place.write("lies/text.png", b"this is no picture");
    place.write("lies/none.jpg", b"");
    check(&place.arg("lies"), &[], &["lies", "none.jpg", "every image of", "is broken (2)"]);

    let data = place.pictures("data", 12);
    for (more, parts) in [
        (&["--test", "/no/such/place"][..], &["/no/such/place", "no such folder"][..]),
        (&["--limit", "0"], &["limit", "at least 1"]),
        (&["--lr", "0"], &["--lr", "above 0"]),
        (&["--lr", "nan"], &["--lr", "above 0"]),
        (&["--tau", "-1"], &["--tau"]),
        (&["--batch", "0"], &["--batch", "at least 1"]),
        (&["--momentum", "1"], &["--momentum", "below 1"]),
        (&["--weight-decay", "inf"], &["--weight-decay"]),
        (&["--bank-keep", "1.5"], &["--bank-keep", "between 0 and 1"]),
        (&["--prox", "-2"], &["--prox"]),
        (&["--loss", "nce", "--negatives", "0"], &["--negatives", "at least 1"]),
        (&["--arch", "vgg"], &["resnet18, resnet34 or resnet50", "vgg"]),
        (&["--size", "4"], &["--size", "between 8 and 640"]),
        (&["--width", "0"], &["`--width` must be at least 1"]),
        (&["--dim", "0"], &["`--dim` must be at least 1"]),
    ] {
        let base = ["train", &data, "--out", &out, "--width", "4"];
        // An option may not be given twice, so those of the small network stay out.
        let mut args: Vec<&str> = base[..4].to_vec();
        args.extend(more);
        refused(&args, parts);
        assert!(!place.path("run").exists());
        errors += 1;
    }
    println!(
        "scorecard cli data: {errors} bad data sets and settings, each one line that names it, exit code 1, nothing written"
    );
}

#[test]
fn one_broken_image_among_many_stops_or_is_left_out() {
    let place = Place::new();
    let data = place.pictures("data", 12);
    let good = std::fs::read(place.path("data/a/04.png")).unwrap();
    place.write("data/a/04.png", &good[..good.len() / 2]);
    place.write("data/b/zz.jpg", b"no picture at all");
    place.write("data/readme.txt", b"words");
    let out = place.arg("run");
    refused(&train(&data, &out, &[]), &["04.png", "broken: 2 of 13", "--skip-broken"]);
    let said = done(&train(&data, &out, &["--skip-broken"]));
    for part in [
        "11 images, 2 classes",
        "2 images left out: broken",
        "04.png",
        "zz.jpg",
        "1 file passed over: no image (1 .txt: not read)",
    ] {
        assert!(said.err.contains(part), "{}", said.err);
    }
    println!("scorecard cli broken images: named and counted; --skip-broken trains on the other 11");
}

#[test]
fn label_files_are_read_or_named_with_the_line() {
    let place = Place::new();
    for i in 0..8 {
        place.picture(&format!("data/{i}.png"), 20, 20, i);
    }
    let (data, out, labels) = (place.arg("data"), place.arg("run"), place.arg("labels.tsv"));
    let lines = |change: &dyn Fn(usize) -> String| (0..8).map(change).collect::<Vec<_>>().join("\n");
    let good = |i: usize| format!("{i}.png\tclass {}", i % 2);
    let all = ["--labels", labels.as_str()];
    refused(&train(&data, &out, &all), &["labels.tsv", "No such file"]);
    let mut named = 1;
    for (text, parts) in [
        (lines(&|i| if i == 3 { "nothing.png\tclass 1".into() } else { good(i) }), &["line 4", "no image `nothing.png`"][..]),
        (lines(&|i| format!("/photos/{}", good(i))), &["no label", "look like `/photos/0.png`, the images' like `0.png`"]),
        (lines(&good) + "\n9.png\tclass 1", &["line 9", "9.png", "no image"]),
        (lines(&good) + "\n2.png\tclass 1", &["line 9", "2.png", "line 3", "already"]),
        (lines(&|i| if i == 4 { "4.png class".into() } else { good(i) }), &["line 5", "neither a tab nor a comma"]),
        (lines(&|i| if i == 4 { "4.png\t".into() } else { good(i) }), &["line 5", "empty"]),
        (String::new(), &["the label file is empty"]),
    ] {
        place.write("labels.tsv", text.as_bytes());
        let line = refused(&train(&data, &out, &all), parts);
        assert!(line.contains("labels.tsv"), "{line}");
        named += 1;
    }
    place.write("labels.tsv", b"\xff\xfe0\x00");
    refused(&train(&data, &out, &all), &["labels.tsv", "line 1", "UTF-8"]);
    assert!(!place.path("run").exists());
    place.write("labels.tsv", lines(&good).as_bytes());
    let said = done(&train(&data, &out, &all));
    assert!(said.err.contains("8 images, 2 classes") && said.err.contains("kNN"), "{}", said.err);
    println!("scorecard cli labels: {} faults named with file and line; a good file judges", named + 1);
}

/// Runs the command, and does `at` once it says a line that begins with `after`.
fn interrupted(args: &[&str], cache: &Path, after: &str, at: impl FnOnce()) -> Said {
    let mut command = command(args);
    let mut process = command.env("INSTDISC_CACHE", cache).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
    let mut lines = BufReader::new(process.stderr.take().unwrap());
    let (mut out, mut err) = (String::new(), String::new());
    while !err.lines().next_back().unwrap_or_default().starts_with(after) {
        assert!(lines.read_line(&mut err).unwrap() > 0, "the command ended before `{after}`: {err}");
    }
    at();
    lines.read_to_string(&mut err).unwrap();
    process.stdout.take().unwrap().read_to_string(&mut out).unwrap();
    Said { code: process.wait().unwrap().code(), out, err }
}

/// Makes the images of a folder known, so that from now on they are read when their turn comes.
fn know(data: &str, cache: &Path) {
    std::thread::sleep(Duration::from_millis(2_100));
    Scans::new(Some(cache.to_owned())).worth(Duration::ZERO).open(data.as_ref(), &Options::default()).unwrap();
}

#[test]
fn an_image_that_breaks_while_a_run_goes_on_ends_it_or_is_skipped_and_resumed_past() {
    const N: usize = 150;
    let place = Place::new();
    for i in 0..N {
        place.picture(&format!("data/a/{i:03}.png"), 20, 20, i as u32);
    }
    // Images that an earlier opening found good are read when their turn comes, but for those that tell the size of the network's
    // input; one of the last steps of the first epoch takes this one.
    let (data, cache) = (place.arg("data"), place.path("cache"));
    know(&data, &cache);
    let measured: Vec<usize> = (0..101).map(|i| i * N / 101).collect();
    let order = Sampler::new(N, 4, 5).unwrap().permutation(0);
    let late = order[..148].iter().rev().find(|i| !measured.contains(&(**i as usize))).unwrap();
    let file = place.path(&format!("data/a/{late:03}.png"));
    let good = std::fs::read(&file).unwrap();
    let cut = || std::fs::write(&file, &good[..good.len() / 2]).unwrap();
    let mend = || {
        std::fs::write(&file, &good).unwrap();
        std::fs::remove_dir_all(&cache).unwrap();
        know(&data, &cache);
    };
    let name = format!("{late:03}.png");
    let feed = ["--feed", "streamed", "--threads", "1"];
    let [ended, whole, parts] = ["ended", "whole", "parts"].map(|run| place.arg(run));
    let said = interrupted(&train(&data, &ended, &feed), &cache, "step 1 ", cut);
    let line = check_refused(&said, &[&name, "damaged"]);
    assert!(!line.contains("too many"), "{line}");

    mend();
    let skip = [&feed[..], &["--skip-broken"]].concat();
    let said = interrupted(&train(&data, &whole, &skip), &cache, "step 1 ", cut);
    assert_eq!(said.code, Some(0), "{}", said.err);
    assert_eq!(said.err.matches("skipped in epoch 1").count(), 1, "{}", said.err);
    assert!(said.err.contains(&name) && said.err.contains("for images), 1 image skipped"), "{}", said.err);

    mend();
    let said = interrupted(&train(&data, &parts, &[&skip[..], &["--stop-after", "1"]].concat()), &cache, "step 1 ", cut);
    assert_eq!(said.code, Some(0), "{}", said.err);
    let on = |more: &[&str]| {
        let mut command = command(&train(&data, &parts, &[&feed[..], &["--resume"], more].concat()));
        command.env("INSTDISC_CACHE", &cache);
        finish(command)
    };
    check_refused(&on(&[]), &[&name, "broken: 1 of 150", "--skip-broken"]);
    // Gone is as broken as cut off, and what is new has no place in the run.
    std::fs::remove_file(&file).unwrap();
    place.picture("data/a/new.png", 20, 20, 7);
    let said = on(&["--skip-broken"]);
    assert_eq!(said.code, Some(0), "{}", said.err);
    assert!(said.err.contains("150 images, 1 class") && said.err.contains("going on from step 37"), "{}", said.err);
    assert!(checkpoint(&place.path("whole")) == checkpoint(&place.path("parts")), "resumed past a broken image to other bits");
    println!(
        "scorecard cli an image that breaks in mid-epoch: ends the run, or is skipped, counted, and resumed past to equal bytes"
    );
}

#[test]
fn an_image_that_breaks_while_vectors_are_made_ends_that_or_has_no_row_and_no_vote() {
    let place = Place::new();
    let [data, test] = ["data", "test"].map(|name| place.pictures(name, 40));
    std::fs::remove_file(place.path("test/a/38.png")).unwrap();
    let (out, file, cache) = (place.arg("run"), place.arg("some.npy"), place.path("cache"));
    done(&train(&data, &out, &[]));
    done(&["embed", &out, &data, "--out", &place.arg("all.npy")]);
    let (voting, judged) = (place.path("data/a/38.png"), place.path("test/a/36.png"));
    let good = std::fs::read(&voting).unwrap();
    let known = || {
        std::fs::write(&voting, &good).unwrap();
        [&data, &test].iter().for_each(|set| know(set, &cache));
    };
    let gone = || std::fs::remove_file(&voting).unwrap();
    let opened = [&data, &test].map(|set| format!("{set}: "));
    let one = ["--batch", "1", "--threads", "1"];
    let embed = [&["embed", &out, &data, "--out", &file][..], &one].concat();
    let knn = [&["knn", &out, "--train", &data, "--test", &test, "-k", "1"][..], &one].concat();

    for (args, opened) in [&embed, &knn].into_iter().zip(&opened) {
        known();
        check_refused(
            &interrupted(args, &cache, opened, gone),
            &["a/38.png", "No such file", "mend or delete it", "--skip-broken"],
        );
    }
    assert!(!place.path("some.npy").exists() && !place.path("some.txt").exists(), "an embedding that failed wrote a file");

    known();
    let said = interrupted(&[&embed[..], &["--skip-broken"]].concat(), &cache, &opened[0], gone);
    assert_eq!(said.code, Some(0), "{}", said.err);
    for part in [
        "40 images, 2 classes; 40 known",
        "1 image left out: broken since the opening",
        "a/38.png: it cannot be read: No such file",
        "39 vectors",
    ] {
        assert!(said.err.contains(part), "no `{part}`: {}", said.err);
    }
    let [all, some] = ["all", "some"].map(|name| {
        let (shape, values) = npy(&std::fs::read(place.path(&format!("{name}.npy"))).unwrap());
        let names = std::fs::read_to_string(place.path(&format!("{name}.txt"))).unwrap();
        let rows: Vec<_> = names.lines().map(str::to_owned).zip(values.chunks(16).map(<[f32]>::to_vec)).collect();
        assert_eq!(shape, [names.lines().count(), 16]);
        rows
    });
    assert!(some == all.into_iter().filter(|(name, _)| name != "a/38.png").collect::<Vec<_>>(), "names and rows do not agree");

    known();
    let cut = || {
        gone();
        std::fs::write(&judged, &good[..good.len() / 2]).unwrap();
    };
    let said = interrupted(&[&knn[..], &["--skip-broken"]].concat(), &cache, &opened[1], cut);
    assert_eq!(said.code, Some(0), "{}", said.err);
    assert_eq!(said.err.matches("1 image left out: broken since the opening").count(), 2, "{}", said.err);
    // Each of the others finds itself, and under its own label, in a bank of which a row is missing.
    assert!(said.out.contains("top-1 100.00 %") && said.out.contains("of 38 images"), "{}", said.out);
    println!(
        "scorecard cli an image that breaks while vectors are made: ends that with advice, or has no row, no vote and no verdict"
    );
}

#[test]
fn parts_of_a_data_set_as_only_classes_get_a_hint_and_what_is_odd_a_note() {
    let place = Place::new();
    for (part, n) in [("train", 6), ("val", 2)] {
        (0..n).for_each(|i| place.picture(&format!("set/{part}/cat/{i}.png"), 20, 20, i));
    }
    image::RgbImage::from_pixel(20, 20, image::Rgb([9; 3])).save(place.path("set/val/cat/flat.png")).unwrap();
    let said =
        done(&train(&place.arg("set"), &place.arg("run"), &["--exclude", "*5.png", "--exclude", "none*", "--stop-after", "1"]));
    for part in [
        "note: the only classes are train, val, which are parts of a data set: name one of them, as ",
        "set/train, and another with --test",
        "note: 1 image is a single colour: val/cat/flat.png",
        "1 left out: --exclude *5.png",
        "note: --exclude none* matches nothing",
    ] {
        assert!(said.err.contains(part), "{part}: {}", said.err);
    }
    // A resumed run leaves out the same without being told.
    let said = done(&["train", &place.arg("set"), "--out", &place.arg("run"), "--resume"]);
    assert!(said.err.contains("1 left out: --exclude *5.png"), "{}", said.err);
    refused(&train(&place.arg("set"), &place.arg("new"), &["--exclude", "[a"]), &["--exclude", "[a", "a pattern such as"]);
}

/// Folders that this user may not read. The administrator may read all, so the tool runs as nobody then.
#[cfg(unix)]
#[test]
fn a_folder_without_permission_is_named_and_left_out_with_skip_broken() {
    use std::os::unix::fs::PermissionsExt;
    use std::os::unix::process::CommandExt;
    let place = Place::new();
    let data = place.pictures("data", 12);
    place.picture("data/lost/1.png", 20, 20, 1);
    let mode = |name: &str, mode: u32| std::fs::set_permissions(place.path(name), PermissionsExt::from_mode(mode)).unwrap();
    mode("", 0o777);
    mode("data/lost", 0o000);
    let administrator = std::fs::read_dir(place.path("data/lost")).is_ok();
    let (out, cache) = (place.arg("run"), place.arg("cache"));
    let run = |more: &[&str]| {
        let mut command = command(&train(&data, &out, more));
        command.env("INSTDISC_CACHE", &cache).env("HOME", place.path("")).current_dir(place.path(""));
        if administrator {
            command.uid(65534).gid(65534);
        }
        command
    };
    // The tool itself must be within nobody's reach.
    if run(&["--help"]).output().is_err() {
        println!("scorecard cli folder without permission: NOT TESTED, nobody may not run the tool here");
        mode("data/lost", 0o755);
        return;
    }
    check_refused(&finish(run(&[])), &["data/lost", "the folder cannot be read: Permission denied", "--skip-broken"]);
    let said = finish(run(&["--skip-broken"]));
    mode("data/lost", 0o755);
    assert_eq!(said.code, Some(0), "{}", said.err);
    for part in ["12 images, 2 classes", "1 folder left out: unreadable", "data/lost: the folder cannot be read"] {
        assert!(said.err.contains(part), "{}", said.err);
    }
    println!("scorecard cli folder without permission: named; left out, named and counted with --skip-broken");
}
