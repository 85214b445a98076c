//! Labels from a text file, which take the place of those that folders give.

use super::{Dataset, Image};
use crate::error::{Error, Result};
use crate::name::{self, shown};
use std::borrow::Cow;
use std::collections::{BTreeSet, HashMap};
use std::path::{Path, PathBuf};

/// The most classes that labels may name, and one more than the highest numeric label.
pub const MAX_CLASSES: u32 = 65_536;

/// Label files over this many bytes are refused.
const MAX_BYTES: u64 = 1 << 30;

/// A label file, read: one `name<TAB>label` or `name,label` a line, in any order.
///
/// The name is the image's [`Dataset::name`], perhaps with `./` in front, with its characters as they are instead of escapes, or with
/// its letters written in another form of Unicode, where that is no other image's too. The label is what follows the first tab of
/// the line or, in a line without a tab, the last comma; so a name with a comma works, and a label with one needs the tab. A name or
/// label in a line without a tab may stand in quotes, in which two quotes stand for one (RFC 4180).
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
    /// Whether images may be without a label, if some have one.
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
                return Err(at(
                    path,
                    entry.line,
                    &format!("`{}` has a label in line {first} already; delete one", shown(entry.name.as_ref())),
                ));
            }
            file.entries.push(entry);
        }
        Ok(file)
    }

    /// The labels of images with these names, in their order.
    ///
    /// If every label in the file is a decimal number, the numbers are the classes, from 0, and there are as many
    /// classes as `rules` says, or one more than the highest number, where that is at most [`MAX_CLASSES`]. Otherwise a label is the
    /// name of a class, and classes are counted in the order of their names: by their values if they are numbers, else by bytes.
    ///
    /// # Errors
    /// [`Error::Data`]: an image without a label; a label without an image; a numeric label that is not below the
    /// number of classes; more named classes than `rules` says; more than [`MAX_CLASSES`]. All name the first line
    /// concerned; that of a missing label names the first image instead.
    pub fn apply<'a>(&self, names: impl IntoIterator<Item = &'a str>, rules: &LabelRules) -> Result<Labels> {
        let digits = self.entries.iter().all(|entry| entry.label.bytes().all(|byte| byte.is_ascii_digit()));
        // Numbers beyond are names of something: of products, of people.
        let ids =
            digits && rules.classes.is_none() && self.entries.iter().any(|entry| number(&entry.label) >= u128::from(MAX_CLASSES));
        let (ids, classes) = if digits && !ids { self.numeric(rules)? } else { self.named(rules, ids)? };
        let names: Vec<&str> = names.into_iter().collect();
        let places = self.places(&names)?;
        let mut labels = vec![None; names.len()];
        let mut lines: HashMap<usize, usize> = HashMap::new();
        let mut extra = Vec::new();
        for ((entry, id), images) in self.entries.iter().zip(ids).zip(places) {
            if images.is_empty() {
                extra.push(entry);
            }
            for i in images {
                if let Some(first) = lines.insert(i, entry.line) {
                    let reason = format!("`{}` names the image of line {first} again; delete one", shown(entry.name.as_ref()));
                    return Err(at(&self.path, entry.line, &reason));
                }
                labels.get_mut(i).into_iter().for_each(|label| *label = Some(id));
            }
        }
        let missing = labels.iter().filter(|label| label.is_none()).count();
        if missing > 0 && (!rules.allow_missing || missing == labels.len()) {
            let first = names.iter().zip(&labels).find(|(_, label)| label.is_none()).map_or("", |(name, _)| name);
            let (lines, look) = (self.entries.len(), self.look(&names, &extra));
            let reason = format!("no label for `{first}` (lines: {lines}, images without a label: {missing}); {look}");
            return Err(Error::data(&self.path, reason));
        }
        if let Some(entry) = extra.first().filter(|_| !rules.allow_extra) {
            let (name, look) = (shown(entry.name.as_ref()), self.look(&names, &extra));
            return Err(at(
                &self.path,
                entry.line,
                &format!("there is no image `{name}` (lines that name none: {}); {look}", extra.len()),
            ));
        }
        Ok(Labels { labels, classes })
    }

    /// The images that each entry names: exactly, else by the name as it is without escapes, else by one written with other forms of
    /// the same letters. Names of a data set may repeat, if an application made it so.
    fn places(&self, names: &[&str]) -> Result<Vec<Vec<usize>>> {
        let mut exact: HashMap<&str, Vec<usize>> = HashMap::new();
        let mut alike: HashMap<String, BTreeSet<&str>> = HashMap::new();
        for (i, name) in names.iter().enumerate() {
            exact.entry(name).or_default().push(i);
            alike.entry(name::normal(name)).or_default().insert(name);
        }
        // A line that names an image exactly has it, whatever others are like it.
        let taken: BTreeSet<&str> =
            self.entries.iter().map(|entry| entry.name.as_str()).filter(|name| exact.contains_key(name)).collect();
        let place = |entry: &Entry| -> Result<Vec<usize>> {
            let plain = entry.name.strip_prefix("./").unwrap_or(&entry.name);
            let escaped = name::text(plain.as_ref());
            if let Some(images) = [entry.name.as_str(), plain, &escaped].into_iter().find_map(|name| exact.get(name)) {
                return Ok(images.clone());
            }
            let Some(others) = [plain, &escaped].into_iter().find_map(|name| alike.get(&name::normal(name))) else {
                return Ok(Vec::new());
            };
            let mut free = others.iter().filter(|other| !taken.contains(*other));
            match (free.next(), free.next()) {
                (Some(one), None) => Ok(exact.get(one).cloned().unwrap_or_default()),
                (None, _) => Ok(Vec::new()),
                (Some(one), Some(other)) => {
                    let reason =
                        format!("`{one}` and `{other}` are two images whose names look the same as this one: rename one of them");
                    Err(at(&self.path, entry.line, &reason))
                }
            }
        };
        self.entries.iter().map(place).collect()
    }

    /// How the names of the file and those of the images look, and what to do.
    fn look(&self, names: &[&str], extra: &[&Entry]) -> String {
        let (Some(entry), Some(name)) = (extra.first(), names.first()) else { return "add a line for each".into() };
        let file_name = |name: &str| name.rsplit(['/', '\\']).next().unwrap_or_default().to_owned();
        let same = |name: &&&str| file_name(name).split('.').next() == file_name(&entry.name).split('.').next();
        let name = names.iter().find(same).unwrap_or(name);
        let mut text = format!("the file's names look like `{}`, the images' like `{name}`", shown(entry.name.as_ref()));
        text += match entry.line {
            1 if extra.len() == 1 => ": if line 1 is a header, delete it",
            _ if entry.name.bytes().all(|byte| byte.is_ascii_digit()) => {
                ": name the images, not the rows (`index=False` in pandas)"
            }
            _ => ": write them as the images' are",
        };
        text
    }

    fn numeric(&self, rules: &LabelRules) -> Result<(Vec<u32>, Vec<String>)> {
        let count = rules.classes.unwrap_or(MAX_CLASSES).min(MAX_CLASSES);
        let (mut ids, mut highest) = (Vec::new(), 0);
        for entry in &self.entries {
            let Some(id) = entry.label.parse::<u32>().ok().filter(|&id| id < count) else {
                let reason =
                    format!("label {} is out of range: there are {count} classes, counted from 0", shown(entry.label.as_ref()));
                return Err(at(&self.path, entry.line, &reason));
            };
            highest = highest.max(id);
            ids.push(id);
        }
        let count = rules.classes.map_or(highest + 1, |_| count);
        Ok((ids, (0..count).map(|id| id.to_string()).collect()))
    }

    fn named(&self, rules: &LabelRules, by_value: bool) -> Result<(Vec<u32>, Vec<String>)> {
        let count = rules.classes.unwrap_or(MAX_CLASSES).min(MAX_CLASSES) as usize;
        let mut classes = BTreeSet::new();
        for entry in &self.entries {
            classes.insert(entry.label.as_str());
            if classes.len() > count {
                let reason = format!(
                    "label `{}` is out of range: there are {count} classes, all named before",
                    shown(entry.label.as_ref())
                );
                return Err(at(&self.path, entry.line, &reason));
            }
        }
        let mut classes: Vec<&str> = classes.into_iter().collect();
        if by_value {
            classes.sort_by_key(|class| number(class));
        }
        let ids: HashMap<&str, u32> = classes.iter().zip(0..).map(|(&class, id)| (class, id)).collect();
        let labels = self.entries.iter().filter_map(|entry| ids.get(entry.label.as_str()).copied()).collect();
        Ok((labels, classes.into_iter().map(|class| name::text(class.as_ref())).collect()))
    }
}

