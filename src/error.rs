//! The one error type: what happened, where, and what to do next.

use crate::name::shown;
use std::path::{Path, PathBuf};

/// The result of anything in this crate that can fail.
pub type Result<T> = std::result::Result<T, Error>;

/// Everything that can go wrong, with the facts a reader needs to act.
///
/// The text of each variant names what happened, where, and what to do. No function of this crate
/// panics on bad input, a lost device, lack of memory or a full disk: it returns one of these.
#[derive(Debug)]
#[non_exhaustive]
pub enum Error {
    /// A tensor has the wrong shape for an op.
    Shape {
        /// The op that refused.
        op: &'static str,
        /// Its argument.
        arg: &'static str,
        /// What the op takes.
        expected: String,
        /// What it was given.
        got: String,
    },
    /// A number or setting is outside what an op or command takes.
    Value {
        /// The op or command that refused.
        op: &'static str,
        /// Its argument.
        arg: &'static str,
        /// What it takes.
        expected: String,
        /// What it was given.
        got: String,
    },
    /// The device cannot hold or bind what was asked for.
    Limit {
        /// What ran into the limit.
        what: String,
        /// What was asked for.
        asked: u64,
        /// What the device allows.
        allowed: u64,
        /// What to do about it.
        advice: &'static str,
    },
    /// The device has no memory left.
    OutOfMemory {
        /// Bytes of the allocation that failed.
        asked: u64,
        /// Bytes that this `Gpu` held at that moment.
        held: u64,
    },
    /// A training step needs more device memory than there is: found before it is allocated, or when the device refused.
    Memory {
        /// Bytes that the run needs for its state and a step.
        needed: u64,
        /// Bytes that there are; where the device refused, those that it gave before.
        available: u64,
        /// Images a step, or a part of one.
        batch: usize,
        /// The most images that fit, or about so; `None` where not even one does.
        fits: Option<usize>,
    },
    /// No adapter can run compute shaders, or none has the name asked for.
    NoAdapter {
        /// What was looked for and what was found.
        reason: String,
    },
    /// The device is gone: driver reset, unplugged, or destroyed.
    DeviceLost {
        /// The driver's word on it.
        reason: String,
    },
    /// The device did not answer in time.
    Timeout {
        /// What was waited for.
        what: &'static str,
        /// For how long.
        waited_ms: u64,
    },
    /// The GPU interface refused a call: a fault of this crate.
    Gpu {
        /// The call or kernel.
        label: String,
        /// The text that came back.
        text: String,
    },
    /// A NaN or infinity reached the loss or a gradient, and weights and bank were left as they were; or one was about
    /// to reach a checkpoint, and the old one was left.
    NotFinite {
        /// The tensor in which it was seen first.
        tensor: String,
        /// The element: counted in the device's layout, for a checkpoint in the user's.
        index: u64,
        /// The training step, counted from 0.
        step: u64,
    },
    /// An image, label file or folder is not what it should be.
    Data {
        /// The file or folder.
        path: PathBuf,
        /// What is wrong with it, and what to do.
        reason: String,
    },
    /// A checkpoint is damaged or belongs to another configuration.
    Checkpoint {
        /// The file.
        path: PathBuf,
        /// Where in the file, in bytes.
        offset: u64,
        /// What is wrong with it, and what to do.
        reason: String,
    },
    /// The operating system refused a file operation.
    Io {
        /// What was being done, as in "writing".
        doing: &'static str,
        /// The file or folder.
        path: PathBuf,
        /// The system's error.
        source: std::io::Error,
    },
}

impl Error {
    /// An [`Error::Io`] of `source` while `doing` something to `path`.
    pub fn io(doing: &'static str, path: impl AsRef<Path>, source: std::io::Error) -> Self {
        Self::Io { doing, path: path.as_ref().to_owned(), source }
    }

    /// An [`Error::Data`] about `path`.
    pub fn data(path: impl AsRef<Path>, reason: impl Into<String>) -> Self {
        Self::Data { path: path.as_ref().to_owned(), reason: reason.into() }
    }

    /// An [`Error::Value`]: `op` takes `expected` for `arg` and was given `got`.
    pub fn value(op: &'static str, arg: &'static str, expected: impl Into<String>, got: impl std::fmt::Display) -> Self {
        Self::Value { op, arg, expected: expected.into(), got: got.to_string() }
    }

    /// An [`Error::Shape`]: `op` takes `expected` for `arg` and was given `got`.
    pub fn shape(op: &'static str, arg: &'static str, expected: impl Into<String>, got: impl std::fmt::Display) -> Self {
        Self::Shape { op, arg, expected: expected.into(), got: got.to_string() }
    }
}

impl std::fmt::Display for Error {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Shape { op, arg, expected, got } => write!(f, "{op}: `{arg}` must have shape {expected}, but has {got}"),
            Self::Value { op, arg, expected, got } => write!(f, "{op}: `{arg}` must be {expected}, but is {got}"),
            Self::Limit { what, asked, allowed, advice } => {
                write!(f, "{what} needs {asked}, and this device allows {allowed}; {advice}")
            }
            Self::OutOfMemory { asked, held } => write!(
                f,
                "the device has no memory for {asked} bytes more ({held} are held); try a smaller batch, width or image size"
            ),
            Self::Memory { needed, available, batch, fits } => {
                let [needed, available] = [needed, available].map(|n| bytes(*n));
                write!(f, "a batch of {batch} would need {needed} of device memory, and there are {available}; ")?;
                match fits {
                    Some(fits) => write!(f, "try --batch {fits} (with --accumulate a step takes several of them)"),
                    None => write!(f, "not even one image fits: try a smaller --size, --width or --dim, or fewer images"),
                }
            }
            Self::NoAdapter { reason } => write!(
                f,
                "no usable graphics adapter: {reason}; install a Vulkan driver (Debian, Ubuntu: `apt-get install mesa-vulkan-drivers` brings a software one) or name another with --adapter"
            ),
            Self::DeviceLost { reason } => {
                write!(f, "the graphics device was lost ({reason}); start again with --resume to go on from the last checkpoint")
            }
            Self::Timeout { what, waited_ms } => {
                write!(
                    f,
                    "{what} did not finish within {waited_ms} ms; the device may hang: try a smaller batch or another adapter"
                )
            }
            Self::Gpu { label, text } => {
                write!(f, "{label}: the GPU interface refused: {text}; this is a bug, please report it with this text")
            }
            Self::NotFinite { tensor, index, step } => write!(
                f,
                "NaN or infinity in `{tensor}` (element {index}) at step {step}; it was kept out of the checkpoint: lower the learning rate or raise tau"
            ),
            Self::Data { path, reason } => write!(f, "{}: {reason}", shown(path)),
            Self::Checkpoint { path, offset, reason } => write!(f, "checkpoint {} (byte {offset}): {reason}", shown(path)),
            Self::Io { doing, path, source } => write!(f, "{doing} {}: {source}", shown(path)),
        }
    }
}

/// A number of bytes for people.
///
/// ```
/// assert_eq!([900, 1 << 20, 3 << 29].map(instdisc::error::bytes), ["900 bytes", "1.0 MiB", "1.5 GiB"]);
/// ```
pub fn bytes(count: u64) -> String {
    match count {
        0..=9_999 => format!("{count} bytes"),
        10_000..1_073_741_824 => format!("{:.1} MiB", count as f64 / 1_048_576.0),
        _ => format!("{:.1} GiB", count as f64 / 1_073_741_824.0),
    }
}

impl std::error::Error for Error {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        match self {
            Self::Io { source, .. } => Some(source),
            _ => None,
        }
    }
}
