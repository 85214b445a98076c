//! What a run is: the user's choices, and the configuration that follows from them and from the images.

use crate::error::{Error, Result};
use crate::nn::{ResNet, ResNetConfig, Stem};
use crate::npid::{BankFormat, Loss, Method, ZRule};
use crate::ops::Augmentation;
use crate::optim::Schedule;
use serde::{Deserialize, Serialize};

/// A setting of the paper.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Preset {
    /// CIFAR-10 as the authors' released code trains it: exact softmax, τ = 0.1, batch 128, weight decay 5e-4, 200 epochs.
    PaperCifar,
    /// ImageNet as in the paper: NCE with 4,096 negatives, frozen Z, τ = 0.07, batch 256, weight decay 1e-4, 200 epochs, flips.
    PaperImagenet,
}

/// What a user asked for. `None` leaves the choice to [`Choices::resolve`].
#[derive(Clone, Debug, Default)]
pub struct Choices {
    /// `resnet18`, `resnet34` or `resnet50`.
    pub arch: Option<String>,
    /// Channels of the first stage.
    pub width: Option<usize>,
    /// What comes before the first block.
    pub stem: Option<Stem>,
    /// Side of the network's input, in pixels.
    pub size: Option<usize>,
    /// Length of the embedding.
    pub dim: Option<usize>,
    /// `softmax` or `nce`.
    pub loss: Option<String>,
    /// m, the rows of noise a sample.
    pub negatives: Option<usize>,
    /// How Z is found.
    pub z: Option<ZRule>,
    /// τ, the temperature.
    pub tau: Option<f32>,
    /// The weight of the OLD row when the bank is updated.
    pub bank_keep: Option<f32>,
    /// λ, the weight of the proximal term.
    pub prox: Option<f32>,
    /// How the bank is stored.
    pub bank: Option<BankFormat>,
    /// Images a step, or a part of one.
    pub batch: Option<usize>,
    /// Parts of a step.
    pub accumulate: Option<usize>,
    /// Epochs of the schedule.
    pub epochs: Option<usize>,
    /// The first learning rate.
    pub lr: Option<f32>,
    /// How it falls.
    pub schedule: Option<Schedule>,
    /// Momentum.
    pub momentum: Option<f32>,
    /// Weight decay.
    pub weight_decay: Option<f32>,
    /// The seed of everything random.
    pub seed: Option<u64>,
    /// Mirror half of the images.
    pub flip: Option<bool>,
    /// Of each class of the folder at most so many images.
    pub limit: Option<usize>,
    /// Patterns of files that are left out.
    pub exclude: Vec<String>,
    /// The paper's values for what is left open.
    pub preset: Option<Preset>,
}

/// Everything that decides what a run computes. Stored in the run folder; a resumed run must have the same.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Config {
    /// How many images there are.
    pub images: usize,
    /// A checksum of the images' names in order.
    pub names: u32,
    /// Of each class of the folder at most so many images.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub limit: Option<usize>,
    /// Patterns of files that are left out.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub exclude: Vec<String>,
    /// The network.
    pub net: ResNetConfig,
    /// The loss and the bank.
    pub method: Method,
    /// The augmentation, with the input's side.
    pub augmentation: Augmentation,
    /// Images a step, or a part of one.
    pub batch: usize,
    /// Parts of a step, whose gradients are added up: it takes `batch` × `accumulate` images, and memory for `batch`.
    #[serde(default = "one")]
    pub accumulate: usize,
    /// Epochs of the schedule.
    pub epochs: usize,
    /// The first learning rate.
    pub lr: f32,
    /// How it falls.
    pub schedule: Schedule,
    /// Momentum.
    pub momentum: f32,
    /// Weight decay.
    pub weight_decay: f32,
    /// The seed of everything random.
    pub seed: u64,
}

/// Runs that are older than the setting take a step in one part.
fn one() -> usize {
    1
}

/// Images up to which the exact softmax is the default: what one default binding of a bank of 128 columns holds.
pub const SOFTMAX_IMAGES: usize = 262_144;
/// Images below which a frozen Z is known not to train.
const FROZEN_Z_IMAGES: usize = 50_000;

