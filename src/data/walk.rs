//! Which files of a folder are images, and of which class.

use super::{Meter, decode};
use crate::error::{Error, Result};
use crate::name::{self, shown};
use glob::{MatchOptions, Pattern};
use std::collections::{BTreeMap, BTreeSet, HashMap, HashSet};
use std::io::Read;
use std::path::{Path, PathBuf};

/// The extensions, in lower case, of files that are taken for images.
pub const EXTENSIONS: [&str; 12] = ["png", "apng", "jpg", "jpeg", "jpe", "jfif", "gif", "webp", "bmp", "dib", "tif", "tiff"];

/// Extensions of downloads that did not end: what is in them begins like an image and is none.
const UNFINISHED: [&str; 6] = ["crdownload", "download", "opdownload", "part", "partial", "tmp"];

/// Folders, in lower case, that systems and devices put beside people's files: thumbnails, bins, snapshots.
const SYSTEM: [&str; 21] = [
    "@eadir",
    "@recently-snapshot",
    "@recycle",
    "@synoeastream",
    "@synoresource",
    "@tmp",
    "#recycle",
    "#snapshot",
    "$recycle.bin",
    "$extend",
    "__macosx",
    "~snapshot",
    "found.000",
    "found.001",
    "lost+found",
    "network trash folder",
    "recycled",
    "recycler",
    "system volume information",
    "temporary items",
    "thevolumesettingsfolder",
];

/// A file that is taken for an image. There may be millions, so it is small.
#[derive(PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Found {
    pub(super) name: Box<str>,
    /// The name of the file that is there, where it is another way to write the name.
    written: Option<Box<str>>,
    pub(super) label: Option<u32>,
}

impl Found {
    fn new(name: &str) -> Self {
        Self { name: name.into(), written: None, label: None }
    }

    /// The file, in the folder `root` that was walked.
    pub(super) fn path(&self, root: &Path) -> PathBuf {
        name::path(root, self.written.as_ref().unwrap_or(&self.name))
    }
}

/// What is in a folder, sorted by name.
#[derive(Default)]
pub(super) struct Listing {
    pub(super) files: Vec<Found>,
    pub(super) not_images: Vec<PathBuf>,
    /// Folders of systems that were passed over, by their names, and how often.
    pub(super) system: BTreeMap<String, usize>,
    /// Folders that cannot be read, and why.
    pub(super) unreadable: Vec<(PathBuf, String)>,
    /// How many files and folders each pattern left out.
    pub(super) excluded: Vec<usize>,
    /// Files whose extension is no image's and whose content is.
    pub(super) by_content: usize,
    pub(super) classes: Vec<String>,
    /// Whether nothing at all was in the folder itself, hidden entries aside.
    pub(super) empty: bool,
}

impl Listing {
    /// Leaves the files with these names and makes up those that are not there. A name that is only written in another form
    /// of Unicode than that of a file is the file's, if no other file has it too.
    pub(super) fn keep(&mut self, names: &[String]) {
        let there = std::mem::take(&mut self.files);
        let exact: HashSet<&str> = there.iter().map(|file| &*file.name).collect();
        let mut alike: HashMap<String, Option<&str>> = HashMap::new();
        for file in &there {
            alike.entry(name::normal(&file.name)).and_modify(|one| *one = None).or_insert(Some(&file.name));
        }
        let found = names.iter().map(|name| {
            let other = (!exact.contains(name.as_str())).then(|| alike.get(&name::normal(name)).copied().flatten());
            Found { written: other.flatten().map(Box::from), ..Found::new(name) }
        });
        self.files = found.collect();
        label(self);
    }
}

/// How a folder is walked.
pub(super) struct Walk<'a> {
    /// What is left out.
    exclude: Vec<Pattern>,
    /// Whether folders that cannot be read are left out.
    skip_broken: bool,
    meter: Option<&'a Meter>,
}

/// A folder to be listed: where it is, and what stands before the names in it.
struct Folder {
    path: PathBuf,
    prefix: String,
}

impl<'a> Walk<'a> {
    /// A walk without what these patterns match.
    ///
    /// # Errors
    /// [`Error::Value`] for a pattern that is none.
    pub(super) fn new(exclude: &[String], skip_broken: bool, meter: Option<&'a Meter>) -> Result<Self> {
        let pattern = |text: &String| {
            let expected = "a pattern such as *_thumb.jpg or raw/**";
            Pattern::new(text).map_err(|error| Error::value("image folder", "--exclude", expected, format!("{text} ({error})")))
        };
        Ok(Self { exclude: exclude.iter().map(pattern).collect::<Result<_>>()?, skip_broken, meter })
    }

