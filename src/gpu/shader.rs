//! WGSL files as the source of their own facts: what they need, bind, take as parameters and can be tuned by.

use super::texels;
use crate::error::{Error, Result};

/// One file of `shaders/`.
///
/// Only this crate makes them, since its modules run without run-time checks:
///
/// ```compile_fail
/// let own = instdisc::gpu::Shader { file: "own.wgsl", text: "@compute @workgroup_size(64) fn forward() {}" };
/// ```
#[derive(Clone, Copy, Debug)]
pub struct Shader {
    pub(crate) file: &'static str,
    pub(crate) text: &'static str,
}

/// The shared pieces in `shaders/lib/`, by the name that a `// needs:` line gives them.
pub fn library() -> &'static [(&'static str, &'static str)] {
    &[
        ("lib/affine.wgsl", include_str!("../../shaders/lib/affine.wgsl")),
        ("lib/apart.wgsl", include_str!("../../shaders/lib/apart.wgsl")),
        ("lib/bank_f16.wgsl", include_str!("../../shaders/lib/bank_f16.wgsl")),
        ("lib/bank_f32.wgsl", include_str!("../../shaders/lib/bank_f32.wgsl")),
        ("lib/bank_words.wgsl", include_str!("../../shaders/lib/bank_words.wgsl")),
        ("lib/convolution.wgsl", include_str!("../../shaders/lib/convolution.wgsl")),
        ("lib/floats.wgsl", include_str!("../../shaders/lib/floats.wgsl")),
        ("lib/floats_in_pairs.wgsl", include_str!("../../shaders/lib/floats_in_pairs.wgsl")),
        ("lib/gemm_lanes.wgsl", include_str!("../../shaders/lib/gemm_lanes.wgsl")),
        ("lib/gemm_tiled.wgsl", include_str!("../../shaders/lib/gemm_tiled.wgsl")),
        ("lib/grid.wgsl", include_str!("../../shaders/lib/grid.wgsl")),
        ("lib/moments.wgsl", include_str!("../../shaders/lib/moments.wgsl")),
        ("lib/noise_drawn.wgsl", include_str!("../../shaders/lib/noise_drawn.wgsl")),
        ("lib/noise_given.wgsl", include_str!("../../shaders/lib/noise_given.wgsl")),
        ("lib/pixel.wgsl", include_str!("../../shaders/lib/pixel.wgsl")),
        ("lib/plain.wgsl", include_str!("../../shaders/lib/plain.wgsl")),
        ("lib/rng.wgsl", include_str!("../../shaders/lib/rng.wgsl")),
        ("lib/slopes.wgsl", include_str!("../../shaders/lib/slopes.wgsl")),
        ("lib/softplus.wgsl", include_str!("../../shaders/lib/softplus.wgsl")),
        ("lib/step.wgsl", include_str!("../../shaders/lib/step.wgsl")),
        ("lib/texels.wgsl", texels::PIECE),
        ("lib/together.wgsl", include_str!("../../shaders/lib/together.wgsl")),
    ]
}

/// The pieces that go beyond what every device has; the device itself refuses what it lacks.
const BEYOND: [(&str, naga::valid::Capabilities); 2] = [
    ("lib/together.wgsl", naga::valid::Capabilities::SUBGROUP),
    ("lib/floats_in_pairs.wgsl", naga::valid::Capabilities::SHADER_INT64),
];

/// A scalar type of a parameter.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Scalar {
    /// `u32`
    U32,
    /// `i32`
    I32,
    /// `f32`
    F32,
}

/// A field of a kernel's `params` block.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Field {
    /// Its name.
    pub name: String,
    /// Its place, in bytes.
    pub offset: u32,
    /// Its type.
    pub scalar: Scalar,
}

/// A tensor that an entry point binds.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Binding {
    /// Its number in group 0.
    pub slot: u32,
    /// Its name in the file.
    pub name: String,
    /// Whether it is declared `read_write`.
    pub writable: bool,
    /// Whether it is read as a texture.
    pub texels: bool,
}

/// What naga says of one entry point.
#[derive(Clone, Debug)]
pub struct EntryPoint {
    /// Its name.
    pub name: String,
    /// Invocations in each dimension of a workgroup.
    pub workgroup: [u32; 3],
    /// Bytes of workgroup memory that it uses.
    pub workgroup_bytes: u32,
    /// The buffers it uses, in order of slots, `params` included.
    pub bindings: Vec<Binding>,
    /// The fields of `params`; empty where it has none.
    pub params: Vec<Field>,
    /// The size of `params`, in bytes.
    pub params_bytes: u32,
}

