//! Buffers for a program's tensors, shared by those that live at different times.
//!
//! Which range a tensor gets is settled before anything is allocated, so that a step's memory is known although it may not
//! fit. Two tensors share words where one's last dispatch comes before the other's first. Several may also stand side by side
//! in a buffer, but never two of which one dispatch uses both and writes one: wgpu tracks whole buffers, and refuses that.

use super::{Info, Place, Recorded};
use crate::error::{Error, Result};
use crate::gpu::{Bound, Dispatch, Gpu, room_bytes};

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

/// Bytes of device memory that a program holds besides the [`Store`](super::Store)'s, by what they are for.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Footprint {
    /// Buffers for what dispatches hand each other: activations, gradients of activations, partial sums.
    pub activations: u64,
    /// What these tensors would take with a buffer each.
    pub unshared: u64,
    /// What of them lives at the same time at most: no way to share buffers takes less.
    pub live: u64,
    /// What the host writes: images, rows in the bank, the step's number.
    pub inputs: u64,
    /// What is kept: losses and embeddings for the host to read, the statistics of batch norm.
    pub kept: u64,
    /// What never changes: constants, and the parameters of the dispatches.
    pub constants: u64,
    /// Textures into which tensors are copied that kernels read as such.
    pub texels: u64,
}

impl Footprint {
    /// All that is allocated.
    pub fn total(&self) -> u64 {
        self.activations + self.inputs + self.kept + self.constants + self.texels
    }
}

/// A range for each planned tensor.
pub(super) struct Plan {
    /// The words of each buffer.
    buffers: Vec<usize>,
    /// The buffer of each tensor that is planned and used, and its first word there.
    places: Vec<Option<(usize, usize)>>,
    live: usize,
}

/// From the first dispatch that uses a tensor to the last.
#[derive(Clone, Copy)]
struct Life {
    tensor: usize,
    words: usize,
    first: usize,
    last: usize,
}

impl Life {
    fn meets(&self, other: &Self) -> bool {
        self.first <= other.last && other.first <= self.last
    }
}

/// A buffer in the making: what it holds at which word.
struct Shared {
    words: usize,
    held: Vec<(usize, Life)>,
}

impl Shared {
    /// The tightest gap for `life`: whether another tensor lives beside it, its words, and where it begins.
    fn gap(&self, life: &Life) -> Option<(bool, usize, usize)> {
        let meeting = self.held.iter().filter(|(_, other)| other.meets(life));
        let mut taken: Vec<(usize, usize)> = meeting.map(|(at, other)| (*at, at + other.words)).collect();
        taken.sort_unstable();
        let beside = !taken.is_empty();
        taken.push((self.words, self.words));
        let mut free = 0;
        let mut best: Option<(bool, usize, usize)> = None;
        for (start, end) in taken {
            let gap = start.saturating_sub(free);
            if gap >= life.words && best.is_none_or(|(_, words, _)| gap < words) {
                best = Some((beside, gap, free));
            }
            free = free.max(end);
        }
        best
    }
}

impl Plan {
    /// Share buffers among the tensors of `recorded`.
    ///
    /// # Errors
    /// [`Error::Gpu`] where a dispatch reads what nothing has written: a fault of the op.
    pub(super) fn new(gpu: &Gpu, infos: &[Info], recorded: &[Recorded]) -> Result<Self> {
        let align = gpu.limits().min_storage_buffer_offset_alignment as usize / 4;
        let lives = lives(infos, recorded)?;
        Ok(Self::share(lives, &apart(infos, recorded), align.max(1), recorded.len()))
    }

