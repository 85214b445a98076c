//! Two file systems for tests: one whose k-th operation fails, one that remembers every operation so that a crash can be
//! replayed at any moment.

use instdisc::checkpoint::{Disk, Entry, Fs, Handle, Kind};
use std::collections::BTreeMap;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex};

/// How the k-th operation fails.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) enum Fault {
    /// With this system error.
    Errno(i32),
    /// A write takes one byte, and the next operation has this error.
    Short(i32),
}

/// [`Disk`], whose operation number `at` (from 0) fails, and all later ones too if `sticky`. Writes take at most 1000 bytes.
#[derive(Clone)]
pub(crate) struct Failing(Arc<Mutex<Count>>);

struct Count {
    at: usize,
    fault: Fault,
    sticky: bool,
    seen: usize,
    hit: Vec<&'static str>,
}

impl Failing {
    pub(crate) fn new(at: usize, fault: Fault, sticky: bool) -> Self {
        Self(Arc::new(Mutex::new(Count { at, fault, sticky, seen: 0, hit: Vec::new() })))
    }

    /// The operations that failed.
    pub(crate) fn hit(&self) -> Vec<&'static str> {
        self.0.lock().unwrap().hit.clone()
    }

    /// Counts an operation; `Ok(true)` asks for a short write.
    fn step(&self, op: &'static str) -> io::Result<bool> {
        let mut count = self.0.lock().unwrap();
        let (now, at) = (count.seen, count.at);
        count.seen += 1;
        let (first, errno) = match count.fault {
            Fault::Errno(errno) => (at, errno),
            Fault::Short(_) if now >= at && count.hit.is_empty() && op == "write" => {
                (count.at, count.hit) = (now, vec!["short write"]);
                return Ok(true);
            }
            Fault::Short(_) if count.hit.is_empty() => return Ok(false),
            Fault::Short(errno) => (at + 1, errno),
        };
        if now == first || count.sticky && now > first {
            count.hit.push(op);
            return Err(io::Error::from_raw_os_error(errno));
        }
        Ok(false)
    }
}

impl Fs for Failing {
    fn kind(&self, path: &Path) -> io::Result<Kind> {
        self.step("look").and_then(|_| Disk.kind(path))
    }
    fn create(&self, path: &Path) -> io::Result<Box<dyn Handle>> {
        self.step("open")?;
        Ok(Box::new(FailingHandle(Disk.create(path)?, self.clone())))
    }
    fn append(&self, path: &Path) -> io::Result<Box<dyn Handle>> {
        self.step("open")?;
        Ok(Box::new(FailingHandle(Disk.append(path)?, self.clone())))
    }
    fn rename(&self, from: &Path, to: &Path) -> io::Result<()> {
        self.step("rename").and_then(|_| Disk.rename(from, to))
    }
    fn sync_folder(&self, folder: &Path) -> io::Result<()> {
        self.step("folder sync").and_then(|_| Disk.sync_folder(folder))
    }
    fn remove(&self, path: &Path) -> io::Result<()> {
        self.step("remove").and_then(|_| Disk.remove(path))
    }
    fn list(&self, folder: &Path) -> io::Result<Vec<Entry>> {
        self.step("list").and_then(|_| Disk.list(folder))
    }
}

struct FailingHandle(Box<dyn Handle>, Failing);

impl Handle for FailingHandle {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let most = if self.1.step("write")? { 1 } else { 1000 };
        self.0.write(&bytes[..bytes.len().min(most)])
    }
    fn sync(&mut self) -> io::Result<()> {
        self.1.step("sync").and_then(|_| self.0.sync())
    }
    fn length(&mut self) -> io::Result<u64> {
        self.1.step("length").and_then(|_| self.0.length())
    }
    fn read_at(&mut self, at: u64, bytes: &mut [u8]) -> io::Result<usize> {
        self.1.step("read")?;
        let most = bytes.len().min(100);
        self.0.read_at(at, &mut bytes[..most])
    }
    fn cut(&mut self, length: u64) -> io::Result<()> {
        self.1.step("cut").and_then(|_| self.0.cut(length))
    }
}

