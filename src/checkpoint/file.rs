//! A checkpoint as a whole: the codec, the checksums, loading and saving.
//!
//! A file is: the header's length (8 bytes, little-endian), the header (JSON, padded with spaces), the tensors' bytes
//! without holes. Ours begin their header with [`SEAL`] and eight hexadecimal digits: the CRC-32C of length and header, these
//! digits taken as zeros. The metadata also holds a CRC-32C for each tensor, in the order of the bytes. CRC-32C finds every
//! error of up to three bits in pieces of up to 256 MB and any burst of up to 32 bits; it is no defence against forgery.

use super::header::{Header, MAX_HEADER_BYTES, MAX_TENSORS, Place, entries, text};
use super::tensor::Tensor;
use super::write::write_parts;
use crate::error::{Error, Result};
use std::collections::BTreeMap;
use std::io::Read;
use std::path::Path;

const SEAL: &str = r#"{"__metadata__":{"crc32c.header":""#;
const OURS: &str = "instdisc-checkpoint-";
const FORMAT: &str = "instdisc-checkpoint-1";
const DAMAGED: &str = "the file is damaged or truncated; use an older checkpoint or another copy";

/// Named tensors and named texts.
///
/// The metadata keys `format` and those that begin with `crc32c.` belong to this crate's files: they are written by
/// [`encode`](File::encode), checked and taken out again when such a file is read, and kept when a file of others is read.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct File {
    /// The tensors by name.
    pub tensors: BTreeMap<String, Tensor>,
    /// Texts by name: configuration, step, seed.
    pub metadata: BTreeMap<String, String>,
    verified: bool,
}

impl File {
    /// Whether this was read from a file of ours whose checksums were all right. False for files of others (they have no
    /// checksums) and for a `File` that was not read.
    pub fn verified(&self) -> bool {
        self.verified
    }

    /// The tensor called `name`.
    ///
    /// # Errors
    /// [`Error::Value`] if there is none.
    pub fn get(&self, name: &str) -> Result<&Tensor> {
        let expected = || format!("the name of one of its {} tensors", self.tensors.len());
        self.tensors.get(name).ok_or_else(|| Error::value("checkpoint", "tensor", expected(), name))
    }

    /// The bytes of this file. Equal tensors and metadata give equal bytes.
    ///
    /// # Errors
    /// [`Error::Value`] for a metadata key that belongs to this crate, more than 4,096 tensors, a tensor's name over 256 bytes, a
    /// header over 1 MiB.
    pub fn encode(&self) -> Result<Vec<u8>> {
        let (head, order) = self.head()?;
        let mut bytes = head;
        order.iter().for_each(|tensor| bytes.extend_from_slice(tensor.bytes()));
        Ok(bytes)
    }

    /// Writes this file to `path`, with everything that [`write()`](super::write()) promises. The tensors' bytes are not copied.
    ///
    /// # Errors
    /// As [`encode`](File::encode) and [`write()`](super::write()).
    pub fn save(&self, path: impl AsRef<Path>) -> Result<()> {
        let (head, order) = self.head()?;
        let parts: Vec<&[u8]> = std::iter::once(&head[..]).chain(order.into_iter().map(Tensor::bytes)).collect();
        write_parts(path, &parts)
    }

    /// Reads a checkpoint of ours from the disk. A file is taken only if every bit of it is covered by a checksum that fits, so a
    /// flipped bit or a missing end is always seen. Memory: the tensors, once, and a header of at most 1 MiB.
    ///
    /// # Errors
    /// [`Error::Io`] if it cannot be read; [`Error::Checkpoint`] if it is damaged or was not written by this crate.
    pub fn load(path: impl AsRef<Path>) -> Result<Self> {
        Self::open(path.as_ref(), true)
    }

    /// Reads any safetensors file within the caps, as from PyTorch. [`verified`](File::verified) tells whether it was one of ours;
    /// those are checked as [`load`](File::load) does, so damage to them is not mistaken for a foreign file.
    ///
    /// # Errors
    /// [`Error::Io`] if it cannot be read; [`Error::Checkpoint`] if it breaks a rule of the format or a cap.
    pub fn import(path: impl AsRef<Path>) -> Result<Self> {
        Self::open(path.as_ref(), false)
    }

