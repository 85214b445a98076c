//! Every entry point of every shader, with the tunables of the file and those that the ops use, with each switch on and
//! off, is valid for naga and can be said in SPIR-V, MSL and HLSL. No device is needed.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "a test may")]
#![allow(clippy::print_stdout, reason = "scorecard lines are printed by design")]

use instdisc::gpu::{PEAK_SHADER, Shader};
use instdisc::ops::{OPS, Tiled};
use naga::back::{hlsl, msl, pipeline_constants, spv};
use naga::valid::{Capabilities, ValidationFlags, Validator};

type Tune = Vec<(&'static str, u32)>;
type Swap = Vec<(&'static str, &'static str)>;

/// The bank in 16 bits.
const HALF: &[(&str, &str)] = &[("lib/bank_f32.wgsl", "lib/bank_f16.wgsl")];

/// Every shader: those of the ops, and the one that measures the adapter.
fn shaders() -> impl Iterator<Item = &'static Shader> {
    OPS.iter().flat_map(|op| op.shaders).copied().chain([&PEAK_SHADER])
}

/// The tunables that ops set, beside those of the file, with the pieces that they swap.
fn tunes(file: &str) -> Vec<(Tune, Swap)> {
    let mut all = vec![(Vec::new(), Vec::new())];
    match file {
        "conv2d.wgsl" | "gemm.wgsl" => {
            all.extend([1, 2, 4].map(|cols| (vec![("ROWS", 8), ("COLS", cols)], Vec::new())));
            for (rows, cols, across, down) in
                [(32, 1, 8, 1), (32, 2, 8, 1), (16, 1, 4, 1), (8, 1, 1, 8), (16, 4, 1, 8), (8, 2, 1, 4)]
            {
                let tune = vec![("ROWS", rows), ("COLS", cols), ("LANES", across * down), ("ACROSS", across), ("DOWN", down)];
                all.push((tune, vec![("lib/apart.wgsl", "lib/together.wgsl")]));
            }
        }
        "conv2d_tiled.wgsl" | "gemm_tiled.wgsl" => {
            let names = ["TILE_M", "TILE_N", "TILE_K", "ROWS", "COLS"];
            let sizes = Tiled::TABLE.map(|tile| [tile.m, tile.n, tile.k, tile.rows, tile.cols]);
            all.extend(sizes.map(|sizes| (names.into_iter().zip(sizes).collect(), Vec::new())));
        }
        "depthwise.wgsl" => {
            let sizes = [(4, 8, 3, 1), (2, 8, 3, 2), (4, 4, 5, 1), (2, 4, 5, 2)];
            all.extend(sizes.map(|(high, wide, side, stride)| {
                let tune = vec![("HIGH", high), ("WIDE", wide), ("KH", side), ("KW", side), ("STRIDE", stride), ("LANES", 64)];
                (tune, Vec::new())
            }));
        }
        "window.wgsl" => {
            for (rows, cols, down, kw, stride) in [(16, 2, 8, 3, 1), (8, 2, 8, 3, 2), (4, 4, 8, 2, 1), (8, 1, 1, 2, 2)] {
                let tune = vec![("ROWS", rows), ("COLS", cols), ("LANES", 8), ("DOWN", down), ("KW", kw), ("STRIDE", stride)];
                let few = [tune.clone(), vec![("CHANNELS", 3)]].concat();
                let swap = if down > 1 { vec![("lib/apart.wgsl", "lib/together.wgsl")] } else { Vec::new() };
                all.extend([(tune, swap.clone()), (few, swap)]);
            }
        }
        "line_buffer.wgsl" => {
            for (rows, cols, side, stride, pad, fours) in
                [(4, 2, 3, 1, 1, 1), (2, 2, 3, 2, 1, 2), (2, 1, 2, 1, 0, 2), (4, 1, 2, 2, 0, 1), (4, 2, 3, 2, 0, 4)]
            {
                let tile = vec![("ROWS", rows), ("COLS", cols), ("LANES", 8)];
                let window = vec![("KH", side), ("KW", side), ("STRIDE", stride), ("PAD", pad), ("FOURS_IN", fours)];
                all.push(([tile, window].concat(), Vec::new()));
            }
        }
        "winograd.wgsl" => all.extend([2, 4].map(|outputs| (vec![("OUTPUTS", outputs)], Vec::new()))),
        "batch_norm.wgsl" => all.push((vec![("LANES", 8)], Vec::new())),
        "conv2d_scalar.wgsl" => all.push((vec![("LANES", 64)], Vec::new())),
        "softmax.wgsl" => {
            let sizes = [(1, 1), (2, 2), (32, 4), (33, 8), (128, 8)].map(|(dim, s)| vec![("DIM4", dim), ("SAMPLES", s)]);
            all.extend(sizes.into_iter().flat_map(|size| [Vec::new(), HALF.to_vec()].map(|swap| (size.clone(), swap))));
        }
        "softmax_tiled.wgsl" => {
            let sizes = [(1, 1, 8), (8, 1, 8), (9, 2, 8), (32, 4, 8), (64, 8, 8), (65, 16, 4), (128, 16, 4)];
            let of = sizes.map(|(dim, team, block)| vec![("DIM4", dim), ("TEAM", team), ("BLOCK", block)]);
            all.extend(of.into_iter().flat_map(|size| [Vec::new(), HALF.to_vec()].map(|swap| (size.clone(), swap))));
        }
        "top_k.wgsl" => {
            for half in [Vec::new(), HALF.to_vec()] {
                all.extend([8, 64].map(|lanes| (vec![("LANES", lanes)], half.clone())));
                let together = [vec![("lib/apart.wgsl", "lib/together.wgsl")], half].concat();
                all.extend([4, 8].map(|down| (vec![("LANES", down), ("DOWN", down)], together.clone())));
            }
        }
        "nce.wgsl" | "nce_tiled.wgsl" => {
            let lanes = [(1, 32), (2, 64), (32, 32), (32, 256), (128, 128)].map(|(d, l)| vec![("DIM4", d), ("LANES", l)]);
            let teams = [(1, 8), (2, 8), (32, 32), (33, 64), (128, 128)].map(|(d, team)| vec![("DIM4", d), ("TEAM", team)]);
            let given = vec![("lib/noise_drawn.wgsl", "lib/noise_given.wgsl")];
            let swaps = [Vec::new(), given.clone(), HALF.to_vec(), [given, HALF.to_vec()].concat()];
            let sizes = if file == "nce.wgsl" { lanes } else { teams };
            all.extend(sizes.into_iter().flat_map(|size| swaps.clone().map(|swap| (size.clone(), swap))));
        }
        _ => {}
    }
    if matches!(file, "conv2d.wgsl" | "conv2d_tiled.wgsl" | "gemm.wgsl" | "gemm_tiled.wgsl" | "window.wgsl" | "winograd.wgsl") {
        let pieces = ["lib/moments.wgsl", "lib/slopes.wgsl", "lib/affine.wgsl"];
        all.extend(pieces.map(|piece| (Vec::new(), vec![("lib/plain.wgsl", piece)])));
    }
    // On software adapters every kernel that needs floats reads pairs; those for GPUs are candidates there too.
    let reads = |shader: &Shader| shader.needs().contains(&"lib/floats.wgsl");
    if shaders().any(|shader| shader.file() == file && reads(shader)) {
        let pairs = |(tune, swap): &(Tune, Swap)| {
            let swap = [swap.clone(), vec![("lib/floats.wgsl", "lib/floats_in_pairs.wgsl")]].concat();
            (tune.clone(), swap)
        };
        all.extend(all.iter().map(pairs).collect::<Vec<_>>());
    }
    all
}

