// needs: lib/grid.wgsl lib/floats.wgsl
// batch_norm: every channel to mean 0 and variance 1, scaled and shifted; an addend and a ReLU in the same pass if wanted.
//   with xhat = (x - mean) inv, scale = gamma inv, t = (x - mean) scale + beta:
//   moments    count, mean and sum of squared deviations of a chunk of rows; many convolutions leave these themselves
//   join       the same of `each` neighbouring parts
//   apply      joins all parts to mean and var; inv = 1 / sqrt(var + eps); y = relu(t + addend); writes the statistics
//   frozen     the statistics from the running ones (evaluation); var is left 0
//   affine     y = relu(t + addend) from the statistics
//   running    running = (1 - momentum) running + momentum batch, of all norms of a network; nothing while flag is up
//   slopes     of a chunk of rows: sum m, sum m xhat,   with m = dy where t > 0 (under RELU), else dy
//   mask       the same with m = dy where y is not 0, and m is written: the addend's gradient
//   join_slopes  the sums of `each` neighbouring parts
//   backward   sums all parts; dx = scale (m - sum m / rows - xhat sum m xhat / rows)  (added under ACCUMULATE);
//              d gamma = sum m xhat, d beta = sum m  (added under ACCUMULATE_AFFINE). With FROZEN statistics dx = scale m
// Shapes:   x, y, addend, dy, m, dx [rows, c4] in vec4 of channels; affine, its gradient [2, a4]: gamma, beta;
//           stats [c4, 5]: mean, inv, scale, beta, unbiased var; parts [parts, 3, c4]; slopes [parts, 2, c4];
//           running_mean, running_var [all4] and all_stats [all4, 5], of all norms side by side.
// Dispatch: moments, slopes, mask: a lane a vec4 of a chunk of `each` rows; apply, affine, backward: a lane a vec4 of a strand of
//           `each` rows; join, join_slopes: a lane a vec4 of `each` parts; frozen, running: a lane a vec4. Folded.
// Order:    rows of a chunk rising, shifted by its first row; parts rising, by Chan's formula; slopes plainly.
// Safety:   c < c4 by construction; chunks, strands, rows and parts are bounded by the params first.
// Source:   Ioffe and Szegedy 2015, algorithm 1; Chan, Golub and LeVeque 1979 for joining moments.

struct Params {
    rows: u32,
    channels: u32,
    c4: u32,
    a4: u32,
    parts: u32,
    each: u32,
    eps: f32,
    momentum: f32,
}

override RELU: bool = false;
override ADD: bool = false;
override ACCUMULATE: bool = false;
override ACCUMULATE_AFFINE: bool = false;
override FROZEN: bool = false;

// tune
const LANES = 64u;

@group(0) @binding(0) var<storage, read> params: Params;
@group(0) @binding(1) var<storage, read> x: array<Floats>;
@group(0) @binding(2) var<storage, read> addend: array<Floats>;
@group(0) @binding(3) var<storage, read> affine_in: array<Floats>;
@group(0) @binding(4) var<storage, read> parts: array<Floats>;
@group(0) @binding(5) var<storage, read_write> parts_out: array<vec4<f32>>;
@group(0) @binding(6) var<storage, read> stats: array<Floats>;
@group(0) @binding(7) var<storage, read_write> stats_out: array<vec4<f32>>;
@group(0) @binding(8) var<storage, read_write> y: array<vec4<f32>>;
@group(0) @binding(9) var<storage, read> result: array<Floats>;
@group(0) @binding(10) var<storage, read> dy: array<Floats>;
@group(0) @binding(11) var<storage, read_write> masked: array<vec4<f32>>;
@group(0) @binding(12) var<storage, read_write> dx: array<vec4<f32>>;
@group(0) @binding(13) var<storage, read_write> daffine: array<vec4<f32>>;
@group(0) @binding(14) var<storage, read_write> running_mean: array<vec4<f32>>;
@group(0) @binding(15) var<storage, read_write> running_var: array<vec4<f32>>;
@group(0) @binding(16) var<storage, read> flag: array<u32>;

