//! A folder of images: which files count, their order and labels, and what is said of those that cannot be read.

use crate::files::png;
use crate::{contents, refusal, says, write};
use instdisc::Error;
use instdisc::data::{Dataset, ImageFolder, Options, open};
use std::fs;
use std::path::{Path, PathBuf};
use tempfile::TempDir;

/// A folder of these files, each a PNG of its own.
fn folder(names: &[&str]) -> TempDir {
    let root = tempfile::tempdir().unwrap();
    for (i, name) in names.iter().enumerate() {
        write(root.path(), name, &png(3, 2, i as u8));
    }
    root
}

fn names(set: &dyn Dataset) -> Vec<&str> {
    (0..set.len()).map(|i| set.name(i)).collect()
}

fn labels(set: &dyn Dataset) -> Vec<Option<u32>> {
    (0..set.len()).map(|i| set.label(i)).collect()
}

fn opened(root: &Path, options: &Options) -> ImageFolder {
    ImageFolder::open(root, options).unwrap()
}

#[test]
fn files_are_sorted_and_the_first_folder_is_the_label() {
    let root = folder(&["dog/b.png", "z.PNG", "cat/deep/er/a.png", "dog/a.png", "cat/1.png"]);
    let set = opened(root.path(), &Options::default());
    assert_eq!(names(&set), ["cat/1.png", "cat/deep/er/a.png", "dog/a.png", "dog/b.png", "z.PNG"]);
    assert_eq!(labels(&set), [Some(0), Some(0), Some(1), Some(1), None]);
    assert_eq!(set.classes(), ["cat", "dog"]);
    assert_eq!(set.image(3).unwrap().rgb[0], 0, "dog/b.png was written first");
    assert_eq!((set.name(9), set.label(9)), ("", None));
    assert!(matches!(set.image(9), Err(Error::Value { .. })));
}

#[test]
fn other_files_are_listed_and_hidden_ones_passed_over() {
    let root = folder(&["a.png", "b", "c.dat", ".hidden.png", ".git/d.png", "._a.png"]);
    write(root.path(), "notes.txt", b"text");
    write(root.path(), "class/README", b"text");
    write(root.path(), "BMfile", b"BM is how this text begins");
    let set = opened(root.path(), &Options::default());
    assert_eq!(names(&set), ["a.png", "b", "c.dat"], "b and c.dat have the content of an image");
    let listed: Vec<PathBuf> = ["BMfile", "class/README", "notes.txt"].iter().map(|name| root.path().join(name)).collect();
    assert_eq!(set.report().not_images, listed);
    assert!(set.classes().is_empty(), "a folder without an image is no class");
    assert_eq!((set.report().images, set.report().in_memory), (3, 3));
}

#[test]
fn content_decides_over_the_extension() {
    let root = folder(&["a.jpg"]);
    assert_eq!(opened(root.path(), &Options::default()).image(0).unwrap().width, 3);
    write(root.path(), "b.png", b"<html>not found</html>");
    says(&refusal(ImageFolder::open(root.path(), &Options::default())), &["b.png", "none of PNG, JPEG"]);
}

#[test]
fn folders_that_are_none_have_an_error_each() {
    let root = folder(&["a.png"]);
    let open = |path: &str| refusal(open(root.path().join(path), &Options::default()));
    says(&open("missing"), &["missing: there is no such folder", "check the path"]);
    says(&open("a.png"), &["a.png: this is a file, not a folder"]);
    fs::create_dir(root.path().join("empty")).unwrap();
    says(&open("empty"), &["empty: the folder is empty", "put images into it"]);
    write(root.path(), "texts/.hidden", b"");
    says(&open("texts"), &["the folder is empty"]);
    write(root.path(), "texts/b/x.heic", b"text");
    write(root.path(), "texts/a.txt", b"text");
    says(&open("texts"), &["texts: no file in it is an image (there are 2;", "a.txt", "files ending in png"]);
    says(&refusal(ImageFolder::open(root.path(), &Options { limit: Some(0), ..Options::default() })), &["limit", "at least 1"]);
    says(&refusal(ImageFolder::open(root.path(), &Options { max_side: Some(0), ..Options::default() })), &["max_side"]);
}

