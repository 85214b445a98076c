// needs: lib/grid.wgsl lib/floats.wgsl lib/rng.wgsl lib/step.wgsl lib/noise_drawn.wgsl lib/bank_f32.wgsl lib/softplus.wgsl
// nce_tiled: the gathering of nce.wgsl for GPUs. TEAM lanes share a row of the bank, a vec4 each, so that neighbouring lanes read
// neighbouring memory and a row waits in registers until its weight is known; nce.wgsl merges the parts.
//   with s(v) = v.f / tau, a(v) = s(v) - ln Z - ln(m / n), softplus(a) = ln(1 + e^a), sigma(a) = 1 / (1 + e^-a):
//   gather    loss = softplus(-a(v+)) + sum_j softplus(a(v_j));   d loss / d f = (sum_j sigma(a(v_j)) v_j - sigma(-a(v+)) v+) / tau
// Shapes:   f [b, DIM]; bank [rows, DIM]: the rows from `shard` on; own [b]; noise [b, m], given or drawn; z [4]: ln Z, …; parts
//           [b, PARTS, DIM + 4]: the part's slope, then its loss, max of s, sum of exp(s - max), 0.
// Dispatch: a workgroup for each of PARTS parts of each sample, once for each tile of a shard: rows first .. end, goes on with
//           the parts unless first = 0; folded.
// Order:    the positive, then the negatives, cut into PARTS; of a part ROUND rows a round, of which each team sums every
//           TEAMS-th, and the teams' sums are added rising; s is summed over a row's vec4 rising. It depends on the tile of the
//           bank, not on the shards.
// Safety:   the conditions on barriers come from `params` and the workgroup's number alone; rows from a buffer are clamped to
//           n - 1; a row is read only where first <= row < end, and the host binds a shard that holds those. 8 <= TEAM <= 128.
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
@group(0) @binding(1) var<storage, read> f: array<vec4<f32>>;
@group(0) @binding(2) var<storage, read> own: array<u32>;
@group(0) @binding(3) var<storage, read> z: array<f32>;
@group(0) @binding(4) var<storage, read_write> parts: array<vec4<f32>>;

// tune
const DIM4 = 32u; // DIM / 4
const TEAM = 32u; // DIM4 as a power of two
const PARTS = 8u;

const GROUP = 256u;
const TEAMS = GROUP / TEAM;
const ROUND = 4u * TEAMS;
const NONE = 0xffffffffu;

var<workgroup> chosen: array<u32, ROUND>;
var<workgroup> products: array<f32, ROUND * (TEAM + 1u)>; // one more, so that lanes that sum a row each meet no bank twice
var<workgroup> weights: array<f32, ROUND>;
var<workgroup> heads: array<vec4<f32>, ROUND>;
var<workgroup> sums: array<vec4<f32>, GROUP>;

// A lane's vec4 of a row.
fn held(row: u32, d: u32) -> vec4<f32> {
    if row == NONE || d >= DIM4 {
        return vec4<f32>(0.0);
    }
    return bank_at((row - params.shard) * DIM4 + d);
}

// Loss, max of s and sum of exp(s - max) of two sets of rows.
fn both(x: vec4<f32>, y: vec4<f32>) -> vec4<f32> {
    let top = max(x.y, y.y);
    return vec4<f32>(x.x + y.x, top, x.z * exp(x.y - top) + y.z * exp(y.y - top), 0.0);
}

@compute @workgroup_size(GROUP)
fn gather(
    @builtin(workgroup_id) group: vec3<u32>,
    @builtin(num_workgroups) groups: vec3<u32>,
    @builtin(local_invocation_index) lane: u32,
) {
    let index = folded(group, groups);
    let size = params;
    if index >= size.batch * PARTS {
        return;
    }
    let b = index / PARTS;
    let team = lane / TEAM;
    let d = lane % TEAM;
    let shift = z[0] + size.log_noise;
    let self_row = min(own[b], size.n - 1u);
    let draw = noise_of(b);
    var own_f = vec4<f32>(0.0);
    if d < DIM4 {
        own_f = f[b * DIM4 + d];
    }
    let part = index * (DIM4 + 1u);
    var sum = vec4<f32>(0.0);
    var head = vec4<f32>(0.0, -1e30, 0.0, 0.0);
    if SEVERAL && size.first > 0u {
        if team == 0u && d < DIM4 {
            sum = parts[part + d];
        }
        if lane == 0u {
            head = parts[part + DIM4];
        }
    }
    // Of the rows 0, the positive, and 1 + j, the negatives.
    let each = size.negatives / PARTS + 1u;
    let start = index % PARTS * each;
    let end = min(start + each, size.negatives + 1u);
    for (var first = start; first < end; first += ROUND) {
        let i = first + lane;
        var row = NONE;
        if lane < ROUND {
            if i < end {
                row = self_row;
                if i > 0u {
                    var four = noise(draw, (i - 1u) / 4u);
                    row = four[(i - 1u) % 4u];
                }
                if SEVERAL && (row < size.first || row >= size.end) {
                    row = NONE;
                }
            }
            chosen[lane] = row;
        }
        workgroupBarrier();
        let row0 = held(chosen[team], d);
        let row1 = held(chosen[team + TEAMS], d);
        let row2 = held(chosen[team + 2u * TEAMS], d);
        let row3 = held(chosen[team + 3u * TEAMS], d);
        products[team * (TEAM + 1u) + d] = dot(row0, own_f);
        products[(team + TEAMS) * (TEAM + 1u) + d] = dot(row1, own_f);
        products[(team + 2u * TEAMS) * (TEAM + 1u) + d] = dot(row2, own_f);
        products[(team + 3u * TEAMS) * (TEAM + 1u) + d] = dot(row3, own_f);
        workgroupBarrier();
        if lane < ROUND {
            var weight = 0.0;
            if row != NONE {
                var s = 0.0;
                for (var k = 0u; k < TEAM; k++) {
                    s += products[lane * (TEAM + 1u) + k];
                }
                s *= size.inv_tau;
                let positive = i == 0u;
                let a = select(s - shift, shift - s, positive);
                weight = select(size.inv_tau, -size.inv_tau, positive) / (1.0 + exp(-a));
                head = both(head, vec4<f32>(softplus(a), s, 1.0, 0.0));
            }
            weights[lane] = weight;
        }
        workgroupBarrier();
        sum += row0 * weights[team];
        sum += row1 * weights[team + TEAMS];
        sum += row2 * weights[team + 2u * TEAMS];
        sum += row3 * weights[team + 3u * TEAMS];
    }
    sums[lane] = sum;
    if lane < ROUND {
        heads[lane] = head;
    }
    workgroupBarrier();
    if team == 0u && d < DIM4 {
        for (var t = 1u; t < TEAMS; t++) {
            sum += sums[t * TEAM + d];
        }
        parts[part + d] = sum;
    }
    if lane == 0u {
        for (var k = 1u; k < ROUND; k++) {
            head = both(head, heads[k]);
        }
        parts[part + DIM4] = head;
    }
}
