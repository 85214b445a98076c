//! A folder of images.

use super::decode::{self, Fault, Oddity};
use super::known::{Good, Known, fingerprint, fresh};
use super::loader::threads_for;
use super::open::check_folder;
use super::room::Room;
use super::walk::{self, EXTENSIONS, Found, Listing, Walk};
use super::{Dataset, Image, Limits, Options, Report, no_image};
use crate::error::{Error, Result};
use crate::name::shown;
use std::collections::{BTreeMap, HashMap};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Mutex, OnceLock, PoisonError};
use std::time::SystemTime;

/// The images of a folder and of the folders in it, in the order of their names (by bytes).
///
/// *Labels.* The folder in which an image lies, on the first level, is its class, whatever folders are in between; an
/// image that lies in no folder has no label. Classes are counted in the order of their names; a folder without an
/// image is none.
///
/// *Which files.* A file is taken for an image if its name ends in one of [`EXTENSIONS`], in any case, or if it begins like a PNG,
/// JPEG, GIF or WebP (or, without an extension, like a TIFF) and is no unfinished download. What is then found in it decides: a PNG
/// named `.jpg` is read as PNG, a text named `.png` is broken. Other files, pipes and devices are listed in the [`Report`]; names that
/// begin with a dot are passed over, and so are folders that systems put beside people's files, such as `@eaDir`, `$RECYCLE.BIN` and
/// `lost+found`. Links are followed; a folder that is reached twice is read once, under the name that is found first.
///
/// *Reading.* All files are read and checked when the folder is opened, and decoded (as [`decode`](super::decode) says)
/// as far as [`Options::memory_bytes`] holds them. Those past that are decoded when asked for: so long only their
/// format, their size and a JPEG's end have been looked at, and [`Dataset::image`] may find one broken. A file that is
/// [`Known`] to be good is not read when the folder is opened, but when it is asked for.
pub struct ImageFolder {
    root: PathBuf,
    files: Vec<Entry>,
    classes: Vec<String>,
    limits: Limits,
    max_side: Option<u32>,
    room: Room,
    report: Report,
}

/// An image of the folder.
struct Entry {
    found: Found,
    /// Width and height as stored.
    sides: [u32; 2],
    /// Whether there is room to keep it in memory.
    keep: bool,
    image: OnceLock<Box<Image>>,
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
        Ok(Self::scan(path, options)?.0)
    }

    /// As [`open`](Self::open), and what is known of the files from now on.
    ///
    /// # Errors
    /// Those of [`open`](Self::open).
    pub fn scan(path: impl AsRef<Path>, options: &Options) -> Result<(Self, Known)> {
        let path = path.as_ref();
        for (arg, zero) in [("limit", options.limit == Some(0)), ("max_side", options.max_side == Some(0))] {
            if zero {
                return Err(Error::value("image folder", arg, "at least 1", 0));
            }
        }
        check_folder(path)?;
        let walk = Walk::new(&options.exclude, options.skip_broken, options.meter.as_deref())?;
        let mut listing = walk.list(path)?;
        if listing.files.is_empty() || u32::try_from(listing.files.len()).is_err() {
            return Err(no_images(path, &listing));
        }
        let over_limit = match (&options.names, options.limit) {
            (Some(names), _) => {
                listing.keep(names);
                0
            }
            (None, Some(limit)) => keep_first(&mut listing.files, limit),
            (None, None) => 0,
        };
        let room = Room::new(Room::BYTES);
        let InOrder { done, mut good, unread, .. } = read_all(path, &listing.files, options, &room);
        if let Some(known) = options.known.as_ref().filter(|_| options.limit.is_some() || options.names.is_some()) {
            // The others are still there, and somebody may ask for them.
            good.extend(known.files());
        }
        let total = done.len();

        let mut report = Report {
            over_limit,
            known: unread,
            extensions: walk::by_extension(&listing.not_images),
            not_images: listing.not_images,
            by_content: listing.by_content,
            system: listing.system.into_iter().collect(),
            excluded: listing.excluded,
            unreadable: listing.unreadable,
            ..Report::default()
        };
        let mut files = Vec::with_capacity(total);
        for (found, outcome) in listing.files.into_iter().zip(done) {
            if let Outcome::Kept { good, .. } | Outcome::Later { good } = &outcome {
                let odd = [(good.single_colour, &mut report.single_colour), (good.dark, &mut report.dark)];
                odd.into_iter().filter(|(is, _)| *is).for_each(|(_, names)| names.push(found.name.to_string()));
            }
            match outcome {
                Outcome::Kept { good, image } => files.push(Entry { found, sides: good.sides, keep: true, image }),
                Outcome::Later { good } => files.push(Entry { found, sides: good.sides, keep: false, image: OnceLock::new() }),
                Outcome::Broken(_) if options.names.is_some() => {
                    files.push(Entry { found, sides: [0, 0], keep: false, image: OnceLock::new() });
                }
                Outcome::Broken(reason) => report.skipped.push((found.path(path), reason)),
            }
        }
        if let Some((first, reason)) = report.skipped.first() {
            let broken = report.skipped.len();
            if files.is_empty() {
                return Err(Error::data(first, format!("{reason}; every image of {} is broken ({total})", shown(path))));
            }
            if !options.skip_broken {
                let advice = "mend or delete it, or leave broken images out with --skip-broken (`skip_broken`)";
                return Err(Error::data(first, format!("{reason} (broken: {broken} of {total}); {advice}")));
            }
        }
        report.images = files.len();
        report.in_memory = files.iter().filter(|file| file.keep).count();
        let (root, classes) = (path.to_owned(), listing.classes);
        let set = Self { root, files, classes, limits: options.limits, max_side: options.max_side, room, report };
        Ok((set, Known::new(good)))
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
        self.files.get(i).map_or("", |file| &file.found.name)
    }

    fn label(&self, i: usize) -> Option<u32> {
        self.files.get(i).and_then(|file| file.found.label)
    }

    fn classes(&self) -> &[String] {
        &self.classes
    }

    fn image(&self, i: usize) -> Result<Image> {
        let file = self.files.get(i).ok_or_else(|| no_image(i, self.files.len()))?;
        if let Some(image) = file.image.get() {
            return Ok((**image).clone());
        }
        let path = file.found.path(&self.root);
        let read = load(&path, &self.limits, self.max_side, &self.room);
        let (image, _) = read.map_err(|fault| Error::data(&path, fault.reason()))?;
        // Not where the file has grown since there was found to be room.
        if file.keep && image.rgb.len() as u64 <= bytes_of(file.sides, self.max_side) {
            // Another thread may have been first, with the same image.
            let _ = file.image.set(Box::new(image.clone()));
        }
        Ok(image)
    }

    fn bytes(&self, i: usize) -> Option<u64> {
        self.files.get(i).map(|file| bytes_of(file.sides, self.max_side))
    }
}