impl Choices {
    /// The configuration for `images` images whose shorter side is `side` in the middle (the median), with the names' checksum,
    /// and what the user should know about it.
    ///
    /// What is open follows from the images: side 32 for images up to 48 pixels, else 64, 128 or 224; the CIFAR stem up to
    /// side 64; exact softmax up to 262,144 images, NCE above; τ 0.1 up to side 64, else 0.07; Z as a moving average.
    ///
    /// # Errors
    /// [`Error::Value`] for what cannot be: unknown names, fewer than 2 images, a batch of 0, rates that are not positive.
    pub fn resolve(&self, images: usize, side: usize, names: u32) -> Result<(Config, Vec<String>)> {
        if images < 2 {
            return Err(Error::value("train", "DATA", "at least 2 images, to tell apart", images));
        }
        let asked = self.with_preset();
        let natural = [32, 64, 128].into_iter().find(|s| side <= s * 3 / 2).unwrap_or(224);
        let size = asked.size.unwrap_or(natural);
        let small = size <= 64;
        let stem = asked.stem.unwrap_or(if small { Stem::Cifar } else { Stem::Imagenet });
        let named = ResNetConfig::named(asked.arch.as_deref().unwrap_or("resnet18"), stem)?;
        let net = ResNetConfig { width: asked.width.unwrap_or(named.width), dim: asked.dim.unwrap_or(named.dim), ..named };
        let default_loss = if images <= SOFTMAX_IMAGES { "softmax" } else { "nce" };
        let loss = match asked.loss.as_deref().unwrap_or(default_loss) {
            "softmax" => self.check_softmax().map(|()| Loss::Softmax)?,
            "nce" => self.noise_contrastive(),
            other => return Err(Error::value("train", "--loss", "softmax or nce", other)),
        };
        let tau = asked.tau.unwrap_or(if small { 0.1 } else { 0.07 });
        let (bank_keep, prox) = (self.bank_keep.unwrap_or(0.5), self.prox.unwrap_or(0.0));
        let method = Method { loss, tau, bank_keep, prox, bank: self.bank.unwrap_or_default() };
        let flip = asked.flip == Some(true);
        let mut augmentation = Augmentation { flip: if flip { 0.5 } else { 0.0 }, ..Augmentation::paper(size) };
        if small {
            // Means and deviations of CIFAR-10, which small pictures are nearer to.
            augmentation.mean = [0.4914, 0.4822, 0.4465];
            augmentation.deviation = [0.2023, 0.1994, 0.2010];
        }
        let wanted = asked.batch.unwrap_or(if size > 64 { 64 } else { 128 });
        let config = Config {
            images,
            names,
            limit: self.limit,
            exclude: self.exclude.clone(),
            net,
            method,
            augmentation,
            batch: wanted.min(images),
            accumulate: self.accumulate.unwrap_or(1),
            epochs: self.epochs.unwrap_or(200),
            lr: self.lr.unwrap_or(0.03),
            schedule: self.schedule.unwrap_or(Schedule::Step),
            momentum: self.momentum.unwrap_or(0.9),
            weight_decay: asked.weight_decay.unwrap_or(if small { 5e-4 } else { 1e-4 }),
            seed: self.seed.unwrap_or(0),
        };
        config.check()?;
        Ok((config.clone(), self.notes(&config, wanted)))
    }

    /// Refuse what no images can make right, before they are opened.
    ///
    /// # Errors
    /// [`Error::Value`] with the option's name.
    pub fn check(&self) -> Result<()> {
        // Any number will do.
        const IMAGES: usize = 1 << 20;
        Self { accumulate: self.accumulate.map(|parts| parts.min(1)), ..self.clone() }.resolve(IMAGES, 32, 0).map(drop)
    }

    /// The noise-contrastive loss that was asked for.
    pub(super) fn noise_contrastive(&self) -> Loss {
        let asked = self.with_preset();
        // The released code draws the own row too; with few images that is most of the time.
        let exclude_own = self.preset.is_none();
        Loss::Nce { negatives: asked.negatives.unwrap_or(4096), z: asked.z.unwrap_or(ZRule::Ema), exclude_own }
    }

