// needs: lib/grid.wgsl lib/bank_words.wgsl
// bank_update: every sample's row moves towards its new embedding and is scaled back to unit length.
//   update    bank[own[b]] = r / |r|   with r = keep bank[own[b]] + (1 - keep) f[b]; nothing while flag is up
// Shapes:   bank [rows, dim4]: rows shard .. end, in vec4 of 32-bit or, under HALF, 16-bit floats; f [b, dim4]; own [b].
// Dispatch: a lane a sample, 64 a workgroup, folded; once a shard, which leaves rows of others alone.
// Order:    where a row occurs twice, the first sample's lane applies all of them in the order of the batch. The host splits
//           a large batch in dispatches of samples first .. first + batch, in order, to bound a lane's rounds. Under HALF each new row is
//           rounded to the nearest, ties to even, before the next is applied; what is summed is in 32 bits.
// Safety:   own rows are clamped to n - 1, and touched only where shard <= row < end; no two lanes write one row.
// Source:   Wu et al. 2018, section 3.1, with the released code's moving average (bank_keep weighs the OLD row).

struct Params {
    first: u32,
    batch: u32,
    n: u32,
    dim4: u32,
    keep: f32,
    shard: u32,
    end: u32,
}

@group(0) @binding(0) var<storage, read> params: Params;
@group(0) @binding(1) var<storage, read> f: array<vec4<f32>>;
@group(0) @binding(2) var<storage, read> own: array<u32>;
@group(0) @binding(3) var<storage, read> flag: array<u32>;
@group(0) @binding(4) var<storage, read_write> bank: array<u32>;

fn row_of(b: u32) -> u32 {
    return min(own[b], params.n - 1u);
}

// The nearest 16-bit float, ties to even, of numbers below 65,520: WGSL leaves the direction of its own conversion open.
fn half(x: f32) -> u32 {
    let bits = bitcast<u32>(x);
    let magnitude = bits & 0x7fffffffu;
    let normal = (magnitude - 0x38000000u + 0xfffu + ((magnitude >> 13u) & 1u)) >> 13u;
    let small = u32(round(abs(x) * 16777216.0)); // below 2^-14 in steps of 2^-24
    return ((bits >> 16u) & 0x8000u) | select(normal, small, magnitude < 0x38800000u);
}

fn put(i: u32, v: vec4<f32>) {
    if HALF {
        bank[2u * i] = half(v.x) | (half(v.y) << 16u);
        bank[2u * i + 1u] = half(v.z) | (half(v.w) << 16u);
    } else {
        let words = bitcast<vec4<u32>>(v);
        bank[4u * i] = words.x;
        bank[4u * i + 1u] = words.y;
        bank[4u * i + 2u] = words.z;
        bank[4u * i + 3u] = words.w;
    }
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
    if row < params.shard || row >= params.end {
        return;
    }
    let at = (row - params.shard) * params.dim4;
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
            let r = mix(f[b * params.dim4 + d], bank_at(at + d), params.keep);
            squares += r * r;
        }
        let length = max(sqrt(squares.x + squares.y + squares.z + squares.w), 1e-12);
        for (var d = 0u; d < params.dim4; d++) {
            let r = mix(f[b * params.dim4 + d], bank_at(at + d), params.keep);
            put(at + d, r / length);
        }
    }
}
