//! Kernels made ready before they are needed.
//!
//! Mesa's software driver compiles a pipeline when it first runs, on the one thread that works for its device, and keeps the result in
//! a cache on the disk. So every kernel runs once on zeros here, on several devices of the adapter at a time: what one of them has
//! compiled, the others read.

use super::{Gpu, Kernel, OpenOptions, adapter, texels};
use crate::error::{Error, Result};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Instant;

/// Bytes of each buffer of zeros: more than any fixed block that a kernel binds.
const BYTES: u64 = 4096;

impl Gpu {
    /// Run each of `kernels` once on zeros, on Mesa's software adapter, and say how many are `ready` after each. Sizes of zero end every
    /// kernel at once; what it loads or stores before is inside of its buffers, or dropped by the driver.
    ///
    /// # Errors
    /// [`Error::DeviceLost`], [`Error::OutOfMemory`], [`Error::Timeout`].
    pub(crate) fn make_ready(&self, kernels: &[Arc<Kernel>], ready: impl Fn(usize) + Sync) -> Result<()> {
        if self.facts().mesa().is_none() || !self.facts().software {
            return Ok(());
        }
        let (next, done) = (AtomicUsize::new(0), AtomicUsize::new(0));
        let take = || kernels.get(next.fetch_add(1, Ordering::SeqCst));
        let one_more = || ready(done.fetch_add(1, Ordering::SeqCst) + 1);
        let threads = std::thread::available_parallelism().map_or(1, usize::from).min(kernels.len() / LEAST);
        std::thread::scope(|scope| {
            for _ in 1..threads {
                scope.spawn(|| {
                    // Without a second device the first one does all the work.
                    let Ok(other) = self.again() else { return };
                    while let Some(kernel) = take() {
                        let shader = kernel.shader;
                        // What fails here fails again where it is needed, and is reported there.
                        let _ = other.kernel(&shader, kernel.variant.clone()).and_then(|kernel| other.seconds_to_run(&kernel));
                        one_more();
                    }
                });
            }
            while let Some(kernel) = take() {
                self.seconds_to_run(kernel)?;
                one_more();
            }
            Ok(())
        })
    }

    /// Seconds that one run of `kernel` on zeros takes: the first one compiles it on a software adapter.
    ///
    /// # Errors
    /// As [`make_ready`](Self::make_ready).
    pub(crate) fn seconds_to_run(&self, kernel: &Kernel) -> Result<f64> {
        let label = format!("ready: {}", kernel.variant);
        let device = self.device();
        let commands = self.scoped(&label, BYTES, || {
            let usage = wgpu::BufferUsages::STORAGE;
            let buffer =
                || device.create_buffer(&wgpu::BufferDescriptor { label: None, size: BYTES, usage, mapped_at_creation: false });
            let bindings = &kernel.point.bindings;
            let buffers: Vec<_> = bindings.iter().map(|binding| (!binding.texels).then(buffer)).collect();
            let views: Vec<_> = bindings.iter().map(|binding| binding.texels.then(|| texels::smallest(device))).collect();
            let places = bindings.iter().zip(&buffers).zip(&views);
            let entries: Vec<_> = places
                .filter_map(|((binding, buffer), view)| {
                    let buffer = buffer.as_ref().map(wgpu::Buffer::as_entire_binding);
                    let resource = buffer.or_else(|| view.as_ref().map(wgpu::BindingResource::TextureView))?;
                    Some(wgpu::BindGroupEntry { binding: binding.slot, resource })
                })
                .collect();
            let group =
                device.create_bind_group(&wgpu::BindGroupDescriptor { label: None, layout: &kernel.layout, entries: &entries });
            let mut encoder = device.create_command_encoder(&Default::default());
            let mut pass = encoder.begin_compute_pass(&Default::default());
            pass.set_pipeline(&kernel.pipeline);
            pass.set_bind_group(0, &group, &[]);
            pass.dispatch_workgroups(1, 1, 1);
            drop(pass);
            encoder.finish()
        })?;
        let start = Instant::now();
        let submission = self.submit(&label, commands)?;
        self.wait_until("a kernel", Some(submission), || false)?;
        Ok(start.elapsed().as_secs_f64())
    }

    /// Another device of the same adapter, with the same features.
    fn again(&self) -> Result<Self> {
        let place = adapter::place_of(self.facts()).ok_or_else(|| Error::NoAdapter { reason: "the adapter is gone".into() })?;
        Self::open(&OpenOptions { adapter: Some(place.to_string()), ..Default::default() })
    }
}

/// Kernels that pay for opening another device.
const LEAST: usize = 4;
