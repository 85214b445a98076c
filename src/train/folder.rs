//! A run's folder: `config.json`, `images.json`, `kernels.json`, `metrics.jsonl` and the checkpoint.

use super::{Config, kernels};
use crate::checkpoint::{self, File, JsonLines};
use crate::data::Dataset;
use crate::error::{Error, Result};
use crate::gpu::Choices;
use serde_json::Value;
use std::path::{Path, PathBuf};

const IMAGES: &str = "images.json";

/// The folder of a run.
pub struct Folder {
    path: PathBuf,
    metrics: JsonLines,
}

impl Folder {
    /// Make the folder of a new run, which is computed by `choices`. An empty folder may be there already.
    ///
    /// # Errors
    /// [`Error::Data`] where something is in it; [`Error::Io`] where it cannot be written.
    pub fn create(path: &Path, config: &Config, choices: &Choices) -> Result<Self> {
        let busy = std::fs::read_dir(path).is_ok_and(|mut entries| entries.next().is_some());
        if busy {
            let reason = "is there already and not empty; choose another --out, or add --resume to go on with the run in it";
            return Err(Error::data(path, reason));
        }
        std::fs::create_dir_all(path).map_err(|e| Error::io("making the folder", path, e))?;
        let text = serde_json::to_string_pretty(config).map_err(|e| Error::value("run", "config", "serialisable", e))?;
        checkpoint::write(path.join("config.json"), format!("{text}\n").as_bytes())?;
        kernels::write(path, choices)?;
        Ok(Self { path: path.to_owned(), metrics: JsonLines::open(path.join("metrics.jsonl"))? })
    }

    /// Open the folder of a run that has stopped, and take back what its log says of steps after `step`: they will be
    /// done again.
    ///
    /// # Errors
    /// [`Error::Io`].
    pub fn reopen(path: &Path, step: u64) -> Result<Self> {
        checkpoint::clean(path)?;
        let log = path.join("metrics.jsonl");
        let text = match std::fs::read_to_string(&log) {
            Ok(text) => text,
            Err(e) if e.kind() == std::io::ErrorKind::NotFound => String::new(),
            Err(e) => return Err(Error::io("reading", &log, e)),
        };
        let done = |line: &&str| {
            let line: Option<Value> = serde_json::from_str(line).ok();
            line.is_some_and(|v| v.get("step").and_then(Value::as_u64).is_some_and(|s| s <= step))
        };
        let kept: String = text.lines().filter(done).flat_map(|line| [line, "\n"]).collect();
        if kept != text {
            checkpoint::write(&log, kept.as_bytes())?;
        }
        Ok(Self { path: path.to_owned(), metrics: JsonLines::open(&log)? })
    }

    /// The names of the images of the run in the folder `path`, in the order of the bank's rows; `None` where it does not say.
    ///
    /// # Errors
    /// [`Error::Data`] for a damaged file, [`Error::Io`].
    pub fn images(path: &Path) -> Result<Option<Vec<String>>> {
        let file = path.join(IMAGES);
        match std::fs::read(&file) {
            Ok(bytes) => {
                serde_json::from_slice(&bytes).map(Some).map_err(|error| Error::data(file, format!("is damaged: {error}")))
            }
            Err(e) if e.kind() == std::io::ErrorKind::NotFound => Ok(None),
            Err(e) => Err(Error::io("reading", &file, e)),
        }
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
