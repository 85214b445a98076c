//! Signals that ask a training to stop, as each operating system has them.

use crate::say::say;
use instdisc::{Error, Result};
use std::process::ExitCode;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU8, Ordering};
use std::time::{Duration, Instant};

/// A terminal, a shell and a job scheduler may each send their signal: what comes so soon after the first is the same wish.
const SAME: Duration = Duration::from_secs(1);

/// Whether somebody asked to stop.
#[derive(Clone, Default)]
pub(crate) struct Stop {
    /// Raised by the first signal.
    pub(crate) raised: Arc<AtomicBool>,
    /// The exit code of a program that the signal ended.
    code: Arc<AtomicU8>,
}

/// What a signal is.
#[derive(Clone, Copy, PartialEq)]
enum Kind {
    /// Ctrl-C.
    Interrupt,
    Other,
}

impl Stop {
    /// The exit code of a program that was stopped: 128 and the signal's number.
    pub(crate) fn code(&self) -> ExitCode {
        ExitCode::from(self.code.load(Ordering::SeqCst))
    }

    /// What to do with each signal that comes, by the time of the first.
    fn on(&self, first: &mut Option<Instant>, kind: Kind, code: u8) {
        match *first {
            None => {
                *first = Some(Instant::now());
                self.code.store(code, Ordering::SeqCst);
                self.raised.store(true, Ordering::SeqCst);
                say!("\nstopping after this step; Ctrl-C again to end at once");
            }
            Some(since) if since.elapsed() < SAME => {}
            // The checkpoint on disk is whole in any case.
            Some(_) if kind == Kind::Interrupt => std::process::exit(130),
            Some(_) => say!("stopping after this step"),
        }
    }

    /// Listen from now on.
    ///
    /// # Errors
    /// [`Error::Io`] where the system does not allow it.
    #[cfg(unix)]
    pub(crate) fn listen() -> Result<Self> {
        use signal_hook::consts::{SIGHUP, SIGINT, SIGTERM};
        let stop = Self::default();
        // `nohup` has a program go on when its terminal goes.
        let hang_up = (!ignored(SIGHUP)).then_some(SIGHUP);
        let failed = |source| Error::io("listening to", "signals", source);
        let mut signals = signal_hook::iterator::Signals::new([SIGINT, SIGTERM].into_iter().chain(hang_up)).map_err(failed)?;
        let heard = stop.clone();
        let listening = std::thread::Builder::new().name("signals".into()).spawn(move || {
            let mut first = None;
            for signal in signals.forever() {
                let kind = if signal == SIGINT { Kind::Interrupt } else { Kind::Other };
                heard.on(&mut first, kind, 128 + signal as u8);
            }
        });
        listening.map(|_| stop).map_err(failed)
    }

    /// Listen from now on.
    ///
    /// # Errors
    /// [`Error::Value`] where somebody else listens already.
    #[cfg(not(unix))]
    pub(crate) fn listen() -> Result<Self> {
        let stop = Self::default();
        let (heard, first) = (stop.clone(), std::sync::Mutex::new(None));
        let handler =
            move || heard.on(&mut first.lock().unwrap_or_else(std::sync::PoisonError::into_inner), Kind::Interrupt, 130);
        ctrlc::set_handler(handler).map_err(|e| Error::value("train", "Ctrl-C", "free for this program", e))?;
        Ok(stop)
    }
}

/// Whether a signal was ignored when this program began. Linux says so.
#[cfg(unix)]
fn ignored(signal: i32) -> bool {
    let status = std::fs::read_to_string("/proc/self/status").unwrap_or_default();
    let mask = status.lines().find_map(|line| u64::from_str_radix(line.strip_prefix("SigIgn:")?.trim(), 16).ok());
    mask.is_some_and(|mask| mask >> (signal - 1) & 1 == 1)
}
