// needs: lib/grid.wgsl
// batch_norm: every channel to mean 0 and variance 1, then scaled and shifted.
//   partial         mean and sum of squared deviations of a chunk of rows
//   merge           mean[c], inv[c] = 1 / sqrt(var[c] + eps), var[c] (biased) of all rows; all 0 where c >= channels
//   frozen          the same three from the running statistics (evaluation)
//   apply           y = (x - mean) inv gamma + beta
//   running         running = (1 - momentum) running + momentum batch, the variance unbiased; nothing while flag is up
//   backward_partial  of a chunk of rows: sum dy, sum dy xhat,   with xhat = (x - mean) inv
//   backward_merge  dbeta = sum dy, dgamma = sum dy xhat (each added under its ACCUMULATE_); sums[2, c]
//   backward_apply  dx = gamma inv (dy - sums[0] / rows - xhat sums[1] / rows)   (added under ACCUMULATE); with
//                   FROZEN statistics dx = gamma inv dy
// Shapes:   x, y, dy, dx [rows, c4] in vec4 of channels; stats [3, c4]: mean, inv, var; gamma, beta, … [c4];
//           parts [chunks, 2, c4].
// Dispatch: partial, backward_partial: one lane for a chunk of rows of a vec4; merge, frozen, running, backward_merge: one
//           lane a vec4; apply, backward_apply: one lane a vec4 of a row. 64 lanes a workgroup, folded.
// Order:    rows of a chunk rising, shifted by the chunk's first row; chunks rising, by Chan's formula.
// Safety:   c < c4 and row < rows by construction; chunk < chunks is compared first.
// Source:   Ioffe and Szegedy 2015, algorithm 1; Chan, Golub and LeVeque 1979 for the merge.

struct Params {
    rows: u32,
    channels: u32,
    c4: u32,
    chunks: u32,
    chunk_rows: u32,
    eps: f32,
    momentum: f32,
}

override ACCUMULATE: bool = false;
override ACCUMULATE_GAMMA: bool = false;
override ACCUMULATE_BETA: bool = false;
override FROZEN: bool = false;

@group(0) @binding(0) var<storage, read> params: Params;
@group(0) @binding(1) var<storage, read> x: array<vec4<f32>>;
@group(0) @binding(2) var<storage, read_write> parts_out: array<vec4<f32>>;
@group(0) @binding(3) var<storage, read> parts: array<vec4<f32>>;
@group(0) @binding(4) var<storage, read_write> stats_out: array<vec4<f32>>;
@group(0) @binding(5) var<storage, read> stats: array<vec4<f32>>;
@group(0) @binding(6) var<storage, read> gamma: array<vec4<f32>>;
@group(0) @binding(7) var<storage, read> beta: array<vec4<f32>>;
@group(0) @binding(8) var<storage, read_write> y: array<vec4<f32>>;
@group(0) @binding(9) var<storage, read_write> running_mean: array<vec4<f32>>;
@group(0) @binding(10) var<storage, read_write> running_var: array<vec4<f32>>;
@group(0) @binding(11) var<storage, read> frozen_mean: array<vec4<f32>>;
@group(0) @binding(12) var<storage, read> frozen_var: array<vec4<f32>>;
@group(0) @binding(13) var<storage, read> flag: array<u32>;
@group(0) @binding(14) var<storage, read> dy: array<vec4<f32>>;
@group(0) @binding(15) var<storage, read_write> dgamma: array<vec4<f32>>;
@group(0) @binding(16) var<storage, read_write> dbeta: array<vec4<f32>>;
@group(0) @binding(17) var<storage, read_write> sums_out: array<vec4<f32>>;
@group(0) @binding(18) var<storage, read> sums: array<vec4<f32>>;
@group(0) @binding(19) var<storage, read_write> dx: array<vec4<f32>>;

@compute @workgroup_size(64)
fn partial(
    @builtin(workgroup_id) group: vec3<u32>,
    @builtin(num_workgroups) groups: vec3<u32>,
    @builtin(local_invocation_index) lane: u32,
) {
    let i = folded(group, groups) * 64u + lane;
    let chunk = i / params.c4;
    if chunk >= params.chunks {
        return;
    }
    let c = i % params.c4;
    let first = chunk * params.chunk_rows;
    let end = min(first + params.chunk_rows, params.rows);
    let pivot = x[first * params.c4 + c];
    var sum = vec4<f32>(0.0);
    var squares = vec4<f32>(0.0);
    for (var row = first; row < end; row++) {
        let v = x[row * params.c4 + c] - pivot;
        sum += v;
        squares += v * v;
    }
    let count = f32(end - first);
    parts_out[chunk * 2u * params.c4 + c] = pivot + sum / count;
    parts_out[(chunk * 2u + 1u) * params.c4 + c] = squares - sum * sum / count;
}

// inv of four channels; 0 for those that only pad.
fn inverse(variance: vec4<f32>, c: u32) -> vec4<f32> {
    let channel = vec4<u32>(4u * c) + vec4<u32>(0u, 1u, 2u, 3u);
    return select(vec4<f32>(0.0), 1.0 / sqrt(variance + params.eps), channel < vec4<u32>(params.channels));
}

