//! Labels from a text file, which take the place of those that folders give.

use super::{Dataset, Image};
use crate::error::{Error, Result};
use std::collections::{BTreeSet, HashMap};
use std::path::{Path, PathBuf};

/// The most classes that labels may name, and one more than the highest numeric label.
pub const MAX_CLASSES: u32 = 65_536;

/// Label files over this many bytes are refused.
const MAX_BYTES: u64 = 1 << 30;

/// A label file, read: one `name<TAB>label` or `name,label` a line, in any order.
///
/// The name is the image's [`Dataset::name`]. The label is what follows the first tab of the line or, in a line
/// without a tab, the last comma; so a name with a comma works, and a label with one needs the tab.
///
/// What is tolerated: a byte order mark of UTF-8 at the start, lines that end in CR LF, and empty lines at the end of
/// the file. What is an error, each with its line: text that is not UTF-8, an empty line before the last label, a
/// line without tab or comma, an empty name or label, a blank at the beginning or end of a label, and a second label
/// for a name (even the same one).
#[derive(Clone, Debug)]
pub struct LabelFile {
    path: PathBuf,
    entries: Vec<Entry>,
}

#[derive(Clone, Debug)]
struct Entry {
    line: usize,
    name: String,
    label: String,
}

/// What [`LabelFile::apply`] demands.
#[derive(Clone, Copy, Debug, Default)]
pub struct LabelRules {
    /// How many classes there are; `None` takes the number from the file.
    pub classes: Option<u32>,
    /// Whether labels of images that are not there are passed over instead of refused.
    pub allow_extra: bool,
    /// Whether images may be without a label.
    pub allow_missing: bool,
}

/// Labels of a list of images.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Labels {
    /// The class of each image, an index into `classes`.
    pub labels: Vec<Option<u32>>,
    /// The names of the classes.
    pub classes: Vec<String>,
}

impl LabelFile {
    /// Reads a label file of at most 1 GiB.
    ///
    /// # Errors
    /// [`Error::Io`] if it cannot be read; [`Error::Data`], with the line, for what [`parse`](Self::parse) refuses.
    pub fn read(path: impl AsRef<Path>) -> Result<Self> {
        let path = path.as_ref();
        let size = std::fs::metadata(path).map_err(|source| Error::io("reading the label file", path, source))?.len();
        if size > MAX_BYTES {
            return Err(Error::data(path, format!("{size} bytes are too many for a label file, at most {MAX_BYTES} are read")));
        }
        let bytes = std::fs::read(path).map_err(|source| Error::io("reading the label file", path, source))?;
        Self::parse(path, &bytes)
    }

    /// Reads the bytes of a label file; `path` is what errors name.
    ///
    /// # Errors
    /// [`Error::Data`], with the line, for what the type's description calls an error, and for a file without labels.
    ///
    /// ```
    /// use instdisc::data::{LabelFile, LabelRules};
    /// let file = LabelFile::parse("labels.csv", b"b.png,dog\na.png,cat\n")?;
    /// let labels = file.apply(["a.png", "b.png"], &LabelRules::default())?;
    /// assert_eq!(labels.classes, ["cat", "dog"]);
    /// assert_eq!(labels.labels, [Some(0), Some(1)]);
    /// # Ok::<(), instdisc::Error>(())
    /// ```
    pub fn parse(path: impl AsRef<Path>, bytes: &[u8]) -> Result<Self> {
        let path = path.as_ref();
        let bytes = bytes.strip_prefix(b"\xef\xbb\xbf").unwrap_or(bytes);
        let text = std::str::from_utf8(bytes).map_err(|error| {
            let before = bytes.get(..error.valid_up_to()).unwrap_or_default();
            let line = before.iter().filter(|&&byte| byte == b'\n').count() + 1;
            at(path, line, "the text is not UTF-8; save the file as UTF-8")
        })?;
        let text = text.trim_end_matches(['\n', '\r']);
        if text.is_empty() {
            return Err(Error::data(path, "the label file is empty; write a line `name,label` for each image"));
        }
        let mut file = Self { path: path.to_owned(), entries: Vec::new() };
        let mut lines = HashMap::new();
        for (i, line) in text.split('\n').enumerate() {
            let entry = entry(path, i + 1, line.strip_suffix('\r').unwrap_or(line))?;
            if let Some(first) = lines.insert(entry.name.clone(), entry.line) {
                return Err(at(path, entry.line, &format!("`{}` has a label in line {first} already; delete one", entry.name)));
            }
            file.entries.push(entry);
        }
        Ok(file)
    }

