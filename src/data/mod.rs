//! Images in: data sets, decoding under limits, the order of an epoch, batches packed for the GPU.
//!
//! - [`open`] reads a folder of images or of CIFAR files; [`Memory`] holds images that an application has;
//!   [`Dataset`] is what either is, and what an application may implement itself.
//! - [`LabelFile`] reads labels from a text file. Labels never decide which images there are, nor their order:
//!   training does not see them.
//! - [`Sampler`] says which images a step takes, as a function of (seed, step); [`Loader`] fetches them ahead, on
//!   threads, and hands out a [`Batch`] a step. Neither depends on the number of threads.
//!
//! ```
//! use instdisc::data::{Image, Loader, Memory, Sampler};
//! use std::sync::Arc;
//!
//! let images = (0..10).map(|i| Image::new(2, 2, vec![i; 12])).collect::<instdisc::Result<_>>()?;
//! let sampler = Sampler::new(10, 4, 7)?;
//! let mut loader = Loader::new(Arc::new(Memory::new(images)?), sampler, 0..2, 2)?;
//! let batch = loader.next().transpose()?.map(|batch| batch.len());
//! assert_eq!(batch, Some(4));
//! # Ok::<(), instdisc::Error>(())
//! ```
#![warn(clippy::indexing_slicing)]

mod batch;
mod cifar;
#[cfg(feature = "images")]
mod decode;
#[cfg(feature = "images")]
mod folder;
#[cfg(feature = "images")]
mod huffman;
#[cfg(feature = "images")]
mod ifd;
#[cfg(feature = "images")]
mod jpeg;
#[cfg_attr(not(feature = "images"), allow(dead_code, reason = "only folders of images know files"))]
mod known;
mod labels;
mod loader;
mod memory;
mod meter;
mod open;
#[cfg(feature = "images")]
mod room;
mod sampler;
mod skip;
#[cfg(feature = "images")]
mod tiff;
#[cfg(feature = "images")]
mod walk;

pub use batch::Batch;
pub use cifar::CifarBinary;
#[cfg(feature = "images")]
pub use decode::decode;
#[cfg(feature = "images")]
pub use folder::ImageFolder;
pub use known::Known;
pub use labels::{LabelFile, LabelRules, Labelled, Labels, MAX_CLASSES};
pub use loader::Loader;
pub use memory::Memory;
pub use meter::Meter;
pub use open::{Limits, Opened, Options, Report, Split, open};
pub use sampler::Sampler;
pub use skip::Skipped;
pub(crate) use skip::take_or_skip;
#[cfg(feature = "images")]
pub use walk::EXTENSIONS;

use crate::error::{Error, Result};

/// An image of 8-bit red, green and blue.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Image {
    /// Pixels in a row.
    pub width: u32,
    /// Rows.
    pub height: u32,
    /// Red, green and blue of each pixel, row by row from the top, without padding: `width × height × 3` bytes.
    pub rgb: Vec<u8>,
}

impl Image {
    /// An image of these pixels.
    ///
    /// # Errors
    /// [`Error::Value`] if a side is 0 or `rgb` does not have `width × height × 3` bytes.
    ///
    /// ```
    /// use instdisc::data::Image;
    /// assert!(Image::new(1, 2, vec![0; 6]).is_ok());
    /// assert!(Image::new(1, 2, vec![0; 5]).is_err());
    /// ```
    pub fn new(width: u32, height: u32, rgb: Vec<u8>) -> Result<Self> {
        let image = Self { width, height, rgb };
        image.check()?;
        Ok(image)
    }

    /// Whether the sides and the bytes agree: the fields are public, so an image may come from anywhere.
    fn check(&self) -> Result<()> {
        let bytes = u64::from(self.width).checked_mul(u64::from(self.height)).and_then(|n| n.checked_mul(3));
        if bytes == Some(self.rgb.len() as u64) && bytes != Some(0) {
            return Ok(());
        }
        let got = format!("{} bytes for {} × {}", self.rgb.len(), self.width, self.height);
        Err(Error::value("image", "rgb", "width × height × 3 bytes, neither side 0", got))
    }
}

/// A set of images in a fixed order, with names and perhaps labels.
///
/// An implementation must give the same answers for the same index, from any thread. Indices are `0..len()`, and
/// `len()` fits in 32 bits.
pub trait Dataset: Send + Sync {
    /// How many images there are.
    fn len(&self) -> usize;

    /// Whether there are none.
    fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// The name of image `i`: its path below the folder of the data set, with `/` between folders, each in the form of
    /// [`name::text`](crate::name::text), from which [`name::path`](crate::name::path) leads back to the file. Empty where there is no image `i`.
    fn name(&self, i: usize) -> &str;

    /// The class of image `i`, an index into [`classes`](Self::classes), or `None` if it has no label.
    fn label(&self, i: usize) -> Option<u32>;

    /// The names of the classes; empty without labels.
    fn classes(&self) -> &[String];

    /// Image `i`, decoded.
    ///
    /// # Errors
    /// [`Error::Value`] if there is no image `i`; [`Error::Data`] or [`Error::Io`] if it has to be read from a file
    /// and cannot.
    fn image(&self, i: usize) -> Result<Image>;

    /// How many bytes image `i` has, `width × height × 3`, where that is known without decoding it. A data set that knows it
    /// of all images can stay on the device while a network is trained, if it is small enough.
    fn bytes(&self, i: usize) -> Option<u64> {
        let _ = i;
        None
    }
}

/// The error of asking a data set of `len` images for image `i`.
fn no_image(i: usize, len: usize) -> Error {
    Error::value("dataset", "image", format!("an index below {len}"), i)
}
