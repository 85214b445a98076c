// needs: lib/grid.wgsl lib/floats.wgsl
// finite: raise a flag where a tensor holds a NaN or an infinity.
//   raise     flag |= any(x[i] has all exponent bits set)
// Shapes:   x [vectors] in vec4; flag [4], of which the first is used.
// Dispatch: two vec4 a lane, 256 lanes a workgroup, folded.
// Order:    none: an integer or.
// Safety:   places are clamped to the last vec4; vectors > 0.
// Source:   IEEE 754: exponent bits all one are infinity or NaN. WGSL may compile `x != x` to false.

struct Params {
    vectors: u32,
}

@group(0) @binding(0) var<storage, read> params: Params;
@group(0) @binding(1) var<storage, read> x: array<Floats>;
@group(0) @binding(2) var<storage, read_write> flag: array<atomic<u32>>;

const EACH = 2u;

@compute @workgroup_size(256)
fn raise(
    @builtin(workgroup_id) group: vec3<u32>,
    @builtin(num_workgroups) groups: vec3<u32>,
    @builtin(local_invocation_index) lane: u32,
) {
    let vectors = params.vectors;
    let start = folded(group, groups) * (256u * EACH) + lane;
    // Written out, and without a condition: in a loop llvmpipe loads lane by lane. Beyond the end is the last vec4 again.
    let a = bitcast<vec4<u32>>(floats(x[min(start, vectors - 1u)]));
    let b = bitcast<vec4<u32>>(floats(x[min(start + 256u, vectors - 1u)]));
    if any(full(a) | full(b)) {
        atomicOr(&flag[0], 1u);
    }
}

// Where all bits of the exponent are set.
fn full(v: vec4<u32>) -> vec4<bool> {
    return (v & vec4<u32>(0x7f800000u)) == vec4<u32>(0x7f800000u);
}