#[test]
fn broken_images_are_an_error_that_counts_them_or_are_skipped() {
    let root = folder(&["a/1.png", "b/2.png", "b/4.png"]);
    write(root.path(), "a/0.png", b"");
    write(root.path(), "b/3.png", &png(9, 9, 0)[..60]);
    let strict = Options::default();
    let text = refusal(ImageFolder::open(root.path(), &strict));
    says(&text, &["a/0.png: the file is empty", "broken: 2 of 5", "--skip-broken"]);

    let set = opened(root.path(), &Options { skip_broken: true, ..strict.clone() });
    assert_eq!(names(&set), ["a/1.png", "b/2.png", "b/4.png"]);
    assert_eq!(labels(&set), [Some(0), Some(1), Some(1)]);
    assert_eq!(set.image(2).unwrap().rgb[0], 2);
    let skipped = &set.report().skipped;
    assert_eq!(
        skipped.iter().map(|(path, _)| path.clone()).collect::<Vec<_>>(),
        ["a/0.png", "b/3.png"].map(|name| root.path().join(name))
    );
    says(&skipped[1].1, &["damaged"]);
    assert_eq!(set.report().images, 3);

    for name in ["a/1.png", "b/2.png", "b/4.png"] {
        write(root.path(), name, b"no image");
    }
    let text = refusal(ImageFolder::open(root.path(), &Options { skip_broken: true, ..strict }));
    says(&text, &["every image of", "is broken (5)"]);
}

#[test]
fn a_broken_class_keeps_its_number() {
    let root = folder(&["b/1.png"]);
    write(root.path(), "a/0.png", b"");
    let set = opened(root.path(), &Options { skip_broken: true, ..Options::default() });
    assert_eq!((set.classes().len(), set.label(0)), (2, Some(1)));
}

#[test]
fn the_limit_takes_the_first_of_each_class() {
    let root = folder(&["b/3.png", "b/1.png", "b/2.png", "a/1.png", "x.png", "y.png", "z.png"]);
    let set = opened(root.path(), &Options { limit: Some(2), ..Options::default() });
    assert_eq!(names(&set), ["a/1.png", "b/1.png", "b/2.png", "x.png", "y.png"]);
    assert_eq!(set.report().over_limit, 2);
}

#[test]
fn images_past_the_memory_are_decoded_when_asked_for() {
    let root = folder(&["1.png", "2.png", "3.png", "4.png"]);
    write(root.path(), "2.png", &png(4, 4, 1));
    let all = opened(root.path(), &Options::default());
    assert_eq!(all.report().in_memory, 4);
    // 18 + 48 bytes are held at most 40: the second does not fit, and what comes after it is not kept either.
    let few = opened(root.path(), &Options { memory_bytes: 40, ..Options::default() });
    assert_eq!((few.report().in_memory, few.report().images), (1, 4));
    assert_eq!(contents(&all), contents(&few));
    fs::write(root.path().join("3.png"), b"").unwrap();
    says(&refusal(few.image(2)), &["3.png: the file is empty"]);
    assert!(few.image(0).is_ok());
    // The same image counts with the bytes that it has once it is reduced.
    write(root.path(), "3.png", &png(3, 2, 2));
    let options = Options { memory_bytes: 48, max_side: Some(1), ..Options::default() };
    assert_eq!(opened(root.path(), &options).report().in_memory, 4);
}

#[test]
fn a_file_over_the_limit_is_not_read() {
    let root = folder(&["a.png"]);
    let big = fs::File::create(root.path().join("b.png")).unwrap();
    big.set_len(257 << 20).unwrap();
    let text = refusal(ImageFolder::open(root.path(), &Options::default()));
    says(&text, &["b.png", "269484032 bytes", "268435456", "--max-file-bytes (`Limits::file_bytes`)"]);
}