    /// As [`load`](File::load), from bytes; `path` is for the error's text.
    ///
    /// # Errors
    /// [`Error::Checkpoint`].
    pub fn decode_own(path: impl AsRef<Path>, bytes: &[u8]) -> Result<Self> {
        Self::read(path.as_ref(), &mut &*bytes, bytes.len() as u64, true)
    }

    /// As [`import`](File::import), from bytes; `path` is for the error's text.
    ///
    /// # Errors
    /// [`Error::Checkpoint`].
    pub fn decode(path: impl AsRef<Path>, bytes: &[u8]) -> Result<Self> {
        Self::read(path.as_ref(), &mut &*bytes, bytes.len() as u64, false)
    }

    /// Length and header, and the tensors in the order of their bytes: wide elements first, so that all are aligned, as
    /// safetensors does it, then by name.
    fn head(&self) -> Result<(Vec<u8>, Vec<&Tensor>)> {
        let refused = |got: String| {
            let expected = "at most 4096 tensors, names of at most 256 bytes, a header of 1 MiB, no reserved key";
            Error::value("checkpoint", "file", expected, got)
        };
        if let Some(key) = self.metadata.keys().find(|key| is_reserved(key)) {
            return Err(refused(format!("a file with the metadata key `{key}`")));
        }
        let mut order: Vec<_> = self.tensors.iter().collect();
        order.sort_by_key(|(_, tensor)| std::cmp::Reverse(tensor.dtype().size_bytes()));
        let entries = entries(&order).map_err(refused)?;
        let order: Vec<&Tensor> = order.into_iter().map(|(_, tensor)| tensor).collect();
        let sums: String = order.iter().map(|tensor| hex(crc32c::crc32c(tensor.bytes()))).collect();
        let own: String = self.metadata.iter().map(|(key, value)| format!(",{}:{}", text(key), text(value))).collect();
        let mut json = format!(r#"00000000","crc32c.tensors":"{sums}","format":"{FORMAT}"{own}}}{entries}}}"#);
        let length = (SEAL.len() + json.len()).next_multiple_of(8);
        if length > MAX_HEADER_BYTES {
            return Err(refused(format!("a header of {length} bytes")));
        }
        json.extend(std::iter::repeat_n(' ', length - SEAL.len() - json.len()));
        let length = (length as u64).to_le_bytes();
        let sum = hex(sum_of_parts(&[&length, SEAL.as_bytes(), json.as_bytes()]));
        json.replace_range(..8, &sum);
        Ok(([&length, SEAL.as_bytes(), json.as_bytes()].concat(), order))
    }

    fn open(path: &Path, own_only: bool) -> Result<Self> {
        let failed = |e| Error::io("opening", path, e);
        let regular = |about: &std::fs::Metadata| about.is_file().then_some(());
        let refused = || damage(path, 0, "this is no regular file; name a checkpoint");
        regular(&std::fs::metadata(path).map_err(failed)?).ok_or_else(refused)?; // opening a pipe would wait
        let mut file = std::fs::File::open(path).map_err(failed)?;
        let about = file.metadata().map_err(failed)?; // the path may name another file by now
        regular(&about).ok_or_else(refused)?;
        Self::read(path, &mut file, about.len(), own_only)
    }

    fn read(path: &Path, source: &mut dyn Read, length: u64, own_only: bool) -> Result<Self> {
        let mut prefix = [0; 8];
        let Some(after_prefix) = length.checked_sub(8) else {
            return Err(damage(path, 0, format!("{length} bytes are too few for a safetensors file; {DAMAGED}")));
        };
        source.read_exact(&mut prefix).map_err(|e| Error::io("reading", path, e))?;
        let header_bytes = u64::from_le_bytes(prefix);
        let Some(data_bytes) = after_prefix.checked_sub(header_bytes).filter(|_| header_bytes <= MAX_HEADER_BYTES as u64) else {
            let text = format!("a header of {header_bytes} bytes is over 1 MiB or longer than the file; {DAMAGED}");
            return Err(damage(path, 0, text));
        };
        let json = take(path, source, header_bytes)?;
        let sealed = json.strip_prefix(SEAL.as_bytes());
        if let Some(rest) = sealed {
            let (sum, rest) = rest.split_at_checked(8).unwrap_or((rest, &[]));
            if sum != hex(sum_of_parts(&[&prefix, SEAL.as_bytes(), b"00000000", rest])).as_bytes() {
                return Err(damage(path, 0, format!("the header's checksum does not fit; {DAMAGED}")));
            }
        } else if own_only {
            let text =
                "there is no header checksum: this is no checkpoint of ours, or a damaged one; import files of other programs";
            return Err(damage(path, 8, text));
        }
        let within =
            |(at, reason): (u64, String), base: u64| damage(path, base.saturating_add(at), format!("{reason}; {DAMAGED}"));
        let mut header = Header::parse(&json).map_err(|e| within(e, 8))?;
        let data_at = header_bytes.saturating_add(8);
        let claims =
            header.metadata.iter().any(|(key, value)| key.starts_with("crc32c.") || key == "format" && value.starts_with(OURS));
        if claims && sealed.is_none() {
            return Err(damage(path, 8, format!("marks of our format without the header's checksum; {DAMAGED}")));
        }
        let sums = if sealed.is_some() { Some(sums(path, &header)?) } else { None };
        let order = header.in_order(data_bytes).map_err(|e| within(e, data_at))?;
        let mut tensors = BTreeMap::new();
        for (i, (name, place)) in order.into_iter().enumerate() {
            let tensor = tensor(path, source, place)?;
            let sum = sums.as_ref().map(|sums| sums.get(i).copied().unwrap_or_default());
            if sum.is_some_and(|sum| sum != crc32c::crc32c(tensor.bytes())) {
                let text = format!("the checksum of tensor `{name}` does not fit; {DAMAGED}");
                return Err(damage(path, data_at.saturating_add(place.start), text));
            }
            tensors.insert(name.to_owned(), tensor);
        }
        if sealed.is_some() {
            header.metadata.retain(|key, _| !is_reserved(key));
        }
        Ok(Self { tensors, metadata: header.metadata, verified: sealed.is_some() })
    }
}

/// The tensors' checksums in a header whose own checksum fits.
fn sums(path: &Path, header: &Header) -> Result<Vec<u32>> {
    match header.metadata.get("format") {
        Some(format) if format == FORMAT => {}
        format => {
            let text = format!("format {format:?} is not {FORMAT:?}; read it with the version of instdisc that wrote it");
            return Err(damage(path, 8, text));
        }
    }
    let digits = header.metadata.get("crc32c.tensors").map(String::as_bytes).unwrap_or_default();
    let (chunks, rest) = digits.as_chunks::<8>();
    let sums: Option<Vec<u32>> = chunks.iter().map(|c| u32::from_str_radix(std::str::from_utf8(c).ok()?, 16).ok()).collect();
    match sums {
        Some(sums) if rest.is_empty() && sums.len() == header.places.len() && sums.len() <= MAX_TENSORS => Ok(sums),
        _ => Err(damage(path, 8, format!("the tensors' checksums are not one a tensor; {DAMAGED}"))),
    }
}

fn tensor(path: &Path, source: &mut dyn Read, place: &Place) -> Result<Tensor> {
    let bytes = take(path, source, place.end.saturating_sub(place.start))?;
    Tensor::new(place.dtype, place.shape.dims(), bytes)
}

/// The next `count` bytes; the file is known to have held them a moment ago.
fn take(path: &Path, source: &mut dyn Read, count: u64) -> Result<Vec<u8>> {
    let mut bytes = Vec::new();
    let room = usize::try_from(count).ok().and_then(|n| bytes.try_reserve_exact(n).ok());
    room.ok_or_else(|| Error::io("reading", path, std::io::ErrorKind::OutOfMemory.into()))?;
    source.take(count).read_to_end(&mut bytes).map_err(|e| Error::io("reading", path, e))?;
    if bytes.len() as u64 != count {
        return Err(Error::io("reading", path, std::io::ErrorKind::UnexpectedEof.into()));
    }
    Ok(bytes)
}

fn is_reserved(key: &str) -> bool {
    key == "format" || key.starts_with("crc32c.")
}

fn sum_of_parts(parts: &[&[u8]]) -> u32 {
    parts.iter().fold(0, |sum, part| crc32c::crc32c_append(sum, part))
}

fn hex(sum: u32) -> String {
    format!("{sum:08x}")
}

fn damage(path: &Path, offset: u64, reason: impl Into<String>) -> Error {
    Error::Checkpoint { path: path.to_owned(), offset, reason: reason.into() }
}
