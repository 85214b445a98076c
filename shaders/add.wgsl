// needs: lib/grid.wgsl lib/floats.wgsl
// add: the sum of two tensors of one shape.
//   forward   y = a + b
//   backward  da = dy, db = dy   (added under ACCUMULATE)
// Shapes:   all [words], four at a time.
// Dispatch: one workgroup for 256 words, folded.
// Order:    none.
// Safety:   i < words / 4, the length of every buffer in vec4.
// Source:   elementwise.

struct Params {
    words: u32,
}

override ACCUMULATE: bool = false;

@group(0) @binding(0) var<storage, read> params: Params;
@group(0) @binding(1) var<storage, read> a: array<Floats>;
@group(0) @binding(2) var<storage, read> b: array<Floats>;
@group(0) @binding(3) var<storage, read_write> y: array<vec4<f32>>;
@group(0) @binding(4) var<storage, read> dy: array<Floats>;
@group(0) @binding(5) var<storage, read_write> dx: array<vec4<f32>>;

@compute @workgroup_size(64)
fn forward(
    @builtin(workgroup_id) group: vec3<u32>,
    @builtin(num_workgroups) groups: vec3<u32>,
    @builtin(local_invocation_index) lane: u32,
) {
    let i = folded(group, groups) * 64u + lane;
    if i >= params.words / 4u {
        return;
    }
    y[i] = floats(a[i]) + floats(b[i]);
}

@compute @workgroup_size(64)
fn backward(
    @builtin(workgroup_id) group: vec3<u32>,
    @builtin(num_workgroups) groups: vec3<u32>,
    @builtin(local_invocation_index) lane: u32,
) {
    let i = folded(group, groups) * 64u + lane;
    if i >= params.words / 4u {
        return;
    }
    var d = floats(dy[i]);
    if ACCUMULATE {
        d += dx[i];
    }
    dx[i] = d;
}
