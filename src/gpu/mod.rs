//! The only room that says `wgpu`: the device, its buffers, kernels made from WGSL, and recorded dispatches.
//!
//! Nothing here knows an op. A [`Gpu`] is a cheap handle on one device; several may live at once and there are
//! no globals. It opens a device of its own ([`Gpu::open`]) or works inside an application's
//! ([`Gpu::from_wgpu`]): there it installs no handler, asks for no feature, and never destroys the device.

mod adapter;
mod buffer;
mod choices;
mod dispatch;
mod driver_files;
mod kernel;
mod memory;
mod peak;
mod processor;
mod ready;
mod shader;
mod texels;
mod timing;
mod trusted;
mod uploads;
mod watch;

pub use adapter::{AdapterFacts, OpenOptions, adapters, none_found};
pub use buffer::{Buffer, Read};
pub use choices::Choices;
pub(crate) use dispatch::Dispatches;
pub use dispatch::{Bound, Dispatch, Value, Work};
pub use kernel::{Kernel, Variant};
use memory::Memory;
pub use peak::{PEAK_SHADER, Peak, PeakMeter};
pub use processor::{copy_rate, processor};
pub use shader::{Binding, EntryPoint, Field, Scalar, Shader, library};
pub(crate) use texels::room_bytes;
pub use uploads::Uploads;
pub(crate) use watch::Watch;
pub use watch::{Clock, Span};

use crate::error::{Error, Result};
use std::collections::HashMap;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

/// A handle on one device. Clones share the device, its kernels and its counters.
#[derive(Clone)]
pub struct Gpu {
    inner: Arc<Inner>,
    choices: Arc<Choices>,
}

struct Inner {
    device: wgpu::Device,
    queue: wgpu::Queue,
    facts: AdapterFacts,
    limits: wgpu::Limits,
    faults: Arc<Faults>,
    kernels: Mutex<HashMap<Variant, Arc<Kernel>>>,
    memory: Arc<Memory>,
    checked: bool,
    texels: bool,
    unique: AtomicU64,
    submissions: AtomicU64,
}

/// What went wrong outside of any call: filled by callbacks, reported by the next call.
#[derive(Default)]
pub(crate) struct Faults {
    lost: AtomicBool,
    reason: Mutex<Option<String>>,
    uncaptured: Mutex<Option<String>>,
    uncaptured_count: AtomicU64,
}

/// A lock that a panicking thread left behind still guards plain data: go on with it.
fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

impl Gpu {
    /// Open the best adapter, or the one that `options` name, with all the limits it has.
    ///
    /// # Errors
    /// [`Error::NoAdapter`] where there is none or none of that name; [`Error::Gpu`] where it cannot be opened.
    ///
    /// ```no_run
    /// let gpu = instdisc::gpu::Gpu::open(&Default::default())?;
    /// println!("{}", gpu.facts().name);
    /// # Ok::<(), instdisc::Error>(())
    /// ```
    pub fn open(options: &OpenOptions) -> Result<Self> {
        let (device, queue, facts) = adapter::open(options)?;
        let faults = Arc::new(Faults::default());
        let sink = faults.clone();
        device.on_uncaptured_error(Arc::new(move |error: wgpu::Error| {
            sink.uncaptured_count.fetch_add(1, Ordering::SeqCst);
            lock(&sink.uncaptured).get_or_insert(error.to_string());
        }));
        let sink = faults.clone();
        device.set_device_lost_callback(move |reason, message| sink.lose(format!("{reason:?}: {message}")));
        Ok(Self::new(device, queue, facts, faults))
    }

    /// Work inside an application that owns `device` and `queue`.
    ///
    /// The base limits and no features are enough. No handler is installed, since wgpu's setters replace the
    /// application's own; tell us of a lost device by [`Gpu::notify_lost`].
    pub fn from_wgpu(adapter: &wgpu::Adapter, device: wgpu::Device, queue: wgpu::Queue) -> Self {
        let facts = AdapterFacts::of(adapter);
        Self::new(device, queue, facts, Arc::new(Faults::default()))
    }

    fn new(device: wgpu::Device, queue: wgpu::Queue, facts: AdapterFacts, faults: Arc<Faults>) -> Self {
        let limits = device.limits();
        let checked = std::env::var_os("INSTDISC_CHECKED").is_some_and(|v| v == "1");
        let memory = Arc::new(Memory::new(&facts));
        let texels = facts.software && texels::pay(&facts);
        Self {
            inner: Arc::new(Inner {
                device,
                queue,
                facts,
                limits,
                faults,
                kernels: Mutex::default(),
                memory,
                checked,
                texels,
                unique: AtomicU64::new(0),
                submissions: AtomicU64::new(0),
            }),
            choices: Arc::default(),
        }
    }