/// Whether an op takes the pieces of `swap` into `entry`: slopes are of gradients, which products of the form nn are not.
fn takes(entry: &str, swap: &Swap) -> bool {
    entry != "nn" || swap.iter().all(|(_, to)| *to != "lib/slopes.wgsl")
}

/// Every way to set the switches of `module`.
fn switches(module: &naga::Module) -> Vec<naga::back::PipelineConstants> {
    let names: Vec<String> = module.overrides.iter().filter_map(|(_, o)| o.name.clone()).collect();
    (0..1u32 << names.len())
        .map(|set| {
            let on = |i: usize| f64::from(u8::from(set >> i & 1 == 1));
            names.iter().enumerate().map(|(i, name)| (name.clone(), on(i))).collect()
        })
        .collect()
}

/// Translate one entry point to all three languages.
fn translate(module: &naga::Module, entry: &str, constants: &naga::back::PipelineConstants, swap: &Swap) -> Result<(), String> {
    // To unpack 16-bit floats asks for no feature; naga counts it apart.
    let mut capabilities = Capabilities::SHADER_FLOAT16_IN_FLOAT32;
    let takes = |piece: &str| swap.iter().any(|(_, to)| *to == piece);
    let (subgroups, pairs) = (takes("lib/together.wgsl"), takes("lib/floats_in_pairs.wgsl"));
    capabilities.set(Capabilities::SUBGROUP, subgroups);
    capabilities.set(Capabilities::SHADER_INT64, pairs);
    let mut validator = Validator::new(ValidationFlags::all(), capabilities);
    validator.subgroup_stages(naga::valid::ShaderStages::COMPUTE);
    validator.subgroup_operations(naga::valid::SubgroupOperationSet::all());
    let info = validator.validate(module).map_err(|e| format!("{e:?}"))?;
    let stage = naga::ShaderStage::Compute;
    let (module, info) = pipeline_constants::process_overrides(module, &info, Some((stage, entry)), constants)
        .map_err(|e| format!("overrides: {e}"))?;

    let options = spv::Options { lang_version: (1, 3), ..Default::default() };
    let pipeline = spv::PipelineOptions { shader_stage: stage, entry_point: entry.into() };
    let words = spv::write_vec(&module, &info, &options, Some(&pipeline)).map_err(|e| format!("SPIR-V: {e}"))?;
    assert_eq!(words[0], 0x0723_0203, "the number that SPIR-V begins with");
    // Tensors are read as textures on Vulkan alone.
    if module.global_variables.iter().any(|(_, global)| global.space == naga::AddressSpace::Handle) {
        return Ok(());
    }

    // 64-bit numbers came to Metal with 2.3, and to HLSL, as subgroups did, with 6.0.
    let lang_version = if pairs { (2, 3) } else { (2, 0) };
    let options = msl::Options { lang_version, fake_missing_bindings: true, ..Default::default() };
    let pipeline = msl::PipelineOptions { entry_point: Some((stage, entry.into())), ..Default::default() };
    let (text, _) = msl::write_string(&module, &info, &options, &pipeline).map_err(|e| format!("MSL: {e}"))?;
    assert!(text.contains("kernel void"), "{text}");

    let shader_model = if subgroups || pairs { hlsl::ShaderModel::V6_0 } else { hlsl::ShaderModel::V5_1 };
    let options = hlsl::Options { shader_model, fake_missing_bindings: true, ..Default::default() };
    let pipeline = hlsl::PipelineOptions { entry_point: Some((stage, entry.into())) };
    let mut text = String::new();
    hlsl::Writer::new(&mut text, &options, &pipeline).write(&module, &info, None).map_err(|e| format!("HLSL: {e}"))?;
    assert!(text.contains("numthreads"), "{text}");
    Ok(())
}

