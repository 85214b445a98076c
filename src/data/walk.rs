//! Which files of a folder are images, and of which class.

use super::decode;
use crate::error::{Error, Result};
use std::collections::{BTreeMap, BTreeSet, HashSet};
use std::io::Read;
use std::path::{Path, PathBuf};

/// The extensions, in lower case, of files that are taken for images.
pub const EXTENSIONS: [&str; 12] = ["png", "apng", "jpg", "jpeg", "jpe", "jfif", "gif", "webp", "bmp", "dib", "tif", "tiff"];

/// A file that is taken for an image.
pub(super) struct Found {
    pub(super) path: PathBuf,
    pub(super) name: String,
    pub(super) label: Option<u32>,
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

/// Lists a folder and those in it. A folder that is reached twice, through links, is read the first time only.
pub(super) fn walk(root: &Path) -> Result<Listing> {
    let mut listing = Listing { empty: true, ..Listing::default() };
    let mut seen = HashSet::new();
    let mut folders = vec![(root.to_owned(), String::new())];
    while let Some((folder, prefix)) = folders.pop() {
        let real = std::fs::canonicalize(&folder).map_err(|source| Error::io("opening the folder", &folder, source))?;
        if !seen.insert(real) {
            continue;
        }
        let mut inner = Vec::new();
        for (name, path) in entries(&folder)? {
            listing.empty = false;
            let name = format!("{prefix}{name}");
            // Follows links; a link to nothing is taken for a file, which then cannot be read.
            match std::fs::metadata(&path).map(|data| data.file_type()) {
                Ok(kind) if kind.is_dir() => inner.push((path, format!("{name}/"))),
                Ok(kind) if !kind.is_file() => listing.not_images.push(path),
                _ if is_image(&path) => listing.files.push(Found { path, name, label: None }),
                _ => listing.not_images.push(path),
            }
        }
        folders.extend(inner.into_iter().rev());
    }
    listing.files.sort_by(|a, b| (&a.name, &a.path).cmp(&(&b.name, &b.path)));
    listing.not_images.sort();
    label(&mut listing);
    Ok(listing)
}

/// The entries of a folder that are not hidden, by name.
fn entries(folder: &Path) -> Result<BTreeSet<(String, PathBuf)>> {
    let failed = |source| Error::io("reading the folder", folder, source);
    let mut entries = BTreeSet::new();
    for entry in std::fs::read_dir(folder).map_err(failed)? {
        let entry = entry.map_err(failed)?;
        let name = entry.file_name().to_string_lossy().into_owned();
        if !name.starts_with('.') {
            entries.insert((name, entry.path()));
        }
    }
    Ok(entries)
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
    let class = |name: &str| name.split_once('/').map(|(class, _)| class.to_owned());
    let classes: BTreeMap<String, u32> =
        listing.files.iter().filter_map(|file| class(&file.name)).collect::<BTreeSet<_>>().into_iter().zip(0..).collect();
    for file in &mut listing.files {
        file.label = class(&file.name).and_then(|class| classes.get(&class).copied());
    }
    listing.classes = classes.into_keys().collect();
}