impl Shader {
    /// The file's name in `shaders/`, as `l2norm.wgsl`.
    pub fn file(&self) -> &'static str {
        self.file
    }

    /// Its text, without the files it needs.
    pub fn text(&self) -> &'static str {
        self.text
    }

    /// The files that its first line names, in order.
    pub fn needs(&self) -> Vec<&'static str> {
        let first = self.text.lines().next().unwrap_or("");
        first.strip_prefix("// needs:").map(|list| list.split_whitespace().collect()).unwrap_or_default()
    }

    /// The whole source: needed files first, then this one. Each `swap` takes the second piece of `lib/` in place of the
    /// first, which offers the same functions; each `tune` replaces a literal under `// tune`.
    /// Tensors whose names are `texels` are read as textures.
    ///
    /// # Errors
    /// [`Error::Gpu`] for a needed file, a swapped one, a tunable or a tensor that does not exist: faults of this crate.
    pub fn source(
        &self,
        tune: &[(&'static str, u32)],
        swap: &[(&'static str, &'static str)],
        texels: &[&'static str],
    ) -> Result<String> {
        let fault = |text: String| Error::Gpu { label: self.file.into(), text };
        let mut source = String::new();
        let needs = self.needs();
        if let Some((from, _)) = swap.iter().find(|(from, _)| !needs.contains(from)) {
            return Err(fault(format!("does not need {from}, which is to be swapped")));
        }
        for need in needs {
            let need = swap.iter().find(|(from, _)| *from == need).map_or(need, |(_, to)| to);
            let (_, text) = library().iter().find(|(name, _)| *name == need).ok_or_else(|| fault(format!("needs {need}")))?;
            source.push_str(text);
            source.push('\n');
        }
        source.push_str(self.text);
        for (name, value) in tune {
            source =
                replace(&source, name, *value).ok_or_else(|| fault(format!("no `const {name}` under a `// tune` heading")))?;
        }
        if texels.is_empty() {
            return Ok(source);
        }
        let rewritten = texels::rewritten(&source, texels).ok_or_else(|| fault(format!("cannot read {texels:?} as textures")))?;
        Ok(format!("{}\n{rewritten}", texels::PIECE))
    }

    /// The tunable constants with their values in the file.
    pub fn tunables(&self) -> Vec<(String, u32)> {
        let source = self.source(&[], &[], &[]).unwrap_or_default();
        tune_lines(&source).filter_map(|(_, line)| parse(line)).map(|(name, value)| (name.to_owned(), value)).collect()
    }

    /// Parse and validate the file and describe its entry points.
    ///
    /// # Errors
    /// [`Error::Gpu`] with naga's text where the file is not valid.
    pub fn reflect(
        &self,
        tune: &[(&'static str, u32)],
        swap: &[(&'static str, &'static str)],
        texels: &[&'static str],
    ) -> Result<Vec<EntryPoint>> {
        let source = self.source(tune, swap, texels)?;
        let fault = |text: String| Error::Gpu { label: self.file.into(), text };
        let module = naga::front::wgsl::parse_str(&source).map_err(|e| fault(e.emit_to_string(&source)))?;
        // To unpack 16-bit floats asks for no feature; naga counts it apart.
        let mut capabilities = naga::valid::Capabilities::SHADER_FLOAT16_IN_FLOAT32;
        for (_, beyond) in BEYOND.iter().filter(|(piece, _)| swap.iter().any(|(_, to)| to == piece)) {
            capabilities |= *beyond;
        }
        let mut validator = naga::valid::Validator::new(naga::valid::ValidationFlags::all(), capabilities);
        validator.subgroup_stages(naga::valid::ShaderStages::COMPUTE);
        validator.subgroup_operations(naga::valid::SubgroupOperationSet::all());
        let info = validator.validate(&module).map_err(|e| fault(e.emit_to_string(&source)))?;
        let mut layouter = naga::proc::Layouter::default();
        layouter.update(module.to_ctx()).map_err(|e| fault(e.to_string()))?;
        let mut points = Vec::new();
        for (i, entry) in module.entry_points.iter().enumerate() {
            let used = info.get_entry_point(i);
            let mut point = EntryPoint {
                name: entry.name.clone(),
                workgroup: entry.workgroup_size,
                workgroup_bytes: 0,
                bindings: Vec::new(),
                params: Vec::new(),
                params_bytes: 0,
            };
            for (handle, global) in module.global_variables.iter() {
                if used[handle].is_empty() {
                    continue;
                }
                if global.space == naga::AddressSpace::WorkGroup {
                    point.workgroup_bytes += layouter[global.ty].size;
                }
                let Some(binding) = &global.binding else { continue };
                let (writable, texels) = match global.space {
                    naga::AddressSpace::Storage { access } => (access.contains(naga::StorageAccess::STORE), false),
                    naga::AddressSpace::Handle => (false, true),
                    _ => continue,
                };
                let name = global.name.clone().unwrap_or_default();
                if name == "params" {
                    (point.params, point.params_bytes) = fields(&module, global.ty).map_err(fault)?;
                }
                point.bindings.push(Binding { slot: binding.binding, name, writable, texels });
            }
            point.bindings.sort_by_key(|b| b.slot);
            points.push(point);
        }
        Ok(points)
    }
}

fn fields(module: &naga::Module, ty: naga::Handle<naga::Type>) -> std::result::Result<(Vec<Field>, u32), String> {
    let naga::TypeInner::Struct { members, span } = &module.types[ty].inner else { return Err("`params` is no struct".into()) };
    let fields = members.iter().map(|member| {
        let name = member.name.clone().unwrap_or_default();
        let scalar = match module.types[member.ty].inner {
            naga::TypeInner::Scalar(naga::Scalar::U32) => Scalar::U32,
            naga::TypeInner::Scalar(naga::Scalar::I32) => Scalar::I32,
            naga::TypeInner::Scalar(naga::Scalar::F32) => Scalar::F32,
            _ => return Err(format!("`params.{name}` is neither u32, i32 nor f32")),
        };
        Ok(Field { name, offset: member.offset, scalar })
    });
    Ok((fields.collect::<std::result::Result<_, _>>()?, *span))
}

/// The constants that directly follow a `// tune` heading, each with its byte offset.
fn tune_lines(source: &str) -> impl Iterator<Item = (usize, &str)> {
    let mut inside = false;
    let mut offset = 0;
    source.split_inclusive('\n').filter_map(move |line| {
        let at = offset;
        offset += line.len();
        if line.trim_start().starts_with("// tune") {
            inside = true;
            return None;
        }
        inside &= line.starts_with("const ");
        inside.then_some((at, line))
    })
}

fn parse(line: &str) -> Option<(&str, u32)> {
    let (name, rest) = line.strip_prefix("const ")?.split_once(" = ")?;
    let (value, _) = rest.split_once("u;")?;
    Some((name, value.parse().ok()?))
}

fn replace(source: &str, name: &str, value: u32) -> Option<String> {
    let (at, line) = tune_lines(source).find(|(_, line)| parse(line).is_some_and(|(n, _)| n == name))?;
    let rest = line.split_once("u;")?.1;
    Some(format!("{}const {name} = {value}u;{rest}{}", &source[..at], &source[at + line.len()..]))
}

#[cfg(test)]
mod tests {
    use super::*;

    const TEXT: &str = "// head\n\n// tune\nconst ROWS = 8u; // rows\nconst COLS = 2u;\n\nconst FIXED = 1u;\n";

    #[test]
    fn only_constants_under_the_heading_can_be_tuned() {
        let shader = Shader { file: "t.wgsl", text: TEXT };
        assert_eq!(shader.tunables(), [("ROWS".to_owned(), 8), ("COLS".to_owned(), 2)]);
        assert!(shader.source(&[("COLS", 4)], &[], &[]).unwrap().contains("const COLS = 4u;\n"));
        assert!(shader.source(&[("ROWS", 16)], &[], &[]).unwrap().contains("const ROWS = 16u; // rows\n"));
        assert!(shader.source(&[("FIXED", 4)], &[], &[]).is_err());
        assert!(shader.source(&[("OTHER", 4)], &[], &[]).is_err());
    }

    #[test]
    fn a_missing_piece_is_an_error() {
        assert!(Shader { file: "t.wgsl", text: "// needs: lib/nothing.wgsl\n" }.source(&[], &[], &[]).is_err());
    }
}