#[test]
fn every_entry_point_is_valid_and_can_be_said_in_three_languages() {
    let (mut points, mut variants, mut failed) = (0, 0, Vec::new());
    for shader in shaders() {
        for (tune, swap) in tunes(shader.file()) {
            let source = shader.source(&tune, &swap, &[]).unwrap();
            let module = naga::front::wgsl::parse_str(&source).unwrap_or_else(|e| panic!("{}", e.emit_to_string(&source)));
            points += if tune.is_empty() { module.entry_points.len() } else { 0 };
            for constants in switches(&module) {
                for entry in module.entry_points.iter().filter(|entry| takes(&entry.name, &swap)) {
                    variants += 1;
                    if let Err(text) = translate(&module, &entry.name, &constants, &swap) {
                        failed.push(format!("{}:{} {tune:?} {constants:?}: {text}", shader.file(), entry.name));
                    }
                }
            }
        }
    }
    println!("scorecard A11 {points} entry points, {variants} variants, in SPIR-V, MSL and HLSL: {} failed", failed.len());
    assert!(failed.is_empty(), "{}", failed.join("\n"));
}

/// A read that is written otherwise than `floats(x[i])` would be left behind, and refused here.
#[test]
fn every_tensor_of_floats_can_be_read_as_a_texture() {
    let (mut read, mut kernels) = (0, 0);
    for shader in shaders().filter(|shader| shader.needs().contains(&"lib/floats.wgsl")) {
        for (tune, swap) in tunes(shader.file()) {
            let source = shader.source(&tune, &swap, &[]).unwrap().leak();
            let declared = |line: &'static str| line.split_once("var<storage, read> ")?.1.strip_suffix(": array<Floats>;");
            let names: Vec<&'static str> = source.lines().filter_map(declared).collect();
            read = read.max(names.len());
            let source = shader.source(&tune, &swap, &names).unwrap();
            let module = naga::front::wgsl::parse_str(&source).unwrap_or_else(|e| panic!("{}", e.emit_to_string(&source)));
            for entry in module.entry_points.iter().filter(|entry| takes(&entry.name, &swap)) {
                translate(&module, &entry.name, &Default::default(), &swap)
                    .unwrap_or_else(|text| panic!("{}:{} {tune:?} {swap:?}: {text}", shader.file(), entry.name));
                kernels += 1;
            }
        }
    }
    println!("scorecard texels {kernels} kernels read all their tensors of floats as textures, up to {read} in a file");
}

