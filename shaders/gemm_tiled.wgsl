// needs: lib/grid.wgsl lib/floats.wgsl lib/plain.wgsl lib/gemm_tiled.wgsl
// gemm_tiled: products of matrices on GPUs; `batch` of them side by side.
//   nn      y[m, n]  = sum over k of x[m, k] w[k, n]  (+ bias[n])
//   nt      y[m, k]  = sum over n of x[m, n] w[k, n]
//   tn      y[k, n]  = sum over m of x[m, k] w[m, n], in `split` parts over m: part[s, k, n]
//   tn_sum  y[k, n]  = sum over s of part[s, k, n]
// With ACCUMULATE the result is added to what y holds. `tn` with split = 1 writes y itself. ALIGNED leaves out every test
// of rows, columns and steps. With moments.wgsl, slopes.wgsl or affine.wgsl in place of plain.wgsl `nn` (the first and the last)
// and `nt` do a part of a batch norm's work on their results, as in gemm.wgsl: for products of one batch without a bias.
// Shapes:   as in gemm.wgsl: a matrix is [rows][columns padded to 4], padding zero; `m`, `k`, `n` are the unpadded sizes; the
//           products of a batch follow each other. nn: x [m, k], w [k_rows, n], bias [n], y [m, n]; nt: x [m, n], w [k_rows,
//           n], y [m, k]; tn: x [m, k], w [m, n], y [k_rows, n] or part [split, batch, k_rows, n], k <= k_rows <= k padded
//           to 4.
//           ALIGNED needs rows a multiple of TILE_M, columns of TILE_N and the reduction of TILE_K: in nn m, n and k, in
//           nt m, k and n, in tn k, n and m / split.
// Dispatch: workgroups, folded; with up(a, b) = a / b rounded up,
//           nn batch up(m, TILE_M) up(n, TILE_N); nt batch up(m, TILE_M) up(k, TILE_N);
//           tn split batch up(k_rows, TILE_M) up(n, TILE_N); tn_sum a lane of SUM_LANES for each of batch k_rows up(n, 4).
// Order:    k (nt: n) ascending, one chain of fused multiply-adds; tn: m ascending within a part, parts ascending. The
//           steps that fill the last slice add 0 * 0. It depends on the shapes and `split` only, and is that of gemm.wgsl.
// Safety:   rows and columns are clamped to the last one before a load and tested before a store; a step past the end
//           loads from the start and counts as zero. Needs m, k, n, batch, split > 0 and split <= m.
//           Mesa's software adapter silently ends a loop after 65,535 rounds of all loops of an invocation together:
//           there keep up(k, TILE_K) (TILE_K + 1) (nt: n, tn: m / split) below that, and 18 for the stored tile.
// Source:   BLAS GEMM; tiles and split-K with partial sums as in CUTLASS.

override ACCUMULATE: bool = false;
override ALIGNED: bool = false;

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
@group(0) @binding(1) var<storage, read> x: array<vec4<f32>>;
@group(0) @binding(2) var<storage, read> w: array<vec4<f32>>;
@group(0) @binding(3) var<storage, read> bias: array<vec4<f32>>;
@group(0) @binding(4) var<storage, read_write> y: array<vec4<f32>>;

fn up(a: u32, b: u32) -> u32 {
    return (a + b - 1u) / b;
}

// The first `count` of four vec4 of x; 0 for those that are not inside.
fn x_at(at: vec4<u32>, inside: vec4<bool>, count: u32) -> Four {
    let safe = select(vec4(0u), at, inside | vec4(ALIGNED));
    var v: Four;
    v[0] = select(vec4(0.0), x[safe.x], inside.x || ALIGNED);
    if count > 1u {
        v[1] = select(vec4(0.0), x[safe.y], inside.y || ALIGNED);
    }
    if count > 2u {
        v[2] = select(vec4(0.0), x[safe.z], inside.z || ALIGNED);
        v[3] = select(vec4(0.0), x[safe.w], inside.w || ALIGNED);
    }
    return v;
}

fn w_at(at: vec4<u32>, inside: vec4<bool>, count: u32) -> Four {
    let safe = select(vec4(0u), at, inside | vec4(ALIGNED));
    var v: Four;
    v[0] = select(vec4(0.0), w[safe.x], inside.x || ALIGNED);
    if count > 1u {
        v[1] = select(vec4(0.0), w[safe.y], inside.y || ALIGNED);
    }
    if count > 2u {
        v[2] = select(vec4(0.0), w[safe.z], inside.z || ALIGNED);
        v[3] = select(vec4(0.0), w[safe.w], inside.w || ALIGNED);
    }
    return v;
}

