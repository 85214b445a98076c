//! The file operations that this room uses, behind a trait, and all that depends on the operating system.

use std::ffi::OsString;
use std::io::{self, Read, Seek, SeekFrom, Write};
use std::path::{Path, PathBuf};
use std::time::Duration;

/// What stands at a path. A link is not followed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Kind {
    /// Nothing.
    Missing,
    /// A regular file.
    File,
    /// A folder.
    Folder,
    /// A symbolic link, and the text in it.
    Link(PathBuf),
    /// A device, pipe or socket.
    Other,
}

/// A file in a folder.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Entry {
    /// Its name, without the folder.
    pub name: OsString,
    /// Time since it was last written; zero where that is not known.
    pub age: Duration,
}

/// The file operations of this room. [`Disk`] is the real one; tests have one that fails and one that loses power.
pub trait Fs: Send + Sync {
    /// What stands at `path`; a missing folder counts as [`Kind::Missing`].
    ///
    /// # Errors
    /// The system's error.
    fn kind(&self, path: &Path) -> io::Result<Kind>;
    /// Makes a new, empty file. It must not exist.
    ///
    /// # Errors
    /// The system's error; `AlreadyExists` if something stands there.
    fn create(&self, path: &Path) -> io::Result<Box<dyn Handle>>;
    /// Opens a file, made if need be, for reading and for writing at its end.
    ///
    /// # Errors
    /// The system's error.
    fn append(&self, path: &Path) -> io::Result<Box<dyn Handle>>;
    /// Gives a file another name in one step; a file that had the name is gone.
    ///
    /// # Errors
    /// The system's error.
    fn rename(&self, from: &Path, to: &Path) -> io::Result<()>;
    /// Makes the names in a folder survive power loss.
    ///
    /// # Errors
    /// The system's error.
    fn sync_folder(&self, folder: &Path) -> io::Result<()>;
    /// Removes a file.
    ///
    /// # Errors
    /// The system's error.
    fn remove(&self, path: &Path) -> io::Result<()>;
    /// What is in a folder.
    ///
    /// # Errors
    /// The system's error.
    fn list(&self, folder: &Path) -> io::Result<Vec<Entry>>;
}

/// An open file of an [`Fs`].
pub trait Handle: Send {
    /// Writes some of `bytes` and says how many.
    ///
    /// # Errors
    /// The system's error.
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize>;
    /// Makes what was written survive power loss.
    ///
    /// # Errors
    /// The system's error.
    fn sync(&mut self) -> io::Result<()>;
    /// The length in bytes.
    ///
    /// # Errors
    /// The system's error.
    fn length(&mut self) -> io::Result<u64>;
    /// Reads some bytes from the place `at`; 0 at the end.
    ///
    /// # Errors
    /// The system's error.
    fn read_at(&mut self, at: u64, bytes: &mut [u8]) -> io::Result<usize>;
    /// Shortens the file to `length` bytes.
    ///
    /// # Errors
    /// The system's error.
    fn cut(&mut self, length: u64) -> io::Result<()>;
}

/// The real file system.
#[derive(Clone, Copy, Debug, Default)]
pub struct Disk;

impl Fs for Disk {
    fn kind(&self, path: &Path) -> io::Result<Kind> {
        Ok(match std::fs::symlink_metadata(path) {
            Ok(m) if m.is_symlink() => Kind::Link(std::fs::read_link(path)?),
            Ok(m) if m.is_dir() => Kind::Folder,
            Ok(m) if m.is_file() => Kind::File,
            Ok(_) => Kind::Other,
            Err(e) if e.kind() == io::ErrorKind::NotFound => Kind::Missing,
            Err(e) => return Err(e),
        })
    }

    fn create(&self, path: &Path) -> io::Result<Box<dyn Handle>> {
        Ok(Box::new(std::fs::OpenOptions::new().write(true).create_new(true).open(path)?))
    }