    /// Places at multiples of `align` words for tensors of these lives over `dispatches`, never both of two in a buffer that
    /// are to be `apart`.
    fn share(mut lives: Vec<Life>, apart: &[Vec<usize>], align: usize, dispatches: usize) -> Self {
        let live = most_alive(&lives, dispatches);
        lives.iter_mut().for_each(|life| life.words = life.words.next_multiple_of(align));
        // The large ones first: they find no buffer that is too small, and small ones fit into what they leave.
        lives.sort_by_key(|life| (std::cmp::Reverse(life.words), life.first));
        let mut buffers: Vec<Shared> = Vec::new();
        let mut places = vec![None; apart.len()];
        for life in lives {
            let may = |buffer: &Shared| buffer.held.iter().all(|(_, other)| !apart[life.tensor].contains(&other.tensor));
            let gaps = buffers.iter().enumerate().filter(|(_, buffer)| may(buffer));
            let gaps = gaps.filter_map(|(i, buffer)| buffer.gap(&life).map(|(beside, gap, at)| ((beside, gap), i, at)));
            let (buffer, at) = match gaps.min_by_key(|(rank, ..)| *rank) {
                Some((_, buffer, at)) => (buffer, at),
                None => {
                    buffers.push(Shared { words: life.words, held: Vec::new() });
                    (buffers.len() - 1, 0)
                }
            };
            buffers[buffer].held.push((at, life));
            places[life.tensor] = Some((buffer, at));
        }
        Self { buffers: buffers.into_iter().map(|buffer| buffer.words).collect(), places, live }
    }

    /// Bytes of all shared buffers.
    pub(super) fn bytes(&self) -> u64 {
        4 * self.buffers.iter().sum::<usize>() as u64
    }

    /// What a program by this plan holds, with `rooms` bytes of [`Tape::room`](super::Tape::room).
    pub(super) fn footprint(&self, gpu: &Gpu, infos: &[Info], recorded: &[Recorded], rooms: u64) -> Footprint {
        let mut written = vec![false; infos.len()];
        recorded.iter().flat_map(|r| &r.tensors).filter(|(_, w)| *w).for_each(|&(t, _)| written[t] = true);
        let bytes = |info: &Info| 4 * info.tensor.words().max(4) as u64;
        let mut found = Footprint { activations: self.bytes(), live: 4 * self.live as u64, kept: rooms, ..Footprint::default() };
        found.constants = 4 * Dispatch::params_words(gpu, recorded.iter().map(|r| &r.dispatch)) as u64;
        let words = |r: &Recorded| {
            let bindings = r.dispatch.kernel.point.bindings.iter().filter(|b| b.name != "params");
            let texels = bindings.zip(&r.tensors).filter(|(binding, _)| binding.texels);
            texels.map(|(_, (t, _))| infos[*t].tensor.words()).collect()
        };
        found.texels = room_bytes(&recorded.iter().map(words).collect::<Vec<_>>());
        for (t, info) in infos.iter().enumerate() {
            match &info.place {
                Place::Bound(_) => {}
                Place::Planned => found.unshared += self.places[t].map_or(0, |_| bytes(info)),
                Place::Own(_) if written[t] => found.kept += bytes(info),
                Place::Own(first) if first.is_empty() => found.inputs += bytes(info),
                Place::Own(_) => found.constants += bytes(info),
            }
        }
        found
    }

    /// Allocate: a range for every tensor that is used, in order of tensors.
    ///
    /// # Errors
    /// [`Error::OutOfMemory`], [`Error::Limit`], [`Error::DeviceLost`].
    pub(super) fn allocate(&self, gpu: &Gpu, infos: &[Info], memory: Memory) -> Result<Vec<Option<Bound>>> {
        let mut buffers = vec![None; self.buffers.len()];
        let range = |(info, place): (&Info, &Option<(usize, usize)>)| match (&info.place, place) {
            (Place::Bound(bound), _) => Ok(Some(bound.clone())),
            (Place::Own(first), _) => own(gpu, info, first, memory).map(Some),
            (Place::Planned, None) => Ok(None),
            (Place::Planned, Some(_)) if memory == Memory::Guarded => own(gpu, info, &[], memory).map(Some),
            (Place::Planned, Some((place, offset))) => {
                let buffer = match &buffers[*place] {
                    Some(buffer) => buffer,
                    None => buffers[*place].insert(gpu.buffer(&info.name, self.buffers[*place])?),
                };
                Ok(Some(Bound { buffer: buffer.clone(), offset: *offset, words: info.tensor.words().max(4) }))
            }
        };
        infos.iter().zip(&self.places).map(range).collect()
    }
}

