//! What several commands share: opening adapter and images, and saying what was found.

use crate::say::say;
use crate::watch::{Counted, watched};
use clap::builder::TypedValueParser;
use clap::value_parser;
use instdisc::data::{Dataset, Limits, Meter, Opened, Options, Report, Split};
use instdisc::gpu::{Gpu, OpenOptions};
use instdisc::name::shown;
use instdisc::train::tune::cache_folder;
use instdisc::train::{EmbedOptions, Embedded, Features, Scans, embed, embed_skipping};
use instdisc::{Error, Result};
use std::path::Path;
use std::sync::Arc;

/// Open the adapter called `name`, or the best, and say on standard error which it is.
pub(crate) fn gpu(name: Option<&str>) -> Result<Gpu> {
    let gpu = Gpu::open(&OpenOptions { adapter: name.map(str::to_owned), ..Default::default() })?;
    let facts = gpu.facts();
    let software = if facts.software { ", a software adapter: expect a hundredth of a GPU's speed" } else { "" };
    say!("adapter: {} ({}, {}{software})", facts.name, facts.backend, facts.driver);
    Ok(gpu)
}

/// How to open a folder of images.
#[derive(clap::Args)]
pub(crate) struct DataArgs {
    /// Leave broken images out, named and counted, instead of stopping at them; those that break later too
    #[arg(long)]
    pub(crate) skip_broken: bool,
    /// Leave out files and folders: `*_thumb.*` by their names, `raw/**` by the path below the folder; may be given again
    #[arg(long, value_name = "GLOB")]
    pub(crate) exclude: Vec<String>,
    /// The most pixels an image may have, width times height [default: 100000000]
    #[arg(long, value_name = "PIXELS")]
    pub(crate) max_pixels: Option<u64>,
    /// The most bytes an image's file may have [default: 268435456, which is 256 MiB]
    #[arg(long, value_name = "BYTES")]
    pub(crate) max_file_bytes: Option<u64>,
    /// Threads that decode images, at the opening of a folder and later [default: one a core]
    #[arg(long, value_name = "N", default_value_t = 0, hide_default_value = true, value_parser = between(0, 256))]
    pub(crate) threads: usize,
}

/// A number of images at once, for those who only look at them.
pub(crate) fn batches() -> impl TypedValueParser<Value = usize> {
    between(1, 4096)
}

fn between(least: i64, most: i64) -> impl TypedValueParser<Value = usize> {
    value_parser!(u16).range(least..=most).map(usize::from)
}

/// Images to open.
pub(crate) struct Set<'a> {
    /// The folder.
    pub(crate) path: &'a Path,
    /// Labels from this file, or else from the first folder level.
    pub(crate) labels: Option<&'a Path>,
    pub(crate) split: Split,
    /// Of each class at most so many.
    pub(crate) limit: Option<usize>,
    /// Patterns of what is left out, where they are not those of the command line.
    pub(crate) exclude: Option<Vec<String>>,
    /// The names of the images with which a run began that goes on.
    pub(crate) names: Option<Arc<[String]>>,
}

impl<'a> Set<'a> {
    /// All images of a folder, or those to train on.
    pub(crate) fn of(path: &'a Path) -> Self {
        Self { path, labels: None, split: Split::Train, limit: None, exclude: None, names: None }
    }
}

/// As [`open_images`], and say on standard error what was left out.
pub(crate) fn images(set: &Set, args: &DataArgs, side: usize) -> Result<Arc<dyn Dataset>> {
    let opened = open_images(set, args, side)?;
    report(set.path, &opened.report, opened.dataset.classes(), exclude(set, args));
    Ok(Arc::from(opened.dataset))
}

/// The patterns that are in force for a set.
fn exclude<'a>(set: &'a Set, args: &'a DataArgs) -> &'a [String] {
    set.exclude.as_ref().unwrap_or(&args.exclude)
}

/// Open a set of images, decoded to `side` on the shorter side.
pub(crate) fn open_images(set: &Set, args: &DataArgs, side: usize) -> Result<Opened> {
    let usual = Limits::default();
    let limits =
        Limits { pixels: args.max_pixels.unwrap_or(usual.pixels), file_bytes: args.max_file_bytes.unwrap_or(usual.file_bytes) };
    let meter = Arc::new(Meter::default());
    let options = Options {
        split: set.split,
        limit: set.limit,
        max_side: Some(side as u32),
        exclude: exclude(set, args).to_vec(),
        skip_broken: args.skip_broken,
        labels: set.labels.map(Path::to_owned),
        limits,
        threads: args.threads,
        names: set.names.clone(),
        meter: Some(meter.clone()),
        ..Options::default()
    };
    let what = format!("opening {}", shown(set.path));
    let (opened, word) = watched(&what, &meter, || Scans::new(cache_folder()).open(set.path, &options))?;
    word.iter().for_each(|word| say!("note: {word}"));
    Ok(opened)
}

/// The vectors of the images that can be read, of unit length, and say on standard error which cannot, if these are to be left out.
pub(crate) fn vectors(
    gpu: &Gpu,
    trained: &Features,
    dataset: &Arc<dyn Dataset>,
    args: &DataArgs,
    options: EmbedOptions,
) -> Result<Embedded> {
    let options = EmbedOptions { batch: options.batch.min(dataset.len()).max(1), ..options };
    match vectors_at_once(gpu, trained, dataset, args, options) {
        Err(Error::OutOfMemory { .. } | Error::Limit { .. } | Error::Memory { .. }) if options.batch > 1 => {
            let batch = options.batch / 2;
            say!("note: the device has no room for {} at once, so {batch} are tried", count(options.batch, "image"));
            vectors(gpu, trained, dataset, args, EmbedOptions { batch, ..options })
        }
        vectors => vectors,
    }
}

