//! Names of files as text: one form for lists, labels and run folders, which leads back to the file.
//!
//! Most names are their own text. In the others a backslash begins an escape, as in Rust:
//!
//! | in the name | in the text |
//! |---|---|
//! | a backslash | `\\` |
//! | line feed, carriage return, tab | `\n`, `\r`, `\t` |
//! | another control character, a line separator, a mark that turns the direction of writing | `\u{1b}` |
//! | a byte that is no UTF-8 | `\xe9` |
//!
//! So a text is one line, shows as what it is on a terminal, and no two names have the same.

use std::ffi::{OsStr, OsString};
use std::fmt::Write;
use std::path::{Path, PathBuf};
use unicode_normalization::UnicodeNormalization;

/// The text of a file's name, or of a part of it.
///
/// ```
/// use instdisc::name::{original, text};
/// assert_eq!(text("café.png".as_ref()), "café.png");
/// assert_eq!(text("line\nfeed.png".as_ref()), r"line\nfeed.png");
/// assert_eq!(original(r"line\nfeed.png"), "line\nfeed.png");
/// ```
pub fn text(name: &OsStr) -> String {
    escaped(name, true)
}

/// A path for a message: its control characters and what is no UTF-8 are escaped as in [`text`], its backslashes are not.
///
/// ```
/// assert_eq!(instdisc::name::shown("photos/\u{1b}[31mred.png".as_ref()), r"photos/\u{1b}[31mred.png");
/// ```
pub fn shown(path: &Path) -> String {
    escaped(path.as_os_str(), false)
}

fn escaped(name: &OsStr, backslash: bool) -> String {
    let bytes = name.as_encoded_bytes();
    let mut text = String::with_capacity(bytes.len());
    for chunk in bytes.utf8_chunks() {
        for c in chunk.valid().chars() {
            match c {
                '\\' if backslash => text.push_str("\\\\"),
                c if hidden(c) => text.extend(c.escape_default()),
                c => text.push(c),
            }
        }
        for byte in chunk.invalid() {
            // Writing to a string does not fail.
            let _ = write!(text, "\\x{byte:02x}");
        }
    }
    text
}

/// Whether a character breaks a line, moves a cursor, or changes how those beside it are shown.
fn hidden(c: char) -> bool {
    c.is_control() || matches!(c, '\u{61c}' | '\u{200e}' | '\u{200f}' | '\u{2028}'..='\u{202e}' | '\u{2066}'..='\u{2069}')
}

/// The file below the folder `root` that has this name: texts of folders and file, with `/` between them.
///
/// ```
/// assert_eq!(instdisc::name::path("photos".as_ref(), r"cats/line\nfeed.png"), std::path::Path::new("photos/cats/line\nfeed.png"));
/// ```
pub fn path(root: &Path, name: &str) -> PathBuf {
    root.iter().map(OsStr::to_owned).chain(name.split('/').map(original)).collect()
}

/// A name in the one form that all ways to write its accents have in common (Unicode's NFC): macOS takes letters apart, other
/// systems do not.
///
/// ```
/// use instdisc::name::normal;
/// assert_eq!(normal("cafe\u{301}"), normal("caf\u{e9}"));
/// ```
pub fn normal(name: &str) -> String {
    name.nfc().collect()
}

/// The name that has this [`text`]. A backslash that begins none of the escapes stands for itself.
pub fn original(text: &str) -> OsString {
    let mut bytes = Vec::with_capacity(text.len());
    let mut rest = text;
    while let Some(at) = rest.find('\\') {
        let (before, from) = rest.split_at(at);
        bytes.extend(before.bytes());
        let (escape, after) = unescaped(from).unwrap_or((vec![b'\\'], &from[1..]));
        bytes.extend(escape);
        rest = after;
    }
    bytes.extend(rest.bytes());
    os_string(bytes)
}

/// The bytes of the escape that `text` begins with, and what follows it.
fn unescaped(text: &str) -> Option<(Vec<u8>, &str)> {
    let after = text.get(2..)?;
    let one = |byte| Some((vec![byte], after));
    match text.as_bytes().get(1)? {
        b'\\' => one(b'\\'),
        b'n' => one(b'\n'),
        b'r' => one(b'\r'),
        b't' => one(b'\t'),
        b'x' => Some((vec![u8::from_str_radix(after.get(..2)?, 16).ok()?], after.get(2..)?)),
        b'u' => {
            let (code, after) = after.strip_prefix('{')?.split_once('}')?;
            let c = char::from_u32(u32::from_str_radix(code, 16).ok()?)?;
            Some((c.to_string().into_bytes(), after))
        }
        _ => None,
    }
}

#[cfg(unix)]
fn os_string(bytes: Vec<u8>) -> OsString {
    std::os::unix::ffi::OsStringExt::from_vec(bytes)
}

/// Windows' names are 16-bit units; one that is half a pair is encoded like a character, in three bytes that are no UTF-8.
#[cfg(windows)]
fn os_string(bytes: Vec<u8>) -> OsString {
    let mut units = Vec::with_capacity(bytes.len());
    for chunk in bytes.utf8_chunks() {
        units.extend(chunk.valid().encode_utf16());
        units.extend(chunk.invalid().iter().map(|byte| u16::from(*byte)));
    }
    let half = |w: &[u16]| matches!(w, [0xed, 0xa0..=0xbf, 0x80..=0xbf]);
    let mut whole = Vec::with_capacity(units.len());
    let mut rest = units.as_slice();
    while let Some((first, after)) = rest.split_first() {
        match rest.get(..3).filter(|w| half(w)) {
            Some(w) => {
                whole.push((w[0] & 0xf) << 12 | (w[1] & 0x3f) << 6 | (w[2] & 0x3f));
                rest = &rest[3..];
            }
            None => {
                whole.push(*first);
                rest = after;
            }
        }
    }
    std::os::windows::ffi::OsStringExt::from_wide(&whole)
}

#[cfg(not(any(unix, windows)))]
fn os_string(bytes: Vec<u8>) -> OsString {
    String::from_utf8_lossy(&bytes).into_owned().into()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[cfg(unix)]
    #[test]
    fn every_name_has_a_text_of_its_own_that_leads_back() {
        let names: [&[u8]; 12] = [
            b"plain.png",
            "caf\u{e9}.png".as_bytes(),
            "cafe\u{301}.png".as_bytes(),
            b"caf\xe9.png",
            b"caf\xe8.png",
            b"caf\\xe9.png",
            b"back\\slash",
            b"back\\\\slash",
            b"line\nfeed",
            b"line\\nfeed",
            b"\x1b[31mred\x7f\r\t",
            "\u{202e}gnp.exe\u{2028}\u{85}".as_bytes(),
        ];
        let mut texts = std::collections::BTreeSet::new();
        for name in names {
            let name = os_string(name.to_vec());
            let text = text(&name);
            assert_eq!(original(&text), name, "{text}");
            assert!(!text.contains(hidden), "{text:?}");
            assert!(texts.insert(text), "{name:?} has the text of another name");
        }
    }

    #[test]
    fn what_is_no_escape_stands_for_itself() {
        for name in [r"a\b", r"\", r"\x", r"\xg1", r"\u{110000}", r"\u{41", r"\é"] {
            assert_eq!(original(name), *name);
        }
    }
}