/// The most words that live at the same time.
fn most_alive(lives: &[Life], dispatches: usize) -> usize {
    let mut change = vec![0isize; dispatches + 1];
    for life in lives {
        change[life.first] += life.words as isize;
        change[life.last + 1] -= life.words as isize;
    }
    let alive = change.iter().scan(0, |now, by| {
        *now += by;
        Some(*now)
    });
    alive.max().unwrap_or(0) as usize
}

/// For each tensor those that must not be in the same buffer: a dispatch uses both, and writes one.
fn apart(infos: &[Info], recorded: &[Recorded]) -> Vec<Vec<usize>> {
    let mut found = vec![Vec::new(); infos.len()];
    for launch in recorded {
        for &(a, a_written) in &launch.tensors {
            let others = launch.tensors.iter().filter(|(b, b_written)| *b != a && (a_written || *b_written));
            found[a].extend(others.map(|(b, _)| *b));
        }
    }
    found
}

/// When each planned tensor lives.
fn lives(infos: &[Info], recorded: &[Recorded]) -> Result<Vec<Life>> {
    let mut found: Vec<Option<Life>> = vec![None; infos.len()];
    for (i, launch) in recorded.iter().enumerate() {
        for &(t, written) in launch.tensors.iter().filter(|(t, _)| matches!(infos[*t].place, Place::Planned)) {
            let words = infos[t].tensor.words().max(4);
            match &mut found[t] {
                Some(life) => life.last = i,
                None if written => found[t] = Some(Life { tensor: t, words, first: i, last: i }),
                None => {
                    let text = format!("`{}` is read before anything writes it", infos[t].name);
                    return Err(Error::Gpu { label: launch.dispatch.label.clone(), text });
                }
            }
        }
    }
    Ok(found.into_iter().flatten().collect())
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

#[cfg(test)]
mod tests {
    use super::*;
    use crate::rng::{Sequence, Stream};

    /// Chains of tensors as a network has them: many live until the way back, some only for a moment.
    fn network(seed: u64) -> (Vec<Life>, Vec<Vec<usize>>) {
        let mut numbers = Sequence::new(seed, Stream::Test, 0);
        let mut below = |n: usize| (numbers.unit() * n as f32) as usize;
        let count = 120;
        let life = |tensor| {
            let last = if below(2) == 0 { 2 * count - tensor } else { tensor + 1 + below(3) };
            Life { tensor, words: 4 + [300, 3000, 6750][below(3)] * (1 + below(2)), first: tensor, last }
        };
        let lives: Vec<Life> = (0..count).map(life).collect();
        let neighbours = |t: usize| [t.checked_sub(1), (t + 1 < count).then_some(t + 1)].into_iter().flatten().collect();
        (lives, (0..count).map(neighbours).collect())
    }

    #[test]
    fn no_two_tensors_that_live_at_once_share_a_word_and_little_more_is_taken_than_must_be() {
        for seed in 0..20 {
            let (lives, apart) = network(seed);
            let plan = Plan::share(lives.clone(), &apart, 64, 260);
            for a in &lives {
                let (buffer, at) = plan.places[a.tensor].unwrap();
                assert!(at % 64 == 0 && at + a.words <= plan.buffers[buffer]);
                for b in lives.iter().filter(|b| b.tensor != a.tensor) {
                    let (other, start) = plan.places[b.tensor].unwrap();
                    if buffer == other {
                        let disjoint = at + a.words <= start || start + b.words <= at;
                        assert!(disjoint || !a.meets(b), "seed {seed}: {} and {}", a.tensor, b.tensor);
                        assert!(!apart[a.tensor].contains(&b.tensor), "seed {seed}: one dispatch uses both");
                    }
                }
            }
            let ratio = plan.bytes() as f64 / (4 * plan.live) as f64;
            assert!((1.0..=1.15).contains(&ratio), "seed {seed}: {ratio}");
        }
    }
}
