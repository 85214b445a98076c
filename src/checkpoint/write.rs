//! Replacing a file as a whole: temporary file, sync, rename, sync of the folder.

use super::fs::{Disk, Fs, Kind, patiently, started, write_all};
use crate::error::{Error, Result};
use std::ffi::OsStr;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

/// Temporary files are `.instdisc-PID-START-COUNT.tmp`: short, so that any legal target name can be written, and
/// telling enough for [`clean`] to see whether their writer still runs.
const PREFIX: &str = ".instdisc-";
const SUFFIX: &str = ".tmp";

/// Makes the file at `path` hold `bytes`, as a whole or not at all. Parts of a path that are links are followed, and
/// the file that a link names is replaced, not the link. The folder must exist.
///
/// *A killed process* (any signal, at any moment): `path` holds the old bytes or the new ones, never a mixture and
/// never a part, on every system. A temporary file `.instdisc-….tmp` may stay in the folder; [`clean`] removes it.
///
/// *Power loss, system crash*: the same, and once `write` has returned `Ok`, the new bytes. This needs a file system and
/// a disk that keep what they have confirmed. On Linux and other Unix systems file and folder are synced (on macOS
/// with `F_FULLFSYNC`). On Windows folders cannot be synced: `path` is old or new, but after an `Ok` it may still be old.
/// The same holds on network file systems that cannot sync folders.
///
/// *An error*: the old file is intact and the temporary file is gone, with two exceptions. If the folder's sync fails
/// (`syncing the folder`), the new bytes are in place, but may not survive power loss. If the disk fails so badly that the
/// temporary file cannot be removed either, it stays.
///
/// *Several writers* (threads, processes) of one path: each succeeds, and the last rename wins.
///
/// *Cost*: disk space for both files for a moment, and two syncs, which is milliseconds on an SSD and tens of them on a
/// spinning disk. A new file has the usual permissions; those of the old file and its hard links are not carried over.
///
/// # Errors
/// [`Error::Io`] that names the operation: no such folder, a folder or device stands at `path`, no permission, a full
/// disk, a name that is too long.
pub fn write(path: impl AsRef<Path>, bytes: &[u8]) -> Result<()> {
    write_parts(path, &[bytes])
}

/// As [`write()`], for bytes that stand in several places: `parts` in their order.
///
/// # Errors
/// As [`write()`].
pub fn write_parts(path: impl AsRef<Path>, parts: &[&[u8]]) -> Result<()> {
    write_parts_on(&Disk, path.as_ref(), parts)
}

/// As [`write_parts`], on a file system of the caller's.
///
/// # Errors
/// As [`write()`].
pub fn write_parts_on(fs: &dyn Fs, path: &Path, parts: &[&[u8]]) -> Result<()> {
    let target = follow(fs, path)?;
    let folder = match target.parent() {
        Some(folder) if folder != Path::new("") => folder,
        _ => Path::new("."),
    };
    // A cleaner in another container cannot see our process and may take our file for a dead writer's: then again.
    let mut result = replace(fs, &target, folder, parts);
    for _ in 0..3 {
        match &result {
            Err((RENAMING, e)) if e.kind() == io::ErrorKind::NotFound => result = replace(fs, &target, folder, parts),
            _ => break,
        }
    }
    result.map_err(|(doing, e)| Error::io(doing, path, e))
}

const RENAMING: &str = "renaming a temporary file to";

fn replace(fs: &dyn Fs, target: &Path, folder: &Path, parts: &[&[u8]]) -> std::result::Result<(), (&'static str, io::Error)> {
    let mut temporary = folder.join(unique_name());
    let mut made = patiently(|| fs.create(&temporary));
    for _ in 0..100 {
        match &made {
            Err(e) if e.kind() == io::ErrorKind::AlreadyExists => temporary = folder.join(unique_name()),
            _ => break,
        }
        made = patiently(|| fs.create(&temporary));
    }
    let mut file = made.map_err(|e| ("creating a temporary file beside", e))?;
    let filled = parts.iter().try_for_each(|part| write_all(&mut *file, part)).map_err(|e| ("writing", e));
    let synced = filled.and_then(|()| patiently(|| file.sync()).map_err(|e| ("syncing", e)));
    drop(file);
    let placed = synced.and_then(|()| patiently(|| fs.rename(&temporary, target)).map_err(|e| (RENAMING, e)));
    if placed.is_err() {
        let _ = patiently(|| fs.remove(&temporary)); // the first error is the one to tell
        return placed;
    }
    patiently(|| fs.sync_folder(folder)).map_err(|e| ("syncing the folder of", e))
}

