//! The calls that wgpu marks unsafe, and nothing else.
#![allow(unsafe_code, reason = "modules without run-time checks; each kernel's head says why no index leaves its buffer")]

use super::Gpu;

impl Gpu {
    /// A shader module without bounds, loop or division checks, for our own kernels only: each states in its
    /// `Safety:` line why no index leaves its buffer, and is tested with checks on and guard words around every
    /// buffer. `INSTDISC_CHECKED=1` brings the checks back.
    pub(super) fn module(&self, descriptor: wgpu::ShaderModuleDescriptor<'_>) -> wgpu::ShaderModule {
        if self.checked() {
            return self.device().create_shader_module(descriptor);
        }
        // SAFETY: `descriptor` holds one of this crate's kernels, validated by naga, whose indices are bounded by
        // the sizes in `params` that the host derives from the bound buffers.
        unsafe { self.device().create_shader_module_trusted(descriptor, wgpu::ShaderRuntimeChecks::unchecked()) }
    }
}
