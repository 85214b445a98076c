//! The binary files of CIFAR-10 and CIFAR-100 (Krizhevsky, "Learning Multiple Layers of Features from Tiny Images",
//! 2009), as <https://www.cs.toronto.edu/~kriz/cifar.html> describes them.

use super::open::check_folder;
use super::{Dataset, Image, Report, Split, no_image};
use crate::error::{Error, Result};
use std::io::Read;
use std::path::Path;

const SIDE: u32 = 32;
const PLANE: usize = 32 * 32;
const PIXELS: usize = 3 * PLANE;
/// The published files have at most 154 MB.
const MAX_BYTES: u64 = 1 << 30;

/// One of the two data sets.
struct Kind {
    train: &'static [&'static str],
    test: &'static [&'static str],
    /// The label bytes in front of a record: the name of each and how many classes it counts. The last is the label.
    labels: &'static [(&'static str, u8)],
    names: &'static str,
}

const TEN: Kind = Kind {
    train: &["data_batch_1.bin", "data_batch_2.bin", "data_batch_3.bin", "data_batch_4.bin", "data_batch_5.bin"],
    test: &["test_batch.bin"],
    labels: &[("label", 10)],
    names: "batches.meta.txt",
};

const HUNDRED: Kind = Kind {
    train: &["train.bin"],
    test: &["test.bin"],
    labels: &[("coarse label", 20), ("fine label", 100)],
    names: "fine_label_names.txt",
};

impl Kind {
    fn at(path: &Path) -> Option<&'static Self> {
        let has = |kind: &Self| kind.train.iter().chain(kind.test).any(|file| path.join(file).is_file());
        [&TEN, &HUNDRED].into_iter().find(|kind| has(kind))
    }

    /// Whether a file can be one of these: whole records, of which the first has labels that there are.
    fn holds(&self, file: &Path) -> bool {
        let size = self.record();
        let whole = std::fs::metadata(file).is_ok_and(|data| data.len() > 0 && data.len() % size as u64 == 0);
        let mut record = vec![0; size];
        let read = std::fs::File::open(file).and_then(|mut file| file.read_exact(&mut record));
        whole && read.is_ok() && parse(file, 0, &record, self).is_ok()
    }

    fn record(&self) -> usize {
        self.labels.len() + PIXELS
    }

    fn classes(&self) -> u8 {
        self.labels.last().map_or(0, |&(_, classes)| classes)
    }
}

/// A folder with the binary files of CIFAR-10 or CIFAR-100, in memory.
///
/// CIFAR-10: `data_batch_1.bin` to `data_batch_5.bin` to train (all five), `test_batch.bin` to test, and the names of
/// the classes in `batches.meta.txt`. CIFAR-100: `train.bin`, `test.bin` and `fine_label_names.txt`; the labels are the
/// fine ones. Without the file of names the classes are named `0`, `1`, …. The number of records in a file is free.
///
/// Image 7 of `test.bin` is named `test.bin/00007`.
pub struct CifarBinary {
    records: Vec<Record>,
    classes: Vec<String>,
    over_limit: usize,
}

struct Record {
    name: String,
    label: u32,
    /// All red, then all green, then all blue.
    planes: Box<[u8]>,
}

impl CifarBinary {
    /// Whether `path` is a folder with one of the binary files of CIFAR in it: it has the name, whole records, and labels that there
    /// are.
    pub fn is_at(path: impl AsRef<Path>) -> bool {
        let path = path.as_ref();
        let files = |kind: &'static Kind| kind.train.iter().chain(kind.test).map(move |file| (kind, path.join(file)));
        [&TEN, &HUNDRED].into_iter().flat_map(files).any(|(kind, file)| kind.holds(&file))
    }

    /// Whether a file in the folder `path` has the name of one of CIFAR's, whatever is in it.
    pub(super) fn has_names(path: &Path) -> bool {
        Kind::at(path).is_some()
    }

    /// Reads the files of one part; of each class at most the first `limit` records.
    ///
    /// # Errors
    /// [`Error::Data`], with the byte where it applies: no such folder, not a folder, a file of the part missing, a
    /// file without records or one that ends within a record, a label out of range, too few names of classes,
    /// nothing left by a limit of 0. [`Error::Io`] if a file cannot be read.
    pub fn open(path: impl AsRef<Path>, split: Split, limit: Option<usize>) -> Result<Self> {
        let path = path.as_ref();
        check_folder(path)?;
        let kind = Kind::at(path).ok_or_else(|| {
            Error::data(
                path,
                "no binary file of CIFAR is in it; unpack cifar-10-binary.tar.gz and name the folder of the .bin files",
            )
        })?;
        let files = match split {
            Split::Train => kind.train,
            Split::Test => kind.test,
        };
        let mut set = Self { records: Vec::new(), classes: class_names(path, kind)?, over_limit: 0 };
        let mut counts = vec![0usize; usize::from(kind.classes())];
        for file in files {
            let file_path = path.join(file);
            let bytes = read(&file_path)?;
            for (i, record) in records(&file_path, &bytes, kind)?.enumerate() {
                let (label, planes) = record?;
                let Some(count) = counts.get_mut(usize::from(label)) else { continue };
                if limit.is_some_and(|limit| *count >= limit) {
                    set.over_limit += 1;
                    continue;
                }
                *count += 1;
                set.records.push(Record { name: format!("{file}/{i:05}"), label: u32::from(label), planes: planes.into() });
            }
        }
        if set.records.is_empty() {
            return Err(Error::data(path, "a limit of 0 leaves no image; take 1 or more"));
        }
        Ok(set)
    }