    /// The labels of images with these names, in their order.
    ///
    /// If every label in the file is a decimal number, the numbers are the classes, from 0, and there are as many
    /// classes as `rules` says, or one more than the highest number. Otherwise a label is the name of a class, and
    /// classes are counted in the order of their names (by bytes).
    ///
    /// # Errors
    /// [`Error::Data`]: an image without a label; a label without an image; a numeric label that is not below the
    /// number of classes; more named classes than `rules` says; more than [`MAX_CLASSES`]. All name the first line
    /// concerned; that of a missing label names the first image instead.
    pub fn apply<'a>(&self, names: impl IntoIterator<Item = &'a str>, rules: &LabelRules) -> Result<Labels> {
        let (ids, classes) = if self.entries.iter().all(|entry| entry.label.bytes().all(|byte| byte.is_ascii_digit())) {
            self.numeric(rules)?
        } else {
            self.named(rules)?
        };
        let mut wanted: HashMap<&str, (u32, usize)> =
            self.entries.iter().zip(ids).map(|(entry, id)| (entry.name.as_str(), (id, entry.line))).collect();
        let (mut labels, mut missing, mut first) = (Vec::new(), 0usize, "");
        let mut used = HashMap::new();
        for name in names {
            // Names of a data set may repeat, if an application made it so.
            let label = wanted.remove(name).map(|(id, _)| *used.entry(name).or_insert(id)).or_else(|| used.get(name).copied());
            if label.is_none() {
                missing += 1;
                first = if missing == 1 { name } else { first };
            }
            labels.push(label);
        }
        if missing > 0 && !rules.allow_missing {
            let lines = self.entries.len();
            let reason =
                format!("no label for `{first}` (lines: {lines}, images without a label: {missing}); add a line for each");
            return Err(Error::data(&self.path, reason));
        }
        if !rules.allow_extra
            && let Some((name, (_, line))) = wanted.iter().min_by_key(|(_, (_, line))| *line)
        {
            let reason =
                format!("there is no image `{name}` (lines that name none: {}); correct the name or delete it", wanted.len());
            return Err(at(&self.path, *line, &reason));
        }
        Ok(Labels { labels, classes })
    }

    fn numeric(&self, rules: &LabelRules) -> Result<(Vec<u32>, Vec<String>)> {
        let count = rules.classes.unwrap_or(MAX_CLASSES).min(MAX_CLASSES);
        let (mut ids, mut highest) = (Vec::new(), 0);
        for entry in &self.entries {
            let Some(id) = entry.label.parse::<u32>().ok().filter(|&id| id < count) else {
                let reason = format!("label {} is out of range: there are {count} classes, counted from 0", entry.label);
                return Err(at(&self.path, entry.line, &reason));
            };
            highest = highest.max(id);
            ids.push(id);
        }
        let count = rules.classes.map_or(highest + 1, |_| count);
        Ok((ids, (0..count).map(|id| id.to_string()).collect()))
    }

    fn named(&self, rules: &LabelRules) -> Result<(Vec<u32>, Vec<String>)> {
        let count = rules.classes.unwrap_or(MAX_CLASSES).min(MAX_CLASSES) as usize;
        let mut classes = BTreeSet::new();
        for entry in &self.entries {
            classes.insert(entry.label.as_str());
            if classes.len() > count {
                let reason = format!("label `{}` is out of range: there are {count} classes, all named before", entry.label);
                return Err(at(&self.path, entry.line, &reason));
            }
        }
        let ids: HashMap<&str, u32> = classes.iter().zip(0..).map(|(&class, id)| (class, id)).collect();
        let labels = self.entries.iter().filter_map(|entry| ids.get(entry.label.as_str()).copied()).collect();
        Ok((labels, classes.into_iter().map(str::to_owned).collect()))
    }
}

fn at(path: &Path, line: usize, reason: &str) -> Error {
    Error::data(path, format!("line {line}: {reason}"))
}

fn entry(path: &Path, line: usize, text: &str) -> Result<Entry> {
    if text.is_empty() {
        return Err(at(path, line, "the line is empty; delete it"));
    }
    let Some((name, label)) = text.split_once('\t').or_else(|| text.rsplit_once(',')) else {
        return Err(at(path, line, "there is neither a tab nor a comma; write `name,label`"));
    };
    if name.is_empty() || label.is_empty() {
        return Err(at(path, line, "name or label is empty; write `name,label`"));
    }
    if label.trim() != label {
        return Err(at(path, line, "the label begins or ends with a blank, which would make it another class; delete it"));
    }
    Ok(Entry { line, name: name.to_owned(), label: label.to_owned() })
}

/// A data set with other labels.
pub struct Labelled {
    dataset: Box<dyn Dataset>,
    labels: Labels,
}

impl Labelled {
    /// `dataset` with these labels in place of its own.
    ///
    /// # Errors
    /// [`Error::Shape`] if there are not as many labels as images; [`Error::Value`] if a label has no class.
    pub fn new(dataset: Box<dyn Dataset>, labels: Labels) -> Result<Self> {
        let (expected, got) = (dataset.len(), labels.labels.len());
        if expected != got {
            return Err(Error::shape("labelled", "labels", format!("[{expected}]"), format!("[{got}]")));
        }
        let classes = labels.classes.len();
        if let Some(label) = labels.labels.iter().flatten().find(|&&label| label as usize >= classes) {
            return Err(Error::value("labelled", "labels", format!("below {classes}, the number of classes"), label));
        }
        Ok(Self { dataset, labels })
    }
}

impl Dataset for Labelled {
    fn len(&self) -> usize {
        self.dataset.len()
    }

    fn name(&self, i: usize) -> &str {
        self.dataset.name(i)
    }

    fn label(&self, i: usize) -> Option<u32> {
        self.labels.labels.get(i).copied().flatten()
    }

    fn classes(&self) -> &[String] {
        &self.labels.classes
    }

    fn image(&self, i: usize) -> Result<Image> {
        self.dataset.image(i)
    }

    fn bytes(&self, i: usize) -> Option<u64> {
        self.dataset.bytes(i)
    }
}
