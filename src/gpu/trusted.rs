//! The calls that wgpu marks unsafe, and nothing else.
#![allow(unsafe_code, reason = "modules without run-time checks; each kernel's head says why no index leaves its buffer")]

use super::Gpu;

impl Gpu {
    /// A shader module without bounds, loop or division checks, for our own kernels only: each states in its
    /// `Safety:` line why no index leaves its buffer, and is tested with guard words around every buffer and with
    /// checks on. `INSTDISC_CHECKED=1` brings the checks back.
    pub(super) fn module(&self, descriptor: wgpu::ShaderModuleDescriptor<'_>) -> wgpu::ShaderModule {
        if self.checked() {
            return self.device().create_shader_module(descriptor);
        }
        // SAFETY: `descriptor` holds one of this crate's kernels, validated by naga, whose indices are bounded by
        // the sizes in `params` that the host derives from the bound buffers.
        unsafe { self.device().create_shader_module_trusted(descriptor, wgpu::ShaderRuntimeChecks::unchecked()) }
    }
}

/// wgpu without the means to draw on a screen, where that is Vulkan's: with them a layer of Mesa looks for a Wayland server as soon as
/// devices are listed, and prints an error of its own where there is no session, as in a container.
#[cfg(target_os = "linux")]
pub(super) fn instance(descriptor: wgpu::InstanceDescriptor) -> wgpu::Instance {
    use wgpu::hal::{InstanceDescriptor, vulkan};
    const SCREENS: [&std::ffi::CStr; 3] = [c"VK_KHR_wayland_surface", c"VK_KHR_xcb_surface", c"VK_KHR_xlib_surface"];
    let hal = InstanceDescriptor {
        name: "instdisc",
        flags: descriptor.flags,
        memory_budget_thresholds: descriptor.memory_budget_thresholds,
        backend_options: descriptor.backend_options.clone(),
        telemetry: None,
        display: None,
    };
    let quiet: Box<vulkan::CreateInstanceCallback> = Box::new(|args| args.extensions.retain(|name| !SCREENS.contains(name)));
    // SAFETY: the callback leaves out extensions that wgpu-hal asks for where they exist and does without elsewhere: it looks for
    // them in this very list before it makes a surface, and this crate makes none.
    match unsafe { vulkan::Instance::init_with_callback(&hal, Some(quiet)) } {
        // SAFETY: the instance was made just now, and nobody else has it.
        Ok(instance) => unsafe { wgpu::Instance::from_hal::<wgpu::hal::api::Vulkan>(instance) },
        Err(_) => wgpu::Instance::new(descriptor),
    }
}

/// wgpu as it is.
#[cfg(not(target_os = "linux"))]
pub(super) fn instance(descriptor: wgpu::InstanceDescriptor) -> wgpu::Instance {
    wgpu::Instance::new(descriptor)
}

/// The largest heap of the device's own memory, in bytes. Vulkan says it; `None` elsewhere.
#[cfg(any(target_os = "linux", windows))]
pub(super) fn memory(adapter: &wgpu::Adapter) -> Option<u64> {
    const DEVICE_LOCAL: u32 = 1;
    // SAFETY: nothing is destroyed through the handle.
    let adapter = unsafe { adapter.as_hal::<wgpu::hal::api::Vulkan>() }?;
    let instance = adapter.shared_instance().raw_instance();
    // SAFETY: the device was enumerated by this very instance, which `adapter` keeps alive.
    let found = unsafe { instance.get_physical_device_memory_properties(adapter.raw_physical_device()) };
    let heaps = found.memory_heaps.iter().take(found.memory_heap_count as usize);
    heaps.filter(|heap| heap.flags.as_raw() & DEVICE_LOCAL != 0).map(|heap| heap.size).max()
}

/// Not known.
#[cfg(not(any(target_os = "linux", windows)))]
pub(super) fn memory(_: &wgpu::Adapter) -> Option<u64> {
    None
}
