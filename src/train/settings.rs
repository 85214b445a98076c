//! A configuration in the words of the command line: which option says what, and which of them a resumed run may change.

use super::config::{Choices, Config, Preset};
use crate::error::Result;
use crate::nn::ResNetConfig;
use crate::npid::{Loss, ZRule};

impl Choices {
    /// These choices, with the values of the preset where it decides and nothing else was asked for.
    pub(super) fn with_preset(&self) -> Self {
        let mut all = self.clone();
        let Some(preset) = self.preset else { return all };
        let imagenet = preset == Preset::PaperImagenet;
        let pick = |cifar, other| if imagenet { other } else { cifar };
        all.size.get_or_insert(if imagenet { 224 } else { 32 });
        all.arch.get_or_insert(pick("resnet18", "resnet50").to_owned());
        let loss = all.loss.get_or_insert(pick("softmax", "nce").to_owned());
        if imagenet && loss == "nce" {
            all.z.get_or_insert(ZRule::First);
        }
        all.tau.get_or_insert(if imagenet { 0.07 } else { 0.1 });
        all.flip.get_or_insert(imagenet);
        all.batch.get_or_insert(if imagenet { 256 } else { 128 });
        all.weight_decay.get_or_insert(if imagenet { 1e-4 } else { 5e-4 });
        all
    }

    /// The configuration `stored` of a run, with what was asked for in its place. Whether a run may go on so is another question:
    /// see [`Config::difference`].
    ///
    /// # Errors
    /// [`Error::Value`](crate::Error::Value) for what cannot be.
    pub fn over(&self, stored: &Config) -> Result<Config> {
        let asked = self.with_preset();
        let mut config = stored.clone();
        let Config { net, method, augmentation, .. } = &mut config;
        if let Some(arch) = &asked.arch {
            let named = ResNetConfig::named(arch, net.stem)?;
            (net.block, net.blocks) = (named.block, named.blocks);
        }
        match asked.loss.as_deref() {
            Some("softmax") => method.loss = Loss::Softmax,
            Some("nce") if method.loss == Loss::Softmax => method.loss = self.noise_contrastive(),
            _ => {}
        }
        match &mut method.loss {
            Loss::Nce { negatives, z, .. } => {
                set(negatives, asked.negatives);
                set(z, asked.z);
            }
            Loss::Softmax => self.check_softmax()?,
        }
        set(&mut net.width, asked.width);
        set(&mut net.stem, asked.stem);
        set(&mut net.dim, asked.dim);
        set(&mut method.tau, asked.tau);
        set(&mut method.bank_keep, asked.bank_keep);
        set(&mut method.prox, asked.prox);
        set(&mut method.bank, asked.bank);
        set(&mut augmentation.side, asked.size);
        set(&mut augmentation.flip, asked.flip.map(|flip| if flip { 0.5 } else { 0.0 }));
        set(&mut config.limit, asked.limit.map(Some));
        set(&mut config.exclude, Some(asked.exclude).filter(|globs| !globs.is_empty()));
        // As a new run does it: there are no more images.
        set(&mut config.batch, asked.batch.map(|batch| batch.min(stored.images)));
        set(&mut config.accumulate, asked.accumulate);
        set(&mut config.epochs, asked.epochs);
        set(&mut config.lr, asked.lr);
        set(&mut config.schedule, asked.schedule);
        set(&mut config.momentum, asked.momentum);
        set(&mut config.weight_decay, asked.weight_decay);
        set(&mut config.seed, asked.seed);
        config.check()?;
        Ok(config)
    }
}

fn set<T>(place: &mut T, asked: Option<T>) {
    if let Some(asked) = asked {
        *place = asked;
    }
}

impl Config {
    /// What keeps a run with this configuration from going on with that of `asked`, in words: each option with the value that it
    /// had and the one that it would have now. More epochs than before are no difference.
    pub fn difference(&self, asked: &Self) -> Option<String> {
        let longer = Self { epochs: self.epochs.max(asked.epochs), ..self.clone() };
        if longer == *asked {
            return None;
        }
        let changed = longer.options().into_iter().zip(asked.options()).filter(|(was, now)| was != now);
        let words: Vec<String> = changed.map(|((option, was), (_, now))| format!("{option} {was}, now {now}")).collect();
        // What no option says follows from a preset, or was set by a program.
        Some(if words.is_empty() { format!("{self:?}, now {asked:?}") } else { words.join("; ") })
    }

