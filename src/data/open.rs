//! Opening a folder, whichever kind of data set it holds.

use super::{CifarBinary, Dataset, Known, LabelFile, LabelRules, Labelled, Meter};
use crate::error::{Error, Result};
use std::path::{Path, PathBuf};
use std::sync::Arc;

/// What an image file may ask for at most. What exceeds a limit is refused before it is read or decoded.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Limits {
    /// Pixels, width × height; 100 million by default.
    pub pixels: u64,
    /// Bytes of the file; 256 MiB by default.
    pub file_bytes: u64,
}

impl Default for Limits {
    fn default() -> Self {
        Self { pixels: 100_000_000, file_bytes: 256 << 20 }
    }
}

#[cfg(feature = "images")]
impl Limits {
    /// Refuse a file of more bytes.
    pub(super) fn check_file(&self, bytes: u64) -> std::result::Result<(), String> {
        if bytes <= self.file_bytes {
            return Ok(());
        }
        let limit = self.file_bytes;
        Err(format!("the file has {bytes} bytes, over the limit of {limit}; raise --max-file-bytes (`Limits::file_bytes`)"))
    }

    /// Refuse an image of more pixels.
    pub(super) fn check_pixels(&self, [width, height]: [u32; 2]) -> std::result::Result<(), String> {
        let (pixels, limit) = (u64::from(width) * u64::from(height), self.pixels);
        if pixels <= limit {
            return Ok(());
        }
        let asked = format!("the image has {width} × {height} = {pixels} pixels");
        Err(format!("{asked}, over the limit of {limit}; raise --max-pixels (`Limits::pixels`)"))
    }
}

/// The part of a data set that has parts.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Split {
    /// The images to train on.
    #[default]
    Train,
    /// The images to test with.
    Test,
}

/// How to open a data set.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Options {
    /// Which images of a CIFAR folder; a folder of images has no parts, so it goes without a meaning there.
    pub split: Split,
    /// At most this many images of each class: the first ones in the order of names (CIFAR: of records). Images
    /// without a label count as a class. The classes are those of the folder, also where `labels` names others.
    pub limit: Option<usize>,
    /// The most pixels that an image's shorter side keeps: larger images are reduced, with a triangle filter as wide
    /// as the reduction; none is enlarged. `None` keeps all as they are.
    pub max_side: Option<u32>,
    /// Patterns of files and folders of a folder of images that are left out: `*_thumb.*` is about the last part of a name, and one with
    /// a slash, as `raw/**`, about the whole name below the folder.
    pub exclude: Vec<String>,
    /// Whether images, and folders of them, that cannot be read are left out and reported, instead of being an error.
    pub skip_broken: bool,
    /// Threads that decode; 0 stands for one a core. The result does not depend on it.
    pub threads: usize,
    /// Bytes of pixels that are kept in memory, 4 GiB by default: images are kept in their order until the first one
    /// that does not fit; it and those after it are decoded each time they are asked for.
    pub memory_bytes: u64,
    /// What a file may ask for.
    pub limits: Limits,
    /// A label file that takes the place of the folder's labels (see [`LabelFile`]). It may leave images without a label, not all. Labels
    /// of images that are not there are an error, but for those that `limit`, `exclude` or `skip_broken` may have left out.
    pub labels: Option<PathBuf>,
    /// How many classes `labels` may name; `None` takes the number from the file.
    pub classes: Option<u32>,
    /// The names of the images that a folder of images had when a run began, in order, which it is to have again: files that came since
    /// are left out, and what went or broke since keeps its place, as an error when it is asked for. `limit` and
    /// `skip_broken` then change nothing.
    pub names: Option<Arc<[String]>>,
    /// Where a folder of images counts the files that it has listed, and then those that it has read, of how many.
    pub meter: Option<Arc<Meter>>,
    /// Files of a folder of images that need not be read to be opened; what was found under other `limits` has no place here.
    pub known: Option<Arc<Known>>,
}

impl Default for Options {
    fn default() -> Self {
        Self {
            split: Split::Train,
            limit: None,
            max_side: None,
            exclude: Vec::new(),
            skip_broken: false,
            threads: 0,
            memory_bytes: 4 << 30,
            limits: Limits::default(),
            labels: None,
            classes: None,
            names: None,
            meter: None,
            known: None,
        }
    }
}

