//! Every entry point is valid, within the portable budgets, and can be translated for every back end. Needs no GPU.

use instdisc::gpu::{Shader, library};
use naga::back::{hlsl, msl, pipeline_constants::process_overrides, spv};
use naga::valid::{Capabilities, ValidationFlags, Validator};
use std::path::Path;

/// Tile sizes besides the files' own that the ops use.
const TILES: &[(&str, &[&[(&str, u32)]])] = &[
    ("conv2d.wgsl", &[&[("ROWS", 8), ("COLS", 1)], &[("ROWS", 8), ("COLS", 2)]]),
    ("gemm.wgsl", &[&[("ROWS", 8), ("COLS", 1)], &[("ROWS", 8), ("COLS", 2)]]),
    ("nce.wgsl", &[&[("DIM4", 1), ("LANES", 32)], &[("DIM4", 128), ("LANES", 256)]]),
    ("softmax.wgsl", &[&[("DIM4", 1)], &[("DIM4", 128)]]),
];

fn shaders() -> Vec<Shader> {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("shaders");
    let mut found = Vec::new();
    for entry in std::fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        if path.extension().is_some_and(|e| e == "wgsl") {
            let file: &'static str = path.file_name().unwrap().to_str().unwrap().to_owned().leak();
            found.push(Shader { file, text: std::fs::read_to_string(&path).unwrap().leak() });
        }
    }
    found.sort_by_key(|s| s.file);
    assert!(found.len() > 15, "only {} shaders found", found.len());
    found
}

/// Source of a shader with each of its tile choices.
fn variants(shader: &Shader) -> Vec<(Vec<(&'static str, u32)>, String)> {
    let own: &[&[(&str, u32)]] = TILES.iter().find(|(file, _)| *file == shader.file).map_or(&[], |(_, tiles)| tiles);
    let choices = std::iter::once(Vec::new()).chain(own.iter().map(|t| t.to_vec()));
    choices.map(|tune| (tune.clone(), shader.source(&tune).unwrap())).collect()
}

#[test]
fn every_entry_point_is_translated_for_every_back_end() {
    let (mut entries, mut translations) = (0, 0);
    for shader in shaders() {
        for (tune, source) in variants(&shader) {
            let module = naga::front::wgsl::parse_str(&source)
                .unwrap_or_else(|e| panic!("{}: {}", shader.file, e.emit_to_string(&source)));
            let info = Validator::new(ValidationFlags::all(), Capabilities::empty()).validate(&module).unwrap();
            let switches: Vec<String> = module.overrides.iter().filter_map(|(_, o)| o.name.clone()).collect();
            for on in [0.0, 1.0] {
                let constants = switches.iter().map(|name| (name.clone(), on)).collect();
                for entry in &module.entry_points {
                    let place = format!("{}:{} {tune:?} switches {on}", shader.file, entry.name);
                    let point = Some((entry.stage, entry.name.as_str()));
                    let (module, info) =
                        process_overrides(&module, &info, point, &constants).unwrap_or_else(|e| panic!("{place}: {e}"));
                    let spirv =
                        spv::write_vec(&module, &info, &spv::Options::default(), None).unwrap_or_else(|e| panic!("{place}: {e}"));
                    assert!(spirv.len() > 20, "{place}");
                    let options = msl::Options { lang_version: (2, 4), fake_missing_bindings: true, ..Default::default() };
                    let (metal, _) = msl::write_string(&module, &info, &options, &msl::PipelineOptions::default())
                        .unwrap_or_else(|e| panic!("{place}: {e}"));
                    assert!(metal.contains("kernel void"), "{place}");
                    let options = hlsl::Options { fake_missing_bindings: true, ..Default::default() };
                    let mut text = String::new();
                    hlsl::Writer::new(&mut text, &options, &hlsl::PipelineOptions::default())
                        .write(&module, &info, None)
                        .unwrap_or_else(|e| panic!("{place}: {e}"));
                    assert!(text.contains("numthreads"), "{place}");
                    translations += 3;
                }
            }
            entries += if tune.is_empty() { module.entry_points.len() } else { 0 };
        }
    }
    println!("scorecard translation {entries} entry points, {translations} translations to SPIR-V, MSL and HLSL");
}

#[test]
fn every_entry_point_is_within_the_portable_budgets() {
    let (mut entries, mut most) = (0, [0, 0, 0]);
    for shader in shaders() {
        for (tune, _) in variants(&shader) {
            for point in shader.reflect(&tune).unwrap() {
                let place = format!("{}:{} {tune:?}", shader.file, point.name);
                let threads: u32 = point.workgroup.iter().product();
                assert!(point.bindings.len() <= 7, "{place}: {} storage buffers", point.bindings.len());
                assert!(point.workgroup_bytes <= 16_384, "{place}: {} bytes of workgroup memory", point.workgroup_bytes);
                assert!(threads <= 256 && point.workgroup[2] <= 64, "{place}: {:?} invocations", point.workgroup);
                let params = point.bindings.iter().find(|b| b.name == "params");
                assert!(params.is_none_or(|b| b.slot == 0 && !b.writable), "{place}: params belong to binding 0, read only");
                let used = [point.bindings.len() as u32, point.workgroup_bytes, threads];
                most = std::array::from_fn(|i| most[i].max(used[i]));
                entries += 1;
            }
        }
    }
    println!(
        "scorecard R20 {entries} entry points and variants: at most {} storage buffers, {} bytes of workgroup memory, {} invocations",
        most[0], most[1], most[2]
    );
}

#[test]
fn every_file_has_its_head_and_needs_what_exists() {
    for shader in shaders() {
        for need in shader.needs() {
            assert!(library().iter().any(|(name, _)| *name == need), "{} needs {need}", shader.file);
        }
        let name = shader.file.trim_end_matches(".wgsl");
        assert!(shader.text.contains(&format!("// {name}: ")), "{}: the head names the file", shader.file);
        for line in ["// Shapes: ", "// Dispatch: ", "// Order: ", "// Safety: ", "// Source: "] {
            assert!(shader.text.contains(line), "{}: no `{line}` line", shader.file);
        }
    }
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("shaders/lib");
    let mut files: Vec<String> =
        std::fs::read_dir(folder).unwrap().map(|e| format!("lib/{}", e.unwrap().file_name().to_str().unwrap())).collect();
    files.sort();
    assert_eq!(files, library().iter().map(|(name, _)| (*name).to_owned()).collect::<Vec<_>>());
}
