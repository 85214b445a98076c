//! Recorded dispatches and their replay.

use super::texels::{self, Room};
use super::{Buffer, Gpu, Kernel, Scalar};
use crate::error::{Error, Result};
use std::ops::Range;
use std::sync::Arc;

/// What a dispatch costs, for rates and for bounding a submission's time.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct Work {
    /// Floating-point operations; a multiply-add counts two.
    pub flops: f64,
    /// Bytes that must move between memory and the kernel at least.
    pub bytes: f64,
}

impl Work {
    /// Of `flops` operations on `words` 32-bit words.
    pub fn new(flops: usize, words: usize) -> Self {
        Self { flops: flops as f64, bytes: words as f64 * 4.0 }
    }
}

/// A range of a buffer, in words, as a kernel sees it.
#[derive(Clone, Debug)]
pub struct Bound {
    /// The buffer.
    pub buffer: Buffer,
    /// First word; in bytes a multiple of the device's storage alignment.
    pub offset: usize,
    /// Length in words.
    pub words: usize,
}

impl Bound {
    /// Whether the two have a word in common.
    pub fn overlaps(&self, other: &Self) -> bool {
        let before = |a: &Self, b: &Self| a.offset + a.words <= b.offset;
        self.buffer.same(&other.buffer) && !before(self, other) && !before(other, self)
    }
}

/// One kernel with its buffers, parameters and grid.
#[derive(Clone, Debug)]
pub struct Dispatch {
    /// The kernel.
    pub kernel: Arc<Kernel>,
    /// What it computes, as `layer1.0.conv1: conv2d.forward`.
    pub label: String,
    /// A buffer for each binding of the kernel but `params`, in order of slots.
    pub bound: Vec<Bound>,
    /// The bytes of its `params` block.
    pub params: Vec<u8>,
    /// The grid.
    pub groups: [u32; 3],
    /// What it costs.
    pub work: Work,
}

impl Dispatch {
    /// The part of its label before the kernel, as `layer1.0.conv1`.
    pub fn scope(&self) -> &str {
        self.label.split(": ").next().unwrap_or_default()
    }

    /// The tensors that it reads as textures, in order of slots.
    pub(super) fn texels(&self) -> impl Iterator<Item = &Bound> {
        let bindings = self.kernel.point.bindings.iter().filter(|b| b.name != "params");
        bindings.zip(&self.bound).filter(|(binding, _)| binding.texels).map(|(_, bound)| bound)
    }

