//! Device memory: buffers that count their bytes, and reads that need not wait.

use super::{Bound, Gpu, Memory, lock};
use crate::error::{Error, Result};
use std::sync::atomic::Ordering;
use std::sync::{Arc, Mutex};
use std::task::{Context, Poll, Waker};

/// A device buffer of whole 32-bit words. Clones share it; the memory is freed with the last one.
#[derive(Clone)]
pub struct Buffer {
    inner: Arc<Owned>,
}

struct Owned {
    buffer: wgpu::Buffer,
    words: usize,
    memory: Arc<Memory>,
    gpu_bytes: u64,
}

impl Buffer {
    /// The buffer itself, to use it outside of this crate. Contents are little-endian 32-bit words in the
    /// [`Layout`](crate::shape::Layout) of the tensor it holds.
    pub fn wgpu(&self) -> &wgpu::Buffer {
        &self.inner.buffer
    }

    /// Length in 32-bit words.
    pub fn words(&self) -> usize {
        self.inner.words
    }

    /// Whether `self` and `other` are the same memory.
    pub fn same(&self, other: &Self) -> bool {
        Arc::ptr_eq(&self.inner, &other.inner)
    }

    /// A number that no other buffer has while this one lives.
    pub(crate) fn address(&self) -> usize {
        Arc::as_ptr(&self.inner).addr()
    }
}

impl Drop for Owned {
    fn drop(&mut self) {
        self.memory.held.fetch_sub(self.gpu_bytes, Ordering::SeqCst);
        self.memory.buffers.fetch_sub(u64::from(self.gpu_bytes > 0), Ordering::SeqCst);
    }
}

const USAGE: wgpu::BufferUsages =
    wgpu::BufferUsages::STORAGE.union(wgpu::BufferUsages::COPY_SRC).union(wgpu::BufferUsages::COPY_DST);

impl Gpu {
    /// A zeroed buffer of `words` 32-bit words (at least four, since nothing of size zero can be bound).
    ///
    /// # Errors
    /// [`Error::Limit`] over the device's largest binding or buffer, [`Error::OutOfMemory`], [`Error::DeviceLost`].
    pub fn buffer(&self, label: &str, words: usize) -> Result<Buffer> {
        let bytes = words.max(4) as u64 * 4;
        let allowed = self.limits().max_storage_buffer_binding_size.min(self.limits().max_buffer_size);
        if bytes > allowed {
            let advice = "use a smaller batch, image, width or bank, or an adapter with larger bindings";
            return Err(Error::Limit { what: format!("`{label}` (bytes)"), asked: bytes, allowed, advice });
        }
        self.allocate(label, bytes, USAGE, false)
    }

    /// A buffer that is counted, for any use.
    pub(super) fn allocate(&self, label: &str, bytes: u64, usage: wgpu::BufferUsages, mapped: bool) -> Result<Buffer> {
        let descriptor = wgpu::BufferDescriptor { label: Some(label), size: bytes, usage, mapped_at_creation: mapped };
        let buffer = self.granted(label, bytes, || self.inner.device.create_buffer(&descriptor))?;
        let memory = self.inner.memory.clone();
        let held = memory.held.fetch_add(bytes, Ordering::SeqCst) + bytes;
        memory.peak.fetch_max(held, Ordering::SeqCst);
        memory.buffers.fetch_add(1, Ordering::SeqCst);
        Ok(Buffer { inner: Arc::new(Owned { buffer, words: (bytes / 4) as usize, memory, gpu_bytes: bytes }) })
    }

    /// Use a storage buffer of the application, which must allow `STORAGE | COPY_SRC | COPY_DST`.
    ///
    /// # Errors
    /// [`Error::Value`] where the buffer does not allow that.
    pub fn adopt(&self, buffer: wgpu::Buffer) -> Result<Buffer> {
        if !buffer.usage().contains(USAGE) {
            return Err(Error::value(
                "adopt",
                "buffer",
                "usable for STORAGE | COPY_SRC | COPY_DST",
                format!("{:?}", buffer.usage()),
            ));
        }
        let words = (buffer.size() / 4) as usize;
        Ok(Buffer { inner: Arc::new(Owned { buffer, words, memory: self.inner.memory.clone(), gpu_bytes: 0 }) })
    }

    /// Write `words` at word `offset`, before anything that is submitted later.
    ///
    /// # Errors
    /// [`Error::Value`] past the end of the buffer, [`Error::DeviceLost`].
    pub fn write(&self, buffer: &Buffer, offset: usize, words: &[u32]) -> Result<()> {
        if offset + words.len() > buffer.words() {
            let expected = format!("within {} words", buffer.words());
            return Err(Error::value("write", "words", expected, format!("{offset} + {}", words.len())));
        }
        let bytes = bytemuck::cast_slice(words);
        self.scoped("write", 0, || self.inner.queue.write_buffer(buffer.wgpu(), offset as u64 * 4, bytes))
    }

    /// Begin to read `words` words from word `offset`: the copy is queued now and can be fetched later.
    ///
    /// # Errors
    /// [`Error::Value`] past the end of the buffer, [`Error::OutOfMemory`], [`Error::DeviceLost`].
    pub fn read(&self, buffer: &Buffer, offset: usize, words: usize) -> Result<Read> {
        self.read_all(&[(buffer, offset, words)])
    }

