//! Showing how far a work is that takes long.

use crate::say::say;
use indicatif::{ProgressBar, ProgressStyle};
use instdisc::Result;
use instdisc::data::{Dataset, Image, Meter};
use std::io::IsTerminal;
use std::sync::Arc;
use std::sync::mpsc::{RecvTimeoutError, channel};
use std::time::{Duration, Instant};

/// Between two lines where there is no terminal.
const LINES: Duration = Duration::from_secs(10);
/// Between two looks at the meter; what is done sooner shows nothing.
const LOOKS: Duration = Duration::from_millis(500);

/// Do `work`, and show on standard error how far it is by `meter`: a bar on a terminal, now and then a line otherwise.
///
/// # Errors
/// Those of `work`.
pub(crate) fn watched<T>(what: &str, meter: &Meter, work: impl FnOnce() -> Result<T>) -> Result<T> {
    let (ended, end) = channel::<()>();
    std::thread::scope(|scope| {
        // Without a thread nothing is shown.
        let _ = std::thread::Builder::new().name("progress".into()).spawn_scoped(scope, move || {
            let bar = bar();
            let mut said = Instant::now();
            while end.recv_timeout(LOOKS) == Err(RecvTimeoutError::Timeout) {
                let (done, all) = meter.read();
                match &bar {
                    Some(bar) => {
                        bar.set_prefix(what.to_owned());
                        bar.set_length(all.max(done));
                        bar.set_position(done);
                    }
                    None if said.elapsed() >= LINES => {
                        said = Instant::now();
                        let of = if all == 0 { String::new() } else { format!(" of {all}") };
                        say!("{what}: {done}{of} images");
                    }
                    None => {}
                }
            }
            bar.iter().for_each(ProgressBar::finish_and_clear);
        });
        let outcome = work();
        drop(ended);
        outcome
    })
}

/// A bar for a terminal that can show one.
fn bar() -> Option<ProgressBar> {
    if !std::io::stderr().is_terminal() {
        return None;
    }
    let bar = ProgressBar::new(0);
    bar.set_style(ProgressStyle::with_template("{prefix} {wide_bar} {pos}/{len} images").ok()?);
    (!bar.is_hidden()).then_some(bar)
}

/// A data set that counts the images that are asked for.
pub(crate) struct Counted {
    pub(crate) dataset: Arc<dyn Dataset>,
    pub(crate) meter: Arc<Meter>,
}

impl Dataset for Counted {
    fn len(&self) -> usize {
        self.dataset.len()
    }

    fn name(&self, i: usize) -> &str {
        self.dataset.name(i)
    }

    fn label(&self, i: usize) -> Option<u32> {
        self.dataset.label(i)
    }

    fn classes(&self) -> &[String] {
        self.dataset.classes()
    }

    fn image(&self, i: usize) -> Result<Image> {
        let image = self.dataset.image(i);
        self.meter.count(1);
        image
    }

    fn bytes(&self, i: usize) -> Option<u64> {
        self.dataset.bytes(i)
    }
}
