//! What kNN says of odd sets: too few voters, other classes, images without labels or in both sets.

use crate::{Place, Said, done, refused, tool, train};

/// A run, and pictures in folders `voting/CLASS` and `judged/CLASS`.
fn place(voting: &[(&str, u32)], judged: &[(&str, u32)]) -> (Place, [String; 3]) {
    let place = Place::new();
    let data = place.pictures("data", 8);
    for (set, classes) in [("voting", voting), ("judged", judged)] {
        for (c, (class, count)) in classes.iter().enumerate() {
            (0..*count).for_each(|i| place.picture(&format!("{set}/{class}/{i}.png"), 20, 20, i + 7 * c as u32));
        }
    }
    let run = place.arg("run");
    done(&train(&data, &run, &["--stop-after", "1", "--eval-every", "0"]));
    let names = [run, place.arg("voting"), place.arg("judged")];
    (place, names)
}

fn json(said: &Said) -> serde_json::Value {
    serde_json::from_str(&said.out).unwrap()
}

#[test]
fn the_k_that_was_used_is_printed_and_more_than_there_are_is_noted() {
    let (_place, [run, voting, judged]) = place(&[("a", 15), ("b", 10)], &[("a", 3), ("b", 3)]);
    let knn = ["knn", &run, "--train", &voting, "--test", &judged, "--json"];
    let usual = done(&knn);
    assert_eq!(json(&usual)["k"].as_u64(), Some(2), "a tenth of 25: {}", usual.out);
    let many = done(&[&knn[..], &["-k", "200"]].concat());
    assert_eq!(json(&many)["k"].as_u64(), Some(25));
    assert!(many.err.contains("note: only 25 labelled images are there to vote: k = 25"), "{}", many.err);
    let words = done(&[&knn[..6], &["-k", "3"]].concat());
    assert!(words.out.starts_with("kNN, k = 3, ") && !words.err.contains("note: only"), "{}", words.out);
    for (option, value) in [("--batch", "0"), ("--batch", "100000"), ("--threads", "100000")] {
        let said = tool(&[&knn[..], &[option, value]].concat());
        assert!(said.code == Some(2) && said.err.contains(option), "{}", said.err);
    }
    assert_eq!(done(&[&knn[..], &["--batch", "4096"]].concat()).out, usual.out, "a large batch gives other results");
}

#[test]
fn classes_that_are_not_shared_are_refused_or_counted() {
    let (place, [run, voting, judged]) = place(&[("Cat", 5), ("Dog", 5)], &[("cat", 3), ("dog", 3)]);
    let knn = ["knn", &run, "--train", &voting, "--test", &judged];
    refused(
        &knn,
        &["judged", "no class of its images (cat, dog)", "(Cat, Dog)", "`cat` and `Cat` differ in how they are written"],
    );
    refused(&train(&voting, &place.arg("new"), &["--test", &judged]), &["no class of its images", "Cat"]);
    assert!(!place.path("new").exists());
    place.picture("judged/Dog/1.png", 20, 20, 3);
    let said = done(&knn);
    assert!(said.err.contains("6 images are of classes that do not vote (cat, dog), and count as wrong"), "{}", said.err);
    // A set without labels says why nothing is judged.
    place.picture("flat/1.png", 20, 20, 3);
    let said = done(&train(&voting, &place.arg("new"), &["--test", &place.arg("flat"), "--stop-after", "1"]));
    assert!(said.err.contains("note: features will not be judged: those of --test have no labels"), "{}", said.err);
}

#[test]
fn images_without_a_label_take_no_place_and_none_votes_on_itself() {
    let (place, [run, voting, judged]) = place(&[("a", 6), ("b", 6)], &[("a", 2), ("b", 2)]);
    let knn = ["knn", &run, "--train", &voting, "--test", &judged, "--json", "-k", "3"];
    let before = done(&knn);
    // The very images that are judged, unlabelled, would be the nearest of all.
    for class in ["a", "b"] {
        for i in 0..2 {
            let image = std::fs::read(place.path(&format!("judged/{class}/{i}.png"))).unwrap();
            place.write(&format!("voting/loose-{class}{i}.png"), &image);
        }
    }
    let with = done(&knn);
    assert_eq!(with.out, before.out, "images without a label changed the vote");
    assert!(with.err.contains("4 images are without a label"), "{}", with.err);
    // A part of the voting set, by another path, is in both.
    std::os::unix::fs::symlink(place.path("voting"), place.path("link")).unwrap();
    let own = done(&["knn", &run, "--train", &voting, "--test", &place.arg("link"), "-k", "1"]);
    assert!(own.err.contains("12 images are in both sets; none votes on itself"), "{}", own.err);
    assert!(!own.out.contains("top-1 100.00 %"), "{}", own.out);
}

