//! Buffers for a program's tensors, shared by those that live at different times.

use super::{Info, Place, Recorded};
use crate::error::{Error, Result};
use crate::gpu::{Bound, Buffer, Gpu};

/// How a program's memory is laid out.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Memory {
    /// Tensors that live at different times share a buffer.
    Shared,
    /// Every tensor has a buffer of its own, filled with a NaN pattern and followed by guard words.
    Guarded,
}

/// A NaN that no arithmetic produces.
pub(super) const POISON: u32 = 0x7fa5_5a5a;
/// Guard words after a tensor in [`Memory::Guarded`].
pub(super) const GUARD_WORDS: usize = 64;

/// A range for every tensor that is used, in order of tensors.
pub(super) fn plan(gpu: &Gpu, infos: &[Info], recorded: &[Recorded], memory: Memory) -> Result<Vec<Option<Bound>>> {
    let mut ranges: Vec<Option<Bound>> = vec![None; infos.len()];
    for (range, info) in ranges.iter_mut().zip(infos) {
        match &info.place {
            Place::Bound(bound) => *range = Some(bound.clone()),
            Place::Own(first) => *range = Some(own(gpu, info, first, memory)?),
            Place::Planned => {}
        }
    }
    let mut last = vec![None; infos.len()];
    for (i, launch) in recorded.iter().enumerate() {
        launch.tensors.iter().for_each(|&(t, _)| last[t] = Some(i));
    }
    let mut free: Vec<Buffer> = Vec::new();
    for (i, launch) in recorded.iter().enumerate() {
        for &(t, written) in &launch.tensors {
            if ranges[t].is_some() {
                continue;
            }
            let info = &infos[t];
            if !written {
                let text = format!("`{}` is read before anything writes it", info.name);
                return Err(Error::Gpu { label: launch.dispatch.label.clone(), text });
            }
            ranges[t] = Some(match memory {
                Memory::Guarded => own(gpu, info, &[], memory)?,
                Memory::Shared => {
                    let words = info.tensor.words().max(4);
                    let buffer = match best_fit(&free, words) {
                        Some(place) => free.swap_remove(place),
                        None => gpu.buffer(&info.name, words)?,
                    };
                    Bound { buffer, offset: 0, words }
                }
            });
        }
        if memory == Memory::Shared {
            for &(t, _) in &launch.tensors {
                if last[t] == Some(i) && matches!(infos[t].place, Place::Planned) {
                    last[t] = None; // a tensor bound twice is freed once
                    free.extend(ranges[t].as_ref().map(|bound| bound.buffer.clone()));
                }
            }
        }
    }
    Ok(ranges)
}

/// The smallest free buffer that holds `words` and is not more than twice as large.
fn best_fit(free: &[Buffer], words: usize) -> Option<usize> {
    let fits = free.iter().enumerate().filter(|(_, b)| b.words() >= words && b.words() <= words * 2);
    fits.min_by_key(|(_, b)| b.words()).map(|(place, _)| place)
}

fn own(gpu: &Gpu, info: &Info, first: &[u32], memory: Memory) -> Result<Bound> {
    let words = info.tensor.words().max(4);
    if memory == Memory::Shared {
        let buffer = gpu.buffer(&info.name, words)?;
        if !first.is_empty() {
            gpu.write(&buffer, 0, first)?;
        }
        return Ok(Bound { buffer, offset: 0, words });
    }
    let buffer = gpu.buffer(&info.name, words + GUARD_WORDS)?;
    let mut contents = vec![POISON; words + GUARD_WORDS];
    contents[..first.len()].copy_from_slice(first);
    gpu.write(&buffer, 0, &contents)?;
    // The guard words are bound too: a binding of the tensor alone would let the driver drop stray writes.
    Ok(Bound { buffer, offset: 0, words: words + GUARD_WORDS })
}
