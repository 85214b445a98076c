// needs: lib/grid.wgsl lib/convolution.wgsl lib/floats.wgsl lib/pixel.wgsl lib/plain.wgsl lib/gemm_tiled.wgsl
// conv2d_tiled: convolution of images and its gradients on GPUs; implicit GEMMs, no im2col buffer.
//   forward      y[b, p, q, o]  = sum over r, s, c of x[b, p st + r - pad, q st + s - pad, c] w[r, s, c, o]
//                rows: pixels of y; columns: o; reduction: r, s, c
//   grad_input   dx[b, i, j, c] = sum over r, s, o of dy[b, (i + pad - r) / st, (j + pad - s) / st, o] w[r, s, c, o],
//                                 over the taps for which both divisions come out even
//                rows: pixels of dx with the same remainders by the stride (a class), which meet the same taps; columns: c;
//                reduction: the taps of the class, o
//   grad_weight  part[t, r, s, c, o] = sum over the rows (b, p) of part t, and q, of
//                                 x[b, p st + r - pad, q st + s - pad, c] dy[b, p, q, o]
//                rows: r, s, c; columns: o; reduction: pixels of dy
//   grad_weight_sum  dw = sum over t of part[t]
// outside the image x is 0; output channel o reads the input channels of its group. With ACCUMULATE the gradients are
// added to what the output holds. `grad_weight` with split = 1 writes dw itself. ALIGNED leaves out every test of rows,
// columns and steps; that of the image's edge stays. With moments.wgsl, slopes.wgsl or affine.wgsl in place of plain.wgsl
// `forward` and `grad_input` do a part of a batch norm's work on their results, as in conv2d.wgsl: every PART pixels (of a
// class) are a part of its sums.
// Shapes:   as conv2d.wgsl has them: x, dx [n, h, w, ci_stride]; y, dy [n, oh, ow, co_stride]; w, dw [kh, kw, ci padded to 4,
//           co_stride]; part [split] of dw. Channels are padded to a multiple of 4 and the padding is 0, so that three
//           channels are a reduction of four. ci: input channels a group, co: all output channels. One group, or groups of
//           a multiple of 4 channels in and out.
//           ALIGNED needs rows a multiple of TILE_M, columns a group of TILE_N and the reduction of TILE_K (of each part,
//           of each class), and in grad_input h and w of the stride.
// Dispatch: workgroups, folded; with up(a, b) = a / b rounded up, ci4 = up(ci, 4), co4 = co_stride / 4 / groups,
//           forward      groups up(n oh ow, TILE_M) up(4 co4, TILE_N)
//           grad_input   stride^2 groups up(n up(h, stride) up(w, stride), TILE_M) up(4 ci4, TILE_N)
//           grad_weight  split groups up(kh kw 4 ci4, TILE_M) up(4 co4, TILE_N)
//           grad_weight_sum  a lane of SUM_LANES for each of kh kw 4 ci4 co_stride / 4
// Order:    r, s, then channels ascending, one chain of fused multiply-adds; grad_weight: b, p, q ascending within a part,
//           parts ascending. Taps outside the image and the steps that fill the last slice add 0. It depends on the
//           shapes and `split` only, and is that of conv2d.wgsl.
// Safety:   rows and columns are clamped to the last one before a load and tested before a store; taps outside the image
//           and steps past the end load from the start and count as zero. Needs all sizes > 0 and split <= n oh.
//           Mesa's software adapter silently ends a loop after 65,535 rounds of all loops of an invocation together:
//           there keep up(reduction, TILE_K) (TILE_K + 1) plus the steps from tap to tap
//           and 18 for the stored tile below that.
// Source:   implicit GEMM as in cuDNN (Chetlur et al. 2014); strided gradients by output parity; split-K as in CUTLASS.

override ACCUMULATE: bool = false;
override ALIGNED: bool = false;

@group(0) @binding(1) var<storage, read> x: array<vec4<f32>>;
@group(0) @binding(2) var<storage, read> weight: array<vec4<f32>>;
@group(0) @binding(3) var<storage, read> dy: array<vec4<f32>>;
@group(0) @binding(4) var<storage, read_write> result: array<vec4<f32>>;

// Input channels of a group, in vec4.
fn inputs(size: Params) -> u32 {
    return up(size.ci, 4u);
}

// Output channels of a group, in vec4.
fn outputs(size: Params) -> u32 {
    return size.co_stride / 4u / size.groups;
}

