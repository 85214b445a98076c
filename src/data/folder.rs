//! A folder of images.

use super::decode::{self, Fault};
use super::open::check_folder;
use super::walk::{self, EXTENSIONS, Found, Listing};
use super::{Dataset, Image, Limits, Options, Report, no_image};
use crate::error::{Error, Result};
use std::collections::{BTreeMap, HashMap};
use std::path::Path;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Mutex, PoisonError};

/// The images of a folder and of the folders in it, in the order of their names (by bytes).
///
/// *Labels.* The folder in which an image lies, on the first level, is its class, whatever folders are in between; an
/// image that lies in no folder has no label. Classes are counted in the order of their names; a folder without an
/// image is none.
///
/// *Which files.* A file is taken for an image if its name ends in one of [`EXTENSIONS`], in any case, or if it has no
/// extension and begins like a PNG, JPEG, GIF, WebP or TIFF. What is then found in it decides: a PNG named `.jpg` is read
/// as PNG, a text named `.png` is broken. Other files, pipes and devices are listed in the [`Report`]; names that
/// begin with a dot are passed over. Links are followed; a folder that is reached twice is read once, under the
/// name that is found first.
///
/// *Reading.* All files are read and checked when the folder is opened, and decoded (as [`decode`](super::decode) says)
/// as far as [`Options::memory_bytes`] holds them. Those past that are decoded when asked for: so long only their
/// format, their size and a JPEG's end have been looked at, and [`Dataset::image`] may find one broken.
pub struct ImageFolder {
    files: Vec<(Found, Option<Image>)>,
    classes: Vec<String>,
    limits: Limits,
    max_side: Option<u32>,
    report: Report,
}

enum Outcome {
    Kept(Image),
    Later,
    Broken(String),
}

impl ImageFolder {
    /// Opens a folder. `split`, `labels` and `classes` of the options go without a meaning here: see
    /// [`open`](super::open).
    ///
    /// # Errors
    /// [`Error::Data`]: no such folder, not a folder, an empty folder, a folder without an image; broken images, of
    /// which the first is named, unless `skip_broken` is set and others are left. [`Error::Value`] for a `limit` or
    /// `max_side` of 0. [`Error::Io`] if a folder cannot be read.
    pub fn open(path: impl AsRef<Path>, options: &Options) -> Result<Self> {
        let path = path.as_ref();
        for (arg, zero) in [("limit", options.limit == Some(0)), ("max_side", options.max_side == Some(0))] {
            if zero {
                return Err(Error::value("image folder", arg, "at least 1", 0));
            }
        }
        check_folder(path)?;
        let mut listing = walk::walk(path)?;
        if listing.files.is_empty() || u32::try_from(listing.files.len()).is_err() {
            return Err(no_images(path, &listing));
        }
        let over_limit = options.limit.map_or(0, |limit| keep_first(&mut listing.files, limit));
        let outcomes = read_all(&listing.files, options);
        let total = outcomes.len();

        let mut report = Report { over_limit, not_images: listing.not_images, ..Report::default() };
        let mut files = Vec::new();
        for (file, outcome) in listing.files.into_iter().zip(outcomes) {
            match outcome {
                Outcome::Kept(image) => files.push((file, Some(image))),
                Outcome::Later => files.push((file, None)),
                Outcome::Broken(reason) => report.skipped.push((file.path, reason)),
            }
        }
        if let Some((first, reason)) = report.skipped.first() {
            let broken = report.skipped.len();
            if files.is_empty() {
                return Err(Error::data(first, format!("{reason}; every image of {} is broken ({total})", path.display())));
            }
            if !options.skip_broken {
                let advice = "mend or delete it, or leave broken images out with --skip-broken (`skip_broken`)";
                return Err(Error::data(first, format!("{reason} (broken: {broken} of {total}); {advice}")));
            }
        }
        report.images = files.len();
        report.in_memory = files.iter().filter(|(_, image)| image.is_some()).count();
        Ok(Self { files, classes: listing.classes, limits: options.limits, max_side: options.max_side, report })
    }

    /// What was found.
    pub fn report(&self) -> &Report {
        &self.report
    }
}

impl Dataset for ImageFolder {
    fn len(&self) -> usize {
        self.files.len()
    }

    fn name(&self, i: usize) -> &str {
        self.files.get(i).map_or("", |(file, _)| &file.name)
    }

    fn label(&self, i: usize) -> Option<u32> {
        self.files.get(i).and_then(|(file, _)| file.label)
    }

    fn classes(&self) -> &[String] {
        &self.classes
    }

    fn image(&self, i: usize) -> Result<Image> {
        let (file, image) = self.files.get(i).ok_or_else(|| no_image(i, self.files.len()))?;
        if let Some(image) = image {
            return Ok(image.clone());
        }
        let bytes = decode::read(&file.path, &self.limits).map_err(|reason| Error::data(&file.path, reason))?;
        decode::decode(&file.path, &bytes, &self.limits, self.max_side)
    }
}

