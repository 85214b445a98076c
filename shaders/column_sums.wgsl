// needs: lib/grid.wgsl
// column_sums: the sum of every column of a matrix; the gradient of a bias.
//   sum       y[c] = sum_r x[r,c]   (added to y under ACCUMULATE)
// Shapes:   x [rows, cols4] and y [cols4] in vec4.
// Dispatch: a lane a vec4 of columns, 64 a workgroup, folded.
// Order:    rows rising.
// Safety:   c < cols4 is compared first, r < rows by the loop's bound.
// Source:   the chain rule for y = x w + b.

struct Params {
    rows: u32,
    cols4: u32,
}

override ACCUMULATE: bool = false;

@group(0) @binding(0) var<storage, read> params: Params;
@group(0) @binding(1) var<storage, read> x: array<vec4<f32>>;
@group(0) @binding(2) var<storage, read_write> y: array<vec4<f32>>;

@compute @workgroup_size(64)
fn sum(
    @builtin(workgroup_id) group: vec3<u32>,
    @builtin(num_workgroups) groups: vec3<u32>,
    @builtin(local_invocation_index) lane: u32,
) {
    let c = folded(group, groups) * 64u + lane;
    if c >= params.cols4 {
        return;
    }
    var total = vec4<f32>(0.0);
    for (var r = 0u; r < params.rows; r++) {
        total += x[r * params.cols4 + c];
    }
    if ACCUMULATE {
        total += y[c];
    }
    y[c] = total;
}
