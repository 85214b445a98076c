//! Files that survive: checkpoints with checksums, an atomic writer, and logs of whole lines.
//!
//! A checkpoint is a [safetensors](https://huggingface.co/docs/safetensors) file, which PyTorch and NumPy read
//! with the Python package of that name. Ours also carry checksums, in the metadata, that other readers ignore.
//!
//! - [`File`] turns named [`Tensor`]s and text into bytes and back. It trusts nothing it reads.
//! - [`write()`] replaces a file as a whole, or leaves it alone. It is for any file, not only checkpoints.
//! - [`clean`] removes what killed writers left behind; call it once at start.
//! - [`JsonLines`] appends to a log, whole lines only.
//! - [`Fs`] is the handful of file operations that these use, so that a test can make each of them fail.
//!
//! ```
//! # fn main() -> instdisc::Result<()> {
//! # let folder = std::env::temp_dir().join(format!("instdisc-doc-{}", std::process::id()));
//! # std::fs::create_dir_all(&folder).map_err(|e| instdisc::Error::io("creating", &folder, e))?;
//! use instdisc::checkpoint::{File, Tensor};
//! let mut file = File::default();
//! file.tensors.insert("fc.weight".into(), Tensor::f32(&[2, 2], &[1.0, 2.0, 3.0, 4.0])?);
//! file.metadata.insert("step".into(), "7".into());
//! let path = folder.join("last.safetensors");
//! file.save(&path)?;
//! let back = File::load(&path)?;
//! assert_eq!(back.get("fc.weight")?.as_f32()?, [1.0, 2.0, 3.0, 4.0]);
//! # std::fs::remove_dir_all(&folder).ok();
//! # Ok(())
//! # }
//! ```

mod file;
mod fs;
mod header;
mod lines;
mod tensor;
mod write;

pub use file::File;
pub use fs::{Disk, Entry, Fs, Handle, Kind};
pub use header::{MAX_HEADER_BYTES, MAX_NAME_BYTES, MAX_TENSORS};
pub use lines::JsonLines;
pub use tensor::{DType, Tensor};
pub use write::{check_writable, clean, is_temporary, write, write_parts, write_parts_on};
