//! Finding and opening an adapter.

use super::{Wait, driver_files, memory, trusted};
use crate::error::{Error, Result};
use serde::Serialize;

/// Which adapter to open and how.
#[derive(Clone, Debug, Default)]
pub struct OpenOptions {
    /// Part of the adapter's name, any case, or its number in [`adapters`]. `None`: the best one.
    pub adapter: Option<String>,
    /// Open the device with these limits instead of all that the adapter has.
    pub limits: Option<wgpu::Limits>,
    /// Run the kernels for GPUs on a software adapter too, where they are slow: to test them without a GPU. `INSTDISC_AS_GPU=1`
    /// sets it for every device that is opened by these options.
    pub as_gpu: bool,
}

/// What matters here about an adapter.
#[derive(Clone, Debug, Serialize)]
pub struct AdapterFacts {
    /// The marketing name.
    pub name: String,
    /// Who made it, by PCI's numbers.
    pub vendor: u32,
    /// Its number with that vendor.
    pub device: u32,
    /// `Vulkan`, `Metal` or `Dx12`.
    pub backend: String,
    /// The driver and its version.
    pub driver: String,
    /// `DiscreteGpu`, `IntegratedGpu`, `VirtualGpu`, `Cpu` or `Other`.
    pub kind: String,
    /// Whether a processor stands in for a GPU.
    pub software: bool,
    /// The largest buffer a kernel can bind, in bytes.
    pub max_binding: u64,
    /// The largest buffer, in bytes.
    pub max_buffer: u64,
    /// Workgroup memory, in bytes.
    pub workgroup_memory: u32,
    /// Invocations in a workgroup.
    pub invocations: u32,
    /// Storage buffers that a kernel can bind.
    pub storage_buffers: u32,
    /// The memory it has, in bytes, where the driver says; for a processor what the machine has left.
    pub memory: Option<u64>,
    /// Whether kernels can be timed on the device.
    pub timestamps: bool,
    /// Whether 16-bit floats can be used in shaders.
    pub f16: bool,
    /// Whether subgroup operations can be used in shaders.
    pub subgroups: bool,
    /// The fewest lanes of a subgroup.
    pub subgroup: u32,
}

impl AdapterFacts {
    /// The facts of `adapter`.
    pub fn of(adapter: &wgpu::Adapter) -> Self {
        let (info, limits, features) = (adapter.get_info(), adapter.limits(), adapter.features());
        Self {
            driver: format!("{} {}", info.driver, info.driver_info).trim().to_owned(),
            vendor: info.vendor,
            device: info.device,
            backend: format!("{:?}", info.backend),
            kind: format!("{:?}", info.device_type),
            software: info.device_type == wgpu::DeviceType::Cpu,
            name: info.name,
            max_binding: limits.max_storage_buffer_binding_size,
            max_buffer: limits.max_buffer_size,
            workgroup_memory: limits.max_compute_workgroup_storage_size,
            invocations: limits.max_compute_invocations_per_workgroup,
            storage_buffers: limits.max_storage_buffers_per_shader_stage,
            memory: match info.device_type {
                wgpu::DeviceType::Cpu => memory::of_machine(),
                _ => trusted::memory(adapter),
            },
            timestamps: features.contains(wgpu::Features::TIMESTAMP_QUERY),
            f16: features.contains(wgpu::Features::SHADER_F16),
            subgroups: features.contains(wgpu::Features::SUBGROUP),
            subgroup: info.subgroup_min_size,
        }
    }

    /// The major version of Mesa, where its software driver is the adapter.
    pub fn mesa(&self) -> Option<u32> {
        let version = self.driver.strip_prefix("llvmpipe Mesa ")?;
        version.split('.').next()?.parse().ok()
    }

    /// Whether the driver writes out every lane's load and unrolls few loops around them: Mesa's software driver from 24 on
    /// (25.0 was looked at; 24 is assumed to be like it).
    pub fn unrolls_little(&self) -> bool {
        self.mesa().is_some_and(|version| version >= 24)
    }

