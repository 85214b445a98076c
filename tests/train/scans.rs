//! What was found in a folder of images is kept in a file, which is only ever a help.

use instdisc::data::{Known, Options};
use instdisc::train::Scans;
use std::fs;
use std::path::Path;
use std::time::Duration;
use tempfile::TempDir;

/// Twelve pictures, old enough to be known, and an empty place for caches.
fn place() -> TempDir {
    let place = tempfile::tempdir().unwrap();
    for i in 0..12 {
        let class = place.path().join("data").join(["a", "b"][i % 2]);
        fs::create_dir_all(&class).unwrap();
        image::RgbImage::new(2, 2).save(class.join(format!("{i}.png"))).unwrap();
    }
    std::thread::sleep(Duration::from_millis(2_100));
    place
}

fn scans(place: &TempDir) -> Scans {
    Scans::new(Some(place.path().join("deep/cache"))).worth(Duration::ZERO)
}

/// How many images of `data` were known, and the word on the cache.
fn open(scans: &Scans, data: &Path) -> (usize, Option<String>) {
    let (opened, word) = scans.open(data, &Options::default()).unwrap();
    assert_eq!((opened.report.images, opened.dataset.classes().len()), (12, 2));
    (opened.report.known, word)
}

#[test]
fn the_second_opening_reads_no_image() {
    let place = place();
    let (scans, data) = (scans(&place), place.path().join("data"));
    assert_eq!(open(&scans, &data), (0, None));
    assert_eq!(open(&scans, &data), (12, None));
    // By another name it is the same folder.
    assert_eq!(open(&scans, &place.path().join("deep/../data")), (12, None));
    image::RgbImage::new(3, 2).save(data.join("a/0.png")).unwrap();
    assert_eq!(open(&scans, &data), (11, None));
    let other = self::place();
    assert_eq!(open(&scans, &other.path().join("data")), (0, None));
    assert_eq!(open(&scans, &data).0, 11, "each folder has its file");
    assert_eq!(fs::read_dir(place.path().join("deep/cache")).unwrap().count(), 2, "and nothing else is there");
}

#[test]
fn a_damaged_or_foreign_file_is_ignored_with_a_word_and_written_anew() {
    let place = place();
    let (scans, data) = (scans(&place), place.path().join("data"));
    open(&scans, &data);
    let file = scans.file(&data).unwrap();
    let good = fs::read(&file).unwrap();
    let mut flipped = good.clone();
    flipped[good.len() / 2] ^= 1;
    let foreign = Known::default().encode(Path::new("/elsewhere"), &Options::default().limits);
    for (bytes, says) in
        [(&good[..good.len() - 9], "damaged"), (&flipped, "damaged"), (b"", "damaged"), (&foreign, "of another folder")]
    {
        fs::write(&file, bytes).unwrap();
        let (known, word) = open(&scans, &data);
        assert!(known == 0 && word.as_ref().is_some_and(|word| word.contains("is ignored") && word.contains(says)), "{word:?}");
        assert_eq!(fs::read(&file).unwrap(), good);
        assert_eq!(open(&scans, &data), (12, None));
    }
}

#[test]
fn a_cache_that_cannot_be_is_a_word_and_no_error() {
    let place = place();
    let data = place.path().join("data");
    let cache = place.path().join("cache");
    fs::write(&cache, b"a file where a folder belongs").unwrap();
    let (known, word) = open(&Scans::new(Some(cache)).worth(Duration::ZERO), &data);
    assert!(known == 0 && word.as_ref().is_some_and(|word| word.contains("is not kept")), "{word:?}");
    assert_eq!(open(&Scans::new(None), &data), (0, None));
}

#[test]
fn what_is_found_in_no_time_is_not_kept() {
    let place = place();
    let (cache, data) = (place.path().join("cache"), place.path().join("data"));
    let scans = Scans::new(Some(cache.clone())).worth(Duration::from_secs(3_600));
    assert_eq!([open(&scans, &data), open(&scans, &data)], [(0, None), (0, None)]);
    assert!(!cache.exists());
}
