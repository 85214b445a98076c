// needs: lib/grid.wgsl
// finite: raise a flag where a tensor holds a NaN or an infinity.
//   raise     flag |= any(x[i] has all exponent bits set)
// Shapes:   x [vectors] in vec4; flag [4], of which the first is used.
// Dispatch: 16 vec4 a lane, 64 lanes a workgroup, folded.
// Order:    none: an integer or.
// Safety:   i < vectors, the length of x.
// Source:   IEEE 754: exponent bits all one are infinity or NaN. WGSL may compile `x != x` to false.

struct Params {
    vectors: u32,
}

@group(0) @binding(0) var<storage, read> params: Params;
@group(0) @binding(1) var<storage, read> x: array<vec4<u32>>;
@group(0) @binding(2) var<storage, read_write> flag: array<atomic<u32>>;

@compute @workgroup_size(64)
fn raise(
    @builtin(workgroup_id) group: vec3<u32>,
    @builtin(num_workgroups) groups: vec3<u32>,
    @builtin(local_invocation_index) lane: u32,
) {
    let end = params.vectors;
    let start = folded(group, groups) * 1024u + lane;
    var found = vec4<bool>(false);
    for (var k = 0u; k < 16u; k++) {
        let i = start + k * 64u;
        if i < end {
            found |= (x[i] & vec4<u32>(0x7f800000u)) == vec4<u32>(0x7f800000u);
        }
    }
    if any(found) {
        atomicOr(&flag[0], 1u);
    }
}