/// naga takes some things that the specification does not, as `a < b & c` without parentheses. 64-bit numbers are an extension
/// of naga's, so what reads pairs is left out. `INSTDISC_WGSL=FOLDER` writes every source there, for compilers beside these.
#[test]
fn every_source_is_wgsl_by_the_letter_of_the_specification() {
    let folder = std::env::var_os("INSTDISC_WGSL").map(std::path::PathBuf::from);
    let (mut sources, mut failed) = (0, Vec::new());
    for shader in shaders() {
        for (tune, swap) in tunes(shader.file()) {
            if swap.iter().any(|(_, to)| *to == "lib/floats_in_pairs.wgsl") {
                continue;
            }
            let source = shader.source(&tune, &swap, &[]).unwrap();
            if let Some(folder) = &folder {
                std::fs::write(folder.join(format!("{sources:04}-{}", shader.file())), &source).unwrap();
            }
            sources += 1;
            if let Err(error) = source.parse::<wgsl_parse::syntax::TranslationUnit>() {
                failed.push(format!("{} {tune:?}: {error}", shader.file()));
            }
        }
    }
    println!("scorecard WGSL {sources} sources read by a second parser, by the letter of the grammar: {} refused", failed.len());
    assert!(failed.is_empty(), "{}", failed.join("\n"));
    let loose = "fn f(a: u32, b: u32, c: bool) -> bool { return a < b & c; }";
    assert!(loose.parse::<wgsl_parse::syntax::TranslationUnit>().is_err(), "the parser takes what the grammar does not");
}

#[test]
fn layouts_and_budgets_hold_for_every_entry_point() {
    let (mut points, mut most) = (0, [0; 3]);
    for shader in shaders() {
        for (tune, swap) in tunes(shader.file()) {
            for point in shader.reflect(&tune, &swap, &[]).unwrap().into_iter().filter(|point| takes(&point.name, &swap)) {
                let name = format!("{}:{} {tune:?}", shader.file(), point.name);
                points += 1;
                let invocations: u32 = point.workgroup.iter().product();
                let buffers = point.bindings.len() as u32;
                assert!(buffers <= 7, "{name} binds {buffers} storage buffers");
                assert!(point.workgroup_bytes <= 16_384, "{name} uses {} bytes of workgroup memory", point.workgroup_bytes);
                assert!(invocations <= 256, "{name} has {invocations} invocations");
                assert!(point.workgroup[0] <= 256 && point.workgroup[1] <= 256 && point.workgroup[2] <= 64, "{name}");
                most = [most[0].max(buffers), most[1].max(point.workgroup_bytes), most[2].max(invocations)];
                let slots: Vec<u32> = point.bindings.iter().map(|b| b.slot).collect();
                assert!(slots.windows(2).all(|pair| pair[0] < pair[1]), "{name}: {slots:?}");
                assert!(point.bindings.iter().any(|b| b.writable), "{name} writes nothing");
                if let Some(params) = point.bindings.iter().find(|b| b.name == "params") {
                    assert!(params.slot == 0 && !params.writable, "{name}: params");
                    // Scalars of four bytes side by side, as the host packs them.
                    let offsets: Vec<u32> = point.params.iter().map(|f| f.offset).collect();
                    let expected: Vec<u32> = (0..offsets.len() as u32).map(|i| 4 * i).collect();
                    assert_eq!(offsets, expected, "{name}");
                    assert_eq!(point.params_bytes, 4 * offsets.len() as u32, "{name}");
                }
            }
        }
    }
    println!(
        "scorecard R20 {points} entry points and variants: at most {} storage bindings, {} workgroup bytes, {} invocations",
        most[0], most[1], most[2]
    );
    assert!(points > 0);
}

/// What must stand in the head of every file, in this order.
const HEAD: [&str; 5] = ["// Shapes:   ", "// Dispatch: ", "// Order:    ", "// Safety:   ", "// Source:   "];

fn head_fault(shader: &Shader) -> Option<String> {
    let name = shader.file().trim_end_matches(".wgsl");
    let mut lines = shader.text().lines().skip(usize::from(!shader.needs().is_empty()));
    if !lines.next().is_some_and(|line| line.starts_with(&format!("// {name}: "))) {
        return Some(format!("does not begin with `// {name}: `"));
    }
    let head: Vec<&str> = lines.take_while(|line| line.starts_with("//")).collect();
    let places: Vec<Option<usize>> = HEAD.iter().map(|key| head.iter().position(|line| line.starts_with(key))).collect();
    if let Some(missing) = places.iter().position(Option::is_none) {
        return Some(format!("has no `{}` in its head", HEAD[missing].trim()));
    }
    if !places.is_sorted() {
        return Some("has its head in another order".into());
    }
    let Ok(points) = shader.reflect(&[], &[], &[]) else { return Some("is not valid".into()) };
    let says = |name: &str| head.iter().any(|l| l.split(|c: char| !c.is_alphanumeric() && c != '_').any(|w| w == name));
    let without = points.iter().find(|p| !says(&p.name));
    without.map(|p| format!("says nothing of `{}`", p.name))
}

#[test]
fn every_head_is_complete() {
    for shader in shaders() {
        assert_eq!(head_fault(shader), None, "{}", shader.file());
    }
    println!("scorecard heads {} shaders", shaders().count());
}
