//! What the adapter itself does: the rates that every benchmark is held against.

use super::{Bound, Dispatch, Dispatches, Gpu, Shader, Value, Variant, Work};
use crate::error::Result;

/// The kernels of [`Gpu::peak`]: the only shader that belongs to no op.
pub static PEAK_SHADER: Shader = Shader { file: "peak.wgsl", text: include_str!("../../shaders/peak.wgsl") };

/// Lanes a workgroup of the multiply-add kernels.
const LANES: usize = 64;
/// Chains a lane on a GPU, and rounds.
const LOOP: (usize, usize) = (10, 1024);
/// The same on a processor, without a loop: four chains of vec4 are all of the 16 registers that most have.
const STRAIGHT: (usize, usize) = (4, 128);

/// Seconds that one sample of a rate takes at least: longer than what submitting costs, short enough to repeat.
const SAMPLE: f64 = 0.02;

/// The most that our own kernels get out of an adapter.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Peak {
    /// Floating-point operations a second of independent multiply-adds, each of which counts two.
    pub flops: f64,
    /// Bytes a second of a copy, read and written together.
    pub bytes_per_second: f64,
}

/// The two kernels with their buffers, to sample the rates beside something else: on a machine that others use as well,
/// only rates of the same moment can be compared.
pub struct PeakMeter {
    gpu: Gpu,
    multiply: Sampler,
    copy: Sampler,
}

struct Sampler {
    dispatches: Dispatches,
    work: Work,
    times: usize,
}

impl Sampler {
    fn new(gpu: &Gpu, dispatch: Dispatch) -> Result<Self> {
        let work = dispatch.work;
        let mut sampler = Self { dispatches: Dispatches::new(gpu, vec![dispatch])?, work, times: 1 };
        sampler.seconds(gpu)?; // drivers may compile at the first run
        while sampler.times < 1 << 16 {
            let each = sampler.seconds(gpu)?;
            if each * sampler.times as f64 >= SAMPLE {
                break;
            }
            sampler.times = (SAMPLE * 1.2 / each.max(1e-9)).ceil().clamp(sampler.times as f64 * 2.0, 65536.0) as usize;
        }
        Ok(sampler)
    }

    /// Seconds a run.
    fn seconds(&self, gpu: &Gpu) -> Result<f64> {
        gpu.time(&self.dispatches, 0..1, self.times)
    }
}

impl PeakMeter {
    /// Prepare both kernels on `gpu`. Holds up to 128 MiB of device memory, and 64 more where tensors are read as textures.
    ///
    /// # Errors
    /// [`Error::OutOfMemory`](crate::Error::OutOfMemory), [`Error::Limit`](crate::Error::Limit),
    /// [`Error::DeviceLost`](crate::Error::DeviceLost).
    pub fn new(gpu: &Gpu) -> Result<Self> {
        // Every core of a software adapter gets some workgroups; a GPU needs many more to be full.
        let software = gpu.facts().software;
        let (entry, groups, (chains, rounds)) = if software { ("straight", 2048, STRAIGHT) } else { ("multiply", 16_384, LOOP) };
        let lanes = groups * LANES;
        let target = gpu.buffer("peak.multiply.y", 4 * lanes)?;
        let tune = vec![("LANES", LANES as u32), ("CHAINS", chains as u32), ("ROUNDS", rounds as u32)];
        let work = Work::new(2 * 4 * lanes * chains * rounds, 4 * lanes);
        let multiply = dispatch(gpu, entry, tune, &[&target], groups, work)?;
        // 64 MiB each way: no cache holds both. Neighbouring lanes of a GPU read neighbouring vec4; a processor that runs
        // eight lanes one after the other does better with eight vec4 in a row (measured: 11.9 against 6.2 GB/s).
        let each = if software { 8 } else { 1 };
        let group = 4 * LANES * each;
        let most = gpu.limits().max_storage_buffer_binding_size.min(gpu.limits().max_buffer_size) / 4;
        let words = (16usize << 20).min(most as usize) / group * group;
        let (from, to) = (gpu.buffer("peak.copy.x", words)?, gpu.buffer("peak.copy.y", words)?);
        let tune = vec![("LANES", LANES as u32), ("EACH", each as u32)];
        let copy = dispatch(gpu, "copy", tune, &[&from, &to], words / group, Work::new(0, 2 * words))?;
        Ok(Self { gpu: gpu.clone(), multiply: Sampler::new(gpu, multiply)?, copy: Sampler::new(gpu, copy)? })
    }

