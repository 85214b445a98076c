//! The binary files of CIFAR.

use crate::{refusal, says, write};
use instdisc::data::{CifarBinary, Dataset, Options, Split, open};
use proptest::prelude::*;
use std::path::Path;
use tempfile::TempDir;

const TRAIN: [&str; 5] = ["data_batch_1.bin", "data_batch_2.bin", "data_batch_3.bin", "data_batch_4.bin", "data_batch_5.bin"];

/// A record with these label bytes; red is `shade`, green 2 and blue 3 more, the second pixel one more.
fn record(labels: &[u8], shade: u8) -> Vec<u8> {
    let planes = [0, 2, 3].into_iter().flat_map(|more| (0..1024).map(move |i| shade + more + u8::from(i == 1)));
    labels.iter().copied().chain(planes).collect()
}

fn ten() -> TempDir {
    let root = tempfile::tempdir().unwrap();
    for (i, file) in TRAIN.iter().enumerate() {
        write(root.path(), file, &[record(&[9 - i as u8], 10), record(&[3], 20 + i as u8)].concat());
    }
    write(root.path(), "test_batch.bin", &record(&[7], 90));
    root
}

fn names(set: &CifarBinary) -> Vec<&str> {
    (0..set.len()).map(|i| set.name(i)).collect()
}

fn train(root: &Path) -> instdisc::Result<CifarBinary> {
    CifarBinary::open(root, Split::Train, None)
}

#[test]
fn ten_classes_are_read_in_the_order_of_the_files() {
    let root = ten();
    let set = train(root.path()).unwrap();
    assert_eq!(set.len(), 10);
    assert_eq!(set.name(3), "data_batch_2.bin/00001");
    assert_eq!((0..10).map(|i| set.label(i).unwrap()).collect::<Vec<_>>(), [9, 3, 8, 3, 7, 3, 6, 3, 5, 3]);
    let image = set.image(3).unwrap();
    assert_eq!((image.width, image.height), (32, 32));
    assert_eq!(image.rgb[..9], [21, 23, 24, 22, 24, 25, 21, 23, 24]);
    assert_eq!(set.classes()[9], "9");
    assert!(set.image(10).is_err() && set.label(10).is_none() && set.name(10).is_empty());
    let test = CifarBinary::open(root.path(), Split::Test, None).unwrap();
    assert_eq!((test.len(), test.label(0)), (1, Some(7)));
}

#[test]
fn hundred_classes_take_the_fine_label() {
    let root = tempfile::tempdir().unwrap();
    write(root.path(), "train.bin", &[record(&[19, 99], 1), record(&[0, 5], 2)].concat());
    write(root.path(), "test.bin", &record(&[1, 42], 1));
    let set = train(root.path()).unwrap();
    assert_eq!((set.label(0), set.label(1), set.classes().len()), (Some(99), Some(5), 100));
    assert_eq!(set.image(1).unwrap().rgb[..3], [2, 4, 5]);
    write(root.path(), "train.bin", &record(&[20, 5], 1));
    says(&refusal(train(root.path())), &["train.bin", "byte 0", "coarse label 20"]);
    write(root.path(), "train.bin", &[record(&[1, 5], 1), record(&[1, 100], 1)].concat());
    says(&refusal(train(root.path())), &["train.bin", "byte 3075", "fine label 100", "100 classes"]);
}

#[test]
fn a_damaged_file_is_named_with_the_byte() {
    let root = ten();
    let whole = [record(&[1], 0), record(&[10], 0)].concat();
    write(root.path(), TRAIN[2], &whole);
    says(&refusal(train(root.path())), &["data_batch_3.bin", "byte 3073", "label 10 is out of range", "10 classes"]);
    write(root.path(), TRAIN[2], &whole[..4000]);
    says(&refusal(train(root.path())), &["data_batch_3.bin", "byte 3073", "ends 927 bytes into a record of 3073"]);
    write(root.path(), TRAIN[2], b"");
    says(&refusal(train(root.path())), &["data_batch_3.bin", "empty"]);
    std::fs::remove_file(root.path().join(TRAIN[2])).unwrap();
    says(&refusal(train(root.path())), &["data_batch_3.bin", "missing"]);
    assert!(CifarBinary::open(root.path(), Split::Test, None).is_ok(), "the test part is whole");
    let big = std::fs::File::create(root.path().join(TRAIN[2])).unwrap();
    big.set_len((1 << 30) + 1).unwrap();
    says(&refusal(train(root.path())), &["too many"]);
}

