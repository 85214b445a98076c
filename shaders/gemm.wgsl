// needs: lib/grid.wgsl lib/gemm_lanes.wgsl
// gemm: products of matrices.
//   nn      y[m, n]  = sum over k of x[m, k] w[k, n]  (+ bias[n])
//   nt      y[m, k]  = sum over n of x[m, n] w[k, n]
//   tn      y[k, n]  = sum over m of x[m, k] w[m, n], in `split` parts over m: part[s, k, n]
//   tn_sum  y[k, n]  = sum over s of part[s, k, n]
// With ACCUMULATE the result is added to what y holds. `tn` with split = 1 writes y itself.
// Shapes:   a matrix is [rows][columns padded to 4], padding zero; `m`, `k`, `n` are the unpadded sizes.
//           nn: x [m, k], w [k, n], bias [n], y [m, n]; nt: x [m, n], w [k, n], y [m, k];
//           tn: x [m, k], w [m, n], y or part [split, k_rows, n], k <= k_rows <= k padded to 4 (a weight's padded rows).
// Dispatch: workgroups of LANES tiles, folded; the tiles are, with up(a, b) = a / b rounded up,
//           nn up(m, ROWS) up(n, 4 COLS); nt up(m, ROWS) up(k, 4 COLS); tn split up(k, ROWS) up(n, 4 COLS);
//           tn_sum k_rows up(n, 4) elements.
// Order:    k (nt: n) ascending, one chain of fused multiply-adds; tn: m ascending within a part, parts ascending.
//           It depends on the shapes and `split` only, not on ROWS, COLS or LANES.
// Safety:   rows and columns are clamped to the last one before a load, and tested before a store; reductions stop at
//           the matrix's end. Needs m, k, n, split > 0 and split <= m. Mesa's software adapter silently ends a loop
//           after 65,535 rounds of all loops of an invocation together (measured on 22.3.6): keep k / 4 (nt: n / 4, tn:
//           m / split / 4) below that.
// Source:   BLAS GEMM; split-K with partial sums as in CUTLASS.

override ACCUMULATE: bool = false;

struct Params {
    m: u32,
    k: u32,
    n: u32,
    k_rows: u32,
    split: u32,
    has_bias: u32,
}

@group(0) @binding(0) var<storage, read> params: Params;
@group(0) @binding(1) var<storage, read> x: array<vec4<f32>>;
@group(0) @binding(2) var<storage, read> w: array<vec4<f32>>;
@group(0) @binding(3) var<storage, read> bias: array<vec4<f32>>;
@group(0) @binding(4) var<storage, read_write> y: array<vec4<f32>>;

fn up(a: u32, b: u32) -> u32 {
    return (a + b - 1u) / b;
}

fn put(at: u32, value: vec4<f32>) {
    if ACCUMULATE {
        y[at] += value;
    } else {
        y[at] = value;
    }
}

@compute @workgroup_size(LANES)
fn nn(
    @builtin(workgroup_id) group: vec3<u32>,
    @builtin(num_workgroups) groups: vec3<u32>,
    @builtin(local_invocation_index) lane: u32,
) {
    let size = params;
    let index = folded(group, groups) * LANES + lane;
    let k4 = up(size.k, 4u);
    let n4 = up(size.n, 4u);
    let down = up(size.m, ROWS);
    if index >= up(n4, COLS) * down {
        return;
    }
    let row = index % down * ROWS;
    let column = index / down * COLS;
    var columns: array<u32, COLS>;
    for (var v = 0u; v < COLS; v++) {
        columns[v] = min(column + v, n4 - 1u);
    }
    var rows: array<u32, ROWS>;
    for (var i = 0u; i < ROWS; i++) {
        rows[i] = min(row + i, size.m - 1u) * k4;
    }
    var tile: Tile;
    for (var k = 0u; k < k4; k++) {
        var b: Steps;
        for (var j = 0u; j < 4u; j++) {
            let line = min(4u * k + j, size.k - 1u) * n4;
            for (var v = 0u; v < COLS; v++) {
                b[j * COLS + v] = w[line + columns[v]];
            }
        }
        for (var i = 0u; i < ROWS; i++) {
            accumulate(&tile, i, x[rows[i] + k], &b);
        }
    }
    for (var i = 0u; i < ROWS; i++) {
        for (var v = 0u; v < COLS; v++) {
            if row + i < size.m && column + v < n4 {
                var value = tile[i * COLS + v];
                if size.has_bias != 0u {
                    value += bias[column + v];
                }
                put((row + i) * n4 + column + v, value);
            }
        }
    }
}