    /// Refuse what means nothing to the exact softmax.
    pub(super) fn check_softmax(&self) -> Result<()> {
        if self.negatives.is_none() && self.z.is_none() {
            return Ok(());
        }
        Err(Error::value("train", "--negatives, --z", "left out with the exact softmax, or given with --loss nce", "given"))
    }

    fn notes(&self, config: &Config, wanted: usize) -> Vec<String> {
        let mut notes = Vec::new();
        let n = config.images;
        if config.batch < wanted {
            notes.push(format!("a batch of {wanted} becomes {n}, for there are no more images"));
        }
        if config.batch == 1 {
            notes.push(
                "a batch of 1 teaches next to nothing: batch norm has no other image to compare with; take 16 or more".into(),
            );
        }
        if let Loss::Nce { negatives, z, exclude_own } = config.method.loss {
            if z == ZRule::First && n < FROZEN_Z_IMAGES {
                notes.push(format!(
                    "Z frozen at its first estimate is known not to train on few images (here {n}): the loss climbs; use --loss softmax, or --z ema"
                ));
            }
            if exclude_own && negatives >= n {
                notes.push(format!("more negatives ({negatives}) are drawn than there are images ({n}), so many repeat; --loss softmax compares with every image once"));
            }
        }
        notes
    }
}

impl Config {
    /// Refuse what no run can be made with.
    ///
    /// # Errors
    /// [`Error::Value`] with the option's name.
    pub(super) fn check(&self) -> Result<()> {
        let positive = |name, value: f32| match value.is_finite() && value > 0.0 {
            true => Ok(()),
            false => Err(Error::value("train", name, "a finite number above 0", value)),
        };
        positive("--lr", self.lr)?;
        positive("--tau", self.method.tau)?;
        if self.method.tau < 0.01 {
            return Err(Error::value("train", "--tau", "at least 0.01", self.method.tau));
        }
        if !(0.0..=1.0).contains(&self.method.bank_keep) {
            return Err(Error::value("train", "--bank-keep", "between 0 and 1", self.method.bank_keep));
        }
        if !(self.method.prox.is_finite() && self.method.prox >= 0.0) {
            return Err(Error::value("train", "--prox", "a finite number of at least 0", self.method.prox));
        }
        if !(0.0..1.0).contains(&self.momentum) {
            return Err(Error::value("train", "--momentum", "at least 0 and below 1", self.momentum));
        }
        if !(self.weight_decay.is_finite() && self.weight_decay >= 0.0) {
            return Err(Error::value("train", "--weight-decay", "a finite number of at least 0", self.weight_decay));
        }
        let counts = [
            ("--batch", self.batch),
            ("--accumulate", self.accumulate),
            ("--epochs", self.epochs),
            ("--width", self.net.width),
            ("--dim", self.net.dim),
        ];
        for (name, value) in counts {
            if value == 0 {
                return Err(Error::value("train", name, "at least 1", value));
            }
        }
        if self.accumulate > 1 && self.batch.saturating_mul(self.accumulate) > self.images {
            let most = format!("at most {}: {} images, {} a part", self.images / self.batch, self.images, self.batch);
            return Err(Error::value("train", "--accumulate", most, self.accumulate));
        }
        let side = self.augmentation.side;
        if !(8..=640).contains(&side) {
            return Err(Error::value("train", "--size", "between 8 and 640", side));
        }
        if matches!(self.method.loss, Loss::Nce { negatives: 0, .. }) {
            return Err(Error::value("train", "--negatives", "at least 1", 0));
        }
        ResNet::new(self.net.clone()).map(drop)
    }

    /// Images a step, in all its parts.
    pub fn step_images(&self) -> usize {
        self.batch.saturating_mul(self.accumulate).max(1)
    }

    /// Steps an epoch: the last partial batch is dropped.
    pub fn steps_per_epoch(&self) -> u64 {
        (self.images / self.step_images()).max(1) as u64
    }

    /// The side that images keep when they are decoded: enough for a crop of half the area at full resolution.
    pub fn decode_side(size: usize) -> usize {
        size * 3 / 2
    }
}
