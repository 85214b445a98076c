//! From a tape to a program: memory is planned and allocated, and every dispatch gets its ranges.

use super::{Program, Segment, Slot};
use crate::error::Result;
use crate::gpu::{Dispatch, Dispatches};
use crate::tape::plan::Plan;
use crate::tape::{Footprint, Info, Memory, Place, Tape};
use std::ops::Range;

impl Tape {
    /// Plan memory, make pipelines and bind groups, and return the program.
    ///
    /// # Errors
    /// [`Error::OutOfMemory`](crate::Error::OutOfMemory), [`Error::Limit`](crate::Error::Limit),
    /// [`Error::Gpu`](crate::Error::Gpu).
    pub fn compile(self) -> Result<Program> {
        compile(self, Memory::Shared)
    }

    /// What a program of this tape would hold, without allocating it.
    ///
    /// # Errors
    /// [`Error::Gpu`](crate::Error::Gpu) where a dispatch reads what nothing has written.
    pub fn footprint(self) -> Result<Footprint> {
        let Self { gpu, infos, recorded, rooms, .. } = self;
        let plan = Plan::new(&gpu, &infos, &recorded)?;
        Ok(plan.footprint(&gpu, &infos, &recorded, rooms))
    }

    /// Compile with every tensor in a buffer of its own that is filled with a NaN pattern and followed by guard
    /// words, to find what a kernel forgets to write or writes where it should not.
    ///
    /// # Errors
    /// As [`compile`](Self::compile).
    pub fn compile_guarded(self) -> Result<Program> {
        compile(self, Memory::Guarded)
    }
}

fn compile(tape: Tape, memory: Memory) -> Result<Program> {
    let Tape { gpu, id, infos, recorded, segments, step, guard, chosen: choices, rooms, .. } = tape;
    let plan = Plan::new(&gpu, &infos, &recorded)?;
    let footprint = plan.footprint(&gpu, &infos, &recorded, rooms);
    let bounds = plan.allocate(&gpu, &infos, memory)?;
    let mut dispatches = Vec::with_capacity(recorded.len());
    let mut written = Vec::with_capacity(recorded.len());
    for launch in recorded {
        let bound = launch.tensors.iter().filter_map(|&(t, _)| bounds[t].clone()).collect();
        dispatches.push(Dispatch { bound, ..launch.dispatch });
        written.push(launch.tensors.iter().filter(|(_, w)| *w).map(|&(t, _)| t).collect());
    }
    let of_names = segments.iter().zip(ranges(&segments, dispatches.len()));
    let segments = of_names.map(|((name, _), range)| Segment { name: name.clone(), range }).collect();
    let slot = |(info, bound): (Info, _)| {
        let shared = memory == Memory::Shared && matches!(info.place, Place::Planned);
        Slot { name: info.name, tensor: info.tensor, bound, shared }
    };
    let slots = infos.into_iter().zip(bounds).map(slot).collect();
    let dispatches = Dispatches::new(&gpu, dispatches)?;
    gpu.poll()?;
    Ok(Program { gpu, id, dispatches, written, segments, slots, step, guard, memory, choices, footprint, watch: None })
}

/// The range of each segment.
fn ranges(segments: &[(String, usize)], count: usize) -> impl Iterator<Item = Range<usize>> {
    let ends = segments.iter().skip(1).map(|(_, start)| *start).chain([count]);
    segments.iter().zip(ends).map(|((_, start), end)| *start..end)
}