// Where a tile goes: rows of `stride` vec4 from `first` on.
struct Output {
    first: u32,
    stride: u32,
    rows: u32,
    columns: u32,
    add: bool,
}

fn place_in(to: Output, row: u32, column: u32) -> u32 {
    let inside = ALIGNED || (row < to.rows && 4u * column < to.columns);
    return select(NOWHERE, to.first + row * to.stride + column, inside);
}

fn put(to: Output, row: u32, column: u32, value: vec4<f32>) {
    let at = place_in(to, row, column);
    if ALIGNED || at != NOWHERE {
        let sum = select(vec4(0.0), value, (4u * column + OWN < vec4(to.columns)) | vec4(ALIGNED));
        if to.add {
            y[at] += sum;
        } else {
            y[at] = sum;
        }
    }
}

// What the piece in place of plain.wgsl does with the result at a place.
fn refine(gathered: ptr<function, Gathered>, at: u32) {
    if ALIGNED || at != NOWHERE {
        let value = finish(gathered, y[at], at);
        if CHANGES {
            y[at] = value;
        }
    }
}

fn add_four(tile: ptr<function, Tile>, at: u32, value: vec4<f32>) {
    (*tile)[at] += value;
    (*tile)[at + 1u] += value;
    (*tile)[at + 2u] += value;
    (*tile)[at + 3u] += value;
}

