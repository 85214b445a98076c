//! The environment variables by which the Vulkan loader is told where drivers are, and where they lead.

use crate::name::shown;
use std::ffi::OsString;
use std::path::{Path, PathBuf};

/// What is wrong with what these variables name, in words; `None` where they are not set or lead to drivers.
pub(super) fn fault() -> Option<String> {
    // The loader looks at the second only where the first is not set.
    let set = |name| std::env::var_os(name).filter(|value| !value.is_empty()).map(|value| (name, value));
    let (name, value) = set("VK_DRIVER_FILES").or_else(|| set("VK_ICD_FILENAMES"))?;
    fault_of(name, &value)
}

fn fault_of(name: &str, value: &OsString) -> Option<String> {
    let faults: Option<Vec<String>> = std::env::split_paths(value).map(|path| leads_nowhere(&path)).collect();
    let faults = faults.filter(|faults| !faults.is_empty())?;
    Some(format!("{name} is set, and {}: correct or unset it", faults.join(", and ")))
}

/// Why a path leads to no driver: that of its description, or of a folder with descriptions.
fn leads_nowhere(path: &Path) -> Option<String> {
    if path.is_dir() {
        return None;
    }
    let Ok(text) = std::fs::read(path) else { return Some(format!("{} cannot be read", shown(path))) };
    let library = library(&text, path);
    let missing = library.filter(|library| !library.is_file())?;
    Some(format!("{} names {}, which is not there", shown(path), shown(&missing)))
}

/// The driver's library, where its description has it in a place of its own; a bare name is looked for by the system.
fn library(text: &[u8], description: &Path) -> Option<PathBuf> {
    let json: serde_json::Value = serde_json::from_slice(text).ok()?;
    let library = json.get("ICD")?.get("library_path")?.as_str()?;
    (library.contains('/') || library.contains('\\')).then(|| description.parent().unwrap_or(Path::new("")).join(library))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn said(paths: &[&Path]) -> Option<String> {
        fault_of("VK_DRIVER_FILES", &std::env::join_paths(paths).unwrap())
    }

    #[test]
    fn variables_that_lead_nowhere_are_told_and_others_are_not() {
        let folder = tempfile::tempdir().unwrap();
        let at = |name: &str| folder.path().join(name);
        let describe = |name: &str, library: &str| {
            std::fs::write(at(name), format!(r#"{{"ICD": {{"library_path": "{library}"}}}}"#)).unwrap();
            at(name)
        };
        let absent = at("absent.json");
        let gone = describe("gone.json", "./libgone.so");
        let searched = describe("searched.json", "libvulkan_lvp.so");
        std::fs::write(at("libhere.so"), b"").unwrap();
        let here = describe("here.json", "./libhere.so");
        let text = said(&[&absent]).unwrap();
        assert!(text.starts_with("VK_DRIVER_FILES is set, and ") && text.contains("absent.json cannot be read"), "{text}");
        let text = said(&[&gone, &absent]).unwrap();
        assert!(text.contains("libgone.so, which is not there") && text.contains("absent.json"), "{text}");
        for good in [&searched, &here, &folder.path().to_owned()] {
            assert_eq!(said(&[good]), None);
            assert_eq!(said(&[&absent, good]), None, "one of them is enough");
        }
    }
}
