//! What a newcomer does in whatever order.

use crate::{Place, done, train};

#[test]
fn one_of_a_thing_is_said_in_the_singular() {
    let place = Place::new();
    (0..8).for_each(|i| place.picture(&format!("data/{i}.png"), 20, 20, i));
    let (data, out) = (place.arg("data"), place.arg("run"));
    let small = ["--width", "4", "--size", "16", "--dim", "16", "--batch", "8", "--epochs", "1"];
    let said = done(&[&["train", &data, "--out", &out][..], &small].concat());
    assert!(said.err.contains(" 1 epoch of 1 step, "), "{}", said.err);
    let words: Vec<&str> = said.err.split([' ', '\n', ',', '(', ')']).collect();
    let plural = |pair: &&[&str]| pair[0] == "1" && pair[1].len() > 1 && pair[1].ends_with('s');
    assert_eq!(words.windows(2).find(plural), None, "{}", said.err);
}

#[test]
fn a_flat_folder_trains_without_labels_and_says_nothing_of_knn() {
    let place = Place::new();
    for i in 0..9 {
        place.picture(&format!("data/{i}.png"), 20, 20, i);
    }
    let (data, out) = (place.arg("data"), place.arg("run"));
    let said = done(&train(&data, &out, &[]));
    assert!(said.err.contains("9 images, no labels") && !said.err.contains("kNN"), "{}", said.err);
    let starts: Vec<&str> = said.err.lines().filter_map(|line| line.strip_prefix("first step after ")).collect();
    let [start] = starts[..] else { panic!("{}", said.err) };
    let (seconds, pipelines) = start.split_once(" s, ").unwrap();
    let pipelines: usize = pipelines.strip_suffix(" pipelines").unwrap().parse().unwrap();
    assert!(seconds.parse::<f64>().unwrap() > 0.0 && pipelines > 10, "{start}");
    for name in ["config.json", "images.json", "kernels.json", "metrics.jsonl", "last.safetensors"] {
        assert!(place.path("run").join(name).is_file(), "{name}");
    }
    let metrics = std::fs::read_to_string(place.path("run/metrics.jsonl")).unwrap();
    let lines: Vec<serde_json::Value> = metrics.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    assert!(lines.len() == 2 && lines.iter().all(|line| line["loss"].is_f64() && line["knn"].is_null()), "{metrics}");
    let config: serde_json::Value =
        serde_json::from_str(&std::fs::read_to_string(place.path("run/config.json")).unwrap()).unwrap();
    assert_eq!((config["images"].as_u64(), config["seed"].as_u64()), (Some(9), Some(5)));
    println!("scorecard cli flat folder: trains, no kNN line");
}

#[test]
fn images_of_all_sizes_train_together() {
    let place = Place::new();
    let sizes = [(5, 200), (200, 5), (1, 1), (1, 60), (33, 17), (400, 300), (16, 16), (24, 90), (3, 3)];
    for (i, (width, height)) in sizes.into_iter().enumerate() {
        place.picture(&format!("data/{}/{i} picture.png", ["x", "y", "z"][i % 3]), width, height, i as u32);
    }
    let (data, npy) = (place.arg("data"), place.arg("v.npy"));
    for (run, more) in [("softmax", &[][..]), ("nce", &["--loss", "nce", "--negatives", "5", "--prox", "1", "--flip", "on"])] {
        let out = place.arg(run);
        let said = done(&train(&data, &out, more));
        assert!(said.err.contains("9 images, 3 classes") && said.err.contains("kNN bank"), "{}", said.err);
        done(&["embed", &out, &data, "--out", &npy, "--batch", "2"]);
    }
    println!("scorecard cli images of {} sizes from 1x1 to 400x300 and 5x200: train and embed", sizes.len());
}

#[test]
fn a_batch_larger_than_the_folder_and_a_frozen_z_are_said_aloud() {
    let place = Place::new();
    let (data, out) = (place.pictures("data", 6), place.arg("run"));
    let args = ["train", &data, "--out", &out, "--width", "4", "--size", "16", "--epochs", "1", "--loss", "nce", "--z", "first"];
    let said = done(&args);
    for part in ["note: a batch of 128 becomes 6", "note: Z frozen", "note: more negatives (4096)"] {
        assert!(said.err.contains(part), "{}", said.err);
    }
}

