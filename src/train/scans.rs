//! What was found in folders of images, kept in files for the next start.

use super::cached;
use crate::checkpoint;
use crate::data::{self, Known, Opened, Options};
use crate::error::Result;
use crate::name::shown;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{Duration, Instant};

/// Opens folders of images without reading those files again that an earlier opening found good (see [`Known`]), which takes
/// seconds where reading a million images takes minutes.
///
/// A folder of images has a file in the folder for caches. The file is written whole or not at all; one that is damaged, or
/// of another folder, version or other limits, is ignored with a word and written anew. The folder of images is listed
/// anew each time, so files that came, went or were renamed are always seen.
#[derive(Clone, Debug)]
pub struct Scans {
    folder: Option<PathBuf>,
    worth: Duration,
}

impl Scans {
    /// Files in `folder`; without one nothing is kept. An opening that took less than a second is not worth a file.
    pub fn new(folder: Option<PathBuf>) -> Self {
        Self { folder, worth: Duration::from_secs(1) }
    }

    /// The same, but an opening is kept if it took as long as this.
    pub fn worth(self, worth: Duration) -> Self {
        Self { worth, ..self }
    }

    /// The file for the folder of images `path`.
    pub fn file(&self, path: &Path) -> Option<PathBuf> {
        let name = format!("scan-{:08x}", crc32c::crc32c(real(path).as_os_str().as_encoded_bytes()));
        self.folder.as_ref().map(|folder| folder.join(name))
    }

    /// As [`data::open`], and a word on a file that was ignored or could not be written, if any.
    ///
    /// # Errors
    /// Those of [`data::open`]; nothing about the cache is an error.
    pub fn open(&self, path: &Path, options: &Options) -> Result<(Opened, Option<String>)> {
        let Some(file) = self.file(path) else { return Ok((data::open(path, options)?, None)) };
        let started = Instant::now();
        let (bytes, mut word) = cached::read(&file);
        let known = bytes.map(|bytes| Known::decode(&bytes, &real(path), &options.limits));
        let known = match known.transpose() {
            Ok(known) => known.map(Arc::new),
            Err(why) => {
                word = Some(format!("{} is ignored: {why}", shown(&file)));
                None
            }
        };
        let opened = data::open(path, &Options { known: known.clone(), ..options.clone() })?;
        let changed = known.is_none_or(|known| *known != opened.known);
        if changed && !opened.known.is_empty() && started.elapsed() >= self.worth {
            let bytes = opened.known.encode(&real(path), &options.limits);
            let kept = cached::prepare(&file).and_then(|()| checkpoint::write(&file, &bytes));
            word = kept.err().map(|error| format!("what was found in {} is not kept: {error}", shown(path))).or(word);
        }
        Ok((opened, word))
    }
}

/// The folder under the one name that links do not change.
fn real(path: &Path) -> PathBuf {
    std::fs::canonicalize(path).unwrap_or_else(|_| path.to_owned())
}
