//! Train on a folder of images of one's own, by the library alone, and print each picture's nearest neighbour.
//!
//! `cargo run --release --features images --example own_folder -- FOLDER [EPOCHS]`

use instdisc::data::{Options, open};
use instdisc::eval::{Layer, neighbours};
use instdisc::gpu::Gpu;
use instdisc::train::{Choices, EmbedOptions, Event, Run, RunOptions, embed};
use instdisc::{Error, Result};
use std::sync::Arc;

fn main() -> std::process::ExitCode {
    let mut args = std::env::args().skip(1);
    let Some(folder) = args.next() else {
        eprintln!("usage: own_folder FOLDER [EPOCHS]");
        return std::process::ExitCode::from(2);
    };
    let epochs = args.next().and_then(|e| e.parse().ok()).unwrap_or(3);
    match train(&folder, epochs) {
        Ok(()) => std::process::ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("error: {error}");
            std::process::ExitCode::FAILURE
        }
    }
}

fn train(folder: &str, epochs: usize) -> Result<()> {
    let gpu = Gpu::open(&Default::default())?;
    let opened = open(folder, &Options { max_side: Some(48), skip_broken: true, ..Options::default() })?;
    let images: Arc<dyn instdisc::data::Dataset> = Arc::from(opened.dataset);
    let choices = Choices { width: Some(16), size: Some(32), batch: Some(32), epochs: Some(epochs), ..Choices::default() };
    let (config, notes) = choices.resolve(images.len(), 32, 0)?;
    notes.iter().for_each(|note| eprintln!("note: {note}"));

    // Without a folder for the run nothing is written; `Run::capture` would give the checkpoint.
    let mut run = Run::new(&gpu, config, images.clone(), None)?;
    run.train(&RunOptions::default(), &mut |event| {
        if let Event::Epoch { epoch, loss, seconds, .. } = event {
            println!("epoch {epoch}: loss {loss:.3} in {seconds:.1} s");
        }
    })?;

    let augmentation = run.config().augmentation;
    let options = EmbedOptions { augmentation, batch: 32, layer: Layer::Embedding, threads: 0 };
    let vectors = embed(&gpu, run.net(), run.store(), &images, options)?;
    let found = neighbours(&gpu, &vectors, &vectors, 2)?;
    for (i, near) in found.iter().enumerate().take(20) {
        let other = near.iter().find(|n| n.row as usize != i).ok_or_else(|| Error::data(folder, "holds a single image"))?;
        println!("{} ~ {} ({:.3})", images.name(i), images.name(other.row as usize), other.score);
    }
    Ok(())
}