fn no_images(path: &Path, listing: &Listing) -> Error {
    if listing.empty {
        return Error::data(path, "the folder is empty; put images into it, or folders of images, one a class");
    }
    if !listing.files.is_empty() {
        return Error::data(path, "there are 2^32 images or more; take a part of them");
    }
    let example = listing.not_images.first().map(|file| format!("; the first is {}", file.display())).unwrap_or_default();
    let reason = format!("no file in it is an image (there are {}{example})", listing.not_images.len());
    Error::data(path, format!("{reason}; files ending in {} are read", EXTENSIONS.join(", ")))
}

/// Leaves the first `limit` files of each class, and says how many were taken out.
fn keep_first(files: &mut Vec<Found>, limit: usize) -> usize {
    let before = files.len();
    let mut counts: HashMap<Option<u32>, usize> = HashMap::new();
    files.retain(|file| {
        let count = counts.entry(file.label).or_default();
        *count += 1;
        *count <= limit
    });
    before - files.len()
}

/// What a thread found in a file.
enum Read {
    Image(Image),
    /// Checked, but not decoded: memory was full.
    Checked,
    Broken(Fault),
}

/// Takes what the threads found in the order of the files, so that which images are kept, and which faults count, does
/// not depend on which thread was first.
#[derive(Default)]
struct InOrder {
    waiting: BTreeMap<usize, Read>,
    done: Vec<Outcome>,
    held_bytes: u64,
    full: bool,
}

impl InOrder {
    fn add(&mut self, i: usize, read: Read, memory_bytes: u64) {
        self.waiting.insert(i, read);
        while let Some(read) = self.waiting.remove(&self.done.len()) {
            let outcome = match read {
                Read::Image(image) if !self.full && self.held_bytes + image.rgb.len() as u64 <= memory_bytes => {
                    self.held_bytes += image.rgb.len() as u64;
                    Outcome::Kept(image)
                }
                Read::Broken(Fault::Before(reason)) => Outcome::Broken(reason),
                Read::Broken(Fault::Pixels(reason)) if !self.full => Outcome::Broken(reason),
                // Past the first image that does not fit, pixels are not decoded, or not counted where another thread
                // was ahead and did.
                Read::Image(_) | Read::Checked | Read::Broken(Fault::Pixels(_)) => {
                    self.full = true;
                    Outcome::Later
                }
            };
            self.done.push(outcome);
        }
    }
}

fn read_all(files: &[Found], options: &Options) -> Vec<Outcome> {
    let (next, full) = (AtomicUsize::new(0), AtomicBool::new(false));
    let in_order = Mutex::new(InOrder::default());
    let work = || {
        loop {
            let i = next.fetch_add(1, Ordering::Relaxed);
            let Some(file) = files.get(i) else { return };
            let read = read(file, options, full.load(Ordering::Relaxed));
            let mut in_order = in_order.lock().unwrap_or_else(PoisonError::into_inner);
            in_order.add(i, read, options.memory_bytes);
            full.store(in_order.full, Ordering::Relaxed);
        }
    };
    let threads = match options.threads {
        0 => std::thread::available_parallelism().map_or(1, std::num::NonZero::get),
        threads => threads,
    };
    std::thread::scope(|scope| {
        for _ in 1..threads.min(files.len()) {
            // The others do the work of one that does not start.
            let _ = std::thread::Builder::new().name("decoder".into()).spawn_scoped(scope, work);
        }
        work();
    });
    in_order.into_inner().unwrap_or_else(PoisonError::into_inner).done
}

fn read(file: &Found, options: &Options, only_check: bool) -> Read {
    let bytes = match decode::read(&file.path, &options.limits) {
        Ok(bytes) => bytes,
        Err(reason) => return Read::Broken(Fault::Before(reason)),
    };
    if only_check {
        return decode::check(&bytes, &options.limits)
            .map_or_else(|reason| Read::Broken(Fault::Before(reason)), |()| Read::Checked);
    }
    decode::pixels(&bytes, &options.limits, options.max_side).map_or_else(Read::Broken, Read::Image)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn past_the_first_that_does_not_fit_nothing_is_kept_and_faults_of_decoding_do_not_count() {
        let image = |bytes: u32| Read::Image(Image { width: bytes / 3, height: 1, rgb: vec![0; bytes as usize] });
        let mut in_order = InOrder::default();
        // Other threads were ahead and decoded what would not have been decoded in order.
        in_order.add(4, image(3), 6);
        in_order.add(3, Read::Broken(Fault::Before("no header".into())), 6);
        in_order.add(2, Read::Broken(Fault::Pixels("cut off".into())), 6);
        in_order.add(1, image(6), 6);
        assert!(in_order.done.is_empty());
        in_order.add(0, image(3), 6);
        assert!(matches!(
            &in_order.done[..],
            [Outcome::Kept(_), Outcome::Later, Outcome::Later, Outcome::Broken(_), Outcome::Later]
        ));
    }
}