    /// What one run of each kernel does: the operations of the multiply-adds, and the bytes of the copy.
    pub fn work(&self) -> Work {
        Work { flops: self.multiply.work.flops, bytes: self.copy.work.bytes }
    }

    /// One sample of both rates.
    ///
    /// # Errors
    /// [`Error::DeviceLost`](crate::Error::DeviceLost), [`Error::Timeout`](crate::Error::Timeout).
    pub fn sample(&self) -> Result<Peak> {
        Ok(Peak { flops: self.flops()?, bytes_per_second: self.bytes_per_second()? })
    }

    /// One sample of the multiply-add rate, in operations a second.
    ///
    /// # Errors
    /// [`Error::DeviceLost`](crate::Error::DeviceLost), [`Error::Timeout`](crate::Error::Timeout).
    pub fn flops(&self) -> Result<f64> {
        Ok(self.multiply.work.flops / self.multiply.seconds(&self.gpu)?)
    }

    /// One sample of the copy rate, in bytes a second.
    ///
    /// # Errors
    /// [`Error::DeviceLost`](crate::Error::DeviceLost), [`Error::Timeout`](crate::Error::Timeout).
    pub fn bytes_per_second(&self) -> Result<f64> {
        Ok(self.copy.work.bytes / self.copy.seconds(&self.gpu)?)
    }
}

fn dispatch(
    gpu: &Gpu,
    entry: &'static str,
    tune: Vec<(&'static str, u32)>,
    buffers: &[&super::Buffer],
    groups: usize,
    work: Work,
) -> Result<Dispatch> {
    // What ops read as textures the copy does too; to fill them is part of it.
    let variant = Variant { tune, ..Variant::new(PEAK_SHADER.file, entry) };
    let read = buffers.iter().take(usize::from(entry == "copy")).map(|b| ("x", b.words()));
    let texels = gpu.as_texels(&PEAK_SHADER, &variant, &read.collect::<Vec<_>>(), work)?;
    let kernel = gpu.kernel(&PEAK_SHADER, Variant { texels, ..variant })?;
    // A fixed point at 1, towards which every chain falls: nothing overflows and nothing becomes denormal.
    let values: &[_] = if entry != "copy" { &[("factor", Value::F32(0.999)), ("step", Value::F32(0.001))] } else { &[] };
    let params = Dispatch::params(&kernel, values)?;
    let bound = buffers.iter().map(|&b| Bound { buffer: b.clone(), offset: 0, words: b.words() }).collect();
    let label = format!("peak: {}", kernel.variant);
    Ok(Dispatch { kernel, label, bound, params, groups: gpu.grid("peak", groups)?, work })
}

impl Gpu {
    /// Measure what the adapter itself does, as the median of five samples. Takes some tenths of a second.
    ///
    /// # Errors
    /// As [`PeakMeter::new`].
    pub fn peak(&self) -> Result<Peak> {
        let meter = PeakMeter::new(self)?;
        let median = |sample: &dyn Fn() -> Result<f64>| -> Result<f64> {
            let mut rates = (0..5).map(|_| sample()).collect::<Result<Vec<_>>>()?;
            rates.sort_by(f64::total_cmp);
            Ok(rates[2])
        };
        Ok(Peak { flops: median(&|| meter.flops())?, bytes_per_second: median(&|| meter.bytes_per_second())? })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A software adapter counts as having no clock of its own, but its stamps are good enough to try them.
    #[test]
    fn stamps_around_a_pass_agree_with_the_wall_clock() {
        let gpu = Gpu::open(&Default::default()).unwrap();
        if !gpu.device().features().contains(wgpu::Features::TIMESTAMP_QUERY) {
            return;
        }
        let meter = PeakMeter::new(&gpu).unwrap();
        let times = meter.multiply.times;
        // Other work on the machine can only make the two differ more: one fair pair is enough.
        let fair = (0..20).any(|_| {
            let start = std::time::Instant::now();
            let stamps = gpu.ticks(&meter.multiply.dispatches, 0..1, times).unwrap().unwrap() * times as f64;
            let wall = start.elapsed().as_secs_f64();
            stamps <= wall && stamps >= 0.3 * wall
        });
        assert!(fair);
    }
}
