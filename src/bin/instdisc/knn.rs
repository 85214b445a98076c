//! `instdisc knn`.

use crate::embed::{LayerArg, checkpoint_of};
use crate::say::result;
use crate::show::{self, DataArgs, Set};
use instdisc::data::{Dataset, Split};
use instdisc::eval::{accuracy, neighbours};
use instdisc::train::{Config, EmbedOptions, features};
use instdisc::{Error, Result};
use std::path::PathBuf;
use std::sync::Arc;

/// Judge features by weighted nearest neighbours
#[derive(clap::Args)]
pub(crate) struct Args {
    /// Folder of a run
    run: PathBuf,
    /// Labelled images that vote
    #[arg(long, value_name = "DATA")]
    train: PathBuf,
    /// Labelled images that are judged
    #[arg(long, value_name = "DATA")]
    test: PathBuf,
    /// Neighbours that vote
    #[arg(short, default_value_t = 200)]
    k: usize,
    /// Temperature of a vote's weight
    #[arg(long, default_value_t = 0.07, allow_negative_numbers = true)]
    tau: f32,
    /// One JSON object
    #[arg(long)]
    json: bool,
    /// Unit vectors of the embedding, or of the pooled last stage before it
    #[arg(long, value_enum, default_value = "embedding")]
    layer: LayerArg,
    /// Images at once
    #[arg(long, default_value_t = 64)]
    batch: usize,
    /// Take only the first so many images of each class that vote
    #[arg(long, value_name = "N")]
    limit: Option<usize>,
    /// Take only the first so many images of each class that are judged
    #[arg(long, value_name = "N")]
    limit_test: Option<usize>,
    #[command(flatten)]
    images: DataArgs,
    /// Labels of the images that vote, from a file with a line `name<TAB>label` an image, instead of from the first folder level
    #[arg(long, value_name = "FILE")]
    labels: Option<PathBuf>,
    /// The same for the images that are judged
    #[arg(long, value_name = "FILE")]
    labels_test: Option<PathBuf>,
    /// Part of the adapter's name, or its number in `instdisc adapters` [default: the best]
    #[arg(long)]
    adapter: Option<String>,
}

pub(crate) fn run(args: &Args) -> Result<()> {
    if args.k == 0 {
        return Err(Error::value("knn", "-k", "at least 1", args.k));
    }
    let gpu = show::gpu(args.adapter.as_deref())?;
    let trained = features(&gpu, &checkpoint_of(&args.run))?;
    let side = Config::decode_side(trained.config.augmentation.side);
    let bank = Set { labels: args.labels.as_deref(), limit: args.limit, ..Set::of(&args.train) };
    let bank = show::images(&bank, &args.images, side)?;
    let queries = Set { labels: args.labels_test.as_deref(), split: Split::Test, limit: args.limit_test, ..Set::of(&args.test) };
    let queries = show::images(&queries, &args.images, side)?;
    for (set, path, option) in [(&bank, &args.train, "--labels"), (&queries, &args.test, "--labels-test")] {
        if set.classes().is_empty() {
            let reason = format!("has no labels: put the images of each class into a folder of its own, or give {option}");
            return Err(Error::data(path, reason));
        }
    }
    let vectors = |set: &Arc<dyn Dataset>| {
        let (augmentation, layer, threads) = (trained.config.augmentation, args.layer.layer(), args.images.threads);
        let options = EmbedOptions { augmentation, batch: args.batch, layer, threads };
        show::vectors(&gpu, &trained, set, &args.images, options)
    };
    let (voting, judged) = (vectors(&bank)?, vectors(&queries)?);
    let found = neighbours(&gpu, &voting.rows, &judged.rows, args.k)?;
    // A class is the same where its name is: the two folders may number them differently.
    let known: Vec<_> = queries.classes().iter().map(|name| bank.classes().iter().position(|n| n == name)).collect();
    let class =
        |i: &u32| queries.label(*i as usize).map(|c| known.get(c as usize).copied().flatten().map_or(u32::MAX, |c| c as u32));
    let truth: Vec<_> = judged.images.iter().map(class).collect();
    let seen = accuracy(&found, &truth, |row| bank.label(voting.images[row as usize] as usize), args.tau)?;
    if args.json {
        result!(
            "{}",
            serde_json::json!({ "k": args.k, "tau": args.tau, "top1": seen.top1, "top5": seen.top5, "queries": seen.queries })
        );
    } else {
        result!(
            "kNN, k = {}, tau = {}: top-1 {:.2} %, top-5 {:.2} % of {}",
            args.k,
            args.tau,
            100.0 * seen.top1,
            100.0 * seen.top5,
            show::count(seen.queries, "image")
        );
    }
    Ok(())
}