    /// The same device, for tapes that compute their products and convolutions by these choices.
    pub fn with_choices(&self, choices: Choices) -> Self {
        Self { inner: self.inner.clone(), choices: Arc::new(choices) }
    }

    /// How its tapes compute products and convolutions.
    pub fn choices(&self) -> &Choices {
        &self.choices
    }

    /// How many lanes of a workgroup can hand each other what they have read: 8 or 4 on a device for a processor that was
    /// opened with subgroups, else 1. On GPUs workgroup memory does that.
    pub fn together(&self) -> u32 {
        let facts = &self.inner.facts;
        if !facts.software || !self.inner.device.features().contains(wgpu::Features::SUBGROUP) {
            return 1;
        }
        [8, 4].into_iter().find(|&lanes| lanes <= facts.subgroup).unwrap_or(1)
    }

    /// Whether kernels read four floats as two 64-bit numbers: on a device for a processor that was opened with them.
    pub fn reads_pairs(&self) -> bool {
        self.inner.facts.software && self.inner.device.features().contains(wgpu::Features::SHADER_INT64)
    }

    /// Whether kernels read tensors as textures, into which the host copies them: on a processor where buffers are read slowly.
    pub fn reads_texels(&self) -> bool {
        self.inner.texels
    }

    /// What is known of the adapter.
    pub fn facts(&self) -> &AdapterFacts {
        &self.inner.facts
    }

    /// The limits of the device, which may be lower than the adapter's.
    pub fn limits(&self) -> &wgpu::Limits {
        &self.inner.limits
    }

    /// The device itself, to share buffers with an application.
    pub fn device(&self) -> &wgpu::Device {
        &self.inner.device
    }

    /// The queue that goes with [`Gpu::device`].
    pub fn queue(&self) -> &wgpu::Queue {
        &self.inner.queue
    }

    /// Whether shaders run with the run-time checks of wgpu (`INSTDISC_CHECKED=1`).
    pub fn checked(&self) -> bool {
        self.inner.checked
    }

    /// Bytes of device memory held now, and the most held so far.
    pub fn bytes(&self) -> (u64, u64) {
        (self.inner.memory.held.load(Ordering::SeqCst), self.inner.memory.peak.load(Ordering::SeqCst))
    }

    /// A number that no other call on this device returns: tells the tensors of two tapes apart.
    pub(crate) fn unique(&self) -> u64 {
        self.inner.unique.fetch_add(1, Ordering::SeqCst)
    }

    /// How many command buffers have been handed to the queue.
    pub fn submissions(&self) -> u64 {
        self.inner.submissions.load(Ordering::SeqCst)
    }

    /// How many pipelines have been made.
    pub fn pipelines(&self) -> usize {
        lock(&self.inner.kernels).len()
    }

    /// How many errors reached the device's handler instead of one of our scopes. Only devices of our own count.
    pub fn uncaptured_errors(&self) -> u64 {
        self.inner.faults.uncaptured_count.load(Ordering::SeqCst)
    }

    /// Tell this `Gpu` that the device is lost; every call from now on returns [`Error::DeviceLost`].
    pub fn notify_lost(&self, reason: &str) {
        self.inner.faults.lose(reason.to_owned());
    }

    /// The error that a callback left, if any: a lost device or an error outside all scopes.
    ///
    /// # Errors
    /// [`Error::DeviceLost`] or [`Error::Gpu`].
    pub fn check(&self) -> Result<()> {
        let faults = &self.inner.faults;
        if faults.lost.load(Ordering::SeqCst) {
            let reason = lock(&faults.reason).clone().unwrap_or_default();
            return Err(Error::DeviceLost { reason });
        }
        match lock(&faults.uncaptured).take() {
            Some(text) => Err(Error::Gpu { label: "an earlier call".into(), text }),
            None => Ok(()),
        }
    }