    /// Each option that decides what a run computes, with its value.
    fn options(&self) -> Vec<(&'static str, String)> {
        let Self { net, method, augmentation, .. } = self;
        let lower = |name: String| name.to_lowercase();
        let (loss, negatives, z) = match method.loss {
            Loss::Softmax => ("softmax", "none".to_owned(), "none".to_owned()),
            Loss::Nce { negatives, z, .. } => ("nce", negatives.to_string(), lower(format!("{z:?}"))),
        };
        vec![
            ("images", self.images.to_string()),
            ("checksum of their names", format!("{:08x}", self.names)),
            ("--limit", self.limit.map_or("none".into(), |limit| limit.to_string())),
            ("--exclude", if self.exclude.is_empty() { "none".into() } else { self.exclude.join(" ") }),
            ("--arch", net.arch().map_or_else(|| format!("{:?} {:?}", net.block, net.blocks), str::to_owned)),
            ("--width", net.width.to_string()),
            ("--stem", lower(format!("{:?}", net.stem))),
            ("--dim", net.dim.to_string()),
            ("--size", augmentation.side.to_string()),
            ("--flip", if augmentation.flip > 0.0 { "on" } else { "off" }.into()),
            ("--loss", loss.into()),
            ("--negatives", negatives),
            ("--z", z),
            ("--tau", method.tau.to_string()),
            ("--bank-keep", method.bank_keep.to_string()),
            ("--prox", method.prox.to_string()),
            ("--bank", lower(format!("{:?}", method.bank))),
            ("--batch", self.batch.to_string()),
            ("--accumulate", self.accumulate.to_string()),
            ("--epochs", self.epochs.to_string()),
            ("--lr", self.lr.to_string()),
            ("--schedule", lower(format!("{:?}", self.schedule))),
            ("--momentum", self.momentum.to_string()),
            ("--weight-decay", self.weight_decay.to_string()),
            ("--seed", self.seed.to_string()),
        ]
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn stored() -> Config {
        Choices { size: Some(16), batch: Some(4), seed: Some(5), ..Choices::default() }.resolve(22, 20, 7).unwrap().0
    }

    #[test]
    fn what_is_left_open_is_as_the_run_began_and_what_is_not_is_named_by_its_option() {
        let stored = stored();
        let over = |choices: Choices| stored.difference(&choices.over(&stored).unwrap());
        assert_eq!(over(Choices::default()), None);
        assert_eq!(over(Choices { size: Some(16), batch: Some(4), seed: Some(5), ..Choices::default() }), None);
        assert_eq!(over(Choices { size: Some(64), ..Choices::default() }).as_deref(), Some("--size 16, now 64"));
        let two = Choices { lr: Some(0.5), flip: Some(true), ..Choices::default() };
        assert_eq!(over(two).as_deref(), Some("--flip off, now on; --lr 0.03, now 0.5"));
        let other = Choices { loss: Some("nce".into()), ..Choices::default() };
        assert_eq!(over(other).as_deref(), Some("--loss softmax, now nce; --negatives none, now 4096; --z none, now ema"));
        let arch = Choices { arch: Some("resnet50".into()), ..Choices::default() };
        assert_eq!(over(arch).as_deref(), Some("--arch resnet18, now resnet50"));
        assert!(Choices { negatives: Some(9), ..Choices::default() }.over(&stored).is_err());
        assert!(Choices { lr: Some(-1.0), ..Choices::default() }.over(&stored).is_err());
    }

    #[test]
    fn epochs_may_become_more_and_not_fewer() {
        let stored = stored();
        let epochs = |n| Choices { epochs: Some(n), ..Choices::default() }.over(&stored).unwrap();
        assert_eq!((stored.difference(&epochs(300)), epochs(300).epochs), (None, 300));
        assert_eq!(stored.difference(&epochs(100)).as_deref(), Some("--epochs 200, now 100"));
    }

    #[test]
    fn a_batch_over_the_number_of_images_is_asked_for_again_without_harm() {
        let choices = Choices { batch: Some(128), preset: Some(Preset::PaperCifar), ..Choices::default() };
        let stored = choices.resolve(22, 20, 7).unwrap().0;
        assert_eq!(stored.difference(&choices.over(&stored).unwrap()), None);
        let imagenet = Choices { preset: Some(Preset::PaperImagenet), ..Choices::default() };
        assert!(stored.difference(&imagenet.over(&stored).unwrap()).unwrap().contains("--arch resnet18, now resnet50"));
    }
}
