//! Tensors that kernels read as textures.
//!
//! Mesa's software adapter loads from a storage buffer lane by lane, each behind a test of its bounds, and puts every number
//! into its vector at an index that it does not know when it compiles. With AVX-512 that should be a blend under a mask. Without, the vector goes
//! through the stack, and every number waits for the one before: a vec4 for each of eight lanes takes roughly 200 ns, 120 as 64-bit numbers.
//! From a texture it takes 40, all by the time that a product takes with and without loads: eight loads and a transposition, without a branch. To copy a tensor into a texture is a plain copy of
//! memory, many times as fast as such loads. docs/llvmpipe.md has the machine code, and benches/README.md the numbers.
//!
//! So here the host copies a tensor before each dispatch that reads it, and the kernel's source is rewritten: a binding
//! `var<storage, read> x: array<Floats>` becomes a texture, and `floats(x[i])` becomes `texel(x, i)`. The bits stay the same.

use super::{AdapterFacts, Bound, Gpu, Memory, Shader, Variant, Work};
use crate::error::Result;
use std::sync::Arc;
use std::sync::atomic::Ordering;

/// Texels in a line: `LINE` of `lib/texels.wgsl`. A line is 16 KiB, a multiple of what a copy asks for.
const LINE: usize = 1024;
const TEXEL_BYTES: usize = 16;

/// What rewritten sources need.
pub(super) const PIECE: &str = include_str!("../../shaders/lib/texels.wgsl");

/// Bytes that are copied whatever is read of them, in some 50 µs: were it less, there would be more kernels to compile.
const SMALL: f64 = 1048576.0;

/// Whether reading textures is faster than reading buffers on a software adapter that runs on this processor. `INSTDISC_TEXELS`
/// set to 1 or 0 says it instead.
pub(super) fn pay(facts: &AdapterFacts) -> bool {
    match std::env::var("INSTDISC_TEXELS").as_deref() {
        Ok("1") => true,
        Ok("0") => false,
        _ => facts.mesa().is_some() && (facts.unrolls_little() || !blends_under_masks()),
    }
}

#[cfg(any(target_arch = "x86", target_arch = "x86_64"))]
fn blends_under_masks() -> bool {
    std::arch::is_x86_feature_detected!("avx512vl")
}

#[cfg(not(any(target_arch = "x86", target_arch = "x86_64")))]
fn blends_under_masks() -> bool {
    false
}

