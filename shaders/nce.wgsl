// needs: lib/grid.wgsl lib/floats.wgsl lib/rng.wgsl lib/step.wgsl lib/noise_drawn.wgsl lib/bank_f32.wgsl lib/softplus.wgsl
// nce: noise-contrastive estimation against m sampled rows of the bank, with its gradient in the same pass.
//   with s(v) = v.f / tau, a(v) = s(v) - ln Z - ln(m / n), softplus(a) = ln(1 + e^a), sigma(a) = 1 / (1 + e^-a):
//   gather    loss = softplus(-a(v+)) + sum_j softplus(a(v_j));   d loss / d f = (sum_j sigma(a(v_j)) v_j - sigma(-a(v+)) v+) / tau
//   merge     sums the lanes' parts; the slope times `share`; also ln sum of exp s over the positive and the negatives
//   estimate  ln of the batch's Z = n mean exp s; kept the first time, later mixed: Z = keep Z + (1 - keep) batch's
// Shapes:   f, slope [b, DIM]; bank [rows, DIM]: the rows from `shard` on; own [b]; noise [b, m], given or drawn; z [4]: ln Z,
//           1 once it is set, 0, 0; parts [b, LANES, DIM + 4]: the lane's slope, then its loss, max of s, sum of
//           exp(s - max), 0; losses, spread [b] padded.
// Dispatch: gather: a workgroup a sample, once for each tile of a shard: rows first .. end, goes on with the parts unless
//           first = 0; merge: a lane for a vec4 of a sample, 64 a workgroup, samples padded to 4; estimate: one
//           workgroup.
// Order:    tiles of the bank rising; in a tile lane 0 begins with the positive, then a lane takes those of its negatives that
//           lie in it, of the fours lane, lane + LANES, …; merge adds lanes rising. So it depends on the tile, not on the shards.
// Safety:   rows from a buffer are clamped to n - 1; a row is read only where first <= row < end, and the host binds a shard
//           that holds those.
// Source:   Wu et al. 2018, equations 4 to 8; in log space, so that no exponential overflows.

struct Params {
    batch: u32,
    n: u32,
    negatives: u32,
    exclude: u32,
    shard: u32,
    first: u32,
    end: u32,
    inv_tau: f32,
    log_noise: f32,
    share: f32,
    keep: f32,
}

override SEVERAL: bool = false; // tiles, not all rows in one

@group(0) @binding(0) var<storage, read> params: Params;
@group(0) @binding(1) var<storage, read> f: array<Floats>;
@group(0) @binding(2) var<storage, read> own: array<u32>;
@group(0) @binding(3) var<storage, read> z: array<f32>;
@group(0) @binding(4) var<storage, read_write> parts: array<vec4<f32>>;
@group(0) @binding(5) var<storage, read> gathered: array<Floats>;
@group(0) @binding(6) var<storage, read_write> losses: array<f32>;
@group(0) @binding(7) var<storage, read_write> slope: array<vec4<f32>>;
@group(0) @binding(8) var<storage, read_write> spread_out: array<f32>;
@group(0) @binding(9) var<storage, read> spread: array<f32>;
@group(0) @binding(10) var<storage, read_write> z_out: array<f32>;
@group(0) @binding(11) var<storage, read> flag: array<u32>;

// tune
const DIM4 = 32u; // DIM / 4
const LANES = 32u;

