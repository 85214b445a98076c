//! What an op records: a kernel, its parameters, and the tensors that it reads and writes.

use super::{Tape, Tensor};
use crate::error::{Error, Result};
use crate::gpu::{Dispatch, Shader, Value, Variant, Work};

/// One kernel launch on tensors: what an op records. Made by this crate's ops alone, since kernels run without checks.
#[derive(Debug)]
pub struct Launch {
    shader: &'static Shader,
    variant: Variant,
    params: Vec<(&'static str, Value)>,
    bound: Vec<(&'static str, Tensor)>,
    groups: usize,
    work: Work,
}

impl Launch {
    /// A launch of `entry` in `shader`.
    pub(crate) fn new(shader: &'static Shader, entry: &'static str) -> Self {
        Self {
            shader,
            variant: Variant::new(shader.file, entry),
            params: Vec::new(),
            bound: Vec::new(),
            groups: 0,
            work: Work::default(),
        }
    }

    /// Turn a boolean `override` constant on.
    pub fn on(mut self, name: &'static str, on: bool) -> Self {
        if on {
            self.variant.on.push(name);
        }
        self
    }

    /// Set a constant that stands under `// tune`.
    pub fn tune(mut self, name: &'static str, value: u32) -> Self {
        self.variant.tune.push((name, value));
        self
    }

    /// Take a piece of `lib/` in place of another that offers the same functions.
    pub fn swap(mut self, from: &'static str, to: &'static str) -> Self {
        self.variant.swap.push((from, to));
        self
    }

    /// Set a field of `params`.
    pub fn param(mut self, name: &'static str, value: impl Into<Value>) -> Self {
        self.params.push((name, value.into()));
        self
    }

    /// Bind a tensor to a buffer of the kernel, by its name in the file.
    pub fn bind(mut self, name: &'static str, tensor: Tensor) -> Self {
        self.bound.push((name, tensor));
        self
    }

    /// Set the number of workgroups. With none the launch is dropped: there is nothing to do.
    pub fn groups(mut self, groups: usize) -> Self {
        self.groups = groups;
        self
    }

    /// It moves so many bytes more.
    pub(crate) fn more_bytes(mut self, bytes: usize) -> Self {
        self.work.bytes += bytes as f64;
        self
    }

    /// State what it costs.
    pub fn work(mut self, work: Work) -> Self {
        self.work = work;
        self
    }
}

/// A recorded launch: its kernel and, for each binding, the tensor and whether it is written.
pub(super) struct Recorded {
    pub(super) dispatch: Dispatch,
    pub(super) tensors: Vec<(usize, bool)>,
}

impl Tape {
    /// Append a launch.
    ///
    /// # Errors
    /// [`Error::Limit`] where the device cannot run it, [`Error::Gpu`] for a binding or parameter that the kernel
    /// does not have, [`Error::Value`] for a tensor of another tape.
    pub fn launch(&mut self, launch: Launch) -> Result<()> {
        if launch.groups == 0 {
            return Ok(());
        }
        let words: Vec<_> = launch.bound.iter().map(|(name, tensor)| (*name, tensor.words())).collect();
        let texels = self.gpu.as_texels(launch.shader, &launch.variant, &words, launch.work)?;
        let kernel = self.gpu.kernel(launch.shader, Variant { texels, ..launch.variant })?;
        let label = format!("{}: {}", self.scope, kernel.variant);
        let fault = |text: String| Error::Gpu { label: label.clone(), text };
        let mut tensors = Vec::new();
        for binding in kernel.point.bindings.iter().filter(|b| b.name != "params") {
            let given = launch.bound.iter().find(|(name, _)| *name == binding.name);
            let (_, tensor) = given.ok_or_else(|| fault(format!("no tensor for `{}`", binding.name)))?;
            self.own(*tensor, "launch")?;
            tensors.push((tensor.id, binding.writable));
        }
        if tensors.len() != launch.bound.len() {
            return Err(fault(format!("{} tensors for {} bindings", launch.bound.len(), tensors.len())));
        }
        let params = Dispatch::params(&kernel, &launch.params)?;
        let groups = self.gpu.grid(&label, launch.groups)?;
        let dispatch = Dispatch { kernel, label, bound: Vec::new(), params, groups, work: launch.work };
        self.recorded.push(Recorded { dispatch, tensors });
        Ok(())
    }
}
