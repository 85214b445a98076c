//! `instdisc embed`.

use crate::array;
use crate::say::say;
use crate::show::{self, DataArgs, Set};
use clap::ValueEnum;
use instdisc::data::Split;
use instdisc::eval::Layer;
use instdisc::name::shown;
use instdisc::train::{Config, EmbedOptions, Embedded, Folder, features};
use instdisc::{Result, checkpoint};
use std::path::{Path, PathBuf};

/// Write a vector for every image: a NumPy array, and a text file with the images' names in the order of its rows
///
/// A name is a line: the path below DATA, in which a backslash begins an escape: \\ for a backslash, \n, \r, \t, \u{1b} for a
/// control character, \xe9 for a byte that is no UTF-8.
#[derive(clap::Args)]
pub(crate) struct Args {
    /// Folder of a run
    run: PathBuf,
    /// Folder of images, or of CIFAR binary files
    data: PathBuf,
    /// The array; the names go beside it into FILE.txt
    #[arg(long, value_name = "FILE.npy")]
    out: PathBuf,
    /// Unit vectors of the embedding, or of the pooled last stage before it
    #[arg(long, value_enum, default_value = "embedding")]
    layer: LayerArg,
    /// Images at once
    #[arg(long, default_value_t = 64, value_parser = show::batches())]
    batch: usize,
    #[command(flatten)]
    images: DataArgs,
    /// Take CIFAR's test part
    #[arg(long)]
    test: bool,
    /// Part of the adapter's name, or its number in `instdisc adapters` [default: the best]
    #[arg(long)]
    adapter: Option<String>,
}

#[derive(Clone, Copy, ValueEnum)]
pub(crate) enum LayerArg {
    Embedding,
    Backbone,
}

impl LayerArg {
    pub(crate) fn layer(self) -> Layer {
        match self {
            Self::Embedding => Layer::Embedding,
            Self::Backbone => Layer::Backbone,
        }
    }
}

pub(crate) fn run(args: &Args) -> Result<()> {
    array::check(&args.out)?;
    let gpu = show::gpu(args.adapter.as_deref())?;
    let trained = features(&gpu, &Folder::checkpoint(&args.run))?;
    let split = if args.test { Split::Test } else { Split::Train };
    let side = Config::decode_side(trained.config.augmentation.side);
    let dataset = show::images(&Set { split, ..Set::of(&args.data) }, &args.images, side)?;
    let (augmentation, layer, threads) = (trained.config.augmentation, args.layer.layer(), args.images.threads);
    let options = EmbedOptions { augmentation, batch: args.batch, layer, threads };
    let Embedded { rows, images, .. } = show::vectors(&gpu, &trained, &dataset, &args.images, options)?;
    let escaped = images.iter().filter(|i| dataset.name(**i as usize).contains('\\')).count();
    if escaped > 0 {
        say!(
            "note: {} written with escapes, as \\n for a line feed, \\xe9 for a byte that is no UTF-8, \\\\ for a backslash",
            show::are(escaped, "name")
        );
    }
    let names: String = images.iter().flat_map(|&i| [dataset.name(i as usize), "\n"]).collect();
    let list = array::list(&args.out);
    checkpoint::write(&args.out, &array::encode(&rows))?;
    checkpoint::write(&list, names.as_bytes())?;
    let (vectors, numbers) = (show::count(rows.rows(), "vector"), show::count(rows.cols, "number"));
    say!("{vectors} of {numbers} in {}, names in {}", shown(&args.out), shown(&list));
    Ok(())
}

/// Where a run's checkpoint is, for the other commands.
pub(crate) fn checkpoint_of(run: &Path) -> PathBuf {
    Folder::checkpoint(run)
}