#[cfg(unix)]
#[test]
fn links_are_followed_and_loops_end() {
    use std::os::unix::fs::symlink;
    let root = folder(&["a/1.png"]);
    let elsewhere = folder(&["2.png"]);
    symlink(root.path(), root.path().join("a/up")).unwrap();
    symlink("self", root.path().join("self")).unwrap();
    symlink(elsewhere.path(), root.path().join("b")).unwrap();
    symlink(root.path().join("a/1.png"), root.path().join("c.png")).unwrap();
    let set = opened(root.path(), &Options::default());
    assert_eq!(names(&set), ["a/1.png", "b/2.png", "c.png"]);
    symlink("nowhere", root.path().join("d.png")).unwrap();
    says(&refusal(ImageFolder::open(root.path(), &Options::default())), &["d.png", "cannot be read"]);
}

#[cfg(unix)]
#[test]
fn a_pipe_named_like_an_image_does_not_hang() {
    let root = folder(&["a.png"]);
    let made = std::process::Command::new("mkfifo").arg(root.path().join("b.png")).status().unwrap();
    assert!(made.success());
    let set = opened(root.path(), &Options::default());
    assert_eq!((set.len(), set.report().not_images.len()), (1, 1));
}

#[test]
fn a_label_file_takes_the_place_of_folders_and_changes_no_order() {
    let root = folder(&["a/1.png", "a/2.png", "b/1.png"]);
    let file = root.path().join("labels.tsv");
    fs::write(&file, "b/1.png\tone\na/1.png\tone\na/2.png\ttwo\n").unwrap();
    let plain = open(root.path(), &Options::default()).unwrap();
    let options = Options { labels: Some(file.clone()), ..Options::default() };
    let labelled = open(root.path(), &options).unwrap();
    assert_eq!(names(&*plain.dataset), names(&*labelled.dataset));
    assert_eq!(plain.dataset.image(2).unwrap(), labelled.dataset.image(2).unwrap());
    assert_eq!(labels(&*labelled.dataset), [Some(0), Some(1), Some(0)]);
    assert_eq!(labelled.dataset.classes(), ["one", "two"]);

    // A label of an image that the limit leaves out is no mistake; of one that is not there it is.
    let limited = open(root.path(), &Options { limit: Some(1), ..options.clone() }).unwrap();
    assert_eq!(labels(&*limited.dataset), [Some(0), Some(0)]);
    fs::remove_file(root.path().join("a/2.png")).unwrap();
    says(&refusal(open(root.path(), &options)), &["line 3", "a/2.png"]);
}

#[test]
fn one_or_two_images_are_a_data_set() {
    for n in 1..=2 {
        let root = folder(&["1.png", "2.png"][..n]);
        assert_eq!(open(root.path(), &Options::default()).unwrap().dataset.len(), n);
    }
}

#[test]
fn a_folder_opened_by_names_has_those_images_whatever_came_broke_or_went() {
    let root = folder(&["a/1.png", "a/2.png", "b/1.png", "b/2.png", "c/1.png"]);
    let all: Vec<String> = ["a/1.png", "b/1.png", "b/2.png", "c/1.png"].map(String::from).to_vec();
    write(root.path(), "b/2.png", b"cut off");
    fs::remove_dir_all(root.path().join("c")).unwrap();
    for options in [Options::default(), Options { limit: Some(1), skip_broken: true, memory_bytes: 0, ..Options::default() }] {
        let set = opened(root.path(), &Options { names: Some(all.as_slice().into()), ..options });
        assert_eq!(names(&set), all);
        assert_eq!(labels(&set), [Some(0), Some(1), Some(1), Some(2)]);
        assert_eq!((0..4).map(|i| set.image(i).is_ok()).collect::<Vec<_>>(), [true, true, false, false]);
        says(&refusal(set.image(2)), &["b/2.png", "none of PNG"]);
        says(&refusal(set.image(3)), &["c/1.png", "cannot be read"]);
        assert_eq!((set.bytes(1), set.bytes(3)), (Some(18), Some(0)));
        assert_eq!(set.report().images, 4);
    }
}
