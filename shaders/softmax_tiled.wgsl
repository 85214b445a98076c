// needs: lib/grid.wgsl lib/floats.wgsl lib/bank_f32.wgsl
// softmax_tiled: the streaming of softmax.wgsl for GPUs. A workgroup brings BLOCK rows of the bank into its memory for all its
// samples, and TEAM lanes share a sample, with up to eight vec4 each of its feature and of its pull in registers.
//   with s_j = v_j.f / tau:
//   stream    over rows of a chunk: top = max s_j, mass = sum exp(s_j - top), pull = sum exp(s_j - top) v_j; and of the
//             chunk with the sample's own row that row and its s
// Shapes:   f, self_rows [b, DIM]; bank [rows, DIM]: the rows from `shard` on; own [b]; parts [chunks, b, DIM + 4]: pull, then
//           top, mass, s_own or 0, 0.
// Dispatch: a workgroup for GROUP / TEAM samples and rows begin .. end of one chunk, samples fastest, goes on with the parts
//           unless begin = 0; folded.
// Order:    rows of a chunk rising, BLOCK at a time, what came before scaled whenever the maximum rises; s is summed over a
//           lane's vec4, k TEAM + its place in the team, then over the team.
// Safety:   the conditions on barriers come from `params` and the workgroup's number alone; lanes without a sample work on the
//           last one and store nothing; a row is below its chunk's end and n, and the host binds a shard that holds the
//           whole chunk; own rows are clamped to n - 1. DIM4 <= 8 TEAM.
// Source:   Wu et al. 2018, equation 2; running maximum of Milakov and Gimelshein 2018; FlashAttention (Dao et al. 2022).

struct Params {
    batch: u32,
    n: u32,
    shard: u32,
    chunk: u32,
    chunks: u32,
    chunk_rows: u32,
    begin: u32,
    end: u32,
    inv_tau: f32,
    share: f32,
}

@group(0) @binding(0) var<storage, read> params: Params;
@group(0) @binding(1) var<storage, read> f: array<vec4<f32>>;
@group(0) @binding(2) var<storage, read> own: array<u32>;
@group(0) @binding(3) var<storage, read_write> parts: array<vec4<f32>>;
@group(0) @binding(4) var<storage, read_write> self_rows_out: array<vec4<f32>>;

// tune
const DIM4 = 32u; // DIM / 4
const TEAM = 4u; // DIM4 / 8 rounded up to a power of two
const BLOCK = 8u; // (4 DIM4 + GROUP) BLOCK words of workgroup memory

const GROUP = 256u;
const SAMPLES = GROUP / TEAM;

// A lane's share of a row: its vec4 k TEAM + the lane's place in the team.
struct Share {
    low: mat4x4<f32>,
    high: mat4x4<f32>,
}

var<workgroup> rows: array<vec4<f32>, BLOCK * DIM4>;
var<workgroup> dots: array<f32, BLOCK * GROUP>;

// Of rows at `first`, in three buffers; what is past their end is 0. Written out, so that no variable stands between a share and
// its registers.
fn share_of_row(first: u32, m: u32) -> Share {
    return Share(
        mat4x4(row_at(first, m), row_at(first, m + TEAM), row_at(first, m + 2u * TEAM), row_at(first, m + 3u * TEAM)),
        mat4x4(row_at(first, m + 4u * TEAM), row_at(first, m + 5u * TEAM), row_at(first, m + 6u * TEAM), row_at(first, m + 7u * TEAM)));
}

fn row_at(first: u32, d: u32) -> vec4<f32> {
    if d < DIM4 {
        return rows[first + d];
    }
    return vec4<f32>(0.0);
}

fn share_of_f(first: u32, m: u32) -> Share {
    return Share(
        mat4x4(f_at(first, m), f_at(first, m + TEAM), f_at(first, m + 2u * TEAM), f_at(first, m + 3u * TEAM)),
        mat4x4(f_at(first, m + 4u * TEAM), f_at(first, m + 5u * TEAM), f_at(first, m + 6u * TEAM), f_at(first, m + 7u * TEAM)));
}

fn f_at(first: u32, d: u32) -> vec4<f32> {
    if d < DIM4 {
        return f[first + d];
    }
    return vec4<f32>(0.0);
}

fn share_of_part(first: u32, m: u32) -> Share {
    return Share(
        mat4x4(part_at(first, m), part_at(first, m + TEAM), part_at(first, m + 2u * TEAM), part_at(first, m + 3u * TEAM)),
        mat4x4(part_at(first, m + 4u * TEAM), part_at(first, m + 5u * TEAM), part_at(first, m + 6u * TEAM),
            part_at(first, m + 7u * TEAM)));
}