// The first `count` of four vec4; 0 for those that are not inside.
fn x_at(at: vec4<u32>, inside: vec4<bool>, count: u32) -> Four {
    let safe = select(vec4(0u), at, inside);
    var v: Four;
    v[0] = select(vec4(0.0), x[safe.x], inside.x);
    if count > 1u {
        v[1] = select(vec4(0.0), x[safe.y], inside.y);
    }
    if count > 2u {
        v[2] = select(vec4(0.0), x[safe.z], inside.z);
        v[3] = select(vec4(0.0), x[safe.w], inside.w);
    }
    return v;
}

fn dy_at(at: vec4<u32>, inside: vec4<bool>, count: u32) -> Four {
    let safe = select(vec4(0u), at, inside);
    var v: Four;
    v[0] = select(vec4(0.0), dy[safe.x], inside.x);
    if count > 1u {
        v[1] = select(vec4(0.0), dy[safe.y], inside.y);
    }
    if count > 2u {
        v[2] = select(vec4(0.0), dy[safe.z], inside.z);
        v[3] = select(vec4(0.0), dy[safe.w], inside.w);
    }
    return v;
}

fn weight_at(at: vec4<u32>, inside: vec4<bool>, count: u32) -> Four {
    let safe = select(vec4(0u), at, inside);
    var v: Four;
    v[0] = select(vec4(0.0), weight[safe.x], inside.x);
    if count > 1u {
        v[1] = select(vec4(0.0), weight[safe.y], inside.y);
    }
    if count > 2u {
        v[2] = select(vec4(0.0), weight[safe.z], inside.z);
        v[3] = select(vec4(0.0), weight[safe.w], inside.w);
    }
    return v;
}

// A place in a reduction over `wide` taps in a row and `deep` vec4 of channels.
struct Walk {
    row: u32,
    column: u32,
    channel: u32,
}

fn walked(start: Walk, step: u32, wide: u32, deep: u32) -> Walk {
    var to = start;
    to.channel += step;
    while to.channel >= deep {
        to.channel -= deep;
        to.column++;
        if to.column == wide {
            to.column = 0u;
            to.row++;
        }
    }
    return to;
}

// Where a tile goes: rows of `stride` vec4 from `first` on. In grad_input the rows are pixels of the class `corner`.
struct Output {
    first: u32,
    stride: u32,
    rows: u32,
    columns: u32,
    add: bool,
    apart: bool,
    corner: vec2<u32>,
}

fn place_in(to: Output, row: u32, column: u32) -> u32 {
    var at = row;
    var inside = row < to.rows && column < to.columns;
    if to.apart {
        let wide = up(params.w, params.stride);
        let pixel = pixel_of(row, wide, up(params.h, params.stride));
        let i = pixel.p * params.stride + to.corner.x;
        let j = pixel.q * params.stride + to.corner.y;
        at = (pixel.b * params.h + i) * params.w + j;
        inside = inside && i < params.h && j < params.w;
    }
    return select(NOWHERE, to.first + at * to.stride + column, inside || ALIGNED);
}

fn put(to: Output, row: u32, column: u32, value: vec4<f32>) {
    let at = place_in(to, row, column);
    if ALIGNED || at != NOWHERE {
        if to.add {
            result[at] += value;
        } else {
            result[at] = value;
        }
    }
}

// What the piece in place of plain.wgsl does with the result at a place.
fn refine(gathered: ptr<function, Gathered>, at: u32) {
    if ALIGNED || at != NOWHERE {
        let value = finish(gathered, result[at], at);
        if CHANGES {
            result[at] = value;
        }
    }
}