#[test]
fn names_of_classes_are_read_if_there_are_as_many() {
    let root = ten();
    write(root.path(), "batches.meta.txt", b"a\nb\nc\nd\ne\nf\ng\nh\ni\nj\n\n");
    assert_eq!(train(root.path()).unwrap().classes()[9], "j");
    write(root.path(), "batches.meta.txt", b"a\nb\n");
    says(&refusal(train(root.path())), &["batches.meta.txt", "2 names", "10 belong"]);
    write(root.path(), "batches.meta.txt", b"\xff");
    says(&refusal(train(root.path())), &["not UTF-8"]);
}

#[test]
fn the_limit_takes_the_first_of_each_class() {
    let root = ten();
    let set = CifarBinary::open(root.path(), Split::Train, Some(2)).unwrap();
    assert_eq!(names(&set).iter().filter(|name| name.ends_with("/00001")).count(), 2);
    assert_eq!((set.len(), set.report().over_limit, set.report().images), (7, 3, 7));
    says(&refusal(CifarBinary::open(root.path(), Split::Train, Some(0))), &["limit of 0"]);
}

#[test]
fn open_tells_which_it_is() {
    let root = ten();
    let options = Options { split: Split::Test, ..Options::default() };
    let opened = open(root.path(), &options).unwrap();
    assert_eq!((opened.dataset.len(), opened.dataset.label(0), opened.report.in_memory), (1, Some(7), 1));
    let labels = root.path().join("labels.csv");
    std::fs::write(&labels, "test_batch.bin/00000,cat\n").unwrap();
    let opened = open(root.path(), &Options { labels: Some(labels), ..options }).unwrap();
    assert_eq!(opened.dataset.classes(), ["cat"]);
    says(&refusal(open(root.path().join("none"), &Options::default())), &["no such folder"]);
    let empty = tempfile::tempdir().unwrap();
    says(&refusal(CifarBinary::open(empty.path(), Split::Train, None)), &["no binary file of CIFAR"]);
    assert!(open(empty.path(), &Options::default()).is_err());
}

#[cfg(not(feature = "images"))]
#[test]
fn without_the_feature_a_folder_of_images_is_refused_with_the_reason() {
    let root = tempfile::tempdir().unwrap();
    write(root.path(), "a.png", b"");
    says(&refusal(open(root.path(), &Options::default())), &["this build reads no images", "feature `images`"]);
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(100))]
    #[test]
    fn no_bytes_panic(labels in prop::collection::vec(0u8..12, 0..4), more in prop::collection::vec(any::<u8>(), 0..40), cut in 0usize..4) {
        let root = tempfile::tempdir().unwrap();
        let mut bytes: Vec<u8> = labels.iter().flat_map(|&label| record(&[label], label)).collect();
        bytes.extend(&more);
        bytes.truncate(bytes.len() - cut.min(bytes.len()));
        write(root.path(), "test_batch.bin", &bytes);
        match CifarBinary::open(root.path(), Split::Test, None) {
            Ok(set) => {
                prop_assert_eq!(set.len() * 3073, bytes.len());
                prop_assert!((0..set.len()).all(|i| set.label(i).is_some_and(|label| label < 10) && set.image(i).is_ok()));
            }
            Err(error) => {
                let out_of_range = bytes.chunks(3073).any(|record| record[0] > 9);
                prop_assert!(bytes.is_empty() || !bytes.len().is_multiple_of(3073) || out_of_range, "{}", error);
            }
        }
    }
}
