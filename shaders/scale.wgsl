// needs: lib/grid.wgsl
// scale: a tensor times a number.
//   scale     y = by x   (added to y under ACCUMULATE); its own gradient
// Shapes:   x, y [words], four at a time.
// Dispatch: one workgroup for 256 words, folded.
// Order:    none.
// Safety:   i < words / 4, the length of both in vec4.
// Source:   elementwise; the weight of the proximal term of Wu et al. 2018, equation 9.

struct Params {
    words: u32,
    by: f32,
}

override ACCUMULATE: bool = false;

@group(0) @binding(0) var<storage, read> params: Params;
@group(0) @binding(1) var<storage, read> x: array<vec4<f32>>;
@group(0) @binding(2) var<storage, read_write> y: array<vec4<f32>>;

@compute @workgroup_size(64)
fn scale(
    @builtin(workgroup_id) group: vec3<u32>,
    @builtin(num_workgroups) groups: vec3<u32>,
    @builtin(local_invocation_index) lane: u32,
) {
    let i = folded(group, groups) * 64u + lane;
    if i >= params.words / 4u {
        return;
    }
    var v = x[i] * params.by;
    if ACCUMULATE {
        v += y[i];
    }
    y[i] = v;
}