@compute @workgroup_size(LANES)
fn forward(
    @builtin(workgroup_id) group: vec3<u32>,
    @builtin(num_workgroups) groups: vec3<u32>,
    @builtin(local_invocation_index) lane: u32,
) {
    let size = params;
    let index = folded(group, groups);
    let ci4 = inputs(size);
    let co4 = outputs(size);
    let xs = size.ci_stride / 4u;
    let ys = size.co_stride / 4u;
    let pixels = size.n * size.oh * size.ow;
    let down = up(pixels, TILE_M);
    let across = up(co4, N4);
    if index >= size.groups * down * across { // the same for the whole workgroup, as are all conditions on barriers below
        return;
    }
    let place = place_of(index % (down * across), down, across);
    let part = index / (down * across);
    let row = place.x * TILE_M;
    let column = place.y * N4;
    // The corner of each pixel's window; a coordinate left of the image wraps round to a large number.
    let pixel = min(row + rows_of(lane), vec4(pixels - 1u));
    let left = pixel % size.ow * size.stride - size.pad;
    let top = pixel / size.ow % size.oh * size.stride - size.pad;
    let corner = ((pixel / size.ow / size.oh * size.h + top) * size.w + left) * xs + part * ci4;
    var tap = walked(Walk(0u, 0u, 0u), lane % K4, size.kw, ci4);
    // The lines of the weight are the steps.
    let steps = size.kh * size.kw * 4u * ci4;
    var step = steps_of(lane, N4);
    var weight_next = step * ys + part * co4 + min(column + lane % N4, co4 - 1u);
    var tile: Tile;
    let slices = up(steps, TILE_K);
    for (var s = 0u; s <= slices; s++) {
        var a: Four;
        var b: Four;
        if s < slices {
            if fetches_a_block(lane) {
                let inside = (top + tap.row < vec4(size.h)) & (left + tap.column < vec4(size.w))
                    & vec4(ALIGNED || tap.row < size.kh);
                a = x_at(corner + (tap.row * size.w + tap.column) * xs + tap.channel, inside, 4u);
            }
            if fetches_b_lines(lane) {
                b = weight_at(weight_next, (step < vec4(steps)) | vec4(ALIGNED), B_EACH);
            }
            tap = walked(tap, K4, size.kw, ci4);
            step += TILE_K;
            weight_next += TILE_K * ys;
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
    let to = Output(part * co4, ys, pixels, co4, false, false, vec2(0u));
    store(&tile, lane, to, row, column);
    finish_tile(lane, to, row, column, co4, 0u);
}

@compute @workgroup_size(LANES)
fn grad_input(
    @builtin(workgroup_id) group: vec3<u32>,
    @builtin(num_workgroups) groups: vec3<u32>,
    @builtin(local_invocation_index) lane: u32,
) {
    let size = params;
    let index = folded(group, groups);
    let ci4 = inputs(size);
    let co4 = outputs(size);
    let xs = size.ci_stride / 4u;
    let ys = size.co_stride / 4u;
    let high = up(size.h, size.stride);
    let wide = up(size.w, size.stride);
    let pixels = size.n * high * wide;
    let down = up(pixels, TILE_M);
    let across = up(ci4, N4);
    let tiles = down * across;
    if index >= size.stride * size.stride * size.groups * tiles {
        return;
    }
    let place = place_of(index % tiles, down, across);
    let part = index / tiles % size.groups;
    let class_row = index / (tiles * size.groups) / size.stride;
    let class_column = index / (tiles * size.groups) % size.stride;
    let row = place.x * TILE_M;
    let column = place.y * N4;
    // The first tap of the class; a tap further by a stride reads a pixel of dy before.
    let r0 = (class_row + size.pad) % size.stride;
    let s0 = (class_column + size.pad) % size.stride;
    let taps_down = up(max(size.kh, r0) - r0, size.stride);
    let taps_across = up(max(size.kw, s0) - s0, size.stride);
    let pixel = min(row + rows_of(lane), vec4(pixels - 1u));
    let right = pixel % wide + (class_column + size.pad) / size.stride;
    let bottom = pixel / wide % high + (class_row + size.pad) / size.stride;
    let corner = ((pixel / wide / high * size.oh + bottom) * size.ow + right) * ys + part * co4;
    let columns = min(4u * column + rows_of(lane), vec4(4u * ci4 - 1u)) * ys + part * co4;
    var tap = walked(Walk(0u, 0u, 0u), lane % K4, taps_across, co4);
    var tile: Tile;
    let slices = up(taps_down * taps_across * co4, K4);
    for (var s = 0u; s <= slices; s++) {
        var a: Four;
        var b: Four;
        if s < slices {
            let more = ALIGNED || tap.row < taps_down;
            if fetches_a_block(lane) {
                let inside = (bottom - tap.row < vec4(size.oh)) & (right - tap.column < vec4(size.ow)) & vec4(more);
                a = dy_at(corner - (tap.row * size.ow + tap.column) * ys + tap.channel, inside, 4u);
            }
            if fetches_b_block(lane) {
                let line = (r0 + tap.row * size.stride) * size.kw + s0 + tap.column * size.stride;
                b = weight_at(line * 4u * ci4 * ys + columns + tap.channel, vec4(more), 4u);
            }
            tap = walked(tap, K4, taps_across, co4);
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
    let to = Output(part * ci4, xs, pixels, ci4, ACCUMULATE, true, vec2(class_row, class_column));
    store(&tile, lane, to, row, column);
    finish_tile(lane, to, row, column, ci4, (class_row * size.stride + class_column) * up(pixels, PART));
}

@compute @workgroup_size(LANES)
fn grad_weight(
    @builtin(workgroup_id) group: vec3<u32>,
    @builtin(num_workgroups) groups: vec3<u32>,
    @builtin(local_invocation_index) lane: u32,
) {
    let size = params;
    let index = folded(group, groups);
    let ci4 = inputs(size);
    let co4 = outputs(size);
    let xs = size.ci_stride / 4u;
    let ys = size.co_stride / 4u;
    let rows = size.kh * size.kw * 4u * ci4;
    let down = up(rows, TILE_M);
    let across = up(co4, N4);
    let tiles = down * across;
    if index >= size.split * size.groups * tiles {
        return;
    }
    let place = place_of(index % tiles, down, across);
    let part = index / tiles % size.groups;
    let chunk = index / tiles / size.groups;
    let row = place.x * TILE_M;
    let column = place.y * N4;
    // The pixels of dy that are this part's: whole lines.
    let lines = size.n * size.oh;
    let start = (chunk * (lines / size.split) + min(chunk, lines % size.split)) * size.ow;
    let steps = (lines / size.split + u32(chunk < lines % size.split)) * size.ow;
    // A lane's rows have one tap and four channels.
    let own = min(row / 4u + lane % M4, rows / 4u - 1u);
    let r = own / ci4 / size.kw - size.pad;
    let s = own / ci4 % size.kw - size.pad;
    let channel = part * ci4 + own % ci4;
    var a_step = steps_of(lane, M4);
    let ahead = pixel_of(TILE_K, size.ow, size.oh);
    var p0 = pixel_of(start + a_step.x, size.ow, size.oh);
    var p1 = pixel_of(start + a_step.y, size.ow, size.oh);
    var p2 = pixel_of(start + a_step.z, size.ow, size.oh);
    var p3 = pixel_of(start + a_step.w, size.ow, size.oh);
    var b_step = steps_of(lane, N4);
    var dy_next = (start + b_step) * ys + part * co4 + min(column + lane % N4, co4 - 1u);
    var tile: Tile;
    let slices = up(steps, TILE_K);
    for (var slice = 0u; slice <= slices; slice++) {
        var a: Four;
        var b: Four;
        if slice < slices {
            if fetches_a_lines(lane) {
                let i = vec4(p0.p, p1.p, p2.p, p3.p) * size.stride + r;
                let j = vec4(p0.q, p1.q, p2.q, p3.q) * size.stride + s;
                let image = vec4(p0.b, p1.b, p2.b, p3.b) * size.h;
                let inside = (i < vec4(size.h)) & (j < vec4(size.w)) & ((a_step < vec4(steps)) | vec4(ALIGNED));
                a = x_at(((image + i) * size.w + j) * xs + channel, inside, A_EACH);
            }
            if fetches_b_lines(lane) {
                b = dy_at(dy_next, (b_step < vec4(steps)) | vec4(ALIGNED), B_EACH);
            }
            a_step += TILE_K;
            p0 = moved(p0, ahead, size.ow, size.oh);
            if A_EACH > 1u {
                p1 = moved(p1, ahead, size.ow, size.oh);
            }
            if A_EACH > 2u {
                p2 = moved(p2, ahead, size.ow, size.oh);
                p3 = moved(p3, ahead, size.ow, size.oh);
            }
            b_step += TILE_K;
            dy_next += TILE_K * ys;
        }
        if slice > 0u {
            multiply(&tile, slice - 1u, lane);
        }
        if slice < slices {
            keep_a_lines(slice, lane, a);
            keep_b_lines(slice, lane, b);
        }
        workgroupBarrier();
    }
    let to = Output(chunk * rows * ys + part * co4, ys, rows, co4, ACCUMULATE && size.split == 1u, false, vec2(0u));
    store(&tile, lane, to, row, column);
}

@compute @workgroup_size(SUM_LANES)
fn grad_weight_sum(
    @builtin(workgroup_id) group: vec3<u32>,
    @builtin(num_workgroups) groups: vec3<u32>,
    @builtin(local_invocation_index) lane: u32,
) {
    let size = params;
    let index = folded(group, groups) * SUM_LANES + lane;
    let total = size.kh * size.kw * inputs(size) * size.co_stride;
    if index >= total {
        return;
    }
    var sum = vec4(0.0);
    for (var t = 0u; t < size.split; t++) {
        sum += x[t * total + index];
    }
    if ACCUMULATE {
        result[index] += sum;
    } else {
        result[index] = sum;
    }
}