/// The network turns out smaller than the images might have asked for: they are opened again, without a word on what is in them.
#[test]
fn what_was_read_is_said_once_and_few_images_are_judged_by_few_neighbours() {
    let place = Place::new();
    for i in 0..24 {
        // Two classes that no network can confuse.
        let (class, shade) = if i % 2 == 0 { ("dark", 0) } else { ("light", 200) };
        std::fs::create_dir_all(place.path("data").join(class)).unwrap();
        let pixel = |x: u32, y: u32| image::Rgb([shade + (x + i) as u8, shade + y as u8, shade]);
        image::RgbImage::from_fn(20, 20, pixel).save(place.path("data").join(class).join(format!("{i}.png"))).unwrap();
    }
    let (data, out) = (place.arg("data"), place.arg("run"));
    let said = done(&["train", &data, "--out", &out, "--width", "4", "--epochs", "1"]);
    assert_eq!(said.err.matches("24 images, 2 classes").count(), 1, "{}", said.err);
    let (_, clean) = said.err.split_once(" clean ").unwrap();
    let clean: f64 = clean.split_once(" %").unwrap().0.parse().unwrap();
    assert!(clean > 90.0, "{}", said.err);
}

/// The number behind `before` in `text`.
fn number(text: &str, before: &str) -> f64 {
    let (_, rest) = text.split_once(before).unwrap_or_else(|| panic!("no `{before}` in {text}"));
    rest.split([' ', ':']).next().unwrap().parse().unwrap()
}

#[test]
fn a_dry_run_says_memory_and_time_and_leaves_nothing() {
    let place = Place::new();
    let data = place.pictures("data", 40);
    let small = ["--width", "4", "--size", "16", "--batch", "4", "--epochs", "7"];
    let said = done(&[&["train", &data, "--dry-run"][..], &small].concat());
    let memory = said.err.lines().find(|line| line.starts_with("device memory: ")).unwrap();
    for part in ["weights", "gradients", "momentum", "bank and statistics", "activations", "without sharing", "there are"] {
        assert!(memory.contains(part), "no `{part}`: {memory}");
    }
    let time = said.err.lines().find(|line| line.starts_with("time, by ")).unwrap();
    assert!(number(time, "time, by ") >= 3.0, "{time}");
    let (step, epoch) = (number(time, "timed steps: "), number(time, "s a step, "));
    assert!(epoch > 0.0 && (epoch / (10.0 * step) - 1.0).abs() < 0.6, "ten steps an epoch: {time}");
    assert!(time.contains("of 10 steps") && time.contains("for 7 epochs"), "{time}");
    assert_eq!(std::fs::read_dir(place.path("")).unwrap().count(), 1, "something was written");
    let (out, parts) = (place.arg("run"), ["--accumulate", "3", "--epochs", "1"]);
    let said = done(&[&["train", &data, "--out", &out][..], &small[..6], &parts].concat());
    assert!(said.err.contains("batch 4 x 3 parts, 1 epoch of 3 steps"), "{}", said.err);
    println!("scorecard cli dry run: memory by kind and the time of step, epoch and run; nothing written");
}

#[test]
fn a_profile_is_printed_and_stands_in_the_folder() {
    let place = Place::new();
    let (data, out) = (place.pictures("data", 40), place.arg("run"));
    let small = ["--width", "4", "--size", "16", "--batch", "4", "--epochs", "1", "--profile", "2", "--eval-every", "0"];
    let said = done(&[&["train", &data, "--out", &out][..], &small].concat());
    for part in ["kernel ", "of peak", "dispatches a step", "outside of kernels", "clock", "trace.json"] {
        assert!(said.err.contains(part), "no `{part}`: {}", said.err);
    }
    for name in ["profile.txt", "profile.json", "trace.json"] {
        assert!(place.path("run").join(name).is_file(), "{name}");
    }
}

#[test]
fn help_names_every_option() {
    let said = done(&["train", "--help"]);
    let options = [
        "arch",
        "width",
        "stem",
        "size",
        "dim",
        "loss",
        "negatives",
        "z",
        "tau",
        "bank-keep",
        "prox",
        "batch",
        "epochs",
        "lr",
        "schedule",
        "momentum",
        "weight-decay",
        "seed",
        "flip",
        "limit",
        "limit-test",
        "stop-after",
        "eval-every",
        "adapter",
        "resume",
        "preset",
        "test",
        "out",
        "labels",
        "skip-broken",
    ];
    for option in options {
        let word = format!("--{option}");
        let named = said.out.lines().any(|line| line.split([' ', ',', '=']).any(|part| part == word));
        assert!(named, "--help does not name {word}");
    }
    let top = done(&["--help"]).out;
    for command in ["adapters", "train", "embed", "knn", "bench", "selftest"] {
        assert!(top.contains(command), "{top}");
    }
    assert!(done(&["--version"]).out.contains(env!("CARGO_PKG_VERSION")));
    // What clap refuses ends with 2 and a hint.
    let wrong = crate::tool(&["train", "x"]);
    assert!(wrong.code == Some(2) && wrong.err.contains("--out"), "{}", wrong.err);
    println!("scorecard cli --help: {} of {} options", options.len(), options.len());
}
