//! Many words on their way to the device, through host memory that is used again.

use super::{Buffer, Gpu, lock};
use crate::error::{Error, Result};
use std::sync::{Arc, Mutex};

/// A ring of three staging buffers, for what is written every step: the host fills one while the device copies another.
///
/// [`Gpu::write`] takes host memory from wgpu for each call, which costs nothing where wgpu still has some: it keeps a block of 64
/// MB. Where three writes under way do not fit into that, memory comes from the system and goes back each time, and its pages are
/// touched anew. So the ring is for writes that are larger than [`DIRECT`](Self::DIRECT); others go by [`Gpu::write`]. Measured on
/// llvmpipe, three under way, by turns in one run, `Gpu::write` over the ring: up to 16 MiB 0.7 to 1.2 of the time until all is
/// there and 0.2 to 0.8 of the time in which the host waits; at 20 MiB 1.1 and 0.5 to 0.8, at 30 MiB 1.4 to 2.3 and 0.8 to 2.1.
pub struct Uploads {
    gpu: Gpu,
    ring: [Option<Staging>; Uploads::DEPTH],
    next: usize,
}

/// Host memory that the device copies from.
struct Staging {
    buffer: Buffer,
    submission: wgpu::SubmissionIndex,
    /// Whether the copy is done and the host may write again.
    mapped: Arc<Mutex<Option<std::result::Result<(), String>>>>,
}

impl Gpu {
    /// A ring to write large batches through. It holds nothing before the first.
    pub fn uploads(&self) -> Uploads {
        Uploads { gpu: self.clone(), ring: [const { None }; Uploads::DEPTH], next: 0 }
    }
}

impl Uploads {
    /// Staging buffers in the ring, each as large as the largest write through it, up to a power of two.
    pub const DEPTH: usize = 3;

    /// Words up to which a write does not go through the ring.
    pub const DIRECT: usize = 4 << 20;

    /// Words that the ring holds once writes of up to so many have gone round it.
    pub fn held(words: usize) -> usize {
        if words > Self::DIRECT { Self::DEPTH * words.next_power_of_two() } else { 0 }
    }

    /// Write `words` at word `offset` of `buffer`, before anything that is submitted later. Waits only where three writes through
    /// the ring are under way. What does not go through it is held until something is submitted: see [`settle`](Self::settle).
    ///
    /// # Errors
    /// [`Error::Value`] past the end of the buffer, [`Error::OutOfMemory`], [`Error::Timeout`], [`Error::DeviceLost`].
    pub fn write(&mut self, buffer: &Buffer, offset: usize, words: &[u32]) -> Result<()> {
        if offset + words.len() > buffer.words() {
            let expected = format!("within {} words", buffer.words());
            return Err(Error::value("upload", "words", expected, format!("{offset} + {}", words.len())));
        }
        if words.len() <= Self::DIRECT {
            return if words.is_empty() { Ok(()) } else { self.gpu.write(buffer, offset, words) };
        }
        let slot = self.next;
        self.next = (slot + 1) % self.ring.len();
        let large_enough = self.ring[slot].take().filter(|staging| staging.buffer.words() >= words.len());
        let staging = match large_enough {
            Some(staging) => staging.ready(&self.gpu)?,
            None => {
                let usage = wgpu::BufferUsages::MAP_WRITE | wgpu::BufferUsages::COPY_SRC;
                self.gpu.allocate("uploads", words.len().next_power_of_two() as u64 * 4, usage, true)?
            }
        };
        let bytes: &[u8] = bytemuck::cast_slice(words);
        let size = bytes.len() as u64;
        let view = staging.wgpu().slice(..size).get_mapped_range_mut();
        view.map_err(|e| self.gpu.refused("upload", e.to_string()))?.copy_from_slice(bytes);
        let commands = self.gpu.scoped("upload", 0, || {
            staging.wgpu().unmap();
            let mut encoder = self.gpu.inner.device.create_command_encoder(&Default::default());
            encoder.copy_buffer_to_buffer(staging.wgpu(), 0, buffer.wgpu(), offset as u64 * 4, size);
            encoder.finish()
        })?;
        let submission = self.gpu.submit("upload", commands)?;
        let mapped = Arc::new(Mutex::new(None));
        let sink = mapped.clone();
        self.gpu.scoped("map", 0, || {
            staging.wgpu().map_async(wgpu::MapMode::Write, .., move |result| {
                *lock(&sink) = Some(result.map_err(|e| e.to_string()));
            });
        })?;
        self.ring[slot] = Some(Staging { buffer: staging, submission, mapped });
        Ok(())
    }

    /// Wait until the device has all that was written: for those who write much before they submit anything.
    ///
    /// # Errors
    /// [`Error::Timeout`], [`Error::DeviceLost`].
    pub fn settle(&self) -> Result<()> {
        let nothing = || self.gpu.inner.device.create_command_encoder(&Default::default()).finish();
        let commands = self.gpu.scoped("settle", 0, nothing)?;
        self.gpu.submit("settle", commands)?;
        self.gpu.wait()
    }
}

impl Staging {
    /// The memory, once the device has copied from it.
    fn ready(self, gpu: &Gpu) -> Result<Buffer> {
        gpu.wait_until("an upload", Some(self.submission), || lock(&self.mapped).is_some())?;
        // The submission is done; the callback runs in the same poll or the next.
        while lock(&self.mapped).is_none() {
            gpu.poll()?;
        }
        match lock(&self.mapped).take() {
            Some(Err(text)) => Err(gpu.refused("mapping an upload", text)),
            _ => Ok(self.buffer),
        }
    }
}
