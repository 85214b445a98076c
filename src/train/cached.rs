//! Files of what programs can find out again, and where they are kept. All that this crate knows of operating systems' folders.

use crate::checkpoint;
use crate::error::{Error, Result};
use crate::name::shown;
use std::ffi::OsString;
use std::path::{Path, PathBuf};

/// The folder for caches: `$INSTDISC_CACHE`; else `instdisc` in `$XDG_CACHE_HOME`, in `~/Library/Caches` on macOS, in
/// `%LOCALAPPDATA%` on Windows, or in `~/.cache`. `None` where the environment names none of them.
pub fn cache_folder() -> Option<PathBuf> {
    choose(std::env::consts::OS, |name| std::env::var_os(name).filter(|value| !value.is_empty()))
}

/// The contents of a cache file, if it is there, and a word on why it is not read, if it is there all the same.
pub(super) fn read(path: &Path) -> (Option<Vec<u8>>, Option<String>) {
    match std::fs::read(path) {
        Ok(bytes) => (Some(bytes), None),
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => (None, None),
        Err(error) => (None, Some(format!("{} is ignored: {error}", shown(path)))),
    }
}

/// Make the folder of a cache file ready to be written to, and remove what killed writers left in it.
///
/// # Errors
/// [`Error::Io`].
pub(super) fn prepare(path: &Path) -> Result<()> {
    let Some(folder) = path.parent() else { return Ok(()) };
    std::fs::create_dir_all(folder).map_err(|e| Error::io("making the folder", folder, e))?;
    checkpoint::clean(folder).map(drop)
}

fn choose(system: &str, variable: impl Fn(&str) -> Option<OsString>) -> Option<PathBuf> {
    let path = |name: &str| variable(name).map(PathBuf::from);
    if let Some(own) = path("INSTDISC_CACHE") {
        return Some(own);
    }
    // The specification of XDG_CACHE_HOME says to ignore what is no absolute path.
    let xdg = path("XDG_CACHE_HOME").filter(|folder| folder.is_absolute());
    let home = || path("HOME").or_else(|| path("USERPROFILE"));
    let parent = match system {
        "macos" => xdg.or_else(|| Some(home()?.join("Library/Caches"))),
        "windows" => path("LOCALAPPDATA").or_else(|| Some(home()?.join("AppData").join("Local"))),
        _ => xdg.or_else(|| Some(home()?.join(".cache"))),
    };
    parent.map(|folder| folder.join("instdisc"))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn with(system: &str, variables: &[(&str, &str)]) -> Option<PathBuf> {
        choose(system, |name| variables.iter().find(|(n, _)| *n == name).map(|(_, value)| value.into()))
    }

    #[test]
    fn every_system_has_its_folder() {
        let path = |text: &str| Some(PathBuf::from(text));
        assert_eq!(with("linux", &[("INSTDISC_CACHE", "/a"), ("HOME", "/h")]), path("/a"));
        assert_eq!(with("linux", &[("XDG_CACHE_HOME", "/x"), ("HOME", "/h")]), path("/x/instdisc"));
        assert_eq!(with("linux", &[("XDG_CACHE_HOME", "relative"), ("HOME", "/h")]), path("/h/.cache/instdisc"));
        assert_eq!(with("freebsd", &[("HOME", "/h")]), path("/h/.cache/instdisc"));
        assert_eq!(with("macos", &[("HOME", "/h")]), path("/h/Library/Caches/instdisc"));
        let local = Some(PathBuf::from("/l").join("instdisc"));
        assert_eq!(with("windows", &[("LOCALAPPDATA", "/l"), ("USERPROFILE", "/u")]), local);
        assert_eq!(with("windows", &[("USERPROFILE", "/u")]), Some(["/u", "AppData", "Local", "instdisc"].iter().collect()));
        assert_eq!(with("linux", &[]), None);
    }
}
