//! What is said of a run while it goes on.

use super::Args;
use crate::say::say;
use crate::show::count;
use indicatif::{ProgressBar, ProgressStyle};
use instdisc::name::shown;
use instdisc::train::{Config, Event};
use std::collections::BTreeSet;
use std::io::IsTerminal;
use std::path::PathBuf;

/// A bar on a terminal, a line an epoch (and now and then a step) otherwise.
pub(super) struct Progress {
    bar: ProgressBar,
    steps: u64,
    terminal: bool,
    epochs: usize,
    /// Images that were skipped and named.
    named: BTreeSet<PathBuf>,
}

impl Progress {
    pub(super) fn new(config: &Config, args: &Args) -> Self {
        let steps = config.steps_per_epoch();
        let bar = if std::io::stderr().is_terminal() { ProgressBar::new(steps) } else { ProgressBar::hidden() };
        // A dumb terminal has no bar, and a bar that is not shown would swallow the lines.
        let terminal = !bar.is_hidden();
        let style = ProgressStyle::with_template("{prefix} {wide_bar} {pos}/{len} {msg}");
        if let Ok(style) = style {
            bar.set_style(style);
        }
        Self { bar, steps, terminal, epochs: args.stop_after.unwrap_or(config.epochs).min(config.epochs), named: BTreeSet::new() }
    }

    /// A line that stays.
    pub(super) fn say(&self, line: &str) {
        if self.terminal { self.bar.println(line) } else { say!("{line}") }
    }

    pub(super) fn show(&mut self, event: Event) {
        match event {
            Event::Step { step, epoch, loss, lr, images_per_second } => {
                let text = format!("loss {loss:.4} lr {lr:.5} {images_per_second:.1} images/s");
                if self.terminal {
                    self.bar.set_prefix(format!("epoch {epoch}/{}", self.epochs));
                    self.bar.set_position((step - 1) % self.steps + 1);
                    self.bar.set_message(text);
                } else if step % 50 == 0 || step == 1 {
                    say!("step {step} epoch {epoch}/{} {text}", self.epochs);
                }
            }
            Event::Skipped { epoch, path, reason } => {
                // Its turn comes again in every epoch, and when features are judged.
                let line = format!("skipped in epoch {epoch}: {}: {reason}", shown(&path));
                if self.named.insert(path) {
                    self.say(&line);
                }
            }
            Event::NotJudged { epoch, reason } => self.say(&format!("the features of epoch {epoch} were not judged: {reason}")),
            Event::Epoch { epoch, loss, seconds, waited, skipped, evaluation } => {
                let knn = evaluation.map_or(String::new(), |e| {
                    format!(", kNN bank {:.1} % clean {:.1} % ({})", 100.0 * e.bank, 100.0 * e.clean, count(e.queries, "image"))
                });
                let epochs = self.epochs;
                let skipped = if skipped == 0 { String::new() } else { format!(", {} skipped", count(skipped, "image")) };
                self.say(&format!(
                    "epoch {epoch}/{epochs}: loss {loss:.4}, {seconds:.1} s ({waited:.1} s waiting for images){skipped}{knn}"
                ));
            }
        }
    }

    /// Take the bar away.
    pub(super) fn end(&self) {
        self.bar.finish_and_clear();
    }
}
