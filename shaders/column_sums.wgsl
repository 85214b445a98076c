// needs: lib/grid.wgsl
// column_sums: the sum of every column of a matrix; the gradient of a bias.
//   sum       y[k,c] = sum of x[r,c] over the rows of chunk k   (added to y under ACCUMULATE); once more for the chunks' sums
// Shapes:   x [rows, cols4] and y [up(rows, chunk_rows), cols4] in vec4.
// Dispatch: a lane a vec4 of columns of a chunk, 64 a workgroup, folded.
// Order:    rows of a chunk rising; chunks rising.
// Safety:   the chunk's first row is compared with rows first, r < rows by the loop's bound.
// Source:   the chain rule for y = x w + b.

struct Params {
    rows: u32,
    cols4: u32,
    chunk_rows: u32,
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
    let i = folded(group, groups) * 64u + lane;
    let first = i / params.cols4 * params.chunk_rows;
    if i >= params.cols4 && first >= params.rows { // the first chunk is summed even where there are no rows
        return;
    }
    var total = vec4<f32>(0.0);
    for (var r = first; r < min(first + params.chunk_rows, params.rows); r++) {
        total += x[r * params.cols4 + i % params.cols4];
    }
    if ACCUMULATE {
        total += y[i];
    }
    y[i] = total;
}
