//! Whether two sets of images speak of the same classes.

use crate::say::say;
use crate::show::{are, some};
use instdisc::data::Dataset;
use instdisc::eval::shared_classes;
use instdisc::name::normal;
use instdisc::{Error, Result};
use std::path::Path;

/// Refuse images to be judged, in the folder `path`, none of whose classes is a class of those that vote, and say which of them are not.
///
/// # Errors
/// [`Error::Data`].
pub(crate) fn check(voting: &dyn Dataset, judged: &dyn Dataset, path: &Path) -> Result<()> {
    let shared = shared_classes(voting.classes(), judged.classes());
    let foreign: Vec<String> =
        judged.classes().iter().zip(&shared).filter(|(_, n)| n.is_none()).map(|(c, _)| c.clone()).collect();
    if foreign.len() == shared.len() {
        let plain = |name: &String| normal(name).trim().to_lowercase();
        let alike =
            foreign.iter().find_map(|name| Some((name, voting.classes().iter().find(|other| plain(other) == plain(name))?)));
        let advice = match alike {
            Some((name, other)) => format!("`{name}` and `{other}` differ in how they are written: name them alike"),
            None => "name them as those that vote are named".to_owned(),
        };
        let reason = format!(
            "no class of its images ({}) is one of those that vote ({}); {advice}",
            some(&foreign),
            some(voting.classes())
        );
        return Err(Error::data(path, reason));
    }
    let unknown = |i: &usize| judged.label(*i).is_some_and(|class| shared.get(class as usize) == Some(&None));
    let images = (0..judged.len()).filter(unknown).count();
    if images > 0 {
        say!("note: {} of classes that do not vote ({}), and count as wrong", are(images, "image"), some(&foreign));
    }
    Ok(())
}