    /// Whether a lane has too few registers for 64 sums at a time: GPUs of Intel and Apple.
    pub fn few_registers(&self) -> bool {
        const INTEL: u32 = 0x8086;
        self.vendor == INTEL || self.backend == "Metal"
    }
}

fn found() -> Vec<wgpu::Adapter> {
    let instance = trusted::instance(wgpu::InstanceDescriptor::new_without_display_handle());
    let mut adapters: Vec<_> = instance.enumerate_adapters(wgpu::Backends::PRIMARY).wait();
    adapters.retain(|a| a.get_downlevel_capabilities().flags.contains(wgpu::DownlevelFlags::COMPUTE_SHADERS));
    adapters.sort_by_key(|a| match a.get_info().device_type {
        wgpu::DeviceType::DiscreteGpu => 0,
        wgpu::DeviceType::IntegratedGpu => 1,
        wgpu::DeviceType::VirtualGpu => 2,
        wgpu::DeviceType::Other => 3,
        wgpu::DeviceType::Cpu => 4,
    });
    adapters
}

/// All adapters that can run compute shaders, the best first.
pub fn adapters() -> Vec<AdapterFacts> {
    found().iter().map(AdapterFacts::of).collect()
}

/// The number in [`adapters`] of the first adapter with these facts.
pub(super) fn place_of(facts: &AdapterFacts) -> Option<usize> {
    let same = |other: &AdapterFacts| (&other.name, &other.backend, other.device) == (&facts.name, &facts.backend, facts.device);
    adapters().iter().position(same)
}

/// The error of there being no adapter at all; where the environment keeps the Vulkan loader from finding one, it says so.
pub fn none_found() -> Error {
    let parts = ["no Vulkan, Metal or DX12 driver was found".to_owned()].into_iter().chain(driver_files::fault());
    Error::NoAdapter { reason: parts.collect::<Vec<_>>().join("; ") }
}

pub(super) fn open(options: &OpenOptions) -> Result<(wgpu::Device, wgpu::Queue, AdapterFacts)> {
    let mut all = found();
    let names: Vec<_> = all.iter().map(|a| a.get_info().name).collect();
    let place = match &options.adapter {
        None => Some(0).filter(|_| !all.is_empty()),
        Some(wanted) => wanted
            .parse()
            .ok()
            .filter(|&i: &usize| i < all.len())
            .or_else(|| names.iter().position(|n| n.to_lowercase().contains(&wanted.to_lowercase()))),
    };
    let Some(place) = place else {
        if names.is_empty() {
            return Err(none_found());
        }
        let reason = match &options.adapter {
            Some(wanted) => format!("none is called `{wanted}`; there are: {}", names.join(", ")),
            None => "none can run compute shaders".to_owned(),
        };
        return Err(Error::NoAdapter { reason });
    };
    let adapter = all.swap_remove(place);
    let mut facts = AdapterFacts::of(&adapter);
    let as_gpu = options.as_gpu || std::env::var_os("INSTDISC_AS_GPU").is_some_and(|v| v == "1");
    if facts.software && as_gpu {
        facts.software = false;
        facts.driver += ", as a GPU"; // so that a run which goes on otherwise says so
    }
    // Subgroups only where kernels use them: on Vulkan the feature lets every pipeline's subgroups vary in size.
    let for_software = wgpu::Features::SUBGROUP | wgpu::Features::SHADER_INT64;
    let useful = if facts.software { for_software } else { wgpu::Features::empty() };
    let descriptor = wgpu::DeviceDescriptor {
        label: Some("instdisc"),
        required_features: adapter.features() & (wgpu::Features::TIMESTAMP_QUERY | useful),
        required_limits: options.limits.clone().unwrap_or_else(|| adapter.limits()),
        ..Default::default()
    };
    let (device, queue) = adapter
        .request_device(&descriptor)
        .wait()
        .map_err(|e| Error::Gpu { label: format!("opening {}", facts.name), text: e.to_string() })?;
    Ok((device, queue, facts))
}
