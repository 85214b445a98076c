//! What is known of files from an earlier opening: they are not read again, and whatever has changed is.

use crate::files::png;
use crate::{contents, refusal, says, write};
use instdisc::data::{Dataset, ImageFolder, Known, Limits, Options};
use std::fs;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;
use tempfile::TempDir;

/// Waits until what was written so far is old enough to be known.
fn settle() {
    std::thread::sleep(Duration::from_millis(2_100));
}

/// Eight pictures in two folders, and what is known of them.
fn folder(options: &Options) -> (TempDir, Options) {
    let root = tempfile::tempdir().unwrap();
    for i in 0..8u32 {
        write(root.path(), &format!("{}/{i}.png", i % 2), &png(3 + i, 9 - i, i as u8));
    }
    settle();
    let (set, known) = ImageFolder::scan(root.path(), options).unwrap();
    assert_eq!((set.report().known, known.len()), (0, 8));
    (root, Options { known: Some(Arc::new(known)), ..options.clone() })
}

fn opened(root: &Path, options: &Options) -> ImageFolder {
    ImageFolder::open(root, options).unwrap()
}

#[test]
fn known_files_are_the_same_data_set_without_being_read() {
    for memory_bytes in [4 << 30, 100, 0] {
        let plain = Options { memory_bytes, ..Options::default() };
        let (root, options) = folder(&plain);
        let (first, second) = (opened(root.path(), &plain), opened(root.path(), &options));
        assert_eq!((first.report().known, second.report().known), (0, 8));
        assert_eq!(first.report().in_memory, second.report().in_memory);
        let bytes = |set: &ImageFolder| (0..8).map(|i| set.bytes(i)).collect::<Vec<_>>();
        assert_eq!(bytes(&first), bytes(&second));
        assert_eq!(contents(&first), contents(&second));
        assert_eq!(contents(&first), contents(&second), "asked for again, from memory where there is room");
        let again = ImageFolder::scan(root.path(), &options).unwrap().1;
        assert_eq!(Some(&again), options.known.as_deref());
    }
}

#[test]
fn what_there_is_room_for_is_kept_once_it_was_asked_for() {
    let (root, options) = folder(&Options::default());
    let set = opened(root.path(), &options);
    let first = set.image(0).unwrap();
    for name in ["0/0.png", "0/2.png"] {
        fs::remove_file(root.path().join(name)).unwrap();
    }
    assert_eq!(set.image(0).unwrap(), first, "kept in memory");
    says(&refusal(set.image(1)), &["0/2.png", "cannot be read"]);
}

#[test]
fn changed_new_and_renamed_files_are_read_and_lost_ones_are_gone() {
    let (root, options) = folder(&Options::default());
    write(root.path(), "0/2.png", &png(20, 1, 77));
    write(root.path(), "0/9.png", &png(2, 2, 9));
    fs::rename(root.path().join("1/3.png"), root.path().join("1/33.png")).unwrap();
    fs::remove_file(root.path().join("1/5.png")).unwrap();
    let set = opened(root.path(), &options);
    let names: Vec<_> = (0..set.len()).map(|i| set.name(i)).collect();
    assert_eq!(names, ["0/0.png", "0/2.png", "0/4.png", "0/6.png", "0/9.png", "1/1.png", "1/33.png", "1/7.png"]);
    assert_eq!(set.report().known, 5, "0, 4, 6, 1, 7");
    assert_eq!(contents(&set), contents(&opened(root.path(), &Options::default())));
}

/// A file of the same size, written over in place, with its time of writing put back: only its time of change tells.
#[cfg(unix)]
#[test]
fn a_file_that_was_damaged_behind_its_old_time_is_seen() {
    let (root, options) = folder(&Options::default());
    let path = root.path().join("1/7.png");
    let (written, mut bytes) = (fs::metadata(&path).unwrap().modified().unwrap(), fs::read(&path).unwrap());
    let middle = bytes.len() / 2;
    bytes[middle] ^= 0x55;
    fs::write(&path, &bytes).unwrap();
    fs::File::options().write(true).open(&path).unwrap().set_modified(written).unwrap();
    says(&refusal(ImageFolder::open(root.path(), &options)), &["1/7.png", "broken: 1 of 8"]);
    let skipping = Options { skip_broken: true, ..options };
    let (set, known) = ImageFolder::scan(root.path(), &skipping).unwrap();
    assert_eq!((set.len(), set.report().known, known.len()), (7, 7, 7), "what is broken is never known");
}