/// An operation of [`Recorder`]; files are known by number, as by inode.
#[derive(Clone, Debug)]
pub(crate) enum Op {
    Create {
        file: usize,
        path: PathBuf,
    },
    Write {
        file: usize,
        at: usize,
        bytes: Vec<u8>,
    },
    Sync {
        file: usize,
    },
    Rename {
        file: usize,
        from: PathBuf,
        to: PathBuf,
    },
    SyncFolder,
    /// The writer returned `Ok` for this step.
    Done {
        step: u32,
    },
}

/// A file system that only remembers. A lazy one does not sync.
#[derive(Clone, Default)]
pub(crate) struct Recorder {
    ops: Arc<Mutex<Vec<Op>>>,
    names: Arc<Mutex<BTreeMap<PathBuf, usize>>>,
    lazy_sync: bool,
    lazy_folder: bool,
}

impl Recorder {
    /// One that breaks its promise to sync files or folders.
    pub(crate) fn lazy(lazy_sync: bool, lazy_folder: bool) -> Self {
        Self { lazy_sync, lazy_folder, ..Self::default() }
    }

    pub(crate) fn ops(&self) -> Vec<Op> {
        self.ops.lock().unwrap().clone()
    }

    pub(crate) fn push(&self, op: Op) {
        self.ops.lock().unwrap().push(op);
    }
}

impl Fs for Recorder {
    fn kind(&self, path: &Path) -> io::Result<Kind> {
        Ok(if self.names.lock().unwrap().contains_key(path) { Kind::File } else { Kind::Missing })
    }
    fn create(&self, path: &Path) -> io::Result<Box<dyn Handle>> {
        let mut names = self.names.lock().unwrap();
        if names.contains_key(path) {
            return Err(io::ErrorKind::AlreadyExists.into());
        }
        let file = self.ops.lock().unwrap().len();
        names.insert(path.to_owned(), file);
        self.push(Op::Create { file, path: path.to_owned() });
        Ok(Box::new(RecorderHandle { file, at: 0, fs: self.clone() }))
    }
    fn append(&self, _: &Path) -> io::Result<Box<dyn Handle>> {
        Err(io::ErrorKind::Unsupported.into())
    }
    fn rename(&self, from: &Path, to: &Path) -> io::Result<()> {
        let mut names = self.names.lock().unwrap();
        let file = names.remove(from).ok_or(io::ErrorKind::NotFound)?;
        names.insert(to.to_owned(), file);
        self.push(Op::Rename { file, from: from.to_owned(), to: to.to_owned() });
        Ok(())
    }
    fn sync_folder(&self, _: &Path) -> io::Result<()> {
        if !self.lazy_folder {
            self.push(Op::SyncFolder);
        }
        Ok(())
    }
    fn remove(&self, _: &Path) -> io::Result<()> {
        Err(io::ErrorKind::Unsupported.into())
    }
    fn list(&self, _: &Path) -> io::Result<Vec<Entry>> {
        Ok(Vec::new())
    }
}

struct RecorderHandle {
    file: usize,
    at: usize,
    fs: Recorder,
}

impl Handle for RecorderHandle {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let n = bytes.len().min(512); // a sector, the unit that a disk keeps or loses
        self.fs.push(Op::Write { file: self.file, at: self.at, bytes: bytes[..n].to_vec() });
        self.at += n;
        Ok(n)
    }
    fn sync(&mut self) -> io::Result<()> {
        if !self.fs.lazy_sync {
            self.fs.push(Op::Sync { file: self.file });
        }
        Ok(())
    }
    fn length(&mut self) -> io::Result<u64> {
        Err(io::ErrorKind::Unsupported.into())
    }
    fn read_at(&mut self, _: u64, _: &mut [u8]) -> io::Result<usize> {
        Err(io::ErrorKind::Unsupported.into())
    }
    fn cut(&mut self, _: u64) -> io::Result<()> {
        Err(io::ErrorKind::Unsupported.into())
    }
}
