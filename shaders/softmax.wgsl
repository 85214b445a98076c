// needs: lib/grid.wgsl lib/floats.wgsl lib/bank_f32.wgsl
// softmax: cross-entropy of every sample's own row against the whole bank, streamed: scores are never stored.
//   with s_j = v_j.f / tau:
//   stream    over rows of a chunk: top = max s_j, mass = sum exp(s_j - top), pull = sum exp(s_j - top) v_j; and of the
//             chunk with the sample's own row that row and its s
//   merge     loss = top + ln mass - s_own;   d loss / d f = (pull / mass - v_own) / tau, times `share`
// Shapes:   f, slope, self_rows [b, DIM]; bank [rows, DIM]: the rows from `shard` on; own [b]; parts [chunks, b, DIM + 4]:
//           pull, then top, mass, s_own or 0, 0; losses [b] padded.
// Dispatch: stream: a lane a sample and chunk, SAMPLES samples and rows begin .. end of LANES / SAMPLES chunks a workgroup,
//           samples fastest, goes on with the parts unless begin = 0; merge: a lane a vec4 of a sample, 64 a workgroup, samples padded to 4. Folded.
// Order:    rows of a chunk rising, two at a time, what came before scaled whenever the maximum rises; chunks rising.
// Safety:   a row is below its chunk's end and n, and the host binds a shard that holds the whole chunk; own rows are
//           clamped to n - 1.
// Source:   Wu et al. 2018, equation 2; running maximum of Milakov and Gimelshein 2018.

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
@group(0) @binding(1) var<storage, read> f: array<Floats>;
@group(0) @binding(2) var<storage, read> own: array<u32>;
@group(0) @binding(3) var<storage, read_write> parts: array<vec4<f32>>;
@group(0) @binding(4) var<storage, read_write> self_rows_out: array<vec4<f32>>;
@group(0) @binding(5) var<storage, read> streamed: array<Floats>;
@group(0) @binding(6) var<storage, read> self_rows: array<Floats>;
@group(0) @binding(7) var<storage, read_write> losses: array<f32>;
@group(0) @binding(8) var<storage, read_write> slope: array<vec4<f32>>;

// tune
const DIM4 = 32u; // DIM / 4
const SAMPLES = 8u; // of a workgroup: fewer, where the batch is smaller, and more chunks
const LANES = 8u;

// Where the part of a chunk of a sample begins.
fn part_of(chunk: u32, b: u32) -> u32 {
    return (chunk * params.batch + b) * (DIM4 + 1u);
}

fn across(v: vec4<f32>) -> f32 {
    return v.x + v.y + v.z + v.w;
}

@compute @workgroup_size(LANES)
fn stream(
    @builtin(workgroup_id) group: vec3<u32>,
    @builtin(num_workgroups) groups: vec3<u32>,
    @builtin(local_invocation_index) lane: u32,
) {
    let size = params;
    let teams = (size.batch + SAMPLES - 1u) / SAMPLES;
    let place = folded(group, groups) / teams * (LANES / SAMPLES) + lane / SAMPLES;
    let chunk = size.chunk + place;
    let b = folded(group, groups) % teams * SAMPLES + lane % SAMPLES;
    if place >= size.chunks || b >= size.batch {
        return;
    }
    var own_f = array<vec4<f32>, DIM4>();
    for (var d = 0u; d < DIM4; d++) {
        own_f[d] = floats(f[b * DIM4 + d]);
    }
    let part = part_of(chunk, b);
    var pull = array<vec4<f32>, DIM4>();
    var before = vec4<f32>(-1e30, 0.0, 0.0, 0.0);
    if size.begin > 0u {
        for (var d = 0u; d < DIM4; d++) {
            pull[d] = parts[part + d];
        }
        before = parts[part + DIM4];
    }
    var top = before.x;
    var mass = before.y;
    var self_score = before.z;
    let start = chunk * size.chunk_rows + size.begin;
    let end = min(chunk * size.chunk_rows + min(size.end, size.chunk_rows), size.n);
    for (var row = start; row < end; row += 2u) {
        let rows = vec2<u32>(row, row + 1u);
        let at = (min(rows, vec2<u32>(end - 1u)) - size.shard) * DIM4;
        var first = vec4<f32>(0.0);
        var second = vec4<f32>(0.0);
        for (var d = 0u; d < DIM4; d++) {
            first += bank_at(at.x + d) * own_f[d];
            second += bank_at(at.y + d) * own_f[d];
        }
        let all = vec2<f32>(across(first), across(second)) * size.inv_tau;
        let s = select(vec2<f32>(-1e30), all, rows < vec2<u32>(end));
        let higher = max(top, max(s.x, s.y));
        let shrink = select(exp(top - higher), 1.0, top == higher);
        top = higher;
        let p = select(vec2<f32>(0.0), exp(s - higher), rows < vec2<u32>(end));
        mass = mass * shrink + (p.x + p.y);
        for (var d = 0u; d < DIM4; d++) {
            pull[d] = pull[d] * shrink + (bank_at(at.x + d) * p.x + bank_at(at.y + d) * p.y);
        }
    }
    let self_row = min(own[b], size.n - 1u);
    if self_row >= start && self_row < end {
        var dots = vec4<f32>(0.0);
        for (var d = 0u; d < DIM4; d++) {
            let v = bank_at((self_row - size.shard) * DIM4 + d);
            self_rows_out[b * DIM4 + d] = v;
            dots += v * own_f[d];
        }
        self_score = across(dots) * size.inv_tau;
    }
    for (var d = 0u; d < DIM4; d++) {
        parts[part + d] = pull[d];
    }
    parts[part + DIM4] = vec4<f32>(top, mass, self_score, 0.0);
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
        }
        return;
    }
    var top = -1e30;
    for (var chunk = 0u; chunk < params.chunks; chunk++) {
        top = max(top, floats(streamed[part_of(chunk, b) + DIM4]).x);
    }
    var mass = 0.0;
    var self_score = 0.0;
    var pull = vec4<f32>(0.0);
    for (var chunk = 0u; chunk < params.chunks; chunk++) {
        let head = floats(streamed[part_of(chunk, b) + DIM4]);
        let shrink = exp(head.x - top);
        mass += head.y * shrink;
        self_score += head.z;
        pull += floats(streamed[part_of(chunk, b) + d]) * shrink;
    }
    slope[i] = (pull / mass - floats(self_rows[i])) * (params.inv_tau * params.share);
    if d == 0u {
        losses[b] = top + log(mass) - self_score;
    }
}
