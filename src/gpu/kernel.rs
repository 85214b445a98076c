//! Pipelines: one for each (file, entry point, constants), made once and shared by all shapes.

use super::{EntryPoint, Gpu, Shader, lock, texels};
use crate::error::{Error, Result};
use std::sync::Arc;
use std::time::Instant;

/// Which pipeline: a file, an entry point, and the values of its constants.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Variant {
    /// The file's name.
    pub file: &'static str,
    /// The entry point.
    pub entry: &'static str,
    /// Switches: `override` constants of type bool that are on.
    pub on: Vec<&'static str>,
    /// Register-tile sizes: constants under `// tune`.
    pub tune: Vec<(&'static str, u32)>,
    /// Pieces of `lib/` that stand in for others.
    pub swap: Vec<(&'static str, &'static str)>,
    /// Tensors that it reads as textures, by their names in the file.
    pub texels: Vec<&'static str>,
}

impl Variant {
    /// The entry point as its file has it.
    pub fn new(file: &'static str, entry: &'static str) -> Self {
        Self { file, entry, on: Vec::new(), tune: Vec::new(), swap: Vec::new(), texels: Vec::new() }
    }
}

impl std::fmt::Display for Variant {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{}:{}", self.file.trim_end_matches(".wgsl"), self.entry)?;
        for (name, value) in &self.tune {
            write!(f, " {}={value}", name.to_lowercase())?;
        }
        self.on.iter().try_for_each(|name| write!(f, " {}", name.to_lowercase()))?;
        let pieces = self.swap.iter().map(|(_, to)| to.trim_start_matches("lib/").trim_end_matches(".wgsl"));
        pieces.into_iter().try_for_each(|piece| write!(f, " {piece}"))?;
        if self.texels.is_empty() { Ok(()) } else { write!(f, " texels") }
    }
}

/// A pipeline with what naga says of its entry point.
#[derive(Debug)]
pub struct Kernel {
    /// What was asked for.
    pub variant: Variant,
    /// What the file says of it.
    pub point: EntryPoint,
    /// Seconds that it took to make. A software driver compiles later, when it first runs.
    pub seconds: f64,
    pub(super) shader: Shader,
    pub(super) pipeline: wgpu::ComputePipeline,
    pub(super) layout: wgpu::BindGroupLayout,
}

impl Gpu {
    /// The pipeline of `variant`, made now or earlier.
    ///
    /// # Errors
    /// [`Error::Limit`] where the device cannot run it; [`Error::Gpu`] where it does not compile.
    pub(crate) fn kernel(&self, shader: &Shader, variant: Variant) -> Result<Arc<Kernel>> {
        if let Some(kernel) = lock(&self.inner.kernels).get(&variant) {
            return Ok(kernel.clone());
        }
        let kernel = Arc::new(self.build(shader, variant.clone())?);
        lock(&self.inner.kernels).insert(variant, kernel.clone());
        Ok(kernel)
    }

    fn build(&self, shader: &Shader, variant: Variant) -> Result<Kernel> {
        let start = Instant::now();
        let label = variant.to_string();
        let mut swap = variant.swap.clone();
        if self.reads_pairs() && shader.needs().contains(&"lib/floats.wgsl") {
            swap.push(("lib/floats.wgsl", "lib/floats_in_pairs.wgsl"));
        }
        let points = shader.reflect(&variant.tune, &swap, &variant.texels)?;
        let point = points.into_iter().find(|p| p.name == variant.entry);
        let point = point.ok_or_else(|| Error::Gpu { label: label.clone(), text: "no such entry point".into() })?;
        self.fits(&label, &point)?;
        let source = wgpu::ShaderSource::Wgsl(shader.source(&variant.tune, &swap, &variant.texels)?.into());
        let entries: Vec<_> = point
            .bindings
            .iter()
            .map(|b| wgpu::BindGroupLayoutEntry {
                binding: b.slot,
                visibility: wgpu::ShaderStages::COMPUTE,
                ty: if b.texels {
                    texels::LAYOUT
                } else {
                    let ty = wgpu::BufferBindingType::Storage { read_only: !b.writable };
                    wgpu::BindingType::Buffer { ty, has_dynamic_offset: false, min_binding_size: None }
                },
                count: None,
            })
            .collect();
        let constants: Vec<_> = variant.on.iter().map(|&name| (name, 1.0)).collect();
        let device = self.device();
        let (pipeline, layout) = self.scoped(&label, 0, || {
            let module = self.module(wgpu::ShaderModuleDescriptor { label: Some(&label), source });
            let layout =
                device.create_bind_group_layout(&wgpu::BindGroupLayoutDescriptor { label: Some(&label), entries: &entries });
            let pipeline_layout = device.create_pipeline_layout(&wgpu::PipelineLayoutDescriptor {
                label: Some(&label),
                bind_group_layouts: &[Some(&layout)],
                immediate_size: 0,
            });
            let pipeline = device.create_compute_pipeline(&wgpu::ComputePipelineDescriptor {
                label: Some(&label),
                layout: Some(&pipeline_layout),
                module: &module,
                entry_point: Some(variant.entry),
                compilation_options: wgpu::PipelineCompilationOptions {
                    constants: &constants,
                    zero_initialize_workgroup_memory: false,
                },
                cache: None,
            });
            (pipeline, layout)
        })?;
        Ok(Kernel { variant, point, seconds: start.elapsed().as_secs_f64(), shader: *shader, pipeline, layout })
    }

    /// wgpu checks most limits itself, but not workgroup memory; all are checked here to name the kernel.
    fn fits(&self, label: &str, point: &EntryPoint) -> Result<()> {
        let limits = self.limits();
        let invocations: u32 = point.workgroup.iter().product();
        let checks = [
            ("workgroup memory", point.workgroup_bytes, limits.max_compute_workgroup_storage_size),
            ("invocations", invocations, limits.max_compute_invocations_per_workgroup),
            (
                "storage buffers",
                point.bindings.iter().filter(|b| !b.texels).count() as u32,
                limits.max_storage_buffers_per_shader_stage,
            ),
        ];
        for (what, asked, allowed) in checks {
            if asked > allowed {
                let (asked, allowed) = (asked.into(), allowed.into());
                return Err(Error::Limit { what: format!("{label} ({what})"), asked, allowed, advice: "choose another adapter" });
            }
        }
        Ok(())
    }
}
