// needs: lib/grid.wgsl lib/floats.wgsl
// relu: negative numbers become zero; NaN stays NaN.
//   forward   y = x where x > 0 or x is NaN, else 0
//   backward  dx = dy where y is not 0, else 0   (added to dx under ACCUMULATE)
// Shapes:   all [words], four at a time; padding is zero and stays zero.
// Dispatch: one workgroup for 256 words, folded.
// Order:    none.
// Safety:   i < words / 4, the length of every buffer in vec4.
// Source:   elementwise; tested on bits since max(NaN, 0) may be 0.

struct Params {
    words: u32,
}

override ACCUMULATE: bool = false;

@group(0) @binding(0) var<storage, read> params: Params;
@group(0) @binding(1) var<storage, read> x: array<Floats>;
@group(0) @binding(2) var<storage, read_write> y_out: array<vec4<f32>>;
@group(0) @binding(3) var<storage, read> y: array<Floats>;
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
    // As integers, what is to become zero lies from 0x80000000 (-0) to 0xff800000 (-infinity); above it is NaN.
    let bits = bitcast<vec4<u32>>(floats(x[i]));
    let negative = (bits >= vec4<u32>(0x80000000u)) & (bits <= vec4<u32>(0xff800000u));
    y_out[i] = bitcast<vec4<f32>>(select(bits, vec4<u32>(0u), negative));
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
    var d = select(floats(dy[i]), vec4<f32>(0.0), bitcast<vec4<u32>>(floats(y[i])) == vec4<u32>(0u));
    if ACCUMULATE {
        d += dx[i];
    }
    dx[i] = d;
}