// What the stats of a vec4 of channels hold.
const MEAN = 0u;
const INV = 1u;
const SCALE = 2u;
const BETA = 3u;
const VAR = 4u;

struct Moments {
    count: f32,
    mean: vec4<f32>,
    squares: vec4<f32>,
}

// Chan's formula; a part without rows changes nothing.
fn joined(a: Moments, b: Moments) -> Moments {
    let all = a.count + b.count;
    if b.count == 0.0 {
        return a;
    }
    let delta = b.mean - a.mean;
    return Moments(all, a.mean + delta * (b.count / all), a.squares + b.squares + delta * delta * (a.count * b.count / all));
}

fn part(p: u32, c: u32) -> Moments {
    let first = 3u * p * params.c4 + c;
    return Moments(floats(parts[first]).x, floats(parts[first + params.c4]), floats(parts[first + 2u * params.c4]));
}

fn put_part(p: u32, c: u32, m: Moments) {
    parts_out[3u * p * params.c4 + c] = vec4<f32>(m.count);
    parts_out[(3u * p + 1u) * params.c4 + c] = m.mean;
    parts_out[(3u * p + 2u) * params.c4 + c] = m.squares;
}

// Negative numbers become zero; NaN stays NaN. As integers, what is to become zero lies from 0x80000000 (-0) to 0xff800000.
fn relu(v: vec4<f32>) -> vec4<f32> {
    let bits = bitcast<vec4<u32>>(v);
    let negative = (bits >= vec4<u32>(0x80000000u)) & (bits <= vec4<u32>(0xff800000u));
    return select(v, vec4<f32>(0.0), vec4<bool>(RELU) & negative);
}

// The four channels that are no padding.
fn real(c: u32) -> vec4<bool> {
    return vec4<u32>(4u * c) + vec4<u32>(0u, 1u, 2u, 3u) < vec4<u32>(params.channels);
}

@compute @workgroup_size(LANES)
fn moments(
    @builtin(workgroup_id) group: vec3<u32>,
    @builtin(num_workgroups) groups: vec3<u32>,
    @builtin(local_invocation_index) lane: u32,
) {
    let i = folded(group, groups) * LANES + lane;
    let p = i / params.c4;
    if p >= params.parts {
        return;
    }
    let c = i % params.c4;
    let first = p * params.each;
    let end = min(first + params.each, params.rows);
    let pivot = floats(x[first * params.c4 + c]);
    var sum = vec4<f32>(0.0);
    var squares = vec4<f32>(0.0);
    for (var row = first; row < end; row++) {
        let v = floats(x[row * params.c4 + c]) - pivot;
        sum += v;
        squares += v * v;
    }
    let count = f32(end - first);
    put_part(p, c, Moments(count, pivot + sum / count, squares - sum * sum / count));
}

@compute @workgroup_size(LANES)
fn join(
    @builtin(workgroup_id) group: vec3<u32>,
    @builtin(num_workgroups) groups: vec3<u32>,
    @builtin(local_invocation_index) lane: u32,
) {
    let i = folded(group, groups) * LANES + lane;
    let to = i / params.c4;
    let first = to * params.each;
    if first >= params.parts {
        return;
    }
    let c = i % params.c4;
    var all = part(first, c);
    for (var p = first + 1u; p < min(first + params.each, params.parts); p++) {
        all = joined(all, part(p, c));
    }
    put_part(to, c, all);
}

