// needs: lib/grid.wgsl
// softmax: cross-entropy of every sample's own row against the whole bank, streamed: scores are never stored.
//   with s_j = v_j.f / tau:
//   stream    over a chunk of rows: top = max s_j, mass = sum exp(s_j - top), pull = sum exp(s_j - top) v_j
//   merge     loss = top + ln mass - s_own;   d loss / d f = (pull / mass - v_own) / tau
// Shapes:   f, slope [b, DIM]; bank [n, DIM]; own [b]; parts [chunks, b, DIM + 4]: pull, then top, mass, 0, 0;
//           loss [b] padded.
// Dispatch: stream: a lane a sample, LANES samples and one chunk a workgroup, samples fastest; merge: a lane a vec4 of a
//           sample, 64 a workgroup, samples padded to 4. Folded.
// Order:    rows of a chunk rising, the chunk's terms scaled whenever the maximum rises; chunks rising.
// Safety:   row < n by the loop's bound; own rows are clamped to n - 1.
// Source:   Wu et al. 2018, equation 2; running maximum of Milakov and Gimelshein 2018.

struct Params {
    batch: u32,
    n: u32,
    chunks: u32,
    chunk_rows: u32,
    inv_tau: f32,
}

@group(0) @binding(0) var<storage, read> params: Params;
@group(0) @binding(1) var<storage, read> f: array<vec4<f32>>;
@group(0) @binding(2) var<storage, read> bank: array<vec4<f32>>;
@group(0) @binding(3) var<storage, read_write> parts_out: array<vec4<f32>>;
@group(0) @binding(4) var<storage, read> parts: array<vec4<f32>>;
@group(0) @binding(5) var<storage, read> own: array<u32>;
@group(0) @binding(6) var<storage, read_write> loss: array<f32>;
@group(0) @binding(7) var<storage, read_write> slope: array<vec4<f32>>;

// tune
const DIM4 = 32u; // DIM / 4
const LANES = 8u;

// Where the part of a chunk of a sample begins.
fn part_of(chunk: u32, b: u32) -> u32 {
    return (chunk * params.batch + b) * (DIM4 + 1u);
}

@compute @workgroup_size(LANES)
fn stream(
    @builtin(workgroup_id) group: vec3<u32>,
    @builtin(num_workgroups) groups: vec3<u32>,
    @builtin(local_invocation_index) lane: u32,
) {
    let teams = (params.batch + LANES - 1u) / LANES;
    let chunk = folded(group, groups) / teams;
    let b = folded(group, groups) % teams * LANES + lane;
    if chunk >= params.chunks || b >= params.batch {
        return;
    }
    var own_f = array<vec4<f32>, DIM4>();
    for (var d = 0u; d < DIM4; d++) {
        own_f[d] = f[b * DIM4 + d];
    }
    var pull = array<vec4<f32>, DIM4>();
    var top = -1e30;
    var mass = 0.0;
    let end = min((chunk + 1u) * params.chunk_rows, params.n);
    for (var row = chunk * params.chunk_rows; row < end; row++) {
        var dots = vec4<f32>(0.0);
        for (var d = 0u; d < DIM4; d++) {
            dots += bank[row * DIM4 + d] * own_f[d];
        }
        let s = (dots.x + dots.y + dots.z + dots.w) * params.inv_tau;
        if s > top {
            let shrink = exp(top - s);
            mass *= shrink;
            for (var d = 0u; d < DIM4; d++) {
                pull[d] *= shrink;
            }
            top = s;
        }
        let p = exp(s - top);
        mass += p;
        for (var d = 0u; d < DIM4; d++) {
            pull[d] += bank[row * DIM4 + d] * p;
        }
    }
    let part = part_of(chunk, b);
    for (var d = 0u; d < DIM4; d++) {
        parts_out[part + d] = pull[d];
    }
    parts_out[part + DIM4] = vec4<f32>(top, mass, 0.0, 0.0);
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
            loss[b] = 0.0;
        }
        return;
    }
    var top = -1e30;
    for (var chunk = 0u; chunk < params.chunks; chunk++) {
        top = max(top, parts[part_of(chunk, b) + DIM4].x);
    }
    var mass = 0.0;
    var pull = vec4<f32>(0.0);
    for (var chunk = 0u; chunk < params.chunks; chunk++) {
        let head = parts[part_of(chunk, b) + DIM4];
        let shrink = exp(head.x - top);
        mass += head.y * shrink;
        pull += parts[part_of(chunk, b) + d] * shrink;
    }
    let row = min(own[b], params.n - 1u);
    slope[i] = (pull / mass - bank[row * DIM4 + d]) * params.inv_tau;
    if d == 0u {
        var dots = vec4<f32>(0.0);
        for (var k = 0u; k < DIM4; k++) {
            dots += bank[row * DIM4 + k] * f[b * DIM4 + k];
        }
        loss[b] = top + log(mass) - (dots.x + dots.y + dots.z + dots.w) * params.inv_tau;
    }
}
