//! Which files of a folder are images, and of which class.

use super::decode;
use crate::error::{Error, Result};
use std::borrow::Cow;
use std::collections::{BTreeMap, BTreeSet, HashSet};
use std::io::Read;
use std::path::{Path, PathBuf};

/// The extensions, in lower case, of files that are taken for images.
pub const EXTENSIONS: [&str; 12] = ["png", "apng", "jpg", "jpeg", "jpe", "jfif", "gif", "webp", "bmp", "dib", "tif", "tiff"];

/// A file that is taken for an image. There may be millions, so it is small.
#[derive(PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Found {
    pub(super) name: Box<str>,
    /// Where it is, if the name does not say: a name that is not UTF-8 has been changed to be.
    elsewhere: Option<Box<Path>>,
    pub(super) label: Option<u32>,
}

impl Found {
    /// The file, in the folder `root` that was walked.
    pub(super) fn path(&self, root: &Path) -> PathBuf {
        match &self.elsewhere {
            Some(path) => path.to_path_buf(),
            None => root.iter().chain(self.name.split('/').map(AsRef::as_ref)).collect(),
        }
    }
}

/// What is in a folder, sorted by name.
#[derive(Default)]
pub(super) struct Listing {
    pub(super) files: Vec<Found>,
    pub(super) not_images: Vec<PathBuf>,
    pub(super) classes: Vec<String>,
    /// Whether nothing at all was in the folder itself, hidden entries aside.
    pub(super) empty: bool,
}

impl Listing {
    /// Leaves the files with these names, which are in order, and makes up those that are not there.
    pub(super) fn keep(&mut self, names: &[String]) {
        let mut there = std::mem::take(&mut self.files).into_iter().peekable();
        for name in names {
            while there.next_if(|file| *file.name < **name).is_some() {}
            let found = there.next_if(|file| *file.name == **name);
            self.files.push(found.unwrap_or_else(|| Found { name: name.as_str().into(), elsewhere: None, label: None }));
        }
        label(self);
    }
}

/// A folder to be listed: where it is, what stands before the names in it, and whether its own name was UTF-8.
struct Folder {
    path: PathBuf,
    prefix: String,
    plain: bool,
}

/// Lists a folder and those in it. A folder that is reached twice, through links, is read the first time only.
pub(super) fn walk(root: &Path) -> Result<Listing> {
    let mut listing = Listing { empty: true, ..Listing::default() };
    let mut seen = HashSet::new();
    let mut folders = vec![Folder { path: root.to_owned(), prefix: String::new(), plain: true }];
    while let Some(folder) = folders.pop() {
        let real = std::fs::canonicalize(&folder.path).map_err(|source| Error::io("opening the folder", &folder.path, source))?;
        if !seen.insert(real) {
            continue;
        }
        let mut inner = entries(&folder, &mut listing)?;
        inner.sort_by(|a, b| (&b.prefix, &b.path).cmp(&(&a.prefix, &a.path)));
        folders.extend(inner);
    }
    listing.files.sort();
    listing.not_images.sort();
    label(&mut listing);
    Ok(listing)
}

/// Adds the files of a folder to the listing, and returns the folders in it. What is hidden is passed over.
fn entries(folder: &Folder, listing: &mut Listing) -> Result<Vec<Folder>> {
    let failed = |source| Error::io("reading the folder", &folder.path, source);
    let mut inner = Vec::new();
    for entry in std::fs::read_dir(&folder.path).map_err(failed)? {
        let entry = entry.map_err(failed)?;
        let file_name = entry.file_name();
        let name = file_name.to_string_lossy();
        if name.starts_with('.') {
            continue;
        }
        listing.empty = false;
        let path = entry.path();
        let plain = folder.plain && matches!(name, Cow::Borrowed(_));
        let name = format!("{}{name}", folder.prefix);
        // The listing itself tells what is no link. A link to nothing is taken for a file, which then cannot be read.
        let kind = match entry.file_type() {
            Ok(kind) if !kind.is_symlink() => Ok(kind),
            _ => std::fs::metadata(&path).map(|data| data.file_type()),
        };
        match kind {
            Ok(kind) if kind.is_dir() => inner.push(Folder { path, prefix: format!("{name}/"), plain }),
            Ok(kind) if !kind.is_file() => listing.not_images.push(path),
            _ if is_image(&path) => {
                let elsewhere = (!plain).then(|| path.into_boxed_path());
                listing.files.push(Found { name: name.into_boxed_str(), elsewhere, label: None });
            }
            _ => listing.not_images.push(path),
        }
    }
    Ok(inner)
}

/// By the extension; a file without one is asked for its first bytes. BMP has only two letters there, so a text could
/// be taken for one: it needs the extension.
fn is_image(path: &Path) -> bool {
    if let Some(extension) = path.extension() {
        return EXTENSIONS.iter().any(|known| extension.eq_ignore_ascii_case(known));
    }
    let mut start = Vec::new();
    let read = std::fs::File::open(path).and_then(|file| file.take(16).read_to_end(&mut start));
    read.is_ok() && decode::format(&start).is_some_and(|format| format != image::ImageFormat::Bmp)
}

/// The first folder of a name is its class.
fn label(listing: &mut Listing) {
    let names: BTreeSet<&str> = listing.files.iter().filter_map(|file| Some(file.name.split_once('/')?.0)).collect();
    let classes: Vec<String> = names.into_iter().map(str::to_owned).collect();
    let numbers: BTreeMap<&str, u32> = classes.iter().map(String::as_str).zip(0..).collect();
    for file in &mut listing.files {
        file.label = file.name.split_once('/').and_then(|(class, _)| numbers.get(class).copied());
    }
    listing.classes = classes;
}