    /// Run `call` inside error scopes, turn what they catch into an [`Error`], and look for a lost device.
    pub(crate) fn scoped<T>(&self, label: &str, bytes: u64, call: impl FnOnce() -> T) -> Result<T> {
        self.check()?;
        let device = &self.inner.device;
        let internal = device.push_error_scope(wgpu::ErrorFilter::Internal);
        let memory = device.push_error_scope(wgpu::ErrorFilter::OutOfMemory);
        let validation = device.push_error_scope(wgpu::ErrorFilter::Validation);
        let value = call();
        let caught = [validation.pop().wait(), memory.pop().wait(), internal.pop().wait()];
        // A call on a lost device does nothing and raises no error: the loss is told to a callback alone, in a poll.
        self.poll()?;
        let Some(error) = caught.into_iter().flatten().next() else { return Ok(value) };
        // It may be what a lost device left behind, and the loss is told only once the queue has run dry.
        if let Err(lost @ Error::DeviceLost { .. }) = self.wait() {
            return Err(lost);
        }
        Err(match error {
            wgpu::Error::OutOfMemory { .. } => Error::OutOfMemory { asked: bytes, held: self.bytes().0 },
            other => return Err(self.refused(label, other.to_string())),
        })
    }

    /// The error of a call that wgpu refused: a fault of ours, unless the device is lost. An application's device has no callback
    /// of ours that would tell.
    pub(crate) fn refused(&self, label: &str, text: String) -> Error {
        if !self.answers() {
            self.notify_lost("it no longer answers; an application can tell why by `Gpu::notify_lost`");
        }
        self.check().err().unwrap_or_else(|| Error::Gpu { label: label.to_owned(), text })
    }

    /// Whether a buffer of four bytes can be made and mapped. On a lost device calls seem to succeed, and what they made is invalid.
    fn answers(&self) -> bool {
        let device = &self.inner.device;
        let memory = device.push_error_scope(wgpu::ErrorFilter::OutOfMemory);
        let validation = device.push_error_scope(wgpu::ErrorFilter::Validation);
        let usage = wgpu::BufferUsages::MAP_READ | wgpu::BufferUsages::COPY_DST;
        let descriptor = wgpu::BufferDescriptor { label: Some("answer"), size: 4, usage, mapped_at_creation: false };
        device.create_buffer(&descriptor).map_async(wgpu::MapMode::Read, .., drop);
        let (invalid, full) = (validation.pop().wait().is_some(), memory.pop().wait().is_some());
        !invalid || full
    }

    /// Hand a recorded batch to the queue.
    pub(crate) fn submit(&self, label: &str, commands: wgpu::CommandBuffer) -> Result<wgpu::SubmissionIndex> {
        self.inner.submissions.fetch_add(1, Ordering::SeqCst);
        self.scoped(label, 0, || self.inner.queue.submit([commands]))
    }

    /// Let callbacks run, without waiting.
    ///
    /// # Errors
    /// [`Error::DeviceLost`] or [`Error::Gpu`], as [`Gpu::check`].
    pub fn poll(&self) -> Result<()> {
        // A poll without waiting only says whether the queue is empty: nothing to act on.
        let _ = self.inner.device.poll(wgpu::PollType::Poll);
        self.check()
    }

    /// Wait until everything submitted so far is done.
    ///
    /// # Errors
    /// [`Error::Timeout`] after 10 minutes, [`Error::DeviceLost`].
    pub fn wait(&self) -> Result<()> {
        self.wait_until("the queue", None, || false)
    }

    /// Wait for `submission` (or the last one), or until `done`. Waits in slices, since a driver may hang in an endless wait; in
    /// long ones, since up to wgpu 30.0.2 a wait that runs out while another thread's ends panics (gfx-rs/wgpu pull request 9958).
    pub(crate) fn wait_until(
        &self,
        what: &'static str,
        submission: Option<wgpu::SubmissionIndex>,
        done: impl Fn() -> bool,
    ) -> Result<()> {
        let patience = Duration::from_secs(600);
        let start = Instant::now();
        loop {
            let slice = Some(Duration::from_secs(10));
            let poll = wgpu::PollType::Wait { submission_index: submission.clone(), timeout: slice };
            let finished = self.inner.device.poll(poll).is_ok();
            self.check()?;
            if finished || done() {
                return Ok(());
            }
            if start.elapsed() > patience {
                return Err(Error::Timeout { what, waited_ms: start.elapsed().as_millis() as u64 });
            }
        }
    }
}

impl Faults {
    fn lose(&self, reason: String) {
        lock(&self.reason).get_or_insert(reason);
        self.lost.store(true, Ordering::SeqCst);
    }
}

/// Futures of wgpu's error scopes are ready at once on native back ends.
trait Wait: Future + Sized {
    fn wait(self) -> Self::Output {
        pollster::block_on(self)
    }
}
impl<F: Future> Wait for F {}

impl std::fmt::Debug for Gpu {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Gpu").field("adapter", &self.facts().name).finish_non_exhaustive()
    }
}