    /// Lists a folder and those in it. A folder that is reached twice, through links, is read the first time only.
    ///
    /// # Errors
    /// [`Error::Data`] for a folder that cannot be read, unless such ones are left out.
    pub(super) fn list(&self, root: &Path) -> Result<Listing> {
        self.meter.iter().for_each(|meter| meter.begin(0));
        let mut listing = Listing { empty: true, excluded: vec![0; self.exclude.len()], ..Listing::default() };
        let mut seen = HashSet::new();
        let mut folders = vec![Folder { path: root.to_owned(), prefix: String::new() }];
        while let Some(folder) = folders.pop() {
            let new = std::fs::canonicalize(&folder.path).map(|real| seen.insert(real));
            let inner = new.and_then(|new| if new { self.entries(&folder, &mut listing) } else { Ok(Vec::new()) });
            match inner {
                Ok(mut inner) => {
                    inner.sort_by(|a, b| b.prefix.cmp(&a.prefix));
                    folders.extend(inner);
                }
                Err(error) => self.unreadable(&mut listing, &folder, error)?,
            }
        }
        listing.files.sort();
        listing.not_images.sort();
        label(&mut listing);
        Ok(listing)
    }

    fn unreadable(&self, listing: &mut Listing, folder: &Folder, error: std::io::Error) -> Result<()> {
        let reason = format!("the folder cannot be read: {error}");
        if !self.skip_broken || folder.prefix.is_empty() {
            let advice = "allow it, or leave it out with --exclude or --skip-broken (`skip_broken`)";
            return Err(Error::data(&folder.path, format!("{reason}; {advice}")));
        }
        listing.unreadable.push((folder.path.clone(), reason));
        Ok(())
    }

    /// Adds the files of a folder to the listing, and returns the folders in it. What is hidden is passed over.
    fn entries(&self, folder: &Folder, listing: &mut Listing) -> std::io::Result<Vec<Folder>> {
        let mut inner = Vec::new();
        for entry in std::fs::read_dir(&folder.path)? {
            let entry = entry?;
            let file_name = name::text(&entry.file_name());
            if file_name.starts_with('.') {
                continue;
            }
            listing.empty = false;
            let name = format!("{}{file_name}", folder.prefix);
            if let Some(count) = self.excluding(&file_name, &name).and_then(|i| listing.excluded.get_mut(i)) {
                *count += 1;
                continue;
            }
            let path = entry.path();
            // The listing itself tells what is no link. A link to nothing is taken for a file, which then cannot be read.
            let kind = match entry.file_type() {
                Ok(kind) if !kind.is_symlink() => Ok(kind),
                _ => std::fs::metadata(&path).map(|data| data.file_type()),
            };
            match kind {
                Ok(kind) if kind.is_dir() => {
                    if SYSTEM.contains(&file_name.to_lowercase().as_str()) {
                        *listing.system.entry(file_name).or_default() += 1;
                    } else {
                        inner.push(Folder { path, prefix: format!("{name}/") });
                    }
                }
                Ok(kind) if !kind.is_file() => listing.not_images.push(path),
                _ => match what(&path) {
                    Some(by_content) => {
                        listing.by_content += usize::from(by_content);
                        listing.files.push(Found::new(&name));
                        self.meter.iter().for_each(|meter| meter.count(1));
                    }
                    None => listing.not_images.push(path),
                },
            }
        }
        Ok(inner)
    }

    /// The first pattern that leaves this out: one with a slash is about the whole name, another about its last part.
    fn excluding(&self, file_name: &str, name: &str) -> Option<usize> {
        let options = MatchOptions { require_literal_separator: true, ..MatchOptions::new() };
        self.exclude.iter().position(|pattern| {
            let text = if pattern.as_str().contains('/') { name } else { file_name };
            pattern.matches_with(text, options)
        })
    }
}

/// Whether a file is an image: `None` if not, else whether its content alone says so, under an extension that is no image's.
///
/// Of BMP only two letters are in the content, so a text could be taken for one. Raw photos begin like a TIFF. Both need their extension,
/// but for a TIFF without any.
fn what(path: &Path) -> Option<bool> {
    let extension = path.extension();
    let is = |known: &[&str]| extension.is_some_and(|e| known.iter().any(|known| e.eq_ignore_ascii_case(known)));
    if is(&EXTENSIONS) {
        return Some(false);
    }
    if is(&UNFINISHED) {
        return None;
    }
    let mut start = Vec::new();
    std::fs::File::open(path).and_then(|file| file.take(16).read_to_end(&mut start)).ok()?;
    match decode::format(&start)? {
        image::ImageFormat::Bmp => None,
        image::ImageFormat::Tiff if extension.is_some() => None,
        _ => Some(extension.is_some()),
    }
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

/// How many files there are of each extension, in lower case; `None` for those without one. The most frequent first.
pub(super) fn by_extension(files: &[PathBuf]) -> Vec<(Option<String>, usize)> {
    let mut counts: BTreeMap<Option<String>, usize> = BTreeMap::new();
    for file in files {
        *counts.entry(file.extension().map(|e| shown(e.as_ref()).to_lowercase())).or_default() += 1;
    }
    let mut counts: Vec<_> = counts.into_iter().collect();
    counts.sort_by_key(|(_, count)| std::cmp::Reverse(*count));
    counts
}