#[test]
fn a_file_that_breaks_after_the_opening_is_an_error_when_it_is_asked_for() {
    let (root, options) = folder(&Options::default());
    let set = opened(root.path(), &options);
    fs::write(root.path().join("0/4.png"), b"").unwrap();
    says(&refusal(set.image(2)), &["0/4.png: the file is empty"]);
    assert!(set.image(3).is_ok());
}

#[test]
fn files_of_which_the_head_alone_was_read_are_decoded_where_there_is_room_now() {
    let root = tempfile::tempdir().unwrap();
    write(root.path(), "1.png", &png(4, 4, 1));
    // Broken in the pixels: without room for them that goes unseen.
    write(root.path(), "2.png", &png(40, 40, 2)[..90]);
    settle();
    let small = Options { memory_bytes: 0, threads: 1, ..Options::default() };
    let (set, known) = ImageFolder::scan(root.path(), &small).unwrap();
    assert_eq!((set.len(), known.len()), (2, 2));
    let known = Some(Arc::new(known));
    let again = opened(root.path(), &Options { known: known.clone(), ..small });
    assert_eq!(again.report().known, 2);
    says(&refusal(ImageFolder::open(root.path(), &Options { known, ..Options::default() })), &["2.png", "damaged"]);
}

#[test]
fn files_written_a_moment_ago_are_not_known_yet() {
    let root = tempfile::tempdir().unwrap();
    write(root.path(), "1.png", &png(4, 4, 1));
    assert!(ImageFolder::scan(root.path(), &Options::default()).unwrap().1.is_empty());
}

#[test]
fn a_part_that_is_opened_does_not_forget_the_others() {
    let (root, options) = folder(&Options::default());
    let part = Options { limit: Some(1), ..options.clone() };
    let (set, known) = ImageFolder::scan(root.path(), &part).unwrap();
    assert_eq!((set.len(), set.report().known, known.len()), (2, 2, 8));
    fs::remove_file(root.path().join("0/0.png")).unwrap();
    assert_eq!(ImageFolder::scan(root.path(), &options).unwrap().1.len(), 7, "the whole forgets what is gone");
}

#[test]
fn damaged_cut_and_foreign_bytes_are_refused() {
    let (root, options) = folder(&Options::default());
    let known = options.known.unwrap();
    let bytes = known.encode(root.path(), &Limits::default());
    let decode = |bytes: &[u8]| Known::decode(bytes, root.path(), &Limits::default());
    assert_eq!(decode(&bytes).as_ref(), Ok(&*known));
    for end in 0..bytes.len() {
        assert!(decode(&bytes[..end]).is_err(), "cut at {end}");
    }
    for bit in 0..bytes.len() * 8 {
        let mut flipped = bytes.clone();
        flipped[bit / 8] ^= 1 << (bit % 8);
        assert!(decode(&flipped).is_err(), "bit {bit}");
    }
    let foreign = "it is of another folder, version or other limits";
    assert_eq!(Known::decode(&bytes, Path::new("elsewhere"), &Limits::default()), Err(foreign));
    assert_eq!(Known::decode(&bytes, root.path(), &Limits { pixels: 1, ..Limits::default() }), Err(foreign));
    println!("scorecard known files: {} cuts and {} flipped bits refused", bytes.len(), bytes.len() * 8);
}

#[test]
fn sizes_are_known_without_decoding() {
    let root = tempfile::tempdir().unwrap();
    for (i, (width, height)) in [(1, 1), (7, 40), (40, 7), (13, 13), (100, 3)].into_iter().enumerate() {
        write(root.path(), &format!("{i}.png"), &png(width, height, i as u8));
    }
    for max_side in [None, Some(1), Some(5), Some(13), Some(99)] {
        let set = opened(root.path(), &Options { max_side, ..Options::default() });
        for i in 0..set.len() {
            assert_eq!(set.bytes(i), Some(set.image(i).unwrap().rgb.len() as u64));
        }
        assert_eq!(set.bytes(9), None);
    }
}
