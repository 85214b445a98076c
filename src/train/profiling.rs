//! Which steps of a run are profiled: a few warm up, some are timed whole, as many are timed dispatch by dispatch.

use super::Profile;
use super::profile::Recorder;
use crate::error::Result;
use crate::gpu::Gpu;
use crate::tape::Program;
use std::time::Instant;

/// Steps before anything is timed: drivers compile, caches fill.
const WARM_UP: usize = 3;

/// How the next step is to run.
#[derive(Clone, Copy, PartialEq)]
pub(super) enum Phase {
    /// As always.
    Plain,
    /// Alone, dispatch by dispatch.
    Watched,
}

/// A profile in the making.
pub(super) struct Profiling {
    wanted: usize,
    finished: usize,
    /// When the last step of the warm-up ended, and when the last of those that are timed whole did.
    plain: (Option<Instant>, Option<Instant>),
    recorder: Option<Recorder>,
}

impl Profiling {
    /// Of `wanted` steps; `None` for none.
    pub(super) fn of(wanted: usize) -> Option<Self> {
        (wanted > 0).then_some(Self { wanted, finished: 0, plain: (None, None), recorder: None })
    }

    pub(super) fn phase(&self) -> Phase {
        if self.finished >= WARM_UP + self.wanted { Phase::Watched } else { Phase::Plain }
    }

    /// A step is done.
    pub(super) fn finished(&mut self) {
        self.finished += 1;
        if self.finished == WARM_UP {
            self.plain.0 = Some(Instant::now());
        }
        if self.finished == WARM_UP + self.wanted {
            self.plain.1 = Some(Instant::now());
        }
    }

    /// What watches the program: another one from the beginning where the step was compiled anew.
    pub(super) fn recorder(&mut self, program: &mut Program) -> Result<&mut Recorder> {
        let recorder = match self.recorder.take() {
            Some(recorder) if program.watched().is_some() => recorder,
            _ => Recorder::new(program)?,
        };
        Ok(self.recorder.insert(recorder))
    }

    /// Whether all steps are done that were wanted.
    pub(super) fn done(&self) -> bool {
        self.recorder.as_ref().is_some_and(|recorder| recorder.steps() >= self.wanted)
    }

    /// The profile; `None` where the run ended before a step was watched.
    pub(super) fn finish(self, gpu: &Gpu, program: &mut Program) -> Result<Option<Profile>> {
        // A step that was compiled anew in between, for a larger image, has nobody watching.
        let Some(recorder) = self.recorder.filter(|_| program.watched().is_some()) else { return Ok(None) };
        let plain = self.plain.0.zip(self.plain.1);
        let seconds = plain.map(|(begin, end)| end.duration_since(begin).as_secs_f64() / self.wanted as f64);
        recorder.finish(gpu, program, seconds).map(Some)
    }
}
