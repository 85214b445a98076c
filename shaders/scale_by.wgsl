// needs: lib/grid.wgsl
// scale_by: a tensor times a number that the device holds; the backward rule of the losses.
//   scale     y[i] = s[0] x[i]   (added to y under ACCUMULATE)
// Shapes:   x, y [vectors] in vec4; s [1] padded to 4.
// Dispatch: one workgroup for 64 vec4, folded.
// Order:    none.
// Safety:   i < vectors, the length of x and y in vec4.
// Source:   the chain rule: a loss keeps its gradient for an upstream of 1.

struct Params {
    vectors: u32,
}

override ACCUMULATE: bool = false;

@group(0) @binding(0) var<storage, read> params: Params;
@group(0) @binding(1) var<storage, read> x: array<vec4<f32>>;
@group(0) @binding(2) var<storage, read> s: array<f32>;
@group(0) @binding(3) var<storage, read_write> y: array<vec4<f32>>;

@compute @workgroup_size(64)
fn scale(
    @builtin(workgroup_id) group: vec3<u32>,
    @builtin(num_workgroups) groups: vec3<u32>,
    @builtin(local_invocation_index) lane: u32,
) {
    let i = folded(group, groups) * 64u + lane;
    if i >= params.vectors {
        return;
    }
    var v = x[i] * s[0];
    if ACCUMULATE {
        v += y[i];
    }
    y[i] = v;
}
