//! A log of JSON Lines that never holds half a line for long.

use super::fs::{Disk, Fs, Handle, patiently, write_all};
use crate::error::{Error, Result};
use std::path::{Path, PathBuf};

/// A file of one JSON value a line, open for appending, for one writer at a time.
///
/// *A killed process*: every line whose [`push`](JsonLines::push) returned is there; the last one may be torn, and the next
/// [`open`](JsonLines::open) cuts it off. *Power loss*: the lines up to the last [`sync`](JsonLines::sync) are there, later ones may be; a
/// torn end is cut as above. *A full disk*: `push` returns an error and takes back what it wrote of the line.
///
/// *Cost*: one system call a line, no sync unless asked for.
pub struct JsonLines {
    file: Box<dyn Handle>,
    path: PathBuf,
    length: u64,
    torn: bool,
}

impl JsonLines {
    /// Opens the log at `path`, made if need be, and cuts off a last line that has no end.
    ///
    /// # Errors
    /// [`Error::Io`].
    pub fn open(path: impl AsRef<Path>) -> Result<Self> {
        Self::open_on(&Disk, path.as_ref())
    }

    /// As [`open`](JsonLines::open), on a file system of the caller's.
    ///
    /// # Errors
    /// [`Error::Io`].
    pub fn open_on(fs: &dyn Fs, path: &Path) -> Result<Self> {
        let failed = |doing| move |e| Error::io(doing, path, e);
        let mut file = patiently(|| fs.append(path)).map_err(failed("opening"))?;
        let found = patiently(|| file.length()).map_err(failed("reading"))?;
        let length = end_of_last_line(&mut *file, found).map_err(failed("reading"))?;
        let mut log = Self { file, path: path.to_owned(), length, torn: length < found };
        log.mend()?;
        Ok(log)
    }

    /// Appends `value` as one line. After an error the log holds what it held before, or will from the next `push` or `open` on.
    ///
    /// # Errors
    /// [`Error::Io`].
    pub fn push(&mut self, value: &serde_json::Value) -> Result<()> {
        self.mend()?;
        let line = format!("{value}\n"); // JSON text holds no bare line feed
        self.torn = true;
        if let Err(e) = write_all(&mut *self.file, line.as_bytes()) {
            let _ = self.mend(); // the first error is the one to tell
            return Err(Error::io("writing", &self.path, e));
        }
        self.torn = false;
        self.length += line.len() as u64;
        Ok(())
    }

    /// Makes the lines pushed so far survive power loss.
    ///
    /// # Errors
    /// [`Error::Io`].
    pub fn sync(&mut self) -> Result<()> {
        patiently(|| self.file.sync()).map_err(|e| Error::io("syncing", &self.path, e))
    }

    fn mend(&mut self) -> Result<()> {
        if self.torn {
            patiently(|| self.file.cut(self.length)).map_err(|e| Error::io("cutting a torn line off", &self.path, e))?;
            self.torn = false;
        }
        Ok(())
    }
}

/// The place behind the last line feed, looked for from the end.
fn end_of_last_line(file: &mut dyn Handle, length: u64) -> std::io::Result<u64> {
    let (mut end, mut block) = (length, [0; 4096]);
    while end > 0 {
        let start = end.saturating_sub(block.len() as u64);
        let mut filled = 0;
        while start + (filled as u64) < end {
            let wanted = usize::try_from(end - start).unwrap_or(block.len());
            let room = block.get_mut(filled..wanted).unwrap_or_default();
            match patiently(|| file.read_at(start + filled as u64, room))? {
                0 => return Err(std::io::ErrorKind::UnexpectedEof.into()),
                n => filled += n,
            }
        }
        if let Some(place) = block.iter().take(filled).rposition(|&b| b == b'\n') {
            return Ok(start + place as u64 + 1);
        }
        end = start;
    }
    Ok(0)
}