@compute @workgroup_size(LANES)
fn apply(
    @builtin(workgroup_id) group: vec3<u32>,
    @builtin(num_workgroups) groups: vec3<u32>,
    @builtin(local_invocation_index) lane: u32,
) {
    let size = params;
    let i = folded(group, groups) * LANES + lane;
    let c = i % size.c4;
    let first = i / size.c4 * size.each;
    if first >= size.rows {
        return;
    }
    var all = part(0u, c);
    for (var p = 1u; p < size.parts; p++) {
        all = joined(all, part(p, c));
    }
    // Rounding may leave it below zero; select, not max: a NaN must stay one.
    let biased = all.squares / all.count;
    let variance = select(biased, vec4<f32>(0.0), biased < vec4<f32>(0.0));
    let inv = select(vec4<f32>(0.0), 1.0 / sqrt(variance + size.eps), real(c));
    let scale = floats(affine_in[c]) * inv;
    let beta = floats(affine_in[size.a4 + c]);
    if first == 0u {
        stats_out[5u * c + MEAN] = all.mean;
        stats_out[5u * c + INV] = inv;
        stats_out[5u * c + SCALE] = scale;
        stats_out[5u * c + BETA] = beta;
        stats_out[5u * c + VAR] = variance * (all.count / (max(all.count, 2.0) - 1.0));
    }
    for (var row = first; row < min(first + size.each, size.rows); row++) {
        let at = row * size.c4 + c;
        var t = fma(floats(x[at]) - all.mean, scale, beta);
        if ADD {
            t += floats(addend[at]);
        }
        y[at] = relu(t);
    }
}

@compute @workgroup_size(LANES)
fn frozen(
    @builtin(workgroup_id) group: vec3<u32>,
    @builtin(num_workgroups) groups: vec3<u32>,
    @builtin(local_invocation_index) lane: u32,
) {
    let c = folded(group, groups) * LANES + lane;
    if c >= params.c4 {
        return;
    }
    let inv = select(vec4<f32>(0.0), 1.0 / sqrt(running_var[c] + params.eps), real(c));
    stats_out[5u * c + MEAN] = running_mean[c];
    stats_out[5u * c + INV] = inv;
    stats_out[5u * c + SCALE] = floats(affine_in[c]) * inv;
    stats_out[5u * c + BETA] = floats(affine_in[params.a4 + c]);
    stats_out[5u * c + VAR] = vec4<f32>(0.0);
}

@compute @workgroup_size(LANES)
fn affine(
    @builtin(workgroup_id) group: vec3<u32>,
    @builtin(num_workgroups) groups: vec3<u32>,
    @builtin(local_invocation_index) lane: u32,
) {
    let size = params;
    let i = folded(group, groups) * LANES + lane;
    let c = i % size.c4;
    let first = i / size.c4 * size.each;
    if first >= size.rows {
        return;
    }
    let mean = floats(stats[5u * c + MEAN]);
    let scale = floats(stats[5u * c + SCALE]);
    let beta = floats(stats[5u * c + BETA]);
    for (var row = first; row < min(first + size.each, size.rows); row++) {
        let at = row * size.c4 + c;
        var t = fma(floats(x[at]) - mean, scale, beta);
        if ADD {
            t += floats(addend[at]);
        }
        y[at] = relu(t);
    }
}

@compute @workgroup_size(LANES)
fn running(
    @builtin(workgroup_id) group: vec3<u32>,
    @builtin(num_workgroups) groups: vec3<u32>,
    @builtin(local_invocation_index) lane: u32,
) {
    let c = folded(group, groups) * LANES + lane;
    if c >= params.c4 || flag[0] != 0u {
        return;
    }
    running_mean[c] = mix(running_mean[c], floats(stats[5u * c + MEAN]), params.momentum);
    running_var[c] = mix(running_var[c], floats(stats[5u * c + VAR]), params.momentum);
}

@compute @workgroup_size(LANES)
fn slopes(
    @builtin(workgroup_id) group: vec3<u32>,
    @builtin(num_workgroups) groups: vec3<u32>,
    @builtin(local_invocation_index) lane: u32,
) {
    let size = params;
    let i = folded(group, groups) * LANES + lane;
    let p = i / size.c4;
    if p >= size.parts {
        return;
    }
    let c = i % size.c4;
    let mean = floats(stats[5u * c + MEAN]);
    let scale = floats(stats[5u * c + SCALE]);
    let beta = floats(stats[5u * c + BETA]);
    var sum = vec4<f32>(0.0);
    var along = vec4<f32>(0.0);
    for (var row = p * size.each; row < min((p + 1u) * size.each, size.rows); row++) {
        let from_mean = floats(x[row * size.c4 + c]) - mean;
        var m = floats(dy[row * size.c4 + c]);
        if RELU {
            m = select(m, vec4<f32>(0.0), fma(from_mean, scale, beta) <= vec4<f32>(0.0));
        }
        sum += m;
        along += m * from_mean;
    }
    parts_out[2u * p * size.c4 + c] = sum;
    parts_out[(2u * p + 1u) * size.c4 + c] = along * floats(stats[5u * c + INV]);
}