/// The value of digits; what is larger than any number that we have is the largest.
fn number(digits: &str) -> u128 {
    digits.parse().unwrap_or(u128::MAX)
}

fn at(path: &Path, line: usize, reason: &str) -> Error {
    Error::data(path, format!("line {line}: {reason}"))
}

fn entry(path: &Path, line: usize, text: &str) -> Result<Entry> {
    if text.is_empty() {
        return Err(at(path, line, "the line is empty; delete it"));
    }
    let fields = match text.split_once('\t') {
        Some((name, label)) => Some((name.into(), label.into())),
        None => quoted(text),
    };
    let Some((name, label)): Option<(Cow<str>, Cow<str>)> = fields else {
        return Err(at(path, line, "there is neither a tab nor a comma; write `name,label`"));
    };
    if name.is_empty() || label.is_empty() {
        return Err(at(path, line, "name or label is empty; write `name,label`"));
    }
    if label.trim() != label {
        return Err(at(path, line, "the label begins or ends with a blank, which would make it another class; delete it"));
    }
    Ok(Entry { line, name: name.into_owned(), label: label.into_owned() })
}

/// Name and label of a line with a comma between them, either of which may be quoted.
fn quoted(line: &str) -> Option<(Cow<'_, str>, Cow<'_, str>)> {
    /// The field in quotes that `text` begins with, and what follows it.
    fn field(text: &str) -> Option<(String, &str)> {
        let (mut field, mut rest) = (String::new(), text.strip_prefix('"')?);
        loop {
            let (part, after) = rest.split_once('"')?;
            field.push_str(part);
            match after.strip_prefix('"') {
                Some(more) => {
                    field.push('"');
                    rest = more;
                }
                None => return Some((field, after)),
            }
        }
    }
    if let Some((name, rest)) = field(line)
        && let Some(label) = rest.strip_prefix(',')
    {
        let label = match field(label) {
            Some((label, "")) => label.into(),
            _ => label.into(),
        };
        return Some((name.into(), label));
    }
    // A label in quotes may hold a comma: it begins behind one.
    let behind = line.match_indices(",\"").find_map(|(i, _)| match field(line.get(i + 1..)?)? {
        (label, "") => Some((line.get(..i)?, label)),
        _ => None,
    });
    match behind {
        Some((name, label)) => Some((name.into(), label.into())),
        None => line.rsplit_once(',').map(|(name, label)| (name.into(), label.into())),
    }
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
