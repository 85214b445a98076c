//! Folders and names that people really have.

use crate::{refusal, says, write};
use image::{DynamicImage, ImageFormat, Rgb, RgbImage};
use instdisc::data::{CifarBinary, Dataset, ImageFolder, Meter, Opened, Options, open};
use instdisc::name;
use std::collections::BTreeSet;
use std::ffi::OsStr;
use std::os::unix::ffi::OsStrExt;
use std::path::Path;
use std::sync::Arc;

fn picture(format: ImageFormat) -> Vec<u8> {
    let image = RgbImage::from_fn(4, 4, |x, y| Rgb([60 * x as u8, 60 * y as u8, 9]));
    let mut bytes = std::io::Cursor::new(Vec::new());
    DynamicImage::ImageRgb8(image).write_to(&mut bytes, format).unwrap();
    bytes.into_inner()
}

fn put(root: &Path, name: &[u8]) {
    let path = root.join(OsStr::from_bytes(name));
    std::fs::create_dir_all(path.parent().unwrap()).unwrap();
    std::fs::write(path, picture(ImageFormat::Png)).unwrap();
}

fn names(set: &dyn Dataset) -> Vec<String> {
    (0..set.len()).map(|i| set.name(i).to_owned()).collect()
}

fn opened(root: &Path) -> Opened {
    open(root, &Options::default()).unwrap()
}

#[test]
fn every_name_is_a_line_of_its_own_that_leads_back_to_the_file() {
    let root = tempfile::tempdir().unwrap();
    let files: [&[u8]; 9] = [
        b"a/line\nfeed.png",
        b"a/carriage\rreturn.png",
        b"a/escape\x1b[31mred.png",
        b"a/caf\xe9.png",
        b"a/caf\xe8.png",
        b"J\xe4rvi/p.png",
        b"J\xe5rvi/p.png",
        b"a/back\\slash.png",
        "a/\u{2028}\u{85}.png".as_bytes(),
    ];
    files.iter().for_each(|file| put(root.path(), file));
    let set = opened(root.path()).dataset;
    let found = names(&*set);
    assert_eq!((found.len(), found.iter().collect::<BTreeSet<_>>().len(), set.classes().len()), (9, 9, 3));
    for (i, name) in found.iter().enumerate() {
        assert!(!name.contains(|c: char| c.is_control() || c == '\u{2028}'), "{name:?}");
        assert!(name::path(root.path(), name).is_file(), "{name} leads to no file");
        assert!(set.image(i).is_ok());
    }
    // Python's and everybody's idea of lines.
    assert_eq!(found.join("\n").lines().count(), 9);
    put(root.path(), b"a/broken\x1b[31m.png");
    std::fs::write(root.path().join(OsStr::from_bytes(b"a/broken\x1b[31m.png")), b"").unwrap();
    says(&refusal(ImageFolder::open(root.path(), &Options::default())), &[r"broken\u{1b}[31m.png"]);
}

#[test]
fn a_run_finds_images_again_whose_names_are_written_otherwise() {
    let root = tempfile::tempdir().unwrap();
    put(root.path(), "cafe\u{301}.png".as_bytes());
    put(root.path(), b"plain.png");
    let began = ["caf\u{e9}.png", "gone.png", "plain.png"].map(str::to_owned);
    let set = open(root.path(), &Options { names: Some(Arc::from(began.clone())), ..Options::default() }).unwrap().dataset;
    assert_eq!(names(&*set), began);
    assert!(set.image(0).is_ok() && set.image(1).is_err() && set.image(2).is_ok());
}

#[test]
fn folders_of_systems_are_passed_over_and_said() {
    let root = tempfile::tempdir().unwrap();
    for name in ["2023/p.png", "2024/p.png", "2023/@eaDir/p.png/SYNOPHOTO_THUMB_M.png", "2024/@eadir/p.png", "#recycle/old.png"] {
        put(root.path(), name.as_bytes());
    }
    for name in ["$RECYCLE.BIN/R1.png", "lost+found/1.png", "System Volume Information/x.png", "__MACOSX/p.png"] {
        put(root.path(), name.as_bytes());
    }
    let Opened { dataset, report, .. } = opened(root.path());
    assert_eq!(names(&*dataset), ["2023/p.png", "2024/p.png"]);
    assert_eq!(report.system.iter().map(|(_, count)| count).sum::<usize>(), 7, "{:?}", report.system);
    // One that is named as the data set is no system's.
    assert_eq!(opened(&root.path().join("lost+found")).report.images, 1);
}