/// The file that `path` names, links followed; refused if something stands there that is no file.
fn follow(fs: &dyn Fs, path: &Path) -> Result<PathBuf> {
    let refused = |kind, text| Err(Error::io("writing", path, io::Error::new(kind, text)));
    let mut target = path.to_owned();
    for _ in 0..40 {
        if target.file_name().is_none() {
            return refused(io::ErrorKind::InvalidInput, "this path names no file; add a file name");
        }
        match patiently(|| fs.kind(&target)).map_err(|e| Error::io("writing", path, e))? {
            Kind::Missing | Kind::File => return Ok(target),
            Kind::Folder => return refused(io::ErrorKind::IsADirectory, "a folder stands here; give a file name"),
            Kind::Other => return refused(io::ErrorKind::InvalidInput, "a device, pipe or socket stands here; give a file name"),
            Kind::Link(to) => target = target.parent().unwrap_or(Path::new("")).join(to),
        }
    }
    refused(io::ErrorKind::InvalidInput, "more than 40 links in a row; remove the loop")
}

fn unique_name() -> String {
    static COUNT: AtomicU64 = AtomicU64::new(0);
    let pid = std::process::id();
    let start = started(pid).ok().flatten().unwrap_or(0);
    format!("{PREFIX}{pid}-{start}-{}{SUFFIX}", COUNT.fetch_add(1, Ordering::Relaxed))
}

/// Refuses a `path` that [`write()`] would refuse, for those who want to know before hours of work. A file is made beside it and
/// removed; what stands at `path` is not touched.
///
/// # Errors
/// Those of [`write()`], but for a full disk.
pub fn check_writable(path: impl AsRef<Path>) -> Result<()> {
    let path = path.as_ref();
    let target = follow(&Disk, path)?;
    let probe = target.with_file_name(unique_name());
    let made = patiently(|| Disk.create(&probe)).and_then(|_| patiently(|| Disk.remove(&probe)));
    made.map_err(|e| Error::io("creating a temporary file beside", path, e))
}

/// Whether a file of this name is a temporary one of [`write()`], perhaps of a writer that was killed.
pub fn is_temporary(name: &OsStr) -> bool {
    name.to_str().and_then(writer).is_some()
}

/// Removes the temporary files in `folder` whose writers are dead, and says how many there were.
///
/// *On Linux* a writer is dead if no process has its number and its start time, so the files of running writers, this
/// process included, are left alone. Processes in other containers that share the folder cannot be seen: their file
/// may be removed, and [`write()`] there starts afresh, up to three times. *Elsewhere* a file is taken for a dead writer's when
/// nothing was written to it for an hour. Other files are never touched. A folder that does not exist holds no litter.
///
/// # Errors
/// [`Error::Io`] if the folder cannot be read or a file cannot be removed.
pub fn clean(folder: impl AsRef<Path>) -> Result<usize> {
    let folder = folder.as_ref();
    let entries = match Disk.list(folder) {
        Err(e) if e.kind() == io::ErrorKind::NotFound => return Ok(0),
        entries => entries.map_err(|e| Error::io("reading the folder", folder, e))?,
    };
    let mut removed = 0;
    for entry in entries {
        let Some((pid, start)) = entry.name.to_str().and_then(writer) else { continue };
        let dead = match started(pid) {
            Ok(now) if start != 0 => now != Some(start),
            Ok(None) => true,
            _ => entry.age > Duration::from_secs(3600),
        };
        let path = folder.join(&entry.name);
        if dead {
            match Disk.remove(&path) {
                Err(e) if e.kind() == io::ErrorKind::NotFound => {} // another cleaner was quicker
                result => {
                    result.map_err(|e| Error::io("removing", &path, e))?;
                    removed += 1;
                }
            }
        }
    }
    Ok(removed)
}

/// Process number and start time in the name of a temporary file.
fn writer(name: &str) -> Option<(u32, u64)> {
    let mut parts = name.strip_prefix(PREFIX)?.strip_suffix(SUFFIX)?.split('-');
    let found = (parts.next()?.parse().ok()?, parts.next()?.parse().ok()?);
    parts.next()?.parse::<u64>().ok()?;
    parts.next().is_none().then_some(found)
}
