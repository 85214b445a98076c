//! `instdisc knn`.

use crate::classes;
use crate::embed::{LayerArg, checkpoint_of};
use crate::say::{result, say};
use crate::show::{self, DataArgs, Set};
use instdisc::data::{Dataset, Split};
use instdisc::eval::{Judgement, Labelled, judge, shared_classes, usual_k};
use instdisc::name;
use instdisc::train::{Config, EmbedOptions, Embedded, features};
use instdisc::{Error, Result};
use std::collections::HashMap;
use std::path::{Path, PathBuf};
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
    /// Neighbours that vote [default: 200, of fewer than 2,000 labelled images a tenth]
    #[arg(short)]
    k: Option<usize>,
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
    #[arg(long, default_value_t = 64, value_parser = show::batches())]
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
    if let Some(k) = args.k.filter(|k| *k == 0) {
        return Err(Error::value("knn", "-k", "at least 1", k));
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
    classes::check(&*bank, &*queries, &args.test)?;
    classes::note_unlabelled(&*bank, "vote");
    classes::note_unlabelled(&*queries, "are judged");
    let vectors = |set: &Arc<dyn Dataset>| {
        let (augmentation, layer, threads) = (trained.config.augmentation, args.layer.layer(), args.images.threads);
        let options = EmbedOptions { augmentation, batch: args.batch, layer, threads };
        show::vectors(&gpu, &trained, set, &args.images, options)
    };
    let (voting, judged) = (vectors(&bank)?, vectors(&queries)?);
    let own = own_rows(args, (&*bank, &voting), (&*queries, &judged));
    let itself = own.iter().filter(|row| row.is_some()).count();
    if itself > 0 {
        say!("note: {} in both sets; none votes on itself", show::are(itself, "image"));
    }
    let shared = shared_classes(bank.classes(), queries.classes());
    let class = |i: &u32| queries.label(*i as usize).map(|c| shared.get(c as usize).copied().flatten().unwrap_or(u32::MAX));
    let truth: Vec<_> = judged.images.iter().map(class).collect();
    let votes: Vec<_> = voting.images.iter().map(|i| bank.label(*i as usize)).collect();
    let voters = votes.iter().flatten().count();
    let (voting, judged) = (Labelled { rows: &voting.rows, classes: &votes }, Labelled { rows: &judged.rows, classes: &truth });
    let Judgement { accuracy: seen, k, .. } = judge(&gpu, voting, judged, &own, args.k.unwrap_or(usual_k(voters)), args.tau)?;
    if seen.queries == 0 {
        return Err(Error::data(
            &args.test,
            "none of its images can be judged: there is no other image to vote; add some to --train",
        ));
    }
    if args.k.is_some_and(|asked| asked > k) {
        say!("note: only {} to vote: k = {k}, so that the class with the most of them tends to win", are_left(k));
    }
    if args.json {
        result!(
            "{}",
            serde_json::json!({ "k": k, "tau": args.tau, "top1": seen.top1, "top5": seen.top5, "queries": seen.queries })
        );
    } else {
        result!(
            "kNN, k = {k}, tau = {}: top-1 {:.2} %, top-5 {:.2} % of {}",
            args.tau,
            100.0 * seen.top1,
            100.0 * seen.top5,
            show::count(seen.queries, "image")
        );
    }
    Ok(())
}

fn are_left(k: usize) -> String {
    if k == 1 { "1 labelled image is there".into() } else { format!("{k} labelled images are there") }
}

/// The row that votes, for each judged row whose image is the very same file.
fn own_rows(args: &Args, bank: (&dyn Dataset, &Embedded), queries: (&dyn Dataset, &Embedded)) -> Vec<Option<u32>> {
    let real = |path: &Path| std::fs::canonicalize(path).unwrap_or_else(|_| path.to_owned());
    let (of_bank, of_queries) = (real(&args.train), real(&args.test));
    // A file or a folder in between may be a link; CIFAR's names are no files.
    let file = |root: &Path, set: &dyn Dataset, i: u32| real(&name::path(root, set.name(i as usize)));
    let votes = bank.1.images.iter().zip(0..).filter(|(i, _)| bank.0.label(**i as usize).is_some());
    let rows: HashMap<PathBuf, u32> = votes.map(|(i, row)| (file(&of_bank, bank.0, *i), row)).collect();
    let judged = |i: &&u32| queries.0.label(**i as usize).is_some();
    let own = |i: &u32| rows.get(&file(&of_queries, queries.0, *i)).copied();
    queries.1.images.iter().map(|i| Some(i).filter(judged).and_then(own)).collect()
}
