//! `instdisc embed`.

use crate::say::say;
use crate::show::{self, DataArgs, Set};
use clap::ValueEnum;
use instdisc::data::Split;
use instdisc::eval::{Layer, Matrix};
use instdisc::name::shown;
use instdisc::train::{Config, EmbedOptions, Embedded, Folder, features};
use instdisc::{Error, Result, checkpoint};
use std::path::{Path, PathBuf};

/// Write a vector for every image: a NumPy array, and a text file with the images' names in the order of its rows
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
    #[arg(long, default_value_t = 64)]
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
    if args.out.extension().is_none_or(|e| e != "npy") {
        return Err(Error::value("embed", "--out", "a file name that ends in .npy", shown(&args.out)));
    }
    let gpu = show::gpu(args.adapter.as_deref())?;
    let trained = features(&gpu, &Folder::checkpoint(&args.run))?;
    let split = if args.test { Split::Test } else { Split::Train };
    let side = Config::decode_side(trained.config.augmentation.side);
    let dataset = show::images(&Set { split, ..Set::of(&args.data) }, &args.images, side)?;
    let (augmentation, layer, threads) = (trained.config.augmentation, args.layer.layer(), args.images.threads);
    let options = EmbedOptions { augmentation, batch: args.batch, layer, threads };
    let Embedded { rows, images, .. } = show::vectors(&gpu, &trained, &dataset, &args.images, options)?;
    let names: String = images.iter().flat_map(|&i| [dataset.name(i as usize), "\n"]).collect();
    let list = args.out.with_extension("txt");
    checkpoint::write(&args.out, &npy(&rows))?;
    checkpoint::write(&list, names.as_bytes())?;
    let (vectors, numbers) = (show::count(rows.rows(), "vector"), show::count(rows.cols, "number"));
    say!("{vectors} of {numbers} in {}, names in {}", shown(&args.out), shown(&list));
    Ok(())
}

/// A NumPy file, version 1.0, of little-endian 32-bit floats.
fn npy(rows: &Matrix) -> Vec<u8> {
    let mut header = format!("{{'descr': '<f4', 'fortran_order': False, 'shape': ({}, {}), }}", rows.rows(), rows.cols);
    // Magic, version and length are ten bytes; the header ends in a newline at a multiple of 64.
    let padding = 63 - (10 + header.len()) % 64;
    header.push_str(&" ".repeat(padding));
    header.push('\n');
    let mut bytes = b"\x93NUMPY\x01\x00".to_vec();
    bytes.extend((header.len() as u16).to_le_bytes());
    bytes.extend(header.as_bytes());
    bytes.extend(rows.values.iter().flat_map(|v| v.to_le_bytes()));
    bytes
}

/// Where a run's checkpoint is, for the other commands.
pub(crate) fn checkpoint_of(run: &Path) -> PathBuf {
    Folder::checkpoint(run)
}