    /// The same for several ranges, of which one comes behind the other.
    ///
    /// # Errors
    /// Those of [`read`](Self::read).
    pub(crate) fn read_all(&self, ranges: &[(&Buffer, usize, usize)]) -> Result<Read> {
        if let Some((buffer, offset, words)) = ranges.iter().find(|(buffer, offset, words)| offset + words > buffer.words()) {
            return Err(Error::value("read", "words", format!("within {}", buffer.words()), format!("{offset} + {words}")));
        }
        let words: usize = ranges.iter().map(|(_, _, words)| words).sum();
        let bytes = words.max(1) as u64 * 4;
        let device = &self.inner.device;
        let usage = wgpu::BufferUsages::MAP_READ | wgpu::BufferUsages::COPY_DST;
        let descriptor = wgpu::BufferDescriptor { label: Some("read"), size: bytes, usage, mapped_at_creation: false };
        let (staging, commands) = self.granted("read", bytes, || {
            let staging = device.create_buffer(&descriptor);
            let mut encoder = device.create_command_encoder(&Default::default());
            let mut at = 0;
            for (buffer, offset, words) in ranges.iter().filter(|(_, _, words)| *words > 0) {
                let size = *words as u64 * 4;
                encoder.copy_buffer_to_buffer(buffer.wgpu(), *offset as u64 * 4, &staging, at, size);
                at += size;
            }
            (staging, encoder.finish())
        })?;
        let submission = self.submit("read", commands)?;
        let answer = Arc::new(Mutex::new(Answer::default()));
        let sink = answer.clone();
        self.scoped("map", 0, || {
            staging.map_async(wgpu::MapMode::Read, .., move |result| {
                let mut answer = lock(&sink);
                answer.result = Some(result.map_err(|e| e.to_string()));
                if let Some(waker) = answer.waker.take() {
                    waker.wake();
                }
            });
        })?;
        Ok(Read { gpu: self.clone(), staging, submission, answer, words })
    }

    /// Fill ranges with zeros, after everything that was submitted earlier.
    ///
    /// # Errors
    /// [`Error::DeviceLost`], [`Error::Gpu`].
    pub(crate) fn clear(&self, ranges: &[Bound]) -> Result<()> {
        self.transfer("clear", |encoder| {
            for range in ranges {
                encoder.clear_buffer(range.buffer.wgpu(), range.offset as u64 * 4, Some(range.words as u64 * 4));
            }
        })
    }

    /// Copy the second range of each pair from the first, which is as long and in another buffer.
    ///
    /// # Errors
    /// [`Error::DeviceLost`], [`Error::Gpu`].
    pub(crate) fn copy(&self, pairs: &[(Bound, Bound)]) -> Result<()> {
        self.transfer("copy", |encoder| {
            for (from, to) in pairs {
                let [source, target] = [from, to].map(|range| range.offset as u64 * 4);
                encoder.copy_buffer_to_buffer(from.buffer.wgpu(), source, to.buffer.wgpu(), target, from.words as u64 * 4);
            }
        })
    }

    fn transfer(&self, label: &str, record: impl FnOnce(&mut wgpu::CommandEncoder)) -> Result<()> {
        let commands = self.scoped(label, 0, || {
            let mut encoder = self.inner.device.create_command_encoder(&Default::default());
            record(&mut encoder);
            encoder.finish()
        })?;
        self.submit(label, commands).map(drop)
    }

    /// Read `words` words from word `offset` and wait for them.
    ///
    /// # Errors
    /// As [`Gpu::read`] and [`Read::wait`].
    pub fn read_now(&self, buffer: &Buffer, offset: usize, words: usize) -> Result<Vec<u32>> {
        self.read(buffer, offset, words)?.wait()
    }
}

#[derive(Default)]
struct Answer {
    result: Option<std::result::Result<(), String>>,
    waker: Option<Waker>,
}

/// Words on their way from the device. Await it, [`wait`](Read::wait) for it, or ask whether it is [`ready`](Read::ready).
///
/// As a future it is woken when somebody polls the device; [`Gpu::poll`] in an application's frame loop does.
pub struct Read {
    gpu: Gpu,
    staging: wgpu::Buffer,
    submission: wgpu::SubmissionIndex,
    answer: Arc<Mutex<Answer>>,
    words: usize,
}

impl Read {
    /// Whether the words are here. Does not wait.
    pub fn ready(&self) -> bool {
        let _ = self.gpu.poll();
        lock(&self.answer).result.is_some()
    }

    /// Wait for the words.
    ///
    /// # Errors
    /// [`Error::Timeout`], [`Error::DeviceLost`].
    pub fn wait(self) -> Result<Vec<u32>> {
        let answer = self.answer.clone();
        self.gpu.wait_until("a read", Some(self.submission.clone()), || lock(&answer).result.is_some())?;
        // The submission is done; the callback runs in the same poll or the next.
        while lock(&self.answer).result.is_none() {
            self.gpu.poll()?;
        }
        self.take()
    }

    fn take(&self) -> Result<Vec<u32>> {
        if let Some(Err(text)) = &lock(&self.answer).result {
            return Err(self.gpu.refused("mapping a read", text.clone()));
        }
        let view = self.staging.slice(..).get_mapped_range().map_err(|e| self.gpu.refused("read", e.to_string()))?;
        let words = view.chunks_exact(4).take(self.words).map(|b| u32::from_le_bytes([b[0], b[1], b[2], b[3]])).collect();
        Ok(words)
    }
}

impl Future for Read {
    type Output = Result<Vec<u32>>;
    fn poll(self: std::pin::Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Self::Output> {
        if let Err(error) = self.gpu.poll() {
            return Poll::Ready(Err(error));
        }
        let mut answer = lock(&self.answer);
        if answer.result.is_none() {
            answer.waker = Some(context.waker().clone());
            return Poll::Pending;
        }
        drop(answer);
        Poll::Ready(self.take())
    }
}

impl std::fmt::Debug for Buffer {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Buffer({} words)", self.words())
    }
}
