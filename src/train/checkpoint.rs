//! A run's state as a file: weights under torchvision's names, momentum, running statistics, bank, Z, and where the run stands.

use super::Config;
use crate::checkpoint::{DType, File, Tensor};
use crate::error::{Error, Result};
use crate::gpu::AdapterFacts;
use crate::tape::{Element, Part, Store};
use half::f16;
use std::path::Path;

/// Where a run stands. Everything random follows from the seed and the step, so this is all there is to it.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct Progress {
    /// Steps done.
    pub step: u64,
    /// The sum of the losses of the current epoch's steps so far.
    pub loss_sum: f64,
    /// Images of the current epoch that were skipped so far, since they could not be read.
    pub skipped: usize,
}

const MOMENTUM: &str = "momentum/";

/// The state of a run as a checkpoint file.
///
/// # Errors
/// [`Error::DeviceLost`] while reading the state.
pub(super) fn capture(store: &Store, config: &Config, progress: Progress, adapter: &AdapterFacts) -> Result<File> {
    let mut file = File::default();
    for parameter in store.parameters() {
        let name = &parameter.name;
        let shape = parameter.shape.dims();
        file.tensors.insert(name.clone(), Tensor::f32(shape, &store.read(name, Part::Value)?)?);
        file.tensors.insert(format!("{MOMENTUM}{name}"), Tensor::f32(shape, &store.read(name, Part::Momentum)?)?);
    }
    for state in store.states() {
        let name = &state.name;
        file.tensors.insert(name.clone(), tensor(state.shape.dims(), state.element, &store.read_state(name)?)?);
        if let Some(norm) = name.strip_suffix(".running_mean") {
            // PyTorch's batch norm counts its batches; its loader asks for the number.
            let count = i64::try_from(progress.step).unwrap_or(i64::MAX);
            file.tensors.insert(format!("{norm}.num_batches_tracked"), Tensor::i64(&[], &[count])?);
        }
    }
    let mut put = |key: &str, value: String| file.metadata.insert(key.into(), value);
    put("config", serde_json::to_string(config).map_err(|e| Error::value("checkpoint", "config", "serialisable", e))?);
    put("step", progress.step.to_string());
    put("loss_sum", format!("{:016x}", progress.loss_sum.to_bits()));
    if progress.skipped > 0 {
        put("skipped", progress.skipped.to_string());
    }
    put("version", env!("CARGO_PKG_VERSION").into());
    put("adapter", adapter.name.clone());
    put("driver", adapter.driver.clone());
    Ok(file)
}

/// `values` as the store holds them: numbers that it keeps in 16 bits take no more in the file.
fn tensor(shape: &[usize], element: Element, values: &[f32]) -> Result<Tensor> {
    if element != Element::F16 {
        return Tensor::f32(shape, values);
    }
    Tensor::new(DType::F16, shape, values.iter().flat_map(|v| f16::from_f32(*v).to_le_bytes()).collect())
}

/// The numbers of a tensor of 32-bit or 16-bit floats.
fn floats(tensor: &Tensor) -> Result<Vec<f32>> {
    if tensor.dtype() != DType::F16 {
        return tensor.as_f32();
    }
    Ok(tensor.bytes().chunks_exact(2).map(|b| f16::from_le_bytes([b[0], b[1]]).to_f32()).collect())
}

/// Refuse a state with a NaN or an infinity: the guard looks at loss and gradients alone, and an update may overflow.
///
/// # Errors
/// [`Error::NotFinite`] with the first tensor that has one.
pub(super) fn check_finite(file: &File, step: u64) -> Result<()> {
    for (name, tensor) in file.tensors.iter().filter(|(_, tensor)| [DType::F32, DType::F16].contains(&tensor.dtype())) {
        if let Some(index) = floats(tensor)?.iter().position(|v| !v.is_finite()) {
            return Err(Error::NotFinite { tensor: name.clone(), index: index as u64, step });
        }
    }
    Ok(())
}

/// The configuration, progress and adapter that a checkpoint names.
///
/// # Errors
/// [`Error::Checkpoint`] where it names none.
pub(super) fn describe(path: &Path, file: &File) -> Result<(Config, Progress, String)> {
    let fault = |key: &str| Error::Checkpoint {
        path: path.to_owned(),
        offset: 0,
        reason: format!("its metadata has no usable `{key}`, so it is no checkpoint of a run; name the run's folder"),
    };
    let text = |key: &str| file.metadata.get(key).ok_or_else(|| fault(key));
    let config: Config = serde_json::from_str(text("config")?).map_err(|_| fault("config"))?;
    let step = text("step")?.parse().map_err(|_| fault("step"))?;
    let loss_sum = f64::from_bits(u64::from_str_radix(text("loss_sum")?, 16).map_err(|_| fault("loss_sum"))?);
    let skipped = file.metadata.get("skipped").map_or(Ok(0), |count| count.parse().map_err(|_| fault("skipped")))?;
    let adapter = format!("{}, {}", text("adapter")?, text("driver")?);
    Ok((config, Progress { step, loss_sum, skipped }, adapter))
}

/// Write a checkpoint's state into a store that was declared alike.
///
/// # Errors
/// [`Error::Checkpoint`] where a tensor is missing or has another shape.
pub(super) fn restore(path: &Path, file: &File, store: &mut Store) -> Result<()> {
    let read = |name: &str, dims: &[usize]| -> Result<Vec<f32>> {
        let fault = |reason: String| Error::Checkpoint { path: path.to_owned(), offset: 0, reason };
        let tensor = file
            .tensors
            .get(name)
            .ok_or_else(|| fault(format!("has no tensor `{name}`; it belongs to another configuration")))?;
        if tensor.shape() != dims {
            let reason =
                format!("`{name}` has shape {:?} instead of {dims:?}; it belongs to another configuration", tensor.shape());
            return Err(fault(reason));
        }
        floats(tensor)
    };
    let parameters: Vec<_> = store.parameters().map(|p| (p.name.clone(), p.shape)).collect();
    for (name, shape) in parameters {
        store.write(&name, Part::Value, &read(&name, shape.dims())?)?;
        store.write(&name, Part::Momentum, &read(&format!("{MOMENTUM}{name}"), shape.dims())?)?;
    }
    let states: Vec<_> = store.states().map(|s| (s.name.clone(), s.shape)).collect();
    for (name, shape) in states {
        store.write_state(&name, &read(&name, shape.dims())?)?;
    }
    Ok(())
}