@compute @workgroup_size(LANES)
fn nt(
    @builtin(workgroup_id) group: vec3<u32>,
    @builtin(num_workgroups) groups: vec3<u32>,
    @builtin(local_invocation_index) lane: u32,
) {
    let size = params;
    let index = folded(group, groups) * LANES + lane;
    let k4 = up(size.k, 4u);
    let n4 = up(size.n, 4u);
    let down = up(size.m, ROWS);
    if index >= up(k4, COLS) * down {
        return;
    }
    let row = index % down * ROWS;
    let column = index / down * COLS;
    var columns: array<u32, 4u * COLS>;
    for (var c = 0u; c < 4u * COLS; c++) {
        columns[c] = min(4u * column + c, size.k - 1u) * n4;
    }
    var rows: array<u32, ROWS>;
    for (var i = 0u; i < ROWS; i++) {
        rows[i] = min(row + i, size.m - 1u) * n4;
    }
    var tile: Tile;
    for (var n = 0u; n < n4; n++) {
        var b: Steps;
        for (var v = 0u; v < COLS; v++) {
            let b0 = w[columns[4u * v] + n];
            let b1 = w[columns[4u * v + 1u] + n];
            let b2 = w[columns[4u * v + 2u] + n];
            let b3 = w[columns[4u * v + 3u] + n];
            b[v] = vec4(b0.x, b1.x, b2.x, b3.x);
            b[COLS + v] = vec4(b0.y, b1.y, b2.y, b3.y);
            b[2u * COLS + v] = vec4(b0.z, b1.z, b2.z, b3.z);
            b[3u * COLS + v] = vec4(b0.w, b1.w, b2.w, b3.w);
        }
        for (var i = 0u; i < ROWS; i++) {
            accumulate(&tile, i, x[rows[i] + n], &b);
        }
    }
    for (var i = 0u; i < ROWS; i++) {
        for (var v = 0u; v < COLS; v++) {
            if row + i < size.m && column + v < k4 {
                let inside = 4u * (column + v) + vec4(0u, 1u, 2u, 3u) < vec4(size.k);
                put((row + i) * k4 + column + v, select(vec4(0.0), tile[i * COLS + v], inside));
            }
        }
    }
}

@compute @workgroup_size(LANES)
fn tn(
    @builtin(workgroup_id) group: vec3<u32>,
    @builtin(num_workgroups) groups: vec3<u32>,
    @builtin(local_invocation_index) lane: u32,
) {
    let size = params;
    let index = folded(group, groups) * LANES + lane;
    let k4 = up(size.k, 4u);
    let n4 = up(size.n, 4u);
    let across = up(n4, COLS);
    let down = up(size.k, ROWS);
    if index >= size.split * down * across {
        return;
    }
    let row = index / across % down * ROWS;
    let column = index % across * COLS;
    let part = index / (across * down);
    let start = part * (size.m / size.split) + min(part, size.m % size.split);
    let end = start + size.m / size.split + u32(part < size.m % size.split);
    var columns: array<u32, COLS>;
    for (var v = 0u; v < COLS; v++) {
        columns[v] = min(column + v, n4 - 1u);
    }
    var rows: array<u32, ROWS / 4u>;
    for (var i = 0u; i < ROWS / 4u; i++) {
        rows[i] = min(row / 4u + i, k4 - 1u);
    }
    var tile: Tile;
    for (var m = start; m < end; m += 4u) {
        var at: array<u32, 4>;
        var b: Steps;
        for (var j = 0u; j < 4u; j++) {
            let line = min(m + j, end - 1u);
            at[j] = line * k4;
            for (var v = 0u; v < COLS; v++) {
                b[j * COLS + v] = w[line * n4 + columns[v]];
            }
        }
        for (var i = 0u; i < ROWS / 4u; i++) {
            let a0 = x[at[0] + rows[i]];
            let a1 = select(vec4(0.0), x[at[1] + rows[i]], m + 1u < end);
            let a2 = select(vec4(0.0), x[at[2] + rows[i]], m + 2u < end);
            let a3 = select(vec4(0.0), x[at[3] + rows[i]], m + 3u < end);
            accumulate(&tile, 4u * i, vec4(a0.x, a1.x, a2.x, a3.x), &b);
            accumulate(&tile, 4u * i + 1u, vec4(a0.y, a1.y, a2.y, a3.y), &b);
            accumulate(&tile, 4u * i + 2u, vec4(a0.z, a1.z, a2.z, a3.z), &b);
            accumulate(&tile, 4u * i + 3u, vec4(a0.w, a1.w, a2.w, a3.w), &b);
        }
    }
    for (var i = 0u; i < ROWS; i++) {
        for (var v = 0u; v < COLS; v++) {
            if row + i < size.k_rows && column + v < n4 {
                let at = (part * size.k_rows + row + i) * n4 + column + v;
                if ACCUMULATE && size.split == 1u {
                    y[at] += tile[i * COLS + v];
                } else {
                    y[at] = tile[i * COLS + v];
                }
            }
        }
    }
}

@compute @workgroup_size(LANES)
fn tn_sum(
    @builtin(workgroup_id) group: vec3<u32>,
    @builtin(num_workgroups) groups: vec3<u32>,
    @builtin(local_invocation_index) lane: u32,
) {
    let size = params;
    let index = folded(group, groups) * LANES + lane;
    let total = size.k_rows * up(size.n, 4u);
    if index >= total {
        return;
    }
    var sum = vec4(0.0);
    for (var s = 0u; s < size.split; s++) {
        sum += x[s * total + index];
    }
    put(index, sum);
}