    fn append(&self, path: &Path) -> io::Result<Box<dyn Handle>> {
        Ok(Box::new(std::fs::OpenOptions::new().read(true).append(true).create(true).open(path)?))
    }

    fn rename(&self, from: &Path, to: &Path) -> io::Result<()> {
        std::fs::rename(from, to)
    }

    fn sync_folder(&self, folder: &Path) -> io::Result<()> {
        if !cfg!(unix) {
            return Ok(()); // Windows opens no folder as a file; see `write` for what that costs
        }
        match std::fs::File::open(folder).and_then(|f| f.sync_all()) {
            // some network file systems cannot do this at all; there is nothing better to be had there
            Err(e) if matches!(e.kind(), io::ErrorKind::InvalidInput | io::ErrorKind::Unsupported) => Ok(()),
            result => result,
        }
    }

    fn remove(&self, path: &Path) -> io::Result<()> {
        std::fs::remove_file(path)
    }

    fn list(&self, folder: &Path) -> io::Result<Vec<Entry>> {
        let entry = |e: io::Result<std::fs::DirEntry>| {
            let e = e?;
            let age = e.metadata().and_then(|m| m.modified()).ok().and_then(|t| t.elapsed().ok()).unwrap_or_default();
            Ok(Entry { name: e.file_name(), age })
        };
        std::fs::read_dir(folder)?.map(entry).collect()
    }
}

impl Handle for std::fs::File {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        Write::write(self, bytes)
    }

    fn sync(&mut self) -> io::Result<()> {
        self.sync_all()
    }

    fn length(&mut self) -> io::Result<u64> {
        Ok(self.metadata()?.len())
    }

    fn read_at(&mut self, at: u64, bytes: &mut [u8]) -> io::Result<usize> {
        self.seek(SeekFrom::Start(at))?;
        Read::read(self, bytes)
    }

    fn cut(&mut self, length: u64) -> io::Result<()> {
        self.set_len(length)
    }
}

/// Repeats `op` while a signal interrupts it, a hundred times at most.
pub(super) fn patiently<T>(mut op: impl FnMut() -> io::Result<T>) -> io::Result<T> {
    for _ in 0..100 {
        match op() {
            Err(e) if e.kind() == io::ErrorKind::Interrupted => {}
            result => return result,
        }
    }
    op()
}

/// Writes all of `bytes`, in as many calls as it takes.
pub(super) fn write_all(file: &mut dyn Handle, mut bytes: &[u8]) -> io::Result<()> {
    while !bytes.is_empty() {
        let n = patiently(|| file.write(bytes))?;
        bytes = bytes.get(n..).filter(|_| n > 0).ok_or(io::ErrorKind::WriteZero)?;
    }
    Ok(())
}

/// When process `pid` was started, in ticks since the system was. `Ok(None)`: there is no such process (a zombie
/// counts as none). An error: this system does not tell.
pub(super) fn started(pid: u32) -> io::Result<Option<u64>> {
    if !cfg!(target_os = "linux") {
        return Err(io::ErrorKind::Unsupported.into());
    }
    let stat = match std::fs::read(format!("/proc/{pid}/stat")) {
        Ok(stat) => String::from_utf8_lossy(&stat).into_owned(),
        Err(e) if e.kind() == io::ErrorKind::NotFound && Path::new("/proc/self/stat").exists() => return Ok(None),
        Err(e) if e.raw_os_error() == Some(3) => return Ok(None), // ESRCH: it ended while we read
        Err(e) => return Err(e),
    };
    // pid (name) state …; the name may hold anything, so count from its end. Start time is field 22 of proc(5).
    let mut fields = stat.rsplit(')').next().unwrap_or_default().split_ascii_whitespace();
    if matches!(fields.next(), Some("Z" | "X")) {
        return Ok(None);
    }
    fields.nth(18).and_then(|t| t.parse().ok()).map(Some).ok_or_else(|| io::ErrorKind::InvalidData.into())
}
