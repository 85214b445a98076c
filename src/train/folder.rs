//! A run's folder: `config.json`, `images.json`, `kernels.json`, `metrics.jsonl`, the checkpoint, and while it trains `lock`.

use super::lock::{self, Lock};
use super::{Config, kernels};
use crate::checkpoint::{self, File, JsonLines};
use crate::data::Dataset;
use crate::error::{Error, Result};
use crate::gpu::Choices;
use serde::de::DeserializeOwned;
use serde_json::Value;
use std::path::{Path, PathBuf};

const CONFIG: &str = "config.json";
const IMAGES: &str = "images.json";
const METRICS: &str = "metrics.jsonl";

/// The folder of a run, which no other process has meanwhile.
pub struct Folder {
    path: PathBuf,
    metrics: JsonLines,
    _lock: Lock,
}

impl Folder {
    /// Refuse a folder in which [`create`](Self::create) could not begin a run. Nothing is made or changed.
    ///
    /// # Errors
    /// [`Error::Data`] where something is in it; [`Error::Io`] where it cannot be made or written to.
    pub fn check_new(path: &Path) -> Result<()> {
        let left = [CONFIG, IMAGES, kernels::FILE, METRICS, lock::NAME];
        let mut entries = std::fs::read_dir(path).into_iter().flatten().flatten();
        // What a run leaves whose first checkpoint could not be written is no run.
        let busy = entries.any(|entry| {
            let name = entry.file_name();
            !left.iter().any(|left| name == *left) && !checkpoint::is_temporary(&name)
        });
        if busy {
            let reason = "is there already and not empty; choose another --out, or add --resume to go on with the run in it";
            return Err(Error::data(path, reason));
        }
        let there = path.ancestors().find(|path| path.exists()).unwrap_or(Path::new("."));
        checkpoint::check_writable(there.join(CONFIG)).map_err(|error| match error {
            Error::Io { source, .. } => Error::io("writing to the folder", path, source),
            other => other,
        })
    }

    /// Make the folder of a new run, which is computed by `choices`. An empty folder may be there already, and so may one of a run
    /// whose first checkpoint could not be written.
    ///
    /// # Errors
    /// [`Error::Data`] where something is in it, or another process has it; [`Error::Io`] where it cannot be written.
    pub fn create(path: &Path, config: &Config, choices: &Choices) -> Result<Self> {
        Self::check_new(path)?;
        std::fs::create_dir_all(path).map_err(|e| Error::io("making the folder", path, e))?;
        let lock = Lock::take(path)?;
        checkpoint::clean(path)?;
        checkpoint::write(path.join(METRICS), b"")?;
        let folder = Self { path: path.to_owned(), metrics: JsonLines::open(path.join(METRICS))?, _lock: lock };
        folder.write_config(config)?;
        kernels::write(path, choices)?;
        Ok(folder)
    }

    /// Refuse the folder of a run in which another process trains.
    ///
    /// # Errors
    /// [`Error::Data`] where one does; [`Error::Io`].
    pub fn check_free(path: &Path) -> Result<()> {
        Lock::take(path).map(drop)
    }

    /// Open the folder of a run that has stopped.
    ///
    /// # Errors
    /// [`Error::Data`] where another process has it; [`Error::Io`].
    pub fn reopen(path: &Path) -> Result<Self> {
        let lock = Lock::take(path)?;
        checkpoint::clean(path)?;
        Ok(Self { path: path.to_owned(), metrics: JsonLines::open(path.join(METRICS))?, _lock: lock })
    }

    /// Take back what the log says of steps after `step`: they will be done again.
    ///
    /// # Errors
    /// [`Error::Io`].
    pub fn take_back(&mut self, step: u64) -> Result<()> {
        let log = self.path.join(METRICS);
        let text = std::fs::read_to_string(&log).map_err(|e| Error::io("reading", &log, e))?;
        let done = |line: &&str| {
            let line: Option<Value> = serde_json::from_str(line).ok();
            line.is_some_and(|v| v.get("step").and_then(Value::as_u64).is_some_and(|s| s <= step))
        };
        let kept: String = text.lines().filter(done).flat_map(|line| [line, "\n"]).collect();
        if kept != text {
            checkpoint::write(&log, kept.as_bytes())?;
            self.metrics = JsonLines::open(&log)?;
        }
        Ok(())
    }

    /// The checkpoint from which the run in the folder `path` can go on.
    ///
    /// # Errors
    /// [`Error::Data`] where there is none.
    pub fn resumable(path: &Path) -> Result<PathBuf> {
        let file = Self::checkpoint(path);
        if file.is_file() {
            return Ok(file);
        }
        let reason = "has no checkpoint `last.safetensors` to resume from; leave --resume out, and name a new or empty folder, to begin a run";
        Err(Error::data(path, reason))
    }

    /// The configuration of the run in the folder `path`, from `config.json`, or where that is missing from its checkpoint.
    ///
    /// # Errors
    /// [`Error::Data`] where there is no checkpoint, or for a damaged file; [`Error::Checkpoint`], [`Error::Io`].
    pub fn config(path: &Path) -> Result<Config> {
        let file = Self::resumable(path)?;
        if let Some(config) = json(&path.join(CONFIG))? {
            return Ok(config);
        }
        Ok(super::checkpoint::describe(&file, &File::load(&file)?)?.0)
    }

    /// The names of the images of the run in the folder `path`, in the order of the bank's rows; `None` where it does not say.
    ///
    /// # Errors
    /// [`Error::Data`] for a damaged file, [`Error::Io`].
    pub fn images(path: &Path) -> Result<Option<Vec<String>>> {
        json(&path.join(IMAGES))
    }

    pub(super) fn write_config(&self, config: &Config) -> Result<()> {
        let text = serde_json::to_string_pretty(config).map_err(|e| Error::value("run", "config", "serialisable", e))?;
        self.write(CONFIG, &format!("{text}\n"))
    }

    pub(super) fn write_images(&self, dataset: &dyn Dataset) -> Result<()> {
        let names: Vec<&str> = (0..dataset.len()).map(|i| dataset.name(i)).collect();
        let text = serde_json::to_string_pretty(&names).map_err(|e| Error::value("run", "names", "serialisable", e))?;
        self.write(IMAGES, &format!("{text}\n"))
    }

    /// The checkpoint of the run in the folder `path`.
    pub fn checkpoint(path: &Path) -> PathBuf {
        path.join("last.safetensors")
    }

    /// Where it is.
    pub fn path(&self) -> &Path {
        &self.path
    }

    pub(super) fn write(&self, name: &str, text: &str) -> Result<()> {
        checkpoint::write(self.path.join(name), text.as_bytes())
    }

    pub(super) fn log(&mut self, line: &Value) -> Result<()> {
        self.metrics.push(line)
    }

    pub(super) fn save(&mut self, file: &File) -> Result<()> {
        self.metrics.sync()?;
        file.save(Self::checkpoint(&self.path))
    }
}

/// What a JSON file holds, if it is there.
fn json<T: DeserializeOwned>(file: &Path) -> Result<Option<T>> {
    match std::fs::read(file) {
        Ok(bytes) => serde_json::from_slice(&bytes).map(Some).map_err(|error| Error::data(file, format!("is damaged: {error}"))),
        Err(e) if e.kind() == std::io::ErrorKind::NotFound => Ok(None),
        Err(e) => Err(Error::io("reading", file, e)),
    }
}
