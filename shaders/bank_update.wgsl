// needs: lib/grid.wgsl
// bank_update: every sample's row moves towards its new embedding and is scaled back to unit length.
//   update    bank[own[b]] = r / |r|   with r = keep bank[own[b]] + (1 - keep) f[b]; nothing while flag is up
// Shapes:   bank [n, dim4] and f [b, dim4] in vec4; own [b].
// Dispatch: a lane a sample, 64 a workgroup, folded.
// Order:    where a row occurs twice, the first sample's lane applies all of them in the order of the batch. The host splits
//           a large batch in dispatches of samples first .. first + batch, in order, to bound a lane's rounds.
// Safety:   own rows are clamped to n - 1; no two lanes write one row.
// Source:   Wu et al. 2018, section 3.1, with the released code's moving average (bank_keep weighs the OLD row).

struct Params {
    first: u32,
    batch: u32,
    n: u32,
    dim4: u32,
    keep: f32,
}

@group(0) @binding(0) var<storage, read> params: Params;
@group(0) @binding(1) var<storage, read> f: array<vec4<f32>>;
@group(0) @binding(2) var<storage, read> own: array<u32>;
@group(0) @binding(3) var<storage, read> flag: array<u32>;
@group(0) @binding(4) var<storage, read_write> bank: array<vec4<f32>>;

fn row_of(b: u32) -> u32 {
    return min(own[b], params.n - 1u);
}

@compute @workgroup_size(64)
fn update(
    @builtin(workgroup_id) group: vec3<u32>,
    @builtin(num_workgroups) groups: vec3<u32>,
    @builtin(local_invocation_index) lane: u32,
) {
    let end = params.first + params.batch;
    let first = params.first + folded(group, groups) * 64u + lane;
    if first >= end || flag[0] != 0u {
        return;
    }
    let row = row_of(first);
    for (var b = params.first; b < first; b++) {
        if row_of(b) == row {
            return;
        }
    }
    for (var b = first; b < end; b++) {
        if row_of(b) != row {
            continue;
        }
        var squares = vec4<f32>(0.0);
        for (var d = 0u; d < params.dim4; d++) {
            let r = mix(f[b * params.dim4 + d], bank[row * params.dim4 + d], params.keep);
            squares += r * r;
        }
        let length = max(sqrt(squares.x + squares.y + squares.z + squares.w), 1e-12);
        for (var d = 0u; d < params.dim4; d++) {
            let r = mix(f[b * params.dim4 + d], bank[row * params.dim4 + d], params.keep);
            bank[row * params.dim4 + d] = r / length;
        }
    }
}