    /// The bytes of `kernel`'s `params` block with these values.
    ///
    /// # Errors
    /// [`Error::Gpu`] where a field is missing, unknown or of another type: a fault of the op.
    pub fn params(kernel: &Kernel, values: &[(&'static str, Value)]) -> Result<Vec<u8>> {
        let fault = |text: String| Error::Gpu { label: kernel.variant.to_string(), text };
        let mut bytes = vec![0; kernel.point.params_bytes as usize];
        for field in &kernel.point.params {
            let given = values.iter().find(|(name, _)| *name == field.name).map(|(_, v)| *v);
            let word = match (field.scalar, given) {
                (Scalar::U32, Some(Value::U32(v))) => v,
                (Scalar::I32, Some(Value::I32(v))) => v as u32,
                (Scalar::F32, Some(Value::F32(v))) => v.to_bits(),
                (_, None) if field.name.starts_with("pad") => 0,
                (scalar, given) => return Err(fault(format!("`params.{}` is {scalar:?} and was given {given:?}", field.name))),
            };
            let at = field.offset as usize;
            bytes[at..at + 4].copy_from_slice(&word.to_le_bytes());
        }
        if let Some((name, _)) = values.iter().find(|(name, _)| kernel.point.params.iter().all(|f| f.name != *name)) {
            return Err(fault(format!("`params` has no field {name}")));
        }
        Ok(bytes)
    }

    /// Words of the buffer that holds the parameters of `all`.
    pub(crate) fn params_words<'a>(gpu: &Gpu, all: impl Iterator<Item = &'a Self>) -> usize {
        let align = gpu.limits().min_storage_buffer_offset_alignment as usize / 4;
        all.fold(0, |words: usize, dispatch| words.next_multiple_of(align) + dispatch.params.len() / 4) + 4
    }
}

/// A value for a field of `params`.
#[derive(Clone, Copy, Debug)]
pub enum Value {
    /// `u32`
    U32(u32),
    /// `i32`
    I32(i32),
    /// `f32`
    F32(f32),
}

impl From<u32> for Value {
    fn from(v: u32) -> Self {
        Self::U32(v)
    }
}
impl From<usize> for Value {
    /// Sizes are bounded by [`Shape`](crate::shape::Shape); one past 32 bits saturates and the kernel's guard stops it.
    fn from(v: usize) -> Self {
        Self::U32(u32::try_from(v).unwrap_or(u32::MAX))
    }
}
impl From<bool> for Value {
    fn from(v: bool) -> Self {
        Self::U32(v.into())
    }
}
impl From<f32> for Value {
    fn from(v: f32) -> Self {
        Self::F32(v)
    }
}

impl Gpu {
    /// A grid of `groups` workgroups, folded over three dimensions to stay under the device's limit.
    ///
    /// # Errors
    /// [`Error::Limit`] where even three dimensions do not hold them.
    pub fn grid(&self, what: &str, groups: usize) -> Result<[u32; 3]> {
        let most = self.limits().max_compute_workgroups_per_dimension as usize;
        let x = groups.clamp(1, most);
        let y = groups.div_ceil(x).clamp(1, most);
        let z = groups.div_ceil(x * y).max(1);
        if z > most {
            let (asked, allowed) = (groups as u64, (most as u64).saturating_pow(3));
            let advice = "use a smaller batch or image, or another adapter";
            return Err(Error::Limit { what: format!("{what} (workgroups)"), asked, allowed, advice });
        }
        Ok([x as u32, y as u32, z as u32])
    }
}

/// Dispatches with their bind groups, ready to be encoded any number of times.
pub(crate) struct Dispatches {
    all: Vec<Dispatch>,
    groups: Vec<wgpu::BindGroup>,
    rooms: Vec<Room>,
    _params: Buffer,
}

impl Dispatches {
    /// Prepare them: one buffer for all parameters and a bind group each.
    ///
    /// # Errors
    /// [`Error::OutOfMemory`], [`Error::Limit`], or [`Error::Gpu`] where a binding does not fit its kernel.
    pub(crate) fn new(gpu: &Gpu, all: Vec<Dispatch>) -> Result<Self> {
        let align = gpu.limits().min_storage_buffer_offset_alignment as usize / 4;
        let mut words: Vec<u32> = Vec::new();
        let mut places = Vec::new();
        for dispatch in &all {
            words.resize(words.len().div_ceil(align) * align, 0);
            places.push(words.len());
            words.extend(dispatch.params.chunks_exact(4).map(|b| u32::from_le_bytes([b[0], b[1], b[2], b[3]])));
        }
        words.resize(Dispatch::params_words(gpu, all.iter()), 0); // four more: the smallest binding
        let params = gpu.buffer("params", words.len())?;
        gpu.write(&params, 0, &words)?;
        let texels: Vec<Vec<usize>> = all.iter().map(|dispatch| dispatch.texels().map(|bound| bound.words).collect()).collect();
        let rooms = texels::rooms(gpu, &texels)?;
        let mut groups = Vec::new();
        for (dispatch, place) in all.iter().zip(places) {
            let own = Bound { buffer: params.clone(), offset: place, words: dispatch.params.len() / 4 };
            let mut bound = dispatch.bound.iter();
            let mut entries = Vec::new();
            let mut views = rooms.iter().map(|room| &room.view);
            for binding in &dispatch.kernel.point.bindings {
                let range = if binding.name == "params" { Some(&own) } else { bound.next() };
                let range = range.ok_or_else(|| Error::Gpu {
                    label: dispatch.label.clone(),
                    text: format!("no buffer for `{}`", binding.name),
                })?;
                if binding.texels {
                    let view = views
                        .next()
                        .ok_or_else(|| Error::Gpu { label: dispatch.label.clone(), text: "no room for texels".into() })?;
                    entries
                        .push(wgpu::BindGroupEntry { binding: binding.slot, resource: wgpu::BindingResource::TextureView(view) });
                    continue;
                }
                let size = std::num::NonZeroU64::new(range.words.max(4) as u64 * 4);
                let resource = wgpu::BufferBinding { buffer: range.buffer.wgpu(), offset: range.offset as u64 * 4, size };
                entries.push(wgpu::BindGroupEntry { binding: binding.slot, resource: wgpu::BindingResource::Buffer(resource) });
            }
            let descriptor =
                wgpu::BindGroupDescriptor { label: Some(&dispatch.label), layout: &dispatch.kernel.layout, entries: &entries };
            groups.push(gpu.scoped(&dispatch.label, 0, || gpu.device().create_bind_group(&descriptor))?);
        }
        Ok(Self { all, groups, rooms, _params: params })
    }

