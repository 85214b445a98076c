//! The command line of the demo.

use std::path::PathBuf;

pub(crate) const USAGE: &str = "\
usage: emoji [OPTIONS]

  --epochs N       epochs over which the learning rate falls to zero (180; 300 on a GPU)
  --seconds N      stop training after this many seconds of wall time (150)
  --pictures N     how many emoji (256; all 1,914 on a GPU)
  --seed N         of weights, bank, order and augmentations (1)
  --adapter NAME   part of an adapter's name, or its number
  --out DIR        where the pictures go (runs/emoji)";

/// What was asked for; `None` where the adapter decides.
pub(crate) struct Options {
    pub(crate) epochs: Option<usize>,
    pub(crate) seconds: u32,
    pub(crate) pictures: Option<usize>,
    pub(crate) seed: u64,
    pub(crate) adapter: Option<String>,
    pub(crate) out: PathBuf,
}

impl Options {
    /// The options in `words`; the text of a usage error otherwise.
    pub(crate) fn parse(mut words: impl Iterator<Item = String>) -> Result<Self, String> {
        let mut options =
            Self { epochs: None, seconds: 150, pictures: None, seed: 1, adapter: None, out: PathBuf::from("runs/emoji") };
        while let Some(flag) = words.next() {
            let value = words.next().ok_or_else(|| format!("`{flag}` is no option, or lacks its value"))?;
            match flag.as_str() {
                "--epochs" => options.epochs = Some(at_least(&flag, &value, 1)?),
                "--seconds" => options.seconds = at_least(&flag, &value, 1)?,
                "--pictures" => options.pictures = Some(at_least(&flag, &value, 32)?),
                "--seed" => options.seed = at_least(&flag, &value, 0)?,
                "--adapter" => options.adapter = Some(value),
                "--out" => options.out = PathBuf::from(value),
                _ => return Err(format!("`{flag}` is no option")),
            }
        }
        Ok(options)
    }
}

fn at_least<T: std::str::FromStr + PartialOrd + std::fmt::Display>(flag: &str, value: &str, least: T) -> Result<T, String> {
    let number = value.parse().ok().filter(|number| *number >= least);
    number.ok_or_else(|| format!("`{flag}` takes a number of at least {least}, not `{value}`"))
}