fn vectors_at_once(
    gpu: &Gpu,
    trained: &Features,
    dataset: &Arc<dyn Dataset>,
    args: &DataArgs,
    options: EmbedOptions,
) -> Result<Embedded> {
    let meter = Arc::new(Meter::default());
    meter.begin(dataset.len() as u64);
    let counted: Arc<dyn Dataset> = Arc::new(Counted { dataset: dataset.clone(), meter: meter.clone() });
    let embedded = if args.skip_broken {
        watched("embedding", &meter, || embed_skipping(gpu, &trained.net, &trained.store, &counted, options))?
    } else {
        let embedded = watched("embedding", &meter, || embed(gpu, &trained.net, &trained.store, &counted, options));
        let rows = embedded.map_err(|error| match error {
            Error::Data { path, reason } => Error::Data { path, reason: format!("{reason}; {ADVICE}") },
            other => other,
        })?;
        Embedded { rows, images: (0..dataset.len() as u32).collect(), skipped: Vec::new() }
    };
    let skipped = &embedded.skipped;
    left_out("image", "broken since the opening", skipped.len(), skipped.iter().map(|image| (&*image.path, &*image.reason)));
    Ok(Embedded { rows: embedded.rows.normalised(), ..embedded })
}

/// What to do about an image that cannot be read when its turn comes.
const ADVICE: &str = "mend or delete it, or leave broken images out with --skip-broken";

/// So many of something, in words: `1 epoch`, `2 epochs`, `3 classes`.
pub(crate) fn count<N: std::fmt::Display + PartialEq + From<u8>>(n: N, one: &str) -> String {
    let ending = match one {
        _ if n == N::from(1) => "",
        _ if one.ends_with('s') => "es",
        _ => "s",
    };
    format!("{n} {one}{ending}")
}

fn report(path: &Path, report: &Report, classes: &[String], exclude: &[String]) {
    let labels = if classes.is_empty() { "no labels".to_owned() } else { count(classes.len(), "class") };
    let known = if report.known == 0 { String::new() } else { format!("; {} known from an earlier opening", report.known) };
    say!("{}: {}, {labels}{known}", shown(path), count(report.images, "image"));
    if !report.not_images.is_empty() {
        let kinds = report.extensions.iter().take(KINDS).map(|(extension, number)| match extension {
            Some(extension) => format!("{number} .{extension}"),
            None => format!("{number} without an extension"),
        });
        let more = if report.extensions.len() > KINDS { ", …" } else { "" };
        let kinds = kinds.collect::<Vec<_>>().join(", ");
        say!("  {} passed over: no image ({kinds}{more}: not read)", count(report.not_images.len(), "file"));
    }
    if !report.system.is_empty() {
        let times =
            |(name, number): &(String, usize)| if *number == 1 { name.clone() } else { format!("{name} ({number} times)") };
        say!("  passed over: {}: folders of the system", report.system.iter().map(times).collect::<Vec<_>>().join(", "));
    }
    if report.by_content > 0 {
        say!("  {} an image by its content, not by its extension", are(report.by_content, "file"));
    }
    for (pattern, number) in exclude.iter().zip(&report.excluded) {
        match number {
            0 => say!("note: --exclude {pattern} matches nothing"),
            _ => say!("  {number} left out: --exclude {pattern}"),
        }
    }
    const PARTS: [&str; 8] = ["train", "training", "val", "valid", "validation", "test", "testing", "dev"];
    if !classes.is_empty() && classes.iter().all(|class| PARTS.contains(&class.to_lowercase().as_str())) {
        let (first, path) = (&classes[0], shown(path));
        say!(
            "note: the only classes are {}, which are parts of a data set: name one of them, as {path}/{first}, and another with --test",
            classes.join(", ")
        );
    }
    if let Some(first) = &report.first_unlabelled {
        say!(
            "  labels for {} of {}; the first without is {first}",
            report.images - report.unlabelled,
            count(report.images, "image")
        );
    }
    if report.over_limit > 0 {
        say!("  {} left out: over the limit a class", count(report.over_limit, "image"));
    }
    let odd = [
        (&report.single_colour, "a single colour"),
        (&report.dark, "nearly black, with more than 8 bits a sample and the upper ones unused: scale them to the whole range"),
    ];
    for (names, what) in odd.into_iter().filter(|(names, _)| !names.is_empty()) {
        say!("note: {} {what}: {}", are(names.len(), "image"), some(names));
    }
    for (one, why, files) in [("folder", "unreadable", &report.unreadable), ("image", "broken", &report.skipped)] {
        left_out(one, why, files.len(), files.iter().map(|(path, reason)| (&**path, &**reason)));
    }
}

/// Extensions that are named.
const KINDS: usize = 10;

/// So many of something are: `1 image is`, `2 images are`.
pub(crate) fn are(n: usize, one: &str) -> String {
    format!("{} {}", count(n, one), if n == 1 { "is" } else { "are" })
}

/// The first of some names, and how many more there are.
pub(crate) fn some(names: &[String]) -> String {
    const NAMED: usize = 5;
    let first = names.iter().take(NAMED).map(String::as_str).collect::<Vec<_>>().join(", ");
    if names.len() > NAMED { format!("{first} and {} more", names.len() - NAMED) } else { first }
}

/// Say that so many images or folders are left out, and of the first ten what is wrong with them.
fn left_out<'a>(one: &str, why: &str, number: usize, images: impl Iterator<Item = (&'a Path, &'a str)>) {
    const NAMED: usize = 10;
    if number > 0 {
        say!("  {} left out: {why}", count(number, one));
        images.take(NAMED).for_each(|(path, reason)| say!("    {}: {reason}", shown(path)));
    }
    if number > NAMED {
        say!("    and {} more", number - NAMED);
    }
}