@compute @workgroup_size(LANES)
fn gather(
    @builtin(workgroup_id) group: vec3<u32>,
    @builtin(num_workgroups) groups: vec3<u32>,
    @builtin(local_invocation_index) lane: u32,
) {
    let b = folded(group, groups);
    let size = params;
    if b >= size.batch {
        return;
    }
    let shift = z[0] + size.log_noise;
    let self_row = min(own[b], size.n - 1u);
    var own_f: array<vec4<f32>, DIM4>;
    for (var d = 0u; d < DIM4; d++) {
        own_f[d] = floats(f[b * DIM4 + d]);
    }
    let part = (b * LANES + lane) * (DIM4 + 1u);
    var sum = array<vec4<f32>, DIM4>();
    var before = vec4<f32>(0.0, -1e30, 0.0, 0.0);
    if SEVERAL && size.first > 0u {
        for (var d = 0u; d < DIM4; d++) {
            sum[d] = parts[part + d];
        }
        before = parts[part + DIM4];
    }
    var total = before.x;
    var top = before.y;
    var mass = before.z;
    var positive = lane == 0u && self_row >= size.first && self_row < size.end;
    let draw = noise_of(b);
    var turn = 4u * lane;
    var four = vec4<u32>(0u);
    loop {
        // The next of the lane's rows that lies in this tile.
        var row = self_row;
        var found = positive;
        while !found && turn < size.negatives {
            if turn % 4u == 0u {
                four = noise(draw, turn / 4u);
            }
            row = four.x;
            four = four.yzwx;
            turn += select(1u, 4u * LANES - 3u, turn % 4u == 3u);
            found = !SEVERAL || (row >= size.first && row < size.end);
        }
        if !found {
            break;
        }
        var held: array<vec4<f32>, DIM4>; // the row, gathered once
        var dots = vec4<f32>(0.0);
        for (var d = 0u; d < DIM4; d++) {
            held[d] = bank_at((row - size.shard) * DIM4 + d);
            dots += held[d] * own_f[d];
        }
        let s = (dots.x + dots.y + dots.z + dots.w) * size.inv_tau;
        let a = select(s - shift, shift - s, positive);
        total += softplus(a);
        let weight = select(size.inv_tau, -size.inv_tau, positive) / (1.0 + exp(-a));
        for (var d = 0u; d < DIM4; d++) {
            sum[d] += held[d] * weight;
        }
        let higher = max(top, s);
        mass = mass * exp(top - higher) + exp(s - higher);
        top = higher;
        positive = false;
    }
    for (var d = 0u; d < DIM4; d++) {
        parts[part + d] = sum[d];
    }
    parts[part + DIM4] = vec4<f32>(total, top, mass, 0.0);
}

// Loss, max of s and sum of exp(s - max) of lane k.
fn head(b: u32, k: u32) -> vec4<f32> {
    return floats(gathered[(b * LANES + k) * (DIM4 + 1u) + DIM4]);
}

@compute @workgroup_size(64)
fn merge(
    @builtin(workgroup_id) group: vec3<u32>,
    @builtin(num_workgroups) groups: vec3<u32>,
    @builtin(local_invocation_index) lane: u32,
) {
    let i = folded(group, groups) * 64u + lane;
    let b = i / DIM4;
    let d = i % DIM4;
    if b >= params.batch {
        if d == 0u && b < (params.batch + 3u) / 4u * 4u {
            losses[b] = 0.0;
            spread_out[b] = 0.0;
        }
        return;
    }
    var sum = vec4<f32>(0.0);
    for (var k = 0u; k < LANES; k++) {
        sum += floats(gathered[(b * LANES + k) * (DIM4 + 1u) + d]);
    }
    slope[i] = sum * params.share;
    if d > 0u {
        return;
    }
    var total = 0.0;
    var top = -1e30;
    for (var k = 0u; k < LANES; k++) {
        total += head(b, k).x;
        top = max(top, head(b, k).y);
    }
    var mass = 0.0;
    for (var k = 0u; k < LANES; k++) {
        mass += head(b, k).z * exp(head(b, k).y - top);
    }
    losses[b] = total;
    spread_out[b] = top + log(mass);
}

@compute @workgroup_size(1)
fn estimate() {
    if flag[0] != 0u {
        return;
    }
    var top = spread[0];
    for (var b = 1u; b < params.batch; b++) {
        top = max(top, spread[b]);
    }
    var mass = 0.0;
    for (var b = 0u; b < params.batch; b++) {
        mass += exp(spread[b] - top);
    }
    let now = top + log(mass) - log(f32(params.batch) * f32(params.negatives + 1u)) + log(f32(params.n));
    // ln(keep Z + (1 - keep) now), from the larger of the two weighed ones, whose exponential is 1: no sum vanishes.
    var next = now;
    if z_out[1] != 0.0 && params.keep >= 1.0 {
        next = z_out[0];
    } else if z_out[1] != 0.0 && params.keep > 0.0 {
        let kept = z_out[0] + log(params.keep);
        let moved = now + log(1.0 - params.keep);
        next = max(kept, moved) + log(1.0 + exp(-abs(kept - moved)));
    }
    z_out[0] = next;
    z_out[1] = 1.0;
}
