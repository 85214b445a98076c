//! What a run has to know of its images before it begins.

use super::Args;
use crate::show::{self, Set};
use instdisc::data::{CifarBinary, Dataset, Split};
use instdisc::{Error, Result};
use std::sync::Arc;

/// The images to judge features with, if others than those that are trained on.
pub(super) fn of_test(args: &Args, side: usize) -> Result<Option<Arc<dyn Dataset>>> {
    let cifar = CifarBinary::is_at(&args.data);
    let path = args.test.as_ref().or(cifar.then_some(&args.data));
    let set = |path| Set { split: Split::Test, limit: args.limit_test, ..Set::of(path) };
    path.map(|path| show::images(&set(path), &args.images, side)).transpose()
}

/// The median of the shorter sides of up to 101 images, evenly spread.
pub(super) fn median_side(dataset: &dyn Dataset, skip_broken: bool) -> Result<usize> {
    let count = dataset.len().clamp(1, 101);
    let side = |i| dataset.image(i * dataset.len() / count).map(|image| image.width.min(image.height));
    let (mut sides, mut broken) = (Vec::with_capacity(count), None);
    for side in (0..count).map(side) {
        match side {
            Ok(side) => sides.push(side),
            Err(error @ (Error::Data { .. } | Error::Io { .. })) if skip_broken => broken = Some(error),
            Err(error) => return Err(error),
        }
    }
    sides.sort_unstable();
    match (sides.get(sides.len() / 2), broken) {
        (Some(side), _) => Ok(*side as usize),
        (None, Some(error)) => Err(error),
        (None, None) => Err(Error::value("train", "images", "at least 2 images", 0)),
    }
}

/// A checksum of the names of all images.
pub(super) fn names(dataset: &dyn Dataset) -> u32 {
    (0..dataset.len()).fold(0, |sum, i| crc32c::crc32c_append(crc32c::crc32c_append(sum, dataset.name(i).as_bytes()), b"\n"))
}