    /// What was found.
    pub fn report(&self) -> Report {
        let images = self.records.len();
        Report { images, in_memory: images, over_limit: self.over_limit, ..Report::default() }
    }
}

impl Dataset for CifarBinary {
    fn len(&self) -> usize {
        self.records.len()
    }

    fn name(&self, i: usize) -> &str {
        self.records.get(i).map_or("", |record| &record.name)
    }

    fn label(&self, i: usize) -> Option<u32> {
        self.records.get(i).map(|record| record.label)
    }

    fn classes(&self) -> &[String] {
        &self.classes
    }

    fn image(&self, i: usize) -> Result<Image> {
        let record = self.records.get(i).ok_or_else(|| no_image(i, self.records.len()))?;
        let (red, rest) = record.planes.split_at_checked(PLANE).unwrap_or_default();
        let (green, blue) = rest.split_at_checked(PLANE).unwrap_or_default();
        let rgb = red.iter().zip(green).zip(blue).flat_map(|((&r, &g), &b)| [r, g, b]).collect();
        Image::new(SIDE, SIDE, rgb)
    }

    fn bytes(&self, i: usize) -> Option<u64> {
        self.records.get(i).map(|record| record.planes.len() as u64)
    }
}

fn read(file: &Path) -> Result<Vec<u8>> {
    let size = match std::fs::metadata(file) {
        Err(source) if source.kind() == std::io::ErrorKind::NotFound => {
            return Err(Error::data(file, "this file of CIFAR is missing; unpack the archive again"));
        }
        data => data.map_err(|source| Error::io("reading", file, source))?.len(),
    };
    if size > MAX_BYTES {
        return Err(Error::data(file, format!("{size} bytes are too many for a file of CIFAR, at most {MAX_BYTES} are read")));
    }
    std::fs::read(file).map_err(|source| Error::io("reading", file, source))
}

/// The label and the planes of each record.
fn records<'a>(file: &'a Path, bytes: &'a [u8], kind: &'a Kind) -> Result<impl Iterator<Item = Result<(u8, &'a [u8])>>> {
    let size = kind.record();
    let chunks = bytes.chunks_exact(size);
    let rest = chunks.remainder().len();
    if bytes.is_empty() {
        return Err(Error::data(file, "the file is empty; unpack the archive again"));
    }
    if rest > 0 {
        let offset = bytes.len() - rest;
        let reason = format!("byte {offset}: the file ends {rest} bytes into a record of {size}; unpack the archive again");
        return Err(Error::data(file, reason));
    }
    Ok(chunks.enumerate().map(move |(i, record)| parse(file, i * size, record, kind)))
}

fn parse<'a>(file: &Path, offset: usize, record: &'a [u8], kind: &Kind) -> Result<(u8, &'a [u8])> {
    let (labels, planes) = record.split_at_checked(kind.labels.len()).unwrap_or_default();
    for (i, (&label, &(name, classes))) in labels.iter().zip(kind.labels).enumerate() {
        if label >= classes {
            let reason = format!("byte {}: {name} {label} is out of range, there are {classes} classes", offset + i);
            return Err(Error::data(file, format!("{reason}; the file is damaged, unpack the archive again")));
        }
    }
    Ok((labels.last().copied().unwrap_or_default(), planes))
}

fn class_names(path: &Path, kind: &Kind) -> Result<Vec<String>> {
    let file = path.join(kind.names);
    let count = usize::from(kind.classes());
    let text = match std::fs::read(&file) {
        Ok(bytes) => String::from_utf8(bytes).map_err(|_| Error::data(&file, "the names of classes are not UTF-8"))?,
        Err(source) if source.kind() == std::io::ErrorKind::NotFound => return Ok((0..count).map(|i| i.to_string()).collect()),
        Err(source) => return Err(Error::io("reading", &file, source)),
    };
    let names: Vec<String> = text.lines().map(str::trim).filter(|line| !line.is_empty()).map(str::to_owned).collect();
    if names.len() != count {
        let reason = format!("there are {} names of classes where {count} belong; correct or delete the file", names.len());
        return Err(Error::data(&file, reason));
    }
    Ok(names)
}
