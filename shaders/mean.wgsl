// needs: lib/grid.wgsl
// mean: the mean of all elements.
//   forward   y = sum_i x[i] / count
//   guarded   the same, and raise the guard where y or a number of `also` is not finite
//   backward  dx[i] = dy / count, 0 in padding   (added under ACCUMULATE)
// Shapes:   x, dx [words] in rows of `row` words of which the first `cols` count; also [words];
//           y, dy [1] padded to 4; guard [4], of which the first is used.
// Dispatch: forward and guarded one workgroup; backward one workgroup for 256 words, folded.
// Order:    a lane adds its words in rising order, 256 apart; then a fixed tree over the lanes.
// Safety:   i < words, the length of x, dx and also.
// Source:   the mean over the batch of the losses of Wu et al. 2018, equations 3 and 7.

struct Params {
    words: u32,
    row: u32,
    cols: u32,
    count: f32,
}

override ACCUMULATE: bool = false;

@group(0) @binding(0) var<storage, read> params: Params;
@group(0) @binding(1) var<storage, read> x: array<f32>;
@group(0) @binding(2) var<storage, read_write> y: array<f32>;
@group(0) @binding(3) var<storage, read> dy: array<f32>;
@group(0) @binding(4) var<storage, read_write> dx: array<f32>;

@group(0) @binding(5) var<storage, read> also: array<u32>;
@group(0) @binding(6) var<storage, read_write> guard: array<atomic<u32>>;

const LANES = 256u;
var<workgroup> sums: array<f32, LANES>;

fn write_mean(lane: u32) {
    var own = 0.0;
    for (var i = lane; i < params.words; i += LANES) {
        own += x[i];
    }
    sums[lane] = own;
    workgroupBarrier();
    for (var half = LANES / 2u; half > 0u; half /= 2u) {
        if lane < half {
            sums[lane] += sums[lane + half];
        }
        workgroupBarrier();
    }
    if lane < 4u {
        y[lane] = select(0.0, sums[0] / params.count, lane == 0u);
    }
}

// By the bits: comparisons may be compiled as if there were no NaN and no infinity.
fn infinite(word: u32) -> bool {
    return (word & 0x7f800000u) == 0x7f800000u;
}

@compute @workgroup_size(LANES)
fn forward(@builtin(local_invocation_index) lane: u32) {
    write_mean(lane);
}

@compute @workgroup_size(LANES)
fn guarded(@builtin(local_invocation_index) lane: u32) {
    write_mean(lane);
    var found = lane == 0u && infinite(bitcast<u32>(sums[0] / params.count));
    for (var i = lane; i < params.words; i += LANES) {
        found = found || infinite(also[i]);
    }
    if found {
        atomicOr(&guard[0], 1u);
    }
}

@compute @workgroup_size(256)
fn backward(
    @builtin(workgroup_id) group: vec3<u32>,
    @builtin(num_workgroups) groups: vec3<u32>,
    @builtin(local_invocation_index) lane: u32,
) {
    let i = folded(group, groups) * 256u + lane;
    if i >= params.words {
        return;
    }
    var d = select(0.0, dy[0] / params.count, i % params.row < params.cols);
    if ACCUMULATE {
        d += dx[i];
    }
    dx[i] = d;
}