#[test]
fn what_is_left_out_is_counted_by_pattern_and_by_extension() {
    let root = tempfile::tempdir().unwrap();
    for name in ["a/1.png", "a/1_thumb.png", "raw/2.png", "raw/deep/3.png", "b/raw/4.png"] {
        put(root.path(), name.as_bytes());
    }
    for name in ["a/x.HEIC", "a/y.heic", "b/z.CR2", "b/notes"] {
        write(root.path(), name, b"II*\0 no image");
    }
    write(root.path(), "b/notes", b"words");
    let options = |exclude: &[&str]| Options { exclude: exclude.iter().map(|p| (*p).to_owned()).collect(), ..Options::default() };
    let seen = |exclude: &[&str]| {
        let Opened { dataset, report, .. } = open(root.path(), &options(exclude)).unwrap();
        (names(&*dataset).join(" "), report.excluded)
    };
    assert_eq!(seen(&["*_thumb.*"]), ("a/1.png b/raw/4.png raw/2.png raw/deep/3.png".into(), vec![1]));
    assert_eq!(seen(&["raw"]), ("a/1.png a/1_thumb.png".into(), vec![2]));
    assert_eq!(seen(&["raw/*.png", "nothing"]), ("a/1.png a/1_thumb.png b/raw/4.png raw/deep/3.png".into(), vec![1, 0]));
    assert_eq!(seen(&["raw/**"]).0, "a/1.png a/1_thumb.png b/raw/4.png");
    says(&refusal(open(root.path(), &options(&["[a"])).map(|_| ())), &["--exclude", "[a"]);
    let report = opened(root.path()).report;
    let kinds: Vec<_> = report.extensions.iter().map(|(e, n)| (e.as_deref(), *n)).collect();
    assert_eq!(kinds, [(Some("heic"), 2), (None, 1), (Some("cr2"), 1)]);
}

#[test]
fn images_under_odd_extensions_are_seen_by_content_and_unfinished_ones_are_none() {
    let root = tempfile::tempdir().unwrap();
    let jpeg = picture(ImageFormat::Jpeg);
    for name in ["1.jpg~", "2.pjpeg", "3.jpg_large", "4.bak", "5.jpg"] {
        write(root.path(), name, &jpeg);
    }
    write(root.path(), "6.jpg.part", &jpeg[..jpeg.len() / 2]);
    write(root.path(), "7.crdownload", &jpeg);
    write(root.path(), "8.dng", &picture(ImageFormat::Tiff));
    write(root.path(), "9", &picture(ImageFormat::Tiff));
    let Opened { dataset, report, .. } = opened(root.path());
    assert_eq!(names(&*dataset), ["1.jpg~", "2.pjpeg", "3.jpg_large", "4.bak", "5.jpg", "9"]);
    assert_eq!((report.by_content, report.not_images.len()), (4, 3));
}

#[test]
fn a_stray_file_with_a_name_of_cifars_is_passed_over_and_a_damaged_one_alone_is_named() {
    let root = tempfile::tempdir().unwrap();
    write(root.path(), "train.bin", &[7; 1000]);
    assert!(!CifarBinary::is_at(root.path()));
    says(&refusal(open(root.path(), &Options::default()).map(|_| ())), &["train.bin", "record of 3074"]);
    put(root.path(), b"a.png");
    let report = opened(root.path()).report;
    assert_eq!((report.images, report.not_images.len()), (1, 1));
    // Whole records whose labels there are not are no CIFAR either.
    write(root.path(), "train.bin", &[200; 3074]);
    assert_eq!(opened(root.path()).report.images, 1);
    write(root.path(), "train.bin", &[7; 3074 * 2]);
    assert!(CifarBinary::is_at(root.path()));
}

#[test]
fn labels_may_be_of_a_part_of_the_images() {
    let root = tempfile::tempdir().unwrap();
    ["1.png", "2.png", "3.png"].iter().for_each(|name| put(root.path(), name.as_bytes()));
    let labels = tempfile::tempdir().unwrap();
    let file = labels.path().join("labels.csv");
    let options = Options { labels: Some(file.clone()), ..Options::default() };
    std::fs::write(&file, "2.png,cat\n").unwrap();
    let Opened { dataset, report, .. } = open(root.path(), &options).unwrap();
    assert_eq!((report.unlabelled, report.first_unlabelled.as_deref()), (2, Some("1.png")));
    assert_eq!((0..3).map(|i| dataset.label(i)).collect::<Vec<_>>(), [None, Some(0), None]);
    std::fs::write(&file, "/photos/2.png,cat\n").unwrap();
    says(&refusal(open(root.path(), &options).map(|_| ())), &["no label for `1.png`", "look like `/photos/2.png`"]);
    std::fs::write(&file, "2.png,cat\n9.png,cat\n").unwrap();
    says(&refusal(open(root.path(), &options).map(|_| ())), &["line 2", "no image `9.png`"]);
}

#[test]
fn listed_and_read_files_are_counted_as_they_go() {
    let root = tempfile::tempdir().unwrap();
    ["1.png", "2.png", "3.png"].iter().for_each(|name| put(root.path(), name.as_bytes()));
    let meter = Arc::new(Meter::default());
    open(root.path(), &Options { meter: Some(meter.clone()), ..Options::default() }).unwrap();
    assert_eq!(meter.read(), (3, 3));
}