impl Gpu {
    /// Which of `bound`, a kernel's tensors by name and words, it should read as textures. A tensor of which it reads a part only, as a
    /// bank of which a loss gathers rows, stays a buffer: `work` says how much must move.
    pub(crate) fn as_texels(
        &self,
        shader: &Shader,
        variant: &Variant,
        bound: &[(&'static str, usize)],
        work: Work,
    ) -> Result<Vec<&'static str>> {
        if !self.reads_texels() || !shader.needs().contains(&"lib/floats.wgsl") {
            return Ok(Vec::new());
        }
        let source = shader.source(&[], &variant.swap, &[])?;
        let most = LINE * self.limits().max_texture_dimension_2d as usize * 4;
        let whole = |words: usize| words <= most && 4.0 * words as f64 <= work.bytes.max(SMALL);
        let reads = |name: &str| source.contains(&declaration(name));
        let found = bound.iter().filter(|(name, words)| whole(*words) && reads(name)).map(|(name, _)| *name);
        Ok(found.take(self.limits().max_storage_textures_per_shader_stage as usize).collect())
    }
}

fn declaration(name: &str) -> String {
    format!("var<storage, read> {name}: array<Floats>;")
}

/// `source` with the tensors of these names as textures; `None` where one is not declared as a buffer of `Floats`.
pub(super) fn rewritten(source: &str, names: &[&'static str]) -> Option<String> {
    let mut source = source.to_owned();
    for name in names {
        let declared = declaration(name);
        if !source.contains(&declared) {
            return None;
        }
        source = source.replace(&declared, &format!("var {name}: texture_storage_2d<rgba32float, read>;"));
        let read = format!("floats({name}[");
        while let Some(start) = source.find(&read) {
            let inside = start + read.len();
            let end = inside + closing(&source[inside..])?;
            source.replace_range(end..end + 1, "");
            source.replace_range(start..inside, &format!("texel({name}, "));
        }
    }
    Some(source)
}

/// Where the bracket closes that stands open before `text`.
fn closing(text: &str) -> Option<usize> {
    let mut open = 1;
    text.char_indices().find_map(|(at, c)| {
        open += i32::from(c == '[') - i32::from(c == ']');
        (open == 0).then_some(at)
    })
}

/// How a texture is bound.
pub(super) const LAYOUT: wgpu::BindingType = wgpu::BindingType::StorageTexture {
    access: wgpu::StorageTextureAccess::ReadOnly,
    format: wgpu::TextureFormat::Rgba32Float,
    view_dimension: wgpu::TextureViewDimension::D2,
};

/// The smallest texture that can stand for a tensor without another kernel being compiled for it.
pub(super) fn smallest(device: &wgpu::Device) -> wgpu::TextureView {
    device.create_texture(&descriptor(LINE, high(0))).create_view(&Default::default())
}

fn descriptor(width: usize, height: usize) -> wgpu::TextureDescriptor<'static> {
    wgpu::TextureDescriptor {
        label: Some("texels"),
        size: wgpu::Extent3d { width: width as u32, height: height as u32, depth_or_array_layers: 1 },
        mip_level_count: 1,
        sample_count: 1,
        dimension: wgpu::TextureDimension::D2,
        format: wgpu::TextureFormat::Rgba32Float,
        usage: wgpu::TextureUsages::STORAGE_BINDING | wgpu::TextureUsages::COPY_DST,
        view_formats: &[],
    }
}

/// A texture that tensors are copied into, one after the other.
pub(super) struct Room {
    texture: wgpu::Texture,
    pub(super) view: wgpu::TextureView,
    bytes: u64,
    memory: Arc<Memory>,
}

impl Drop for Room {
    fn drop(&mut self) {
        self.memory.held.fetch_sub(self.bytes, Ordering::SeqCst);
    }
}

/// Bytes of the rooms for dispatches that read tensors of so many words each as textures, in order of bindings: one for every place
/// of a dispatch, as large as the largest that comes there.
pub(crate) fn room_bytes(dispatches: &[Vec<usize>]) -> u64 {
    lines(dispatches).into_iter().map(|lines| (lines * LINE * TEXEL_BYTES) as u64).sum()
}

fn lines(dispatches: &[Vec<usize>]) -> Vec<usize> {
    let places = dispatches.iter().map(Vec::len).max().unwrap_or(0);
    let largest = |place: usize| dispatches.iter().filter_map(|words| words.get(place)).max().copied().unwrap_or(0);
    (0..places).map(|place| high(largest(place).div_ceil(4 * LINE))).collect()
}

/// So many lines or a little more, and never a power of two: Mesa 22.3 compiles a kernel anew where a texture's height becomes
/// one, or no longer is.
fn high(lines: usize) -> usize {
    let least = lines.max(3);
    least + usize::from(least.is_power_of_two())
}

/// The rooms of [`room_bytes`].
///
/// # Errors
/// [`Error::OutOfMemory`](crate::Error::OutOfMemory), [`Error::DeviceLost`](crate::Error::DeviceLost).
pub(super) fn rooms(gpu: &Gpu, dispatches: &[Vec<usize>]) -> Result<Vec<Room>> {
    let room = |lines: usize| {
        let bytes = (lines * LINE * TEXEL_BYTES) as u64;
        let texture = gpu.granted("texels", bytes, || gpu.device().create_texture(&descriptor(LINE, lines)))?;
        let view = texture.create_view(&Default::default());
        let memory = gpu.inner.memory.clone();
        let held = memory.held.fetch_add(bytes, Ordering::SeqCst) + bytes;
        memory.peak.fetch_max(held, Ordering::SeqCst);
        Ok(Room { texture, view, bytes, memory })
    };
    lines(dispatches).into_iter().map(room).collect()
}

impl Room {
    /// Copy a tensor into it: whole lines, and what is left.
    pub(super) fn fill(&self, encoder: &mut wgpu::CommandEncoder, tensor: &Bound) {
        let texels = tensor.words / 4;
        let (lines, rest) = (texels / LINE, texels % LINE);
        for (line, width, height) in [(0, LINE, lines), (lines, rest, usize::from(rest > 0))] {
            if height == 0 {
                continue;
            }
            let layout = wgpu::TexelCopyBufferLayout {
                offset: (4 * tensor.offset + line * LINE * TEXEL_BYTES) as u64,
                bytes_per_row: Some((LINE * TEXEL_BYTES) as u32),
                rows_per_image: None,
            };
            let origin = wgpu::Origin3d { x: 0, y: line as u32, z: 0 };
            let mut target = self.texture.as_image_copy();
            target.origin = origin;
            let size = wgpu::Extent3d { width: width as u32, height: height as u32, depth_or_array_layers: 1 };
            encoder.copy_buffer_to_texture(wgpu::TexelCopyBufferInfo { buffer: tensor.buffer.wgpu(), layout }, target, size);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reads_of_a_tensor_become_reads_of_a_texture() {
        let source = "var<storage, read> x: array<Floats>;\nvar<storage, read> y: array<Floats>;\nf(floats(x[at[i] + 1u]), floats(y[x1]));";
        let expected = "var x: texture_storage_2d<rgba32float, read>;\nvar<storage, read> y: array<Floats>;\nf(texel(x, at[i] + 1u), floats(y[x1]));";
        assert_eq!(rewritten(source, &["x"]).as_deref(), Some(expected));
        assert_eq!(rewritten(source, &["z"]), None);
    }

    #[test]
    fn a_room_holds_the_largest_tensor_that_comes_to_its_place() {
        let dispatches = [vec![28 * LINE + 1, 4], vec![], vec![4 * LINE]];
        assert_eq!(lines(&dispatches), [9, 3]);
        assert_eq!(room_bytes(&dispatches), 12 << 14);
    }
}
