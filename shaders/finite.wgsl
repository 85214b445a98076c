// needs: lib/grid.wgsl
// finite: raise a flag where a tensor holds a NaN or an infinity.
//   raise     flag |= any(x[i] has all exponent bits set)
// Shapes:   x [words]; flag [4], of which the first is used.
// Dispatch: one workgroup for 4,096 words, folded.
// Order:    none: an integer or.
// Safety:   i < words, the length of x.
// Source:   IEEE 754: exponent bits all one are infinity or NaN. WGSL may compile `x != x` to false.

struct Params {
    words: u32,
}

@group(0) @binding(0) var<storage, read> params: Params;
@group(0) @binding(1) var<storage, read> x: array<u32>;
@group(0) @binding(2) var<storage, read_write> flag: array<atomic<u32>>;

@compute @workgroup_size(64)
fn raise(
    @builtin(workgroup_id) group: vec3<u32>,
    @builtin(num_workgroups) groups: vec3<u32>,
    @builtin(local_invocation_index) lane: u32,
) {
    let start = folded(group, groups) * 4096u + lane;
    var found = false;
    for (var k = 0u; k < 64u; k++) {
        let i = start + k * 64u;
        if i < params.words {
            found |= (x[i] & 0x7f800000u) == 0x7f800000u;
        }
    }
    if found {
        atomicOr(&flag[0], 1u);
    }
}
