//! Whether two sets of images speak of the same classes.

use crate::say::say;
use crate::show::{are, some};
use instdisc::data::Dataset;
use instdisc::name::normal;
use instdisc::{Error, Result};
use std::collections::BTreeMap;
use std::path::Path;

/// Refuse images to be judged, in the folder `path`, none of whose classes is a class of those that vote, and say which of them are not.
/// What counts are the classes that images have: a data set may name others too.
///
/// # Errors
/// [`Error::Data`].
pub(crate) fn check(voting: &dyn Dataset, judged: &dyn Dataset, path: &Path) -> Result<()> {
    let (voting, counts) = (of_images(voting), of_images(judged));
    let foreign: Vec<String> = counts.keys().filter(|name| !voting.contains_key(*name)).cloned().collect();
    if foreign.len() == counts.len() {
        let plain = |name: &String| normal(name).trim().to_lowercase();
        let alike = foreign.iter().find_map(|name| Some((name, voting.keys().find(|other| plain(other) == plain(name))?)));
        let advice = match alike {
            Some((name, other)) => format!("`{name}` and `{other}` differ in how they are written: name them alike"),
            None => "name them as those that vote are named".to_owned(),
        };
        let names: Vec<String> = voting.keys().cloned().collect();
        let reason =
            format!("no class of its images ({}) is one of those that vote ({}); {advice}", some(&foreign), some(&names));
        return Err(Error::data(path, reason));
    }
    let images: usize = foreign.iter().filter_map(|name| counts.get(name)).sum();
    if images > 0 {
        say!("note: {} of classes that do not vote ({}), and count as wrong", are(images, "image"), some(&foreign));
    }
    Ok(())
}

/// How many images have each class.
fn of_images(set: &dyn Dataset) -> BTreeMap<String, usize> {
    let mut counts = BTreeMap::new();
    for name in (0..set.len()).filter_map(|i| set.classes().get(set.label(i)? as usize)) {
        *counts.entry(name.clone()).or_default() += 1;
    }
    counts
}

/// Say how many images of a set have no label, and so take no part in what the others do.
pub(crate) fn note_unlabelled(set: &dyn Dataset, what: &str) {
    let without = (0..set.len()).filter(|i| set.label(*i).is_none()).count();
    if without > 0 {
        say!("note: {} without a label, and none of them among those that {what}", are(without, "image"));
    }
}
