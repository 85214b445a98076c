// needs: lib/grid.wgsl lib/floats.wgsl lib/apart.wgsl lib/gemm_lanes.wgsl lib/plain.wgsl
// gemm: products of matrices, `batch` of them side by side.
//   nn      y[m, n]  = sum over k of x[m, k] w[k, n]  (+ bias[n])
//   nt      y[m, k]  = sum over n of x[m, n] w[k, n]
//   tn      y[k, n]  = sum over m of x[m, k] w[m, n], in `split` parts over m: part[s, k, n]
//   tn_sum  y[k, n]  = sum over s of part[s, k, n]
// With ACCUMULATE the result is added to what y holds. `tn` with split = 1 writes y itself. With moments.wgsl, slopes.wgsl or
// affine.wgsl in place of plain.wgsl `nn` (the first and the last) and `nt` do a part of a batch norm's work on their results,
// as conv2d.wgsl does: every PART rows are a part of its sums. That is for products of one batch without a bias.
// Shapes:   a matrix is [rows][columns padded to 4], padding zero; `m`, `k`, `n` are the unpadded sizes; the products of a
//           batch follow each other. nn: x [m, k], w [k_rows, n], bias [n], y [m, n]; nt: x [m, n], w [k_rows, n], y [m, k];
//           tn: x [m, k], w [m, n], y [k_rows, n] or part [split, batch, k_rows, n], k <= k_rows <= k padded to 4.
// Dispatch: workgroups of LANES lanes, TOGETHER a tile, folded; the tiles are, with up(a, b) = a / b rounded up and
//           wide = 4 WIDE, batch times nn up(m, HIGH) up(n, wide); nt up(m, HIGH) up(k, wide);
//           tn split up(k, HIGH) up(n, wide); tn_sum a lane each of batch k_rows up(n, 4) elements.
// Order:    k (nt: n) ascending, one chain of fused multiply-adds; tn: m ascending within a part, parts ascending.
//           It depends on the shapes and `split` only, not on the constants of the tile.
// Safety:   rows and columns are clamped to the last one before a load, and tested before a store; reductions stop at
//           the matrix's end. Needs m, k, n, split, batch > 0 and split <= m. Mesa's software adapter silently ends a loop
//           after 65,535 rounds of all loops of an invocation together (measured on 22.3.6): keep k / 4 (nt: n / 4, tn:
//           m / split / 4) below that.
// Source:   BLAS GEMM; split-K with partial sums as in CUTLASS.

override ACCUMULATE: bool = false;

struct Params {
    batch: u32,
    m: u32,
    k: u32,
    n: u32,
    k_rows: u32,
    split: u32,
    has_bias: u32,
}

@group(0) @binding(0) var<storage, read> params: Params;
@group(0) @binding(1) var<storage, read> x: array<Floats>;
@group(0) @binding(2) var<storage, read> w: array<Floats>;
@group(0) @binding(3) var<storage, read> bias: array<Floats>;
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

// Go over the lane's results once more, PART rows of a column at a time, where that is wanted: in loops of their own, see
// conv2d.wgsl. `rows` and `columns` are those of the whole result.
fn finish_tile(member: u32, row: u32, column: u32, rows: u32, columns: u32) {
    if !FINISHES {
        return;
    }
    for (var v = 0u; v < COLS; v++) {
        let c = column + column_held(v, member);
        for (var i = 0u; i < ROWS; i += PART) {
            let first = row + row_held(i, member);
            if first < rows && c < columns {
                var gathered = begin(c);
                for (var r = first; r < min(first + PART, rows); r++) {
                    let value = finish(&gathered, y[r * columns + c], r * columns + c);
                    if CHANGES {
                        y[r * columns + c] = value;
                    }
                }
                end(&gathered, first / PART, c, columns);
            }
        }
    }
}

@compute @workgroup_size(LANES)
fn nn(
    @builtin(workgroup_id) group: vec3<u32>,
    @builtin(num_workgroups) groups: vec3<u32>,
    @builtin(local_invocation_index) lane: u32,
) {
    let size = params;
    let member = lane % TOGETHER;
    let index = (folded(group, groups) * LANES + lane) / TOGETHER;
    let k4 = up(size.k, 4u);
    let n4 = up(size.n, 4u);
    let across = up(n4, WIDE);
    let down = up(size.m, HIGH);
    if index >= size.batch * across * down {
        return;
    }
    let row = index % down * HIGH;
    let column = index / down % across * WIDE;
    let batch = index / (down * across);
    var columns: array<u32, COLUMN_READS>;
    var steps: array<u32, COLUMN_READS>;
    for (var i = 0u; i < COLUMN_READS; i++) {
        let e = element_read(i, member);
        steps[i] = e / COLS;
        columns[i] = batch * size.k_rows * n4 + min(column + column_held(e % COLS, member), n4 - 1u);
    }
    var rows: array<u32, ROW_READS>;
    for (var i = 0u; i < ROW_READS; i++) {
        rows[i] = (batch * size.m + min(row + row_read(i, member), size.m - 1u)) * k4;
    }
    var tile: Tile;
    for (var k = 0u; k < k4; k++) {
        var read: array<vec4<f32>, COLUMN_READS>;
        for (var i = 0u; i < COLUMN_READS; i++) {
            read[i] = floats(w[min(4u * k + steps[i], size.k - 1u) * n4 + columns[i]]);
        }
        var b = steps_of_lines(read);
        for (var i = 0u; i < ROW_READS; i++) {
            accumulate_rows(&tile, i, floats(x[rows[i] + k]), &b);
        }
    }
    for (var i = 0u; i < ROWS; i++) {
        let r = row + row_held(i, member);
        for (var v = 0u; v < COLS; v++) {
            let c = column + column_held(v, member);
            if r < size.m && c < n4 {
                var value = tile[i * COLS + v];
                if size.has_bias != 0u {
                    value += floats(bias[c]);
                }
                put((batch * size.m + r) * n4 + c, value);
            }
        }
    }
    finish_tile(member, row, column, size.m, n4);
}

