//! One process at a time in a run's folder.

use crate::error::{Error, Result};
use std::fs::{File, OpenOptions, TryLockError};
use std::io::{Read, Seek, Write};
use std::path::{Path, PathBuf};

/// The file that is locked, in the folder.
pub(super) const NAME: &str = "lock";

/// A run's folder that this process has for itself, until this is dropped.
///
/// The system holds the lock, so that of a process that was killed is gone with it: the file that it leaves behind locks nothing.
pub(super) struct Lock {
    path: PathBuf,
    _file: File,
}

impl Lock {
    /// Take the folder, which must be there.
    ///
    /// # Errors
    /// [`Error::Data`] where another process has it; [`Error::Io`].
    pub(super) fn take(folder: &Path) -> Result<Self> {
        let path = folder.join(NAME);
        let failed = |source| Error::io("locking", &path, source);
        loop {
            let opened = OpenOptions::new().read(true).write(true).create(true).truncate(false).open(&path);
            let mut file = opened.map_err(failed)?;
            match file.try_lock() {
                Ok(()) => {}
                Err(TryLockError::WouldBlock) => return Err(taken(folder, &mut file)),
                // Some network file systems have no locks: there is nothing better to be had there.
                Err(TryLockError::Error(e)) if e.kind() == std::io::ErrorKind::Unsupported => {}
                Err(TryLockError::Error(source)) => return Err(failed(source)),
            }
            // Whoever had the folder before may have removed the file between our opening and our locking it.
            let mark = format!("process {}\n", std::process::id());
            file.set_len(0).and_then(|()| file.write_all(mark.as_bytes())).map_err(failed)?;
            if std::fs::read_to_string(&path).is_ok_and(|text| text == mark) {
                return Ok(Self { path, _file: file });
            }
        }
    }
}

fn taken(folder: &Path, file: &mut File) -> Error {
    let mut who = String::new();
    let told = file.rewind().and_then(|()| file.read_to_string(&mut who)).is_ok_and(|_| who.starts_with("process "));
    let who = if told { who.trim_end() } else { "another process" };
    Error::data(folder, format!("{who} is training in this folder; wait for it or stop it, or choose another --out"))
}

impl Drop for Lock {
    fn drop(&mut self) {
        // Before the lock itself goes. What stays behind locks nothing.
        let _ = std::fs::remove_file(&self.path);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_folder_is_had_by_one_and_a_file_left_behind_locks_nothing() {
        let folder = tempfile::tempdir().unwrap();
        std::fs::write(folder.path().join(NAME), "process 1\n").unwrap();
        let lock = Lock::take(folder.path()).unwrap();
        let text = Lock::take(folder.path()).err().unwrap().to_string();
        assert!(text.contains(&format!("process {} is training in this folder", std::process::id())), "{text}");
        drop(lock);
        assert!(!folder.path().join(NAME).exists());
        drop(Lock::take(folder.path()).unwrap());
    }
}