@compute @workgroup_size(64)
fn merge(
    @builtin(workgroup_id) group: vec3<u32>,
    @builtin(num_workgroups) groups: vec3<u32>,
    @builtin(local_invocation_index) lane: u32,
) {
    let c = folded(group, groups) * 64u + lane;
    if c >= params.c4 {
        return;
    }
    var count = 0.0;
    var mean = vec4<f32>(0.0);
    var squares = vec4<f32>(0.0);
    for (var chunk = 0u; chunk < params.chunks; chunk++) {
        let more = f32(min(params.chunk_rows, params.rows - chunk * params.chunk_rows));
        let delta = parts[chunk * 2u * params.c4 + c] - mean;
        let all = count + more;
        mean += delta * (more / all);
        squares += parts[(chunk * 2u + 1u) * params.c4 + c] + delta * delta * (count * more / all);
        count = all;
    }
    // Rounding may leave it below zero; select, not max: a NaN must stay one.
    let rounded = squares / count;
    let variance = select(rounded, vec4<f32>(0.0), rounded < vec4<f32>(0.0));
    stats_out[c] = mean;
    stats_out[params.c4 + c] = inverse(variance, c);
    stats_out[2u * params.c4 + c] = variance;
}

@compute @workgroup_size(64)
fn frozen(
    @builtin(workgroup_id) group: vec3<u32>,
    @builtin(num_workgroups) groups: vec3<u32>,
    @builtin(local_invocation_index) lane: u32,
) {
    let c = folded(group, groups) * 64u + lane;
    if c >= params.c4 {
        return;
    }
    stats_out[c] = frozen_mean[c];
    stats_out[params.c4 + c] = inverse(frozen_var[c], c);
    stats_out[2u * params.c4 + c] = frozen_var[c];
}

@compute @workgroup_size(64)
fn apply(
    @builtin(workgroup_id) group: vec3<u32>,
    @builtin(num_workgroups) groups: vec3<u32>,
    @builtin(local_invocation_index) lane: u32,
) {
    let i = folded(group, groups) * 64u + lane;
    if i >= params.rows * params.c4 {
        return;
    }
    let c = i % params.c4;
    y[i] = (x[i] - stats[c]) * stats[params.c4 + c] * gamma[c] + beta[c];
}

@compute @workgroup_size(64)
fn running(
    @builtin(workgroup_id) group: vec3<u32>,
    @builtin(num_workgroups) groups: vec3<u32>,
    @builtin(local_invocation_index) lane: u32,
) {
    let c = folded(group, groups) * 64u + lane;
    if c >= params.c4 || flag[0] != 0u {
        return;
    }
    let unbiased = f32(params.rows) / f32(max(params.rows, 2u) - 1u);
    running_mean[c] = mix(running_mean[c], stats[c], params.momentum);
    running_var[c] = mix(running_var[c], stats[2u * params.c4 + c] * unbiased, params.momentum);
}

@compute @workgroup_size(64)
fn backward_partial(
    @builtin(workgroup_id) group: vec3<u32>,
    @builtin(num_workgroups) groups: vec3<u32>,
    @builtin(local_invocation_index) lane: u32,
) {
    let i = folded(group, groups) * 64u + lane;
    let chunk = i / params.c4;
    if chunk >= params.chunks {
        return;
    }
    let c = i % params.c4;
    let first = chunk * params.chunk_rows;
    let end = min(first + params.chunk_rows, params.rows);
    let mean = stats[c];
    let inv = stats[params.c4 + c];
    var sum = vec4<f32>(0.0);
    var along = vec4<f32>(0.0);
    for (var row = first; row < end; row++) {
        let d = dy[row * params.c4 + c];
        sum += d;
        along += d * (x[row * params.c4 + c] - mean) * inv;
    }
    parts_out[chunk * 2u * params.c4 + c] = sum;
    parts_out[(chunk * 2u + 1u) * params.c4 + c] = along;
}

@compute @workgroup_size(64)
fn backward_merge(
    @builtin(workgroup_id) group: vec3<u32>,
    @builtin(num_workgroups) groups: vec3<u32>,
    @builtin(local_invocation_index) lane: u32,
) {
    let c = folded(group, groups) * 64u + lane;
    if c >= params.c4 {
        return;
    }
    var sum = vec4<f32>(0.0);
    var along = vec4<f32>(0.0);
    for (var chunk = 0u; chunk < params.chunks; chunk++) {
        sum += parts[chunk * 2u * params.c4 + c];
        along += parts[(chunk * 2u + 1u) * params.c4 + c];
    }
    sums_out[c] = sum;
    sums_out[params.c4 + c] = along;
    if ACCUMULATE_BETA {
        sum += dbeta[c];
    }
    if ACCUMULATE_GAMMA {
        along += dgamma[c];
    }
    dbeta[c] = sum;
    dgamma[c] = along;
}

@compute @workgroup_size(64)
fn backward_apply(
    @builtin(workgroup_id) group: vec3<u32>,
    @builtin(num_workgroups) groups: vec3<u32>,
    @builtin(local_invocation_index) lane: u32,
) {
    let i = folded(group, groups) * 64u + lane;
    if i >= params.rows * params.c4 {
        return;
    }
    let c = i % params.c4;
    let inv = stats[params.c4 + c];
    var d = dy[i];
    if !FROZEN {
        let share = 1.0 / f32(params.rows);
        d -= (sums[c] + (x[i] - stats[c]) * inv * sums[params.c4 + c]) * share;
    }
    d *= gamma[c] * inv;
    if ACCUMULATE {
        d += dx[i];
    }
    dx[i] = d;
}