#[test]
fn links_to_the_same_files_are_the_same_images_and_one_alone_is_not_judged() {
    let (place, [run, voting, _]) = place(&[("a", 4), ("b", 4)], &[("a", 1)]);
    for class in ["a", "b"] {
        std::fs::create_dir_all(place.path("linked")).unwrap();
        std::os::unix::fs::symlink(place.path(&format!("voting/{class}")), place.path(&format!("linked/{class}"))).unwrap();
    }
    let said = done(&["knn", &run, "--train", &voting, "--test", &place.arg("linked"), "-k", "1"]);
    assert!(said.err.contains("8 images are in both sets") && !said.out.contains("top-1 100.00 %"), "{}{}", said.out, said.err);
    place.picture("single/a/1.png", 20, 20, 3);
    let single = place.arg("single");
    refused(&["knn", &run, "--train", &single, "--test", &single], &["single", "none of its images can be judged"]);
    // One that is in both sets beside one that is not: each has all others to vote.
    place.picture("single/a/2.png", 20, 20, 4);
    let said = done(&["knn", &run, "--train", &single, "--test", &place.arg("judged"), "-k", "9", "--json"]);
    assert_eq!(json(&said)["k"].as_u64(), Some(2), "{}", said.err);
}

#[test]
fn classes_without_an_image_are_nobodys_and_unlabelled_test_images_are_said() {
    // CIFAR-10 names ten classes whatever its records hold.
    let (place, [run, ..]) = place(&[("a", 2)], &[("a", 2)]);
    let records = |labels: &[u8]| {
        let record = |(i, label): (usize, &u8)| [vec![*label], (0..3072).map(|k| (k * (i + 2)) as u8).collect()].concat();
        labels.iter().enumerate().flat_map(record).collect::<Vec<u8>>()
    };
    for file in 1..=5 {
        place.write(&format!("cifar/data_batch_{file}.bin"), &records(&[0, 1, 0, 1]));
    }
    place.write("cifar/test_batch.bin", &records(&[7, 8, 7]));
    let cifar = place.arg("cifar");
    refused(&["knn", &run, "--train", &cifar, "--test", &cifar], &["no class of its images (7, 8)", "(0, 1)"]);
    refused(&train(&cifar, &place.arg("new"), &[]), &["no class of its images (7, 8)"]);
    place.write("cifar/test_batch.bin", &records(&[7, 1, 7]));
    let said = done(&["knn", &run, "--train", &cifar, "--test", &cifar]);
    assert!(said.err.contains("2 images are of classes that do not vote (7)"), "{}", said.err);
    let (voting, judged) = (place.arg("voting"), place.arg("judged"));
    place.picture("judged/loose.png", 20, 20, 9);
    let said = done(&train(&voting, &place.arg("other"), &["--test", &judged, "--stop-after", "1"]));
    assert!(said.err.contains("1 image is without a label, and none of them among those that are judged"), "{}", said.err);
}

#[test]
fn a_dry_run_of_few_steps_times_them() {
    let place = Place::new();
    let data = place.pictures("data", 12);
    let seconds = |epochs: &str| {
        let args = ["train", &data, "--dry-run", "--width", "16", "--size", "32", "--batch", "4", "--epochs", epochs];
        let said = done(&args);
        let line =
            said.err.lines().find(|line| line.starts_with("time, by ")).unwrap_or_else(|| panic!("{}", said.err)).to_owned();
        line.split_once(": ").unwrap().1.split_once(" s a step").unwrap().0.parse::<f64>().unwrap()
    };
    let (few, many) = (seconds("1"), seconds("50"));
    assert!(few * 10.0 >= many && many * 10.0 >= few, "three steps: {few} s a step; 150: {many} s");
}

#[test]
fn settings_are_refused_before_images_are_opened_and_a_batch_of_one_is_noted() {
    let place = Place::new();
    let data = place.pictures("data", 4);
    for (more, part) in [
        (["--lr", "-1"], "--lr"),
        (["--width", "0"], "`--width` must be at least 1"),
        (["--size", "3"], "--size"),
        (["--arch", "vgg"], "vgg"),
    ] {
        let said = tool(&[&["train", &data, "--out", &place.arg("run")][..], &more].concat());
        assert!(said.code == Some(1) && said.err.contains(part) && said.err.lines().count() == 1, "{}", said.err);
    }
    let args = ["train", &data, "--out", &place.arg("run"), "--width", "4", "--size", "16", "--batch", "1", "--epochs", "1"];
    let said = done(&args);
    assert!(said.err.contains("note: a batch of 1 teaches next to nothing"), "{}", said.err);
}