// Add the bias to a lane's columns, from the vec4 `left` on; `last` is that of the whole result.
fn add_bias(tile: ptr<function, Tile>, left: u32, last: u32) {
    let b0 = bias[min(left, last)];
    add_four(tile, 0u, b0);
    if ROWS > 4u {
        add_four(tile, COLS, b0);
    }
    if COLS > 4u {
        let b1 = bias[min(left + N4 / 2u, last)];
        add_four(tile, 4u, b1);
        if ROWS > 4u {
            add_four(tile, COLS + 4u, b1);
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
    let index = folded(group, groups);
    let k4 = up(size.k, 4u);
    let n4 = up(size.n, 4u);
    let down = up(size.m, TILE_M);
    let across = up(size.n, TILE_N);
    if index >= size.batch * down * across { // the same for the whole workgroup, as are all conditions on barriers below
        return;
    }
    let place = place_of(index % (down * across), down, across);
    let which = index / (down * across);
    let row = place.x * TILE_M;
    let column = place.y * N4;
    let rows = min(row + rows_of(lane), vec4(size.m - 1u));
    var step4 = lane % K4;
    var x_next = (which * size.m + rows) * k4 + step4;
    var step = steps_of(lane, N4);
    var w_next = (which * size.k_rows + step) * n4 + min(column + lane % N4, n4 - 1u);
    var tile: Tile;
    let slices = up(size.k, TILE_K);
    for (var s = 0u; s <= slices; s++) {
        var a: Four;
        var b: Four;
        if s < slices {
            if fetches_a_block(lane) {
                a = x_at(x_next, vec4(step4 < k4), 4u);
            }
            if fetches_b_lines(lane) {
                b = w_at(w_next, step < vec4(size.k), B_EACH);
            }
            step4 += K4;
            x_next += K4;
            step += TILE_K;
            w_next += TILE_K * n4;
        }
        if s > 0u {
            multiply(&tile, s - 1u, lane);
        }
        if s < slices {
            keep_a_block(s, lane, a);
            keep_b_lines(s, lane, b);
        }
        workgroupBarrier();
    }
    if size.has_bias != 0u {
        add_bias(&tile, column + lane_place(lane).y, n4 - 1u);
    }
    let to = Output(which * size.m * n4, n4, size.m, size.n, ACCUMULATE);
    store(&tile, lane, to, row, column);
    finish_tile(lane, to, row, column, n4, 0u);
}

@compute @workgroup_size(LANES)
fn nt(
    @builtin(workgroup_id) group: vec3<u32>,
    @builtin(num_workgroups) groups: vec3<u32>,
    @builtin(local_invocation_index) lane: u32,
) {
    let size = params;
    let index = folded(group, groups);
    let k4 = up(size.k, 4u);
    let n4 = up(size.n, 4u);
    let down = up(size.m, TILE_M);
    let across = up(size.k, TILE_N);
    if index >= size.batch * down * across {
        return;
    }
    let place = place_of(index % (down * across), down, across);
    let which = index / (down * across);
    let row = place.x * TILE_M;
    let column = place.y * N4;
    let rows = min(row + rows_of(lane), vec4(size.m - 1u));
    let columns = min(4u * column + rows_of(lane), vec4(size.k - 1u));
    var step4 = lane % K4;
    var x_next = (which * size.m + rows) * n4 + step4;
    var w_next = (which * size.k_rows + columns) * n4 + step4;
    var tile: Tile;
    let slices = up(size.n, TILE_K);
    for (var s = 0u; s <= slices; s++) {
        var a: Four;
        var b: Four;
        if s < slices {
            if fetches_a_block(lane) {
                a = x_at(x_next, vec4(step4 < n4), 4u);
            }
            if fetches_b_block(lane) {
                b = w_at(w_next, vec4(step4 < n4), 4u);
            }
            step4 += K4;
            x_next += K4;
            w_next += K4;
        }
        if s > 0u {
            multiply(&tile, s - 1u, lane);
        }
        if s < slices {
            keep_a_block(s, lane, a);
            keep_b_block(s, lane, b);
        }
        workgroupBarrier();
    }
    let to = Output(which * size.m * k4, k4, size.m, size.k, ACCUMULATE);
    store(&tile, lane, to, row, column);
    finish_tile(lane, to, row, column, k4, 0u);
}

@compute @workgroup_size(LANES)
fn tn(
    @builtin(workgroup_id) group: vec3<u32>,
    @builtin(num_workgroups) groups: vec3<u32>,
    @builtin(local_invocation_index) lane: u32,
) {
    let size = params;
    let index = folded(group, groups);
    let k4 = up(size.k, 4u);
    let n4 = up(size.n, 4u);
    let down = up(size.k_rows, TILE_M);
    let across = up(size.n, TILE_N);
    if index >= size.split * size.batch * down * across {
        return;
    }
    let place = place_of(index % (down * across), down, across);
    let which = index / (down * across) % size.batch;
    let part = index / (down * across) / size.batch;
    let row = place.x * TILE_M;
    let column = place.y * N4;
    let start = part * (size.m / size.split) + min(part, size.m % size.split);
    let steps = size.m / size.split + u32(part < size.m % size.split);
    var a_step = steps_of(lane, M4);
    var b_step = steps_of(lane, N4);
    var x_next = (which * size.m + start + a_step) * k4 + min(row / 4u + lane % M4, k4 - 1u);
    var w_next = (which * size.m + start + b_step) * n4 + min(column + lane % N4, n4 - 1u);
    var tile: Tile;
    let slices = up(steps, TILE_K);
    for (var s = 0u; s <= slices; s++) {
        var a: Four;
        var b: Four;
        if s < slices {
            if fetches_a_lines(lane) {
                a = x_at(x_next, a_step < vec4(steps), A_EACH);
            }
            if fetches_b_lines(lane) {
                b = w_at(w_next, b_step < vec4(steps), B_EACH);
            }
            a_step += TILE_K;
            b_step += TILE_K;
            x_next += TILE_K * k4;
            w_next += TILE_K * n4;
        }
        if s > 0u {
            multiply(&tile, s - 1u, lane);
        }
        if s < slices {
            keep_a_lines(s, lane, a);
            keep_b_lines(s, lane, b);
        }
        workgroupBarrier();
    }
    let first = (part * size.batch + which) * size.k_rows * n4;
    store(&tile, lane, Output(first, n4, size.k_rows, size.n, ACCUMULATE && size.split == 1u), row, column);
}

@compute @workgroup_size(SUM_LANES)
fn tn_sum(
    @builtin(workgroup_id) group: vec3<u32>,
    @builtin(num_workgroups) groups: vec3<u32>,
    @builtin(local_invocation_index) lane: u32,
) {
    let size = params;
    let index = folded(group, groups) * SUM_LANES + lane;
    let total = size.batch * size.k_rows * up(size.n, 4u);
    if index >= total {
        return;
    }
    var sum = vec4(0.0);
    for (var s = 0u; s < size.split; s++) {
        sum += x[s * total + index];
    }
    if ACCUMULATE {
        y[index] += sum;
    } else {
        y[index] = sum;
    }
}
