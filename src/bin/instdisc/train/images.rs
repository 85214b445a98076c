//! What a run has to know of its images before it begins.

use super::Args;
use crate::show::{self, Set, count};
use instdisc::data::{CifarBinary, Dataset, Split};
use instdisc::train::Folder;
use instdisc::{Error, Result};
use std::collections::BTreeSet;
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

/// Refuse images that are not those with which the run in `--out` began.
pub(super) fn check_same(args: &Args, dataset: &dyn Dataset) -> Result<()> {
    let Some(began) = Folder::images(&args.out)? else { return Ok(()) };
    let then: BTreeSet<&str> = began.iter().map(String::as_str).collect();
    let now: BTreeSet<&str> = (0..dataset.len()).map(|i| dataset.name(i)).collect();
    let told = |what: &str, names: Vec<&str>| {
        const NAMED: usize = 5;
        let more = if names.len() > NAMED { ", …" } else { "" };
        let some = names.iter().take(NAMED).copied().collect::<Vec<_>>().join(", ");
        (!names.is_empty()).then(|| format!("{} {what} ({some}{more})", count(names.len(), "image")))
    };
    let came = told("came", now.difference(&then).copied().collect());
    let went = told("went", then.difference(&now).copied().collect());
    let changes: Vec<String> = came.into_iter().chain(went).collect();
    if changes.is_empty() {
        return Ok(());
    }
    let reason = format!(
        "since the run began {}; put back what went and take away what came, or add --skip-broken to go on without both, or begin a new run with another --out",
        changes.join(" and ")
    );
    Err(Error::data(&args.data, reason))
}

/// A checksum of the names of all images.
pub(super) fn names(dataset: &dyn Dataset) -> u32 {
    (0..dataset.len()).fold(0, |sum, i| crc32c::crc32c_append(crc32c::crc32c_append(sum, dataset.name(i).as_bytes()), b"\n"))
}