    /// All of them, in order.
    pub(crate) fn all(&self) -> &[Dispatch] {
        &self.all
    }

    /// Encode the dispatches of `range` into `encoder`, in one pass but for copies into textures, for an application that
    /// submits by itself.
    pub(crate) fn encode(&self, encoder: &mut wgpu::CommandEncoder, range: Range<usize>) {
        let mut rest = range;
        while !rest.is_empty() {
            self.fill_rooms(encoder, rest.start);
            let mut later = rest.start + 1..rest.end;
            let end = later.find(|&i| self.all[i].texels().next().is_some()).unwrap_or(rest.end);
            self.record(&mut encoder.begin_compute_pass(&Default::default()), rest.start..end);
            rest.start = end;
        }
    }

    /// Copy the tensors that dispatch `i` reads as textures.
    pub(super) fn fill_rooms(&self, encoder: &mut wgpu::CommandEncoder, i: usize) {
        self.all[i].texels().zip(&self.rooms).for_each(|(tensor, room)| room.fill(encoder, tensor));
    }

    /// Record the dispatches of `range` into `pass`, without the copies that they need.
    pub(super) fn record(&self, pass: &mut wgpu::ComputePass<'_>, range: Range<usize>) {
        for (dispatch, group) in self.all[range.clone()].iter().zip(&self.groups[range]) {
            pass.set_pipeline(&dispatch.kernel.pipeline);
            pass.set_bind_group(0, group, &[]);
            let [x, y, z] = dispatch.groups;
            pass.dispatch_workgroups(x, y, z);
        }
    }

    /// Encode and submit the dispatches of `range`, `times` times over, in as few submissions as stay under the
    /// time that drivers' watchdogs allow.
    ///
    /// # Errors
    /// [`Error::DeviceLost`], [`Error::Gpu`].
    pub(crate) fn submit(&self, gpu: &Gpu, range: Range<usize>, times: usize) -> Result<()> {
        let mut left = times;
        while left > 0 && !range.is_empty() {
            let mut rest = range.clone();
            // Whole runs that fit go together: a submission costs more than a small kernel.
            let together = left.min(self.runs_together(gpu, range.clone()));
            left -= together;
            while !rest.is_empty() {
                let end = self.under_watchdog(gpu, rest.clone());
                let mut encoder = gpu.device().create_command_encoder(&Default::default());
                let commands = gpu.scoped("encode", 0, || {
                    (0..together).for_each(|_| self.encode(&mut encoder, rest.start..end));
                    encoder.finish()
                })?;
                gpu.submit("step", commands)?;
                rest.start = end;
            }
        }
        Ok(())
    }

    /// How many runs of the whole of `range` may share a submission.
    fn runs_together(&self, gpu: &Gpu, range: Range<usize>) -> usize {
        const MOST_DISPATCHES: usize = 1024;
        let by_count = (MOST_DISPATCHES / range.len()).max(1);
        let seconds = self.seconds_at_most(range);
        match gpu.facts().software {
            true => by_count,
            false => by_count.min((SUBMISSION_SECONDS / seconds.max(1e-9)) as usize).max(1),
        }
    }

    /// Seconds that a slow GPU takes for a run of `range`.
    pub(super) fn seconds_at_most(&self, range: Range<usize>) -> f64 {
        self.all[range].iter().map(|d| seconds_at_most(d.work)).sum()
    }

    /// The end of the longest run from the start of `range` that a slow GPU does in a quarter of a second: Windows
    /// resets a device after two. Software adapters have no watchdog.
    pub(super) fn under_watchdog(&self, gpu: &Gpu, range: Range<usize>) -> usize {
        if gpu.facts().software {
            return range.end;
        }
        let mut seconds = 0.0;
        for i in range.clone() {
            seconds += seconds_at_most(self.all[i].work);
            if seconds > SUBMISSION_SECONDS && i > range.start {
                return i;
            }
        }
        range.end
    }
}

/// What a submission may take on a slow GPU.
const SUBMISSION_SECONDS: f64 = 0.25;

/// Seconds that a slow GPU takes for `work`.
fn seconds_at_most(work: Work) -> f64 {
    const SLOW_FLOPS: f64 = 1e11;
    const SLOW_BYTES: f64 = 1e10;
    work.flops / SLOW_FLOPS + work.bytes / SLOW_BYTES
}
