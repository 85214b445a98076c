//! What was measured, kept in a file for the next start.

use super::line::{Entry, Place};
use super::{Effort, Found};
use crate::checkpoint;
use crate::error::{Error, Result};
use crate::gpu::Gpu;
use crate::name::shown;
use crate::ops::Problem;
use crate::train::cached;
use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

/// The measurements of one adapter, driver and set of kernels: a file of JSON Lines in a folder, or in memory alone.
///
/// The file is written whole or not at all. Lines that are damaged, or of another adapter, driver or version, are passed
/// over and gone with the next writing. Where several programs write at once the last one wins, and what it did not know
/// is measured again some day.
#[derive(Debug)]
pub struct Cache {
    path: Option<PathBuf>,
    place: Place,
    entries: BTreeMap<(String, bool), Entry>,
}

/// What was passed over in a file.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Ignored {
    /// Lines that were not written like this, or not to their end.
    pub damaged: usize,
    /// Lines of another adapter, driver, or version of the kernels.
    pub foreign: usize,
}

impl std::fmt::Display for Ignored {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "lines ignored: {} damaged, {} of another adapter, driver or version", self.damaged, self.foreign)
    }
}

/// The entries of `text` that hold for `place`, the better of two about the same.
fn read(text: &[u8], place: &Place) -> (BTreeMap<(String, bool), Entry>, Ignored) {
    let (mut entries, mut ignored) = (BTreeMap::new(), Ignored::default());
    // Bytes, not text: a flipped bit may make it anything.
    for line in text.split(|byte| *byte == b'\n').filter(|line| !line.is_empty()) {
        match std::str::from_utf8(line).ok().and_then(Entry::parse) {
            Some(entry) if entry.place == *place => insert(&mut entries, entry),
            Some(_) => ignored.foreign += 1,
            None => ignored.damaged += 1,
        }
    }
    (entries, ignored)
}

fn insert(entries: &mut BTreeMap<(String, bool), Entry>, entry: Entry) {
    let key = (entry.problem.clone(), entry.winograd);
    if entries.get(&key).is_none_or(|old| entry.supersedes(old)) {
        entries.insert(key, entry);
    }
}

fn write(path: &Path, entries: &BTreeMap<(String, bool), Entry>) -> Result<()> {
    let text: String = entries.values().flat_map(|entry| [entry.line(), "\n".into()]).collect();
    checkpoint::write(path, text.as_bytes())
}

impl Cache {
    /// A cache that is gone with the program.
    pub fn in_memory(gpu: &Gpu) -> Self {
        Self { path: None, place: Place::of(gpu), entries: BTreeMap::new() }
    }

    /// What `folder` holds for `gpu`, and a word on what was passed over, if anything. A folder that is not there holds
    /// nothing.
    pub fn open(folder: &Path, gpu: &Gpu) -> (Self, Option<String>) {
        let place = Place::of(gpu);
        let path = folder.join(place.file());
        let (text, word) = cached::read(&path);
        let (entries, ignored) = read(&text.unwrap_or_default(), &place);
        let word = word.or_else(|| (ignored != Ignored::default()).then(|| format!("{}: {ignored}", shown(&path))));
        (Self { path: Some(path), place, entries }, word)
    }

    /// The file, if there is one.
    pub fn path(&self) -> Option<&Path> {
        self.path.as_deref()
    }

    /// How many measurements it holds.
    pub fn len(&self) -> usize {
        self.entries.len()
    }

    /// Whether it holds none.
    pub fn is_empty(&self) -> bool {
        self.entries.is_empty()
    }

    /// What is known of `problem` on `gpu`, if it was found with no less than `effort` and `gpu` still has the algorithm.
    pub fn found(&self, gpu: &Gpu, problem: &Problem, effort: Effort) -> Option<Found> {
        let entry = self.entries.get(&(problem.to_string(), gpu.choices().allows_winograd()))?;
        let enough = entry.full || effort == Effort::Quick;
        let there = || problem.candidates(gpu).iter().any(|algorithm| algorithm.to_string() == entry.algorithm());
        (enough && there()).then(|| entry.found())
    }

    /// Everything known of `gpu`, whatever the problem.
    pub fn all(&self, gpu: &Gpu) -> Vec<Found> {
        let problems = self.entries.keys().filter_map(|(problem, _)| problem.parse().ok());
        problems.filter_map(|problem| self.found(gpu, &problem, Effort::Quick)).collect()
    }

    pub(super) fn add(&mut self, found: &Found, winograd: bool, effort: Effort) {
        let entry = Entry::of(&self.place, found, winograd, effort);
        entry.into_iter().for_each(|entry| insert(&mut self.entries, entry));
    }

    /// Forget everything, to measure it anew.
    pub fn clear(&mut self) {
        self.entries.clear();
    }

    /// Write the file, with what is there already: of two about the same, that of which more was tried, else this one's.
    ///
    /// # Errors
    /// [`Error::Io`].
    pub fn save(&mut self) -> Result<()> {
        let Some(path) = self.path.clone() else { return Ok(()) };
        cached::prepare(&path)?;
        let written = match std::fs::read(&path) {
            Err(error) if error.kind() != std::io::ErrorKind::NotFound => return Err(Error::io("reading", path, error)),
            written => written.unwrap_or_default(),
        };
        let (others, _) = read(&written, &self.place);
        for (key, entry) in others {
            if !self.entries.get(&key).is_some_and(|own| own.supersedes(&entry)) {
                self.entries.insert(key, entry);
            }
        }
        write(&path, &self.entries)
    }

    /// Write everything into a file of its own, for [`import`](Self::import) on a machine alike; says how much that is.
    ///
    /// # Errors
    /// [`Error::Io`].
    pub fn export(&self, path: &Path) -> Result<usize> {
        write(path, &self.entries)?;
        Ok(self.entries.len())
    }

    /// Take over what an export holds for this adapter, driver and version; says how much that was, and what was passed
    /// over.
    ///
    /// # Errors
    /// [`Error::Io`]; [`Error::Data`] where it holds nothing of use.
    pub fn import(&mut self, path: &Path) -> Result<(usize, Ignored)> {
        let text = std::fs::read(path).map_err(|e| Error::io("reading", path, e))?;
        let (entries, ignored) = read(&text, &self.place);
        if entries.is_empty() {
            return Err(Error::data(path, format!("holds no kernel choices for this adapter: {ignored}")));
        }
        let count = entries.len();
        entries.into_values().for_each(|entry| insert(&mut self.entries, entry));
        Ok((count, ignored))
    }
}
