//! What a run has to know of its images before it begins.

use super::Args;
use crate::classes;
use crate::say::say;
use crate::show::{self, Set, count, some};
use instdisc::data::{CifarBinary, Dataset, Split};
use instdisc::name::normal;
use instdisc::train::{Config, Folder};
use instdisc::{Error, Result};
use std::collections::BTreeSet;
use std::sync::Arc;

/// The images to judge features with, if others than those that are trained on.
pub(super) fn of_test(args: &Args, config: &Config, side: usize) -> Result<Option<Arc<dyn Dataset>>> {
    let cifar = CifarBinary::is_at(&args.data);
    let path = args.test.as_ref().or(cifar.then_some(&args.data));
    let set = |path| Set { split: Split::Test, limit: args.limit_test, exclude: Some(config.exclude.clone()), ..Set::of(path) };
    path.map(|path| show::images(&set(path), &args.images, side)).transpose()
}

/// Say why features will not be judged, if they were to be by images of their own, and refuse images that cannot judge them.
pub(super) fn check_judging(args: &Args, dataset: &dyn Dataset, test: Option<&dyn Dataset>) -> Result<()> {
    let Some(test) = test else { return Ok(()) };
    let path = args.test.as_deref().unwrap_or(&args.data);
    for (set, whose) in [(dataset, "the images to train on have"), (test, "those of --test have")] {
        if set.classes().is_empty() {
            say!("note: features will not be judged: {whose} no labels; put the images of each class into a folder of its own");
            return Ok(());
        }
    }
    classes::check(dataset, test, path)?;
    classes::note_unlabelled(dataset, "vote");
    classes::note_unlabelled(test, "are judged");
    Ok(())
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

/// The names of the images with which the run in `--out` began, if those that are there now are the same ones, or differ only in how
/// their letters are written (see [`normal`]).
pub(super) fn same_but_written_otherwise(args: &Args, dataset: &dyn Dataset) -> Result<Option<Vec<String>>> {
    let Some(began) = Folder::images(&args.out)? else { return Ok(None) };
    let now = (0..dataset.len()).map(|i| dataset.name(i));
    if now.clone().eq(began.iter().map(String::as_str)) {
        return Ok(None);
    }
    let sorted = |names: &mut dyn Iterator<Item = String>| names.collect::<BTreeSet<_>>();
    let (then, now) = (sorted(&mut began.iter().map(|name| normal(name))), sorted(&mut now.map(normal)));
    Ok((then == now && began.len() == dataset.len()).then_some(began))
}

/// Refuse images that are not those with which the run in `--out` began.
pub(super) fn check_same(args: &Args, dataset: &dyn Dataset) -> Result<()> {
    let Some(began) = Folder::images(&args.out)? else { return Ok(()) };
    let then: BTreeSet<String> = began.into_iter().collect();
    let now: BTreeSet<String> = (0..dataset.len()).map(|i| dataset.name(i).to_owned()).collect();
    let told = |what: &str, names: Vec<String>| {
        (!names.is_empty()).then(|| format!("{} {what} ({})", count(names.len(), "image"), some(&names)))
    };
    let came = told("came", now.difference(&then).cloned().collect());
    let went = told("went", then.difference(&now).cloned().collect());
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
