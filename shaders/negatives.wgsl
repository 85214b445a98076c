// needs: lib/grid.wgsl lib/rng.wgsl lib/step.wgsl
// negatives: rows of the bank drawn evenly and with replacement, for every sample.
//   draw      rows[b,j] = below(word, n); excluding the own row: below(word, n - 1), plus 1 from the own row on
// Shapes:   own [b]; rows [b, m].
// Dispatch: a lane for four negatives of a sample, 64 a workgroup, folded.
// Order:    word j % 4 of random(key, step, b ceil(m / 4) + j / 4).
// Safety:   b < batch and j < m are compared before the write.
// Source:   the uniform noise of Wu et al. 2018, section 3.2.

struct Params {
    batch: u32,
    m: u32,
    n: u32,
    exclude: u32,
}

@group(0) @binding(0) var<storage, read> params: Params;
@group(0) @binding(1) var<storage, read> step: Step;
@group(0) @binding(2) var<storage, read> own: array<u32>;
@group(0) @binding(3) var<storage, read_write> rows: array<u32>;

const STREAM = 5u; // Stream::Negatives

@compute @workgroup_size(64)
fn draw(
    @builtin(workgroup_id) group: vec3<u32>,
    @builtin(num_workgroups) groups: vec3<u32>,
    @builtin(local_invocation_index) lane: u32,
) {
    let i = folded(group, groups) * 64u + lane;
    let quads = (params.m + 3u) / 4u;
    let b = i / quads;
    if b >= params.batch {
        return;
    }
    let words = random(stream_key(step, STREAM), step.number, i);
    for (var k = 0u; k < 4u; k++) {
        let j = i % quads * 4u + k;
        if j < params.m {
            var row = below(words[k], params.n - params.exclude);
            if params.exclude != 0u && row >= own[b] {
                row += 1u;
            }
            rows[b * params.m + j] = row;
        }
    }
}