@compute @workgroup_size(LANES)
fn mask(
    @builtin(workgroup_id) group: vec3<u32>,
    @builtin(num_workgroups) groups: vec3<u32>,
    @builtin(local_invocation_index) lane: u32,
) {
    let size = params;
    let i = folded(group, groups) * LANES + lane;
    let p = i / size.c4;
    if p >= size.parts {
        return;
    }
    let c = i % size.c4;
    let mean = floats(stats[5u * c + MEAN]);
    var sum = vec4<f32>(0.0);
    var along = vec4<f32>(0.0);
    for (var row = p * size.each; row < min((p + 1u) * size.each, size.rows); row++) {
        let at = row * size.c4 + c;
        let m = select(floats(dy[at]), vec4<f32>(0.0), bitcast<vec4<u32>>(floats(result[at])) == vec4<u32>(0u));
        masked[at] = m;
        sum += m;
        along += m * (floats(x[at]) - mean);
    }
    parts_out[2u * p * size.c4 + c] = sum;
    parts_out[(2u * p + 1u) * size.c4 + c] = along * floats(stats[5u * c + INV]);
}

@compute @workgroup_size(LANES)
fn join_slopes(
    @builtin(workgroup_id) group: vec3<u32>,
    @builtin(num_workgroups) groups: vec3<u32>,
    @builtin(local_invocation_index) lane: u32,
) {
    let i = folded(group, groups) * LANES + lane;
    let to = i / params.c4;
    let first = to * params.each;
    if first >= params.parts {
        return;
    }
    let c = i % params.c4;
    var sum = vec4<f32>(0.0);
    var along = vec4<f32>(0.0);
    for (var p = first; p < min(first + params.each, params.parts); p++) {
        sum += floats(parts[2u * p * params.c4 + c]);
        along += floats(parts[(2u * p + 1u) * params.c4 + c]);
    }
    parts_out[2u * to * params.c4 + c] = sum;
    parts_out[(2u * to + 1u) * params.c4 + c] = along;
}

@compute @workgroup_size(LANES)
fn backward(
    @builtin(workgroup_id) group: vec3<u32>,
    @builtin(num_workgroups) groups: vec3<u32>,
    @builtin(local_invocation_index) lane: u32,
) {
    let size = params;
    let i = folded(group, groups) * LANES + lane;
    let c = i % size.c4;
    let first = i / size.c4 * size.each;
    if first >= size.rows {
        return;
    }
    var sum = vec4<f32>(0.0);
    var along = vec4<f32>(0.0);
    for (var p = 0u; p < size.parts; p++) {
        sum += floats(parts[2u * p * size.c4 + c]);
        along += floats(parts[(2u * p + 1u) * size.c4 + c]);
    }
    if first == 0u {
        if ACCUMULATE_AFFINE {
            daffine[c] += along;
            daffine[size.a4 + c] += sum;
        } else {
            daffine[c] = along;
            daffine[size.a4 + c] = sum;
        }
    }
    let mean = floats(stats[5u * c + MEAN]);
    let scale = floats(stats[5u * c + SCALE]);
    let beta = floats(stats[5u * c + BETA]);
    let share = 1.0 / f32(size.rows);
    let tilt = along * share * floats(stats[5u * c + INV]);
    for (var row = first; row < min(first + size.each, size.rows); row++) {
        let at = row * size.c4 + c;
        var m = floats(dy[at]);
        if RELU || !FROZEN {
            let from_mean = floats(x[at]) - mean;
            if RELU {
                m = select(m, vec4<f32>(0.0), fma(from_mean, scale, beta) <= vec4<f32>(0.0));
            }
            if !FROZEN {
                m -= sum * share + from_mean * tilt;
            }
        }
        m *= scale;
        if ACCUMULATE {
            m += dx[at];
        }
        dx[at] = m;
    }
}