/// What was found when a data set was opened.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Report {
    /// Images in the data set.
    pub images: usize,
    /// How many of them are kept in memory, from the opening or else from when they are first asked for; the others are
    /// decoded each time they are asked for.
    pub in_memory: usize,
    /// How many were not read, since they were [`Known`] to be good.
    pub known: usize,
    /// Images left out for `limit`.
    pub over_limit: usize,
    /// Broken images that were left out: the file, and what is wrong with it.
    pub skipped: Vec<(PathBuf, String)>,
    /// How many images [`Options::labels`] gives no label.
    pub unlabelled: usize,
    /// The name of the first of them.
    pub first_unlabelled: Option<String>,
    /// The names of images that are one single colour, those of one pixel aside.
    pub single_colour: Vec<String>,
    /// The names of images that come out nearly black, since their samples have more than 8 bits and leave the upper ones unused.
    pub dark: Vec<String>,
    /// Files that are not images.
    pub not_images: Vec<PathBuf>,
    /// How many files that are not images have each extension, in lower case, the most frequent first; `None` stands for none.
    pub extensions: Vec<(Option<String>, usize)>,
    /// Images whose extension is no image's, and whose content is one.
    pub by_content: usize,
    /// Folders of the system that were passed over, such as `@eaDir` or `lost+found`, and how many there were of each name.
    pub system: Vec<(String, usize)>,
    /// Folders that cannot be read and were left out: which, and why.
    pub unreadable: Vec<(PathBuf, String)>,
    /// How many files and folders each pattern of [`Options::exclude`] left out.
    pub excluded: Vec<usize>,
}

/// A data set and what was found when it was opened.
pub struct Opened {
    /// The images.
    pub dataset: Box<dyn Dataset>,
    /// How many there are and what was left out.
    pub report: Report,
    /// What the next opening need not read, of a folder of images.
    pub known: Known,
}

/// Opens the folder `path`: as CIFAR where it has a binary file of CIFAR in it (see [`CifarBinary`]), else as a folder
/// of images (see `ImageFolder`, with the feature `images`).
///
/// # Errors
/// Those of [`CifarBinary::open`] and `ImageFolder::open`, of [`LabelFile::read`] and [`LabelFile::apply`].
/// [`Error::Data`] for a folder of images if the crate was built without the feature `images`.
pub fn open(path: impl AsRef<Path>, options: &Options) -> Result<Opened> {
    let path = path.as_ref();
    let opened = match CifarBinary::is_at(path) {
        true => cifar(path, options),
        // Files with CIFAR's names that are something else, or damaged: the images beside them count, if there are any.
        false => {
            folder(path, options).or_else(|error| if CifarBinary::has_names(path) { cifar(path, options) } else { Err(error) })
        }
    }?;
    let Some(file) = &options.labels else { return Ok(opened) };
    let Opened { dataset, report, known } = opened;
    let rules = LabelRules {
        classes: options.classes,
        allow_extra: options.limit.is_some() || options.skip_broken || !options.exclude.is_empty(),
        allow_missing: true,
    };
    let labels = LabelFile::read(file)?.apply((0..dataset.len()).map(|i| dataset.name(i)), &rules)?;
    let mut without = labels.labels.iter().zip(0..).filter(|(label, _)| label.is_none()).map(|(_, i)| dataset.name(i));
    let first_unlabelled = without.next().map(str::to_owned);
    let unlabelled = without.count() + usize::from(first_unlabelled.is_some());
    let report = Report { unlabelled, first_unlabelled, ..report };
    Ok(Opened { dataset: Box::new(Labelled::new(dataset, labels)?), report, known })
}

/// An error unless `path` is a folder that is there.
pub(super) fn check_folder(path: &Path) -> Result<()> {
    match std::fs::metadata(path) {
        Ok(data) if data.is_dir() => Ok(()),
        Ok(_) => Err(Error::data(path, "this is a file, not a folder; name the folder that holds the images")),
        Err(source) if source.kind() == std::io::ErrorKind::NotFound => {
            Err(Error::data(path, "there is no such folder; check the path"))
        }
        Err(source) => Err(Error::io("opening the folder", path, source)),
    }
}

fn cifar(path: &Path, options: &Options) -> Result<Opened> {
    let set = CifarBinary::open(path, options.split, options.limit)?;
    let report = set.report();
    Ok(Opened { dataset: Box::new(set), report, known: Known::default() })
}

#[cfg(feature = "images")]
fn folder(path: &Path, options: &Options) -> Result<Opened> {
    let (set, known) = super::ImageFolder::scan(path, options)?;
    let report = set.report().clone();
    Ok(Opened { dataset: Box::new(set), report, known })
}

#[cfg(not(feature = "images"))]
fn folder(path: &Path, _options: &Options) -> Result<Opened> {
    check_folder(path)?;
    Err(Error::data(path, "no CIFAR file is in it, and this build reads no images; build with the feature `images`"))
}
