// needs: lib/grid.wgsl lib/bank_words.wgsl
// prox: the squared distance of every embedding from its row in the bank.
//   forward   loss[b] = sum_d (f[b,d] - bank[own[b],d])^2
//   backward  df[b,d] = 2 dl[b] (f[b,d] - bank[own[b],d])   (added under ACCUMULATE)
// Shapes:   f, df [b, dim4] in vec4; bank [rows, dim4]: rows shard .. end; own [b]; loss, dl [b] padded.
// Dispatch: forward: a lane a sample, samples padded to 4; backward: a lane a vec4. 64 a workgroup, folded. Once a shard:
//           samples whose row lies in another are left to that one.
// Order:    columns rising, four sums apart, then x + y + z + w.
// Safety:   own rows are clamped to n - 1, and read only where shard <= row < end.
// Source:   the proximal term of Wu et al. 2018, equation 9.

struct Params {
    batch: u32,
    n: u32,
    dim4: u32,
    shard: u32,
    end: u32,
}

override ACCUMULATE: bool = false;

@group(0) @binding(0) var<storage, read> params: Params;
@group(0) @binding(1) var<storage, read> f: array<vec4<f32>>;
@group(0) @binding(2) var<storage, read> bank: array<u32>;
@group(0) @binding(3) var<storage, read> own: array<u32>;
@group(0) @binding(4) var<storage, read_write> loss: array<f32>;
@group(0) @binding(5) var<storage, read> dl: array<f32>;
@group(0) @binding(6) var<storage, read_write> df: array<vec4<f32>>;

@compute @workgroup_size(64)
fn forward(
    @builtin(workgroup_id) group: vec3<u32>,
    @builtin(num_workgroups) groups: vec3<u32>,
    @builtin(local_invocation_index) lane: u32,
) {
    let b = folded(group, groups) * 64u + lane;
    if b >= params.batch {
        if params.shard == 0u && b < (params.batch + 3u) / 4u * 4u {
            loss[b] = 0.0;
        }
        return;
    }
    let row = min(own[b], params.n - 1u);
    if row < params.shard || row >= params.end {
        return;
    }
    var sum = vec4<f32>(0.0);
    for (var d = 0u; d < params.dim4; d++) {
        let gap = f[b * params.dim4 + d] - bank_at((row - params.shard) * params.dim4 + d);
        sum += gap * gap;
    }
    loss[b] = sum.x + sum.y + sum.z + sum.w;
}

@compute @workgroup_size(64)
fn backward(
    @builtin(workgroup_id) group: vec3<u32>,
    @builtin(num_workgroups) groups: vec3<u32>,
    @builtin(local_invocation_index) lane: u32,
) {
    let i = folded(group, groups) * 64u + lane;
    let b = i / params.dim4;
    if b >= params.batch {
        return;
    }
    let row = min(own[b], params.n - 1u);
    if row < params.shard || row >= params.end {
        return;
    }
    var d = 2.0 * dl[b] * (f[i] - bank_at((row - params.shard) * params.dim4 + i % params.dim4));
    if ACCUMULATE {
        d += df[i];
    }
    df[i] = d;
}
