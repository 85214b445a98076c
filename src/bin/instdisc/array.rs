//! The files of `embed`: a NumPy array, and beside it a list of names.

use instdisc::eval::Matrix;
use instdisc::name::shown;
use instdisc::{Error, Result, checkpoint};
use std::io::{BufRead, BufReader, Read};
use std::path::{Path, PathBuf};

/// What a version 1.0 file of NumPy begins with.
const MAGIC: &[u8; 8] = b"\x93NUMPY\x01\x00";

/// The list of names beside the array `out`.
pub(crate) fn list(out: &Path) -> PathBuf {
    out.with_extension("txt")
}

/// Refuse, before the work, files that could not be written in the end, or that are somebody else's.
///
/// # Errors
/// [`Error::Value`] for another ending than .npy; [`Error::Data`] for what is not ours; [`Error::Io`].
pub(crate) fn check(out: &Path) -> Result<()> {
    if out.extension().is_none_or(|e| e != "npy") {
        return Err(Error::value("embed", "--out", "a file name that ends in .npy", shown(out)));
    }
    let list = list(out);
    checkpoint::check_writable(out)?;
    checkpoint::check_writable(&list)?;
    let foreign = |path: &Path, what: &str| {
        let reason = format!("is there already, and is no {what} that embed wrote; choose another --out, or move it away");
        Err(Error::data(path, reason))
    };
    let rows = rows(out).map_err(|source| Error::io("reading", out, source))?;
    if out.exists() && rows.is_none() {
        return foreign(out, "array");
    }
    let lines = lines(&list).map_err(|source| Error::io("reading", &list, source))?;
    if lines.is_some() && lines != rows {
        return foreign(&list, &format!("list of the rows of {}", shown(out)));
    }
    Ok(())
}

/// The rows of an array of vectors as [`encode`] makes it; `None` for another file, and where there is none.
fn rows(path: &Path) -> std::io::Result<Option<usize>> {
    let mut head = Vec::new();
    match std::fs::File::open(path) {
        Ok(file) => file.take(128).read_to_end(&mut head)?,
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(None),
        Err(error) => return Err(error),
    };
    let text = head.strip_prefix(MAGIC).map(|rest| String::from_utf8_lossy(rest).into_owned()).unwrap_or_default();
    let shape =
        text.split_once("{'descr': '<f4', 'fortran_order': False, 'shape': (").and_then(|(_, shape)| shape.split_once("), }"));
    Ok(shape.and_then(|(shape, _)| shape.split_once(", ")).and_then(|(rows, _)| rows.parse().ok()))
}

/// How many lines a file has, if it is there.
fn lines(path: &Path) -> std::io::Result<Option<usize>> {
    let mut reader = match std::fs::File::open(path) {
        Ok(file) => BufReader::new(file),
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(None),
        Err(error) => return Err(error),
    };
    let mut lines = 0;
    while reader.skip_until(b'\n')? > 0 {
        lines += 1;
    }
    Ok(Some(lines))
}

/// A NumPy file, version 1.0, of little-endian 32-bit floats.
pub(crate) fn encode(matrix: &Matrix) -> Vec<u8> {
    let mut header = format!("{{'descr': '<f4', 'fortran_order': False, 'shape': ({}, {}), }}", matrix.rows(), matrix.cols);
    // Magic, version and length are ten bytes; the header ends in a newline at a multiple of 64.
    let padding = 63 - (10 + header.len()) % 64;
    header.push_str(&" ".repeat(padding));
    header.push('\n');
    let mut bytes = MAGIC.to_vec();
    bytes.extend((header.len() as u16).to_le_bytes());
    bytes.extend(header.as_bytes());
    bytes.extend(matrix.values.iter().flat_map(|v| v.to_le_bytes()));
    bytes
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_what_embed_wrote_is_written_over() {
        let folder = tempfile::tempdir().unwrap();
        let at = |name: &str| folder.path().join(name);
        let vectors = encode(&Matrix::new(2, vec![0.5; 6]).unwrap());
        let refused = |out: &str, parts: &[&str]| {
            let text = check(&at(out)).err().unwrap().to_string();
            parts.iter().for_each(|part| assert!(text.contains(part), "{text}"));
        };
        std::fs::write(at("labels.txt"), "a.png\tcat\n").unwrap();
        refused("labels.npy", &["labels.txt", "no list of the rows of", "another --out"]);
        std::fs::write(at("labels.npy"), &vectors).unwrap();
        refused("labels.npy", &["labels.txt"]);
        std::fs::write(at("labels.txt"), "a\nb\nc\n").unwrap();
        check(&at("labels.npy")).unwrap();
        std::fs::write(at("other.npy"), b"\x93NUMPY\x01\x00v\x00{'descr': '<i8', 'fortran_order': False, 'shape': (3,), }")
            .unwrap();
        refused("other.npy", &["other.npy", "no array that embed wrote"]);
        check(&at("new.npy")).unwrap();
        refused("absent/new.npy", &["absent/new.npy"]);
        refused("new.txt", &["--out", ".npy"]);
        assert_eq!(std::fs::read_dir(folder.path()).unwrap().count(), 3, "a check left something behind");
    }
}
