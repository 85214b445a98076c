// needs: lib/grid.wgsl
// prox: the squared distance of every embedding from its row in the bank.
//   forward   loss[b] = sum_d (f[b,d] - bank[own[b],d])^2
//   backward  df[b,d] = 2 dl[b] (f[b,d] - bank[own[b],d])   (added under ACCUMULATE)
// Shapes:   f, df [b, dim4] in vec4; bank [n, dim4]; own [b]; loss, dl [b] padded.
// Dispatch: forward: a lane a sample, samples padded to 4; backward: a lane a vec4. 64 a workgroup, folded.
// Order:    columns rising, four sums apart, then x + y + z + w.
// Safety:   own rows are clamped to n - 1.
// Source:   the proximal term of Wu et al. 2018, equation 9.

struct Params {
    batch: u32,
    n: u32,
    dim4: u32,
}

override ACCUMULATE: bool = false;

@group(0) @binding(0) var<storage, read> params: Params;
@group(0) @binding(1) var<storage, read> f: array<vec4<f32>>;
@group(0) @binding(2) var<storage, read> bank: array<vec4<f32>>;
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
        if b < (params.batch + 3u) / 4u * 4u {
            loss[b] = 0.0;
        }
        return;
    }
    let row = min(own[b], params.n - 1u);
    var sum = vec4<f32>(0.0);
    for (var d = 0u; d < params.dim4; d++) {
        let gap = f[b * params.dim4 + d] - bank[row * params.dim4 + d];
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
    var d = 2.0 * dl[b] * (f[i] - bank[row * params.dim4 + i % params.dim4]);
    if ACCUMULATE {
        d += df[i];
    }
    df[i] = d;
}