@compute @workgroup_size(LANES)
fn nt(
    @builtin(workgroup_id) group: vec3<u32>,
    @builtin(num_workgroups) groups: vec3<u32>,
    @builtin(local_invocation_index) lane: u32,
) {
    let size = params;
    let member = lane % TOGETHER;
    let index = (folded(group, groups) * LANES + lane) / TOGETHER;
    let k4 = up(size.k, 4u);
    let n4 = up(size.n, 4u);
    let across = up(k4, WIDE);
    let down = up(size.m, HIGH);
    if index >= size.batch * across * down {
        return;
    }
    let row = index % down * HIGH;
    let column = index / down % across * WIDE;
    let batch = index / (down * across);
    var columns: array<u32, COLUMN_READS>;
    for (var i = 0u; i < COLUMN_READS; i++) {
        let e = element_read(i, member);
        let own = 4u * (column + column_held(e / 4u, member)) + e % 4u;
        columns[i] = (batch * size.k_rows + min(own, size.k - 1u)) * n4;
    }
    var rows: array<u32, ROW_READS>;
    for (var i = 0u; i < ROW_READS; i++) {
        rows[i] = (batch * size.m + min(row + row_read(i, member), size.m - 1u)) * n4;
    }
    var tile: Tile;
    for (var n = 0u; n < n4; n++) {
        var read: array<vec4<f32>, COLUMN_READS>;
        for (var i = 0u; i < COLUMN_READS; i++) {
            read[i] = floats(w[columns[i] + n]);
        }
        var b = steps_of_columns(read);
        for (var i = 0u; i < ROW_READS; i++) {
            accumulate_rows(&tile, i, floats(x[rows[i] + n]), &b);
        }
    }
    for (var i = 0u; i < ROWS; i++) {
        let r = row + row_held(i, member);
        for (var v = 0u; v < COLS; v++) {
            let c = column + column_held(v, member);
            if r < size.m && c < k4 {
                let inside = 4u * c + vec4(0u, 1u, 2u, 3u) < vec4(size.k);
                put((batch * size.m + r) * k4 + c, select(vec4(0.0), tile[i * COLS + v], inside));
            }
        }
    }
    finish_tile(member, row, column, size.m, k4);
}

@compute @workgroup_size(LANES)
fn tn(
    @builtin(workgroup_id) group: vec3<u32>,
    @builtin(num_workgroups) groups: vec3<u32>,
    @builtin(local_invocation_index) lane: u32,
) {
    let size = params;
    let member = lane % TOGETHER;
    let index = (folded(group, groups) * LANES + lane) / TOGETHER;
    let k4 = up(size.k, 4u);
    let n4 = up(size.n, 4u);
    let across = up(n4, WIDE);
    let down = up(size.k, HIGH);
    if index >= size.split * size.batch * down * across {
        return;
    }
    let row = index / across % down * HIGH;
    let column = index % across * WIDE;
    let batch = index / (across * down) % size.batch;
    let part = index / (across * down * size.batch);
    let start = part * (size.m / size.split) + min(part, size.m % size.split);
    let end = start + size.m / size.split + u32(part < size.m % size.split);
    var columns: array<u32, COLUMN_READS>;
    var steps: array<u32, COLUMN_READS>;
    for (var i = 0u; i < COLUMN_READS; i++) {
        let e = element_read(i, member);
        steps[i] = e / COLS;
        columns[i] = batch * size.m * n4 + min(column + column_held(e % COLS, member), n4 - 1u);
    }
    var rows: array<u32, FOUR_READS>;
    for (var i = 0u; i < FOUR_READS; i++) {
        rows[i] = batch * size.m * k4 + min(row / 4u + four_read(i, member), k4 - 1u);
    }
    var tile: Tile;
    for (var m = start; m < end; m += 4u) {
        var read: array<vec4<f32>, COLUMN_READS>;
        for (var i = 0u; i < COLUMN_READS; i++) {
            read[i] = floats(w[min(m + steps[i], end - 1u) * n4 + columns[i]]);
        }
        var b = steps_of_lines(read);
        for (var i = 0u; i < FOUR_READS; i++) {
            var fours: array<vec4<f32>, STEPS>;
            for (var j = 0u; j < STEPS; j++) {
                let step = m + step_read(j, member);
                fours[j] = select(vec4(0.0), floats(x[min(step, end - 1u) * k4 + rows[i]]), step < end);
            }
            accumulate_fours(&tile, i, fours, &b);
        }
    }
    for (var i = 0u; i < ROWS; i++) {
        let r = row + row_of_four_held(i, member);
        for (var v = 0u; v < COLS; v++) {
            let c = column + column_held(v, member);
            if r < size.k_rows && c < n4 {
                let at = ((part * size.batch + batch) * size.k_rows + r) * n4 + c;
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
    let total = size.batch * size.k_rows * up(size.n, 4u);
    if index >= total {
        return;
    }
    var sum = vec4(0.0);
    for (var s = 0u; s < size.split; s++) {
        sum += floats(x[s * total + index]);
    }
    put(index, sum);
}
