//! `kernels.json` in a run's folder: by which algorithms its products and convolutions are computed.

use crate::checkpoint;
use crate::error::{Error, Result};
use crate::gpu::{Choices, Gpu};
use std::path::{Path, PathBuf};

/// Its name.
pub(super) const FILE: &str = "kernels.json";

fn path(folder: &Path) -> PathBuf {
    folder.join(FILE)
}

/// Everything that is in force: what a step `used`, and what `gpu` has chosen for other problems.
pub(super) fn in_force(gpu: &Gpu, used: &Choices) -> Choices {
    let mut all = gpu.choices().clone();
    all.extend(used);
    all
}

pub(super) fn write(folder: &Path, choices: &Choices) -> Result<()> {
    let text = serde_json::to_string_pretty(choices).map_err(|e| Error::value("run", "kernels", "serialisable", e))?;
    checkpoint::write(path(folder), format!("{text}\n").as_bytes())
}

/// The choices of the run in `folder`; `None` where it is older than this file.
pub(super) fn read(folder: &Path) -> Result<Option<Choices>> {
    let path = path(folder);
    let text = match std::fs::read(&path) {
        Ok(text) => text,
        Err(e) if e.kind() == std::io::ErrorKind::NotFound => return Ok(None),
        Err(e) => return Err(Error::io("reading", &path, e)),
    };
    let damaged = |e| format!("is damaged ({e}); without this file the run goes on with the preferred kernels, in other bits");
    serde_json::from_slice(&text).map(Some).map_err(|e| Error::data(&path, damaged(e)))
}

/// What of the choices `stored` a step could not repeat, in words.
pub(super) fn missing(stored: &Choices, used: &Choices) -> Option<String> {
    let before = |problem| stored.get(problem).unwrap_or("an algorithm without a name");
    let mut changed = used.iter().filter(|(problem, now)| before(problem) != *now);
    let (problem, now) = changed.next()?;
    let more = changed.count();
    let others = if more > 0 { format!(" ({more} more like that)") } else { String::new() };
    Some(format!(
        "the run computed {problem} by `{}`, which this adapter or version does not have, and goes on by `{now}`{others}: results will differ in the last bits",
        before(problem)
    ))
}
