// needs: lib/grid.wgsl
// l2norm: scale every row to unit length.
//   forward   len[r] = max(sqrt(sum_c x[r,c]^2), eps)      y[r,c] = x[r,c] / len[r]
//   backward  dx[r,c] = (dy[r,c] - y[r,c] * sum_k y[r,k] dy[r,k]) / len[r]   (0 for the sum where len[r] = eps;
//             added to dx under ACCUMULATE)
// Shapes:   x, y, dy, dx [rows, cols], cols padded (padding is zero); len [rows] padded to a multiple of 4.
// Dispatch: one workgroup a row, rows padded to a multiple of 4, folded.
// Order:    a lane adds its columns in rising order, 64 apart; then a fixed tree over the lanes.
// Safety:   row * cols + c < rows * cols; len has a place for every padded row.
// Source:   the unit-length embedding of Wu et al. 2018, section 3.1.

struct Params {
    rows: u32,
    cols: u32,
    eps: f32,
}

override ACCUMULATE: bool = false;

@group(0) @binding(0) var<storage, read> params: Params;
@group(0) @binding(1) var<storage, read> x: array<f32>;
@group(0) @binding(2) var<storage, read_write> y_out: array<f32>;
@group(0) @binding(3) var<storage, read_write> len_out: array<f32>;
@group(0) @binding(4) var<storage, read> y: array<f32>;
@group(0) @binding(5) var<storage, read> len: array<f32>;
@group(0) @binding(6) var<storage, read> dy: array<f32>;
@group(0) @binding(7) var<storage, read_write> dx: array<f32>;

const LANES = 64u;
var<workgroup> sums: array<f32, LANES>;

fn tree_sum(lane: u32, own: f32) -> f32 {
    sums[lane] = own;
    workgroupBarrier();
    for (var half = LANES / 2u; half > 0u; half /= 2u) {
        if lane < half {
            sums[lane] += sums[lane + half];
        }
        workgroupBarrier();
    }
    return sums[0];
}

@compute @workgroup_size(LANES)
fn forward(
    @builtin(workgroup_id) group: vec3<u32>,
    @builtin(num_workgroups) groups: vec3<u32>,
    @builtin(local_invocation_index) lane: u32,
) {
    let row = folded(group, groups);
    if row >= params.rows { // the same for the whole workgroup, so the barriers below stay uniform
        if lane == 0u && row < (params.rows + 3u) / 4u * 4u {
            len_out[row] = 0.0;
        }
        return;
    }
    let base = row * params.cols;
    var own = 0.0;
    for (var c = lane; c < params.cols; c += LANES) {
        own += x[base + c] * x[base + c];
    }
    let length = sqrt(tree_sum(lane, own));
    // select, not max: a NaN length must stay NaN.
    let divisor = select(length, params.eps, length < params.eps);
    for (var c = lane; c < params.cols; c += LANES) {
        y_out[base + c] = x[base + c] / divisor;
    }
    if lane == 0u {
        len_out[row] = divisor;
    }
}

@compute @workgroup_size(LANES)
fn backward(
    @builtin(workgroup_id) group: vec3<u32>,
    @builtin(num_workgroups) groups: vec3<u32>,
    @builtin(local_invocation_index) lane: u32,
) {
    let row = folded(group, groups);
    if row >= params.rows { // the same for the whole workgroup
        return;
    }
    let base = row * params.cols;
    var own = 0.0;
    for (var c = lane; c < params.cols; c += LANES) {
        own += y[base + c] * dy[base + c];
    }
    let along = select(0.0, tree_sum(lane, own), len[row] > params.eps);
    for (var c = lane; c < params.cols; c += LANES) {
        var d = (dy[base + c] - y[base + c] * along) / len[row];
        if ACCUMULATE {
            d += dx[base + c];
        }
        dx[base + c] = d;
    }
}
