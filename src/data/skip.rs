//! Images that cannot be read when their turn comes, and what takes their place.

use crate::error::{Error, Result};
use std::path::PathBuf;

/// An image that could not be read when its turn came.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Skipped {
    /// Its index in the data set.
    pub index: u32,
    /// Its file.
    pub path: PathBuf,
    /// What is wrong with it.
    pub reason: String,
}

impl Skipped {
    /// What `error` says of image `index`, if it says that the image cannot be read.
    ///
    /// # Errors
    /// `error` itself, if it is of another kind.
    pub(crate) fn unless_other(index: u32, error: Error) -> Result<Self> {
        match error {
            Error::Data { path, reason } => Ok(Self { index, path, reason }),
            Error::Io { doing, path, source } => Ok(Self { index, path, reason: format!("{doing}: {source}") }),
            other => Err(other),
        }
    }

    pub(crate) fn error(&self) -> Error {
        Error::data(&self.path, self.reason.as_str())
    }

    /// The error of an image that is one too many.
    pub(crate) fn too_many(&self, most: usize) -> Error {
        let reason = format!(
            "{}; with it more than {most} of the images cannot be read, too many to skip (more than 0.1 %, and more than one): look at the disk, then begin again, or go on with --resume --skip-broken",
            self.reason
        );
        Error::data(&self.path, reason)
    }
}

/// Takes the images of a step one after another, and in the place of each that cannot be read the first of `others` that can and was
/// not taken before. Says which were skipped; those of `others` that cannot be read have turns of their own, and are not among them.
///
/// # Errors
/// Those of `take` that are of another kind than an image that cannot be read. [`Error::Data`] where more than `most` images cannot
/// be read, or no other is left.
pub(crate) fn take_or_skip(
    indices: &[u32],
    others: impl Fn() -> Vec<u32>,
    most: usize,
    mut take: impl FnMut(u32) -> Result<()>,
) -> Result<Vec<Skipped>> {
    let (mut skipped, mut broken) = (Vec::new(), 0);
    let mut taken = |index: u32| -> Result<Option<Skipped>> {
        let Err(error) = take(index) else { return Ok(None) };
        let image = Skipped::unless_other(index, error)?;
        broken += 1;
        if broken > most { Err(image.too_many(most)) } else { Ok(Some(image)) }
    };
    let mut left = None;
    for &index in indices {
        let Some(image) = taken(index)? else { continue };
        let left = left.get_or_insert_with(|| others().into_iter());
        loop {
            let Some(other) = left.next() else {
                let reason =
                    format!("{}; the step takes all images that there are, so that none can take its place", image.reason);
                return Err(Error::data(image.path, reason));
            };
            if taken(other)?.is_none() {
                break;
            }
        }
        skipped.push(image);
    }
    Ok(skipped)
}