/// Bytes of an image with these sides as stored, once it is decoded and reduced.
fn bytes_of(sides: [u32; 2], max_side: Option<u32>) -> u64 {
    let [width, height] = decode::reduced_sides(sides, max_side).map(u64::from);
    3 * width * height
}

fn no_images(path: &Path, listing: &Listing) -> Error {
    if listing.empty {
        return Error::data(path, "the folder is empty; put images into it, or folders of images, one a class");
    }
    if !listing.files.is_empty() {
        return Error::data(path, "there are 2^32 images or more; take a part of them");
    }
    let example = listing.not_images.first().map(|file| format!("; the first is {}", shown(file))).unwrap_or_default();
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

enum Outcome {
    /// There is room for it; the image is there unless it was known.
    Kept {
        good: Good,
        image: OnceLock<Box<Image>>,
    },
    Later {
        good: Good,
    },
    Broken(String),
}

/// What a thread found in a file.
enum Read {
    Decoded(Image, Good),
    /// Known to decode, so that it was not read.
    Known(Good),
    /// Its head alone was looked at: memory was full.
    Checked(Good),
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
    /// Files to be known from now on, in any order.
    good: Vec<(u64, Good)>,
    /// Files that were not read.
    unread: usize,
}

impl InOrder {
    fn add(&mut self, i: usize, read: Read, options: &Options) {
        self.waiting.insert(i, read);
        while let Some(read) = self.waiting.remove(&self.done.len()) {
            let outcome = self.next(read, options);
            self.done.push(outcome);
        }
    }

    fn next(&mut self, read: Read, options: &Options) -> Outcome {
        let (good, image) = match read {
            // Past the first image that does not fit, pixels are not decoded, or not counted where another thread was
            // ahead and did.
            Read::Broken(Fault::Pixels { sides, .. }) if self.full => return Outcome::Later { good: Good::checked(sides) },
            Read::Broken(fault) => return Outcome::Broken(fault.reason()),
            Read::Checked(good) => {
                self.full = true;
                return Outcome::Later { good };
            }
            Read::Decoded(image, good) => (good, OnceLock::from(Box::new(image))),
            Read::Known(good) => (good, OnceLock::new()),
        };
        let bytes = bytes_of(good.sides, options.max_side);
        self.full |= self.held_bytes + bytes > options.memory_bytes;
        if self.full {
            return Outcome::Later { good };
        }
        self.held_bytes += bytes;
        Outcome::Kept { good, image }
    }
}

fn read_all(root: &Path, files: &[Found], options: &Options, room: &Room) -> InOrder {
    options.meter.iter().for_each(|meter| meter.begin(files.len() as u64));
    let (next, full, now) = (AtomicUsize::new(0), AtomicBool::new(false), SystemTime::now());
    let in_order = Mutex::new(InOrder::default());
    let work = || {
        loop {
            let i = next.fetch_add(1, Ordering::Relaxed);
            let Some(file) = files.get(i) else { return };
            let path = file.path(root);
            let data = std::fs::metadata(&path).ok();
            let print = data.as_ref().and_then(|data| fingerprint(&file.name, data));
            let full_now = full.load(Ordering::Relaxed);
            let seen = print.and_then(|print| options.known.as_ref()?.get(print));
            // Of a file whose head alone was looked at, the pixels are decoded if now there is room for them.
            let known = seen.filter(|good| good.decoded || full_now);
            let unread = known.is_some();
            let read = match known {
                Some(good) if good.decoded => Read::Known(good),
                Some(good) => Read::Checked(good),
                None => read(&path, options, full_now, room),
            };
            let good = match &read {
                Read::Known(good) | Read::Decoded(_, good) | Read::Checked(good) => Some(*good),
                Read::Broken(_) => None,
            };
            let lasting = seen.is_some() || data.is_some_and(|data| !fresh(&data, now));
            let mut in_order = in_order.lock().unwrap_or_else(PoisonError::into_inner);
            in_order.unread += usize::from(unread);
            in_order.good.extend(print.zip(good).filter(|_| lasting));
            in_order.add(i, read, options);
            options.meter.iter().for_each(|meter| meter.count(1));
            full.store(in_order.full, Ordering::Relaxed);
        }
    };
    let threads = threads_for(options.threads);
    std::thread::scope(|scope| {
        for _ in 1..threads.min(files.len()) {
            // The others do the work of one that does not start.
            let _ = std::thread::Builder::new().name("decoder".into()).spawn_scoped(scope, work);
        }
        work();
    });
    in_order.into_inner().unwrap_or_else(PoisonError::into_inner)
}

fn read(path: &Path, options: &Options, only_check: bool, room: &Room) -> Read {
    let Options { limits, max_side, .. } = options;
    if only_check {
        let header = decode::read(path, limits).and_then(|bytes| decode::header(&bytes, limits));
        return match header {
            Ok(header) => Read::Checked(Good::checked(header.sides)),
            Err(reason) => Read::Broken(Fault::Before(reason)),
        };
    }
    match load(path, limits, *max_side, room) {
        Ok((image, good)) => Read::Decoded(image, good),
        Err(fault) => Read::Broken(fault),
    }
}

/// The image in a file, within the room that there is for decoding, and what is known of it then.
fn load(path: &Path, limits: &Limits, max_side: Option<u32>, room: &Room) -> std::result::Result<(Image, Good), Fault> {
    let length = std::fs::metadata(path).map_or(0, |data| data.len().min(limits.file_bytes));
    let mut part = room.part(length);
    let bytes = decode::read(path, limits).map_err(Fault::Before)?;
    let header = decode::header(&bytes, limits).map_err(Fault::Before)?;
    part.decode(header.need(max_side));
    let (image, Oddity { single_colour, dark }) = decode::pixels(&bytes, &header, limits, max_side)?;
    Ok((image, Good { sides: header.sides, decoded: true, single_colour, dark }))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn past_the_first_that_does_not_fit_nothing_is_kept_and_faults_of_decoding_do_not_count() {
        let image = |bytes: u32| {
            Read::Decoded(Image { width: bytes / 3, height: 1, rgb: vec![0; bytes as usize] }, Good::checked([bytes / 3, 1]))
        };
        let options = Options { memory_bytes: 6, ..Options::default() };
        let mut in_order = InOrder::default();
        // Other threads were ahead and decoded what would not have been decoded in order.
        in_order.add(4, image(3), &options);
        in_order.add(3, Read::Broken(Fault::Before("no header".into())), &options);
        in_order.add(2, Read::Broken(Fault::Pixels { reason: "cut off".into(), sides: [1, 1] }), &options);
        in_order.add(1, image(6), &options);
        assert!(in_order.done.is_empty());
        in_order.add(0, image(3), &options);
        assert!(matches!(
            &in_order.done[..],
            [Outcome::Kept { .. }, Outcome::Later { .. }, Outcome::Later { .. }, Outcome::Broken(_), Outcome::Later { .. }]
        ));
    }
}