fn part_at(first: u32, d: u32) -> vec4<f32> {
    if d < DIM4 {
        return parts[first + d];
    }
    return vec4<f32>(0.0);
}

fn keep(pull: Share, first: u32, m: u32) {
    put(first, m, pull.low[0]);
    put(first, m + TEAM, pull.low[1]);
    put(first, m + 2u * TEAM, pull.low[2]);
    put(first, m + 3u * TEAM, pull.low[3]);
    put(first, m + 4u * TEAM, pull.high[0]);
    put(first, m + 5u * TEAM, pull.high[1]);
    put(first, m + 6u * TEAM, pull.high[2]);
    put(first, m + 7u * TEAM, pull.high[3]);
}

fn put(first: u32, d: u32, v: vec4<f32>) {
    if d < DIM4 {
        parts[first + d] = v;
    }
}

fn dot_of(a: Share, b: Share) -> f32 {
    var v = a.low[0] * b.low[0];
    v = fma(a.low[1], b.low[1], v);
    v = fma(a.low[2], b.low[2], v);
    v = fma(a.low[3], b.low[3], v);
    v = fma(a.high[0], b.high[0], v);
    v = fma(a.high[1], b.high[1], v);
    v = fma(a.high[2], b.high[2], v);
    v = fma(a.high[3], b.high[3], v);
    return v.x + v.y + v.z + v.w;
}

// s of the block's row r for a lane's sample.
fn score(r: u32, first: u32) -> f32 {
    var s = 0.0;
    for (var t = 0u; t < TEAM; t++) {
        s += dots[r * GROUP + first + t];
    }
    return s * params.inv_tau;
}

@compute @workgroup_size(GROUP)
fn stream(
    @builtin(workgroup_id) group: vec3<u32>,
    @builtin(num_workgroups) groups: vec3<u32>,
    @builtin(local_invocation_index) lane: u32,
) {
    let size = params;
    let teams = (size.batch + SAMPLES - 1u) / SAMPLES;
    let place = folded(group, groups) / teams;
    if place >= size.chunks { // the same for the whole workgroup
        return;
    }
    let chunk = size.chunk + place;
    let member = lane % TEAM;
    let sample = folded(group, groups) % teams * SAMPLES + lane / TEAM;
    let b = min(sample, size.batch - 1u);
    let self_row = min(own[b], size.n - 1u);
    let part = (chunk * size.batch + b) * (DIM4 + 1u);
    let own_f = share_of_f(b * DIM4, member);
    var pull: Share;
    var head = vec4<f32>(-1e30, 0.0, 0.0, 0.0);
    if size.begin > 0u {
        pull = share_of_part(part, member);
        head = parts[part + DIM4];
    }
    var top = head.x;
    var mass = head.y;
    var self_score = head.z;
    let start = chunk * size.chunk_rows + size.begin;
    let end = min(chunk * size.chunk_rows + min(size.end, size.chunk_rows), size.n);
    for (var first = start; first < end; first += BLOCK) {
        for (var i = lane; i < BLOCK * DIM4; i += GROUP) {
            if first + i / DIM4 < end {
                rows[i] = bank_at((first - size.shard) * DIM4 + i);
            }
        }
        workgroupBarrier();
        let count = min(BLOCK, end - first);
        for (var r = 0u; r < count; r++) {
            dots[r * GROUP + lane] = dot_of(share_of_row(r * DIM4, member), own_f);
        }
        workgroupBarrier();
        var higher = top;
        for (var r = 0u; r < count; r++) {
            higher = max(higher, score(r, lane - member));
        }
        let shrink = select(exp(top - higher), 1.0, top == higher);
        top = higher;
        mass *= shrink;
        pull.low *= shrink;
        pull.high *= shrink;
        for (var r = 0u; r < count; r++) {
            let s = score(r, lane - member);
            let p = exp(s - top);
            let row = share_of_row(r * DIM4, member);
            mass += p;
            pull.low += row.low * p;
            pull.high += row.high * p;
            if first + r == self_row {
                self_score = s;
                if sample < size.batch {
                    for (var d = member; d < DIM4; d += TEAM) {
                        self_rows_out[b * DIM4 + d] = rows[r * DIM4 + d];
                    }
                }
            }
        }
        workgroupBarrier();
    }
    if sample < size.batch {
        keep(pull, part, member);
        if member == 0u {
            parts[part + DIM4] = vec4<f32>(top, mass, self_score, 0.0);
        }
    }
}
