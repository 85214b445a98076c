//! What an earlier look at a folder's files has found.

use super::Limits;
use serde::Serialize;
use std::fs::Metadata;
use std::path::Path;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

/// The image files of a folder that were read once and found good, so that they need not be read again to say so.
///
/// A file is known by its name, its size and its time stamp: on Unix the time of its last change of any kind, which programs
/// cannot set; elsewhere that of its last writing, which they can. So a file that was written to, replaced or renamed is
/// unknown, and read anew. What goes unseen: other contents of the same size with the same stamp (off Unix, or on a disk
/// that was changed behind the system's back), and damage to the disk itself. A file that changed in the last two seconds
/// before it was read is not taken in, since stamps are coarse. Broken files are never known.
///
/// [`encode`](Self::encode) and [`decode`](Self::decode) turn it into bytes for a file and back.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Known {
    /// Sorted by fingerprint.
    files: Vec<(u64, Good)>,
}

/// A file that was found good.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Good {
    /// Width and height as stored.
    pub(super) sides: [u32; 2],
    /// Whether its pixels were decoded too, not only its head looked at.
    pub(super) decoded: bool,
    /// Whether they were a single colour.
    pub(super) single_colour: bool,
    /// Whether they were nearly black.
    pub(super) dark: bool,
}

impl Good {
    /// A file whose head alone was looked at.
    #[cfg_attr(not(feature = "images"), allow(dead_code, reason = "only folders of images know files"))]
    pub(super) fn checked(sides: [u32; 2]) -> Self {
        Self::new(sides, 0)
    }

    /// What is known of it, beside its sides, as the bits of a word.
    fn word(self) -> u32 {
        [self.decoded, self.single_colour, self.dark].iter().rev().fold(0, |word, bit| word << 1 | u32::from(*bit))
    }

    fn new(sides: [u32; 2], word: u32) -> Self {
        let bit = |i: u32| word >> i & 1 == 1;
        Self { sides, decoded: bit(0), single_colour: bit(1), dark: bit(2) }
    }
}

/// Bytes of a file in [`Known::encode`]: fingerprint, width, height, what else is known.
const RECORD: usize = 20;
/// How long after its last change a file may change again without another stamp.
const COARSE: Duration = Duration::from_secs(2);

impl Known {
    /// Of two entries about the same file it keeps the one that says more.
    pub(super) fn new(mut files: Vec<(u64, Good)>) -> Self {
        files.sort_unstable_by_key(|(fingerprint, good)| (*fingerprint, !good.decoded));
        files.dedup_by_key(|(fingerprint, _)| *fingerprint);
        Self { files }
    }

    pub(super) fn files(&self) -> &[(u64, Good)] {
        &self.files
    }

    /// How many files it knows.
    pub fn len(&self) -> usize {
        self.files.len()
    }

    /// Whether it knows none.
    pub fn is_empty(&self) -> bool {
        self.files.is_empty()
    }

    pub(super) fn get(&self, fingerprint: u64) -> Option<Good> {
        let place = self.files.binary_search_by_key(&fingerprint, |(known, _)| *known).ok()?;
        self.files.get(place).map(|(_, good)| *good)
    }

    /// The bytes of a file that keeps it: a line that says of which folder, version and limits it holds, 20 bytes an image, and
    /// a checksum of all that.
    pub fn encode(&self, folder: &Path, limits: &Limits) -> Vec<u8> {
        let mut bytes = head(folder, limits).into_bytes();
        bytes.reserve(self.files.len() * RECORD + 4);
        for (fingerprint, good) in &self.files {
            bytes.extend(fingerprint.to_le_bytes());
            good.sides.iter().chain(&[good.word()]).for_each(|word| bytes.extend(word.to_le_bytes()));
        }
        bytes.extend(crc32c::crc32c(&bytes).to_le_bytes());
        bytes
    }

    /// What [`encode`](Self::encode) gave for the same folder and limits, by the same version of this crate.
    ///
    /// # Errors
    /// In words: that the bytes are damaged, or of something else.
    ///
    /// ```
    /// use instdisc::data::{Known, Limits};
    /// let (folder, limits) = ("/photos".as_ref(), Limits::default());
    /// let bytes = Known::default().encode(folder, &limits);
    /// assert_eq!(Known::decode(&bytes, folder, &limits), Ok(Known::default()));
    /// assert!(Known::decode(&bytes, "/other".as_ref(), &limits).is_err());
    /// assert!(Known::decode(&bytes[1..], folder, &limits).is_err());
    /// ```
    pub fn decode(bytes: &[u8], folder: &Path, limits: &Limits) -> Result<Self, &'static str> {
        let whole = bytes.split_last_chunk().filter(|(text, sum)| crc32c::crc32c(text) == u32::from_le_bytes(**sum));
        let (text, _) = whole.ok_or("it is damaged")?;
        let records = text.strip_prefix(head(folder, limits).as_bytes());
        let records = records.ok_or("it is of another folder, version or other limits")?;
        let (records, []) = records.as_chunks::<RECORD>() else { return Err("it is damaged") };
        let files = records.iter().map(|record| {
            let (fingerprint, rest) = record.split_first_chunk().unwrap_or((&[0; 8], &[]));
            let (words, _) = rest.as_chunks::<4>();
            let [width, height, word] = [0, 1, 2].map(|i| words.get(i).map_or(0, |&word| u32::from_le_bytes(word)));
            (u64::from_le_bytes(*fingerprint), Good::new([width, height], word))
        });
        Ok(Self::new(files.collect()))
    }
}

/// The first line of the file.
fn head(folder: &Path, limits: &Limits) -> String {
    #[derive(Serialize)]
    struct Head<'a> {
        version: &'a str,
        folder: String,
        limits: [u64; 2],
    }
    let limits = [limits.pixels, limits.file_bytes];
    let head = Head { version: env!("CARGO_PKG_VERSION"), folder: format!("{folder:?}"), limits };
    // Text and numbers always make JSON.
    format!("instdisc scan 2 {}\n", serde_json::to_string(&head).unwrap_or_default())
}

/// What tells this state of a file from any other: a hash (FNV-1a) of its name, size and stamp. `None` where the system gives
/// no stamp.
pub(super) fn fingerprint(name: &str, data: &Metadata) -> Option<u64> {
    let stamp = stamp(data)?.to_le_bytes();
    let bytes = name.bytes().chain([0]).chain(data.len().to_le_bytes()).chain(stamp);
    Some(bytes.fold(0xcbf2_9ce4_8422_2325, |hash, byte| (hash ^ u64::from(byte)).wrapping_mul(0x0100_0000_01b3)))
}

/// Whether a file that is read from `now` on could have changed again under the same stamp.
pub(super) fn fresh(data: &Metadata, now: SystemTime) -> bool {
    let limit = now.checked_sub(COARSE).and_then(|limit| limit.duration_since(UNIX_EPOCH).ok());
    stamp(data).zip(limit).is_none_or(|(stamp, limit)| stamp >= limit.as_nanos() as i128)
}

/// Nanoseconds since 1970.
#[cfg(unix)]
fn stamp(data: &Metadata) -> Option<i128> {
    use std::os::unix::fs::MetadataExt;
    Some(i128::from(data.ctime()) * 1_000_000_000 + i128::from(data.ctime_nsec()))
}

/// Nanoseconds since 1970.
#[cfg(not(unix))]
fn stamp(data: &Metadata) -> Option<i128> {
    let since = data.modified().ok()?.duration_since(UNIX_EPOCH).ok()?;
    Some(since.as_nanos() as i128)
}
