// needs: lib/grid.wgsl lib/convolution.wgsl lib/floats.wgsl lib/pixel.wgsl lib/apart.wgsl lib/gemm_lanes.wgsl lib/plain.wgsl
// conv2d: convolution of images, its gradients to the input and to the weight; implicit GEMMs, no im2col buffer.
//   forward      y[b, p, q, o]  = sum over r, s, c of x[b, p st + r - pad, q st + s - pad, c] w[r, s, c, o]
//   grad_input   dx[b, i, j, c] = sum over r, s, o of dy[b, (i + pad - r) / st, (j + pad - s) / st, o] w[r, s, c, o],
//                                 over the taps for which both divisions come out even
//   grad_weight  part[t, r, s, c, o] = sum over the rows (b, p) of part t, and q, of
//                                 x[b, p st + r - pad, q st + s - pad, c] dy[b, p, q, o]
//   grad_weight_sum  dw = sum over t of part[t]
// outside the image x is 0; output channel o reads the input channels of its group. With ACCUMULATE the gradients are
// added to what the output holds. With moments.wgsl, slopes.wgsl or affine.wgsl in place of plain.wgsl `forward` and
// `grad_input` do a part of a batch norm's work on their results, a part of its sums for every PART pixels (of a class): in a
// second loop over what they have stored, since the first must be unrolled for the tile to stay in registers (measured:
// in one loop forward takes 2.3 times as long).
// `grad_weight` with split = 1 writes dw itself. One group, or groups of a multiple of 4 channels in and out; conv2d_scalar.wgsl
// takes any.
// Shapes:   x, dx [n, h, w, ci_stride]; y, dy [n, oh, ow, co_stride]; w, dw [kh, kw, ci padded to 4, co_stride]; part
//           [split] of dw. Channels are padded to a multiple of 4 and the padding is 0. ci: input channels a group, co: all
//           output channels, ci_stride = groups ci padded, co_stride = co padded.
// Dispatch: workgroups of LANES lanes, TOGETHER a tile, folded; the tiles are, with up(a, b) = a / b rounded up,
//           ci4 = up(ci, 4), co4 = up(co, 4) / groups (co / 4 / groups with groups),
//           forward      up(n oh ow, HIGH) groups up(co4, WIDE)
//           grad_input   stride^2 up(n up(h, stride) up(w, stride), HIGH) groups up(ci4, WIDE)
//           grad_weight  split up(kh kw 4 ci4, HIGH) groups up(co4, WIDE)
//           and a lane for each of grad_weight_sum  kh kw 4 ci4 co_stride / 4
// Order:    r, s, then channels ascending, one chain of fused multiply-adds; grad_weight: b, p, q ascending within a part,
//           parts ascending. It depends on the shapes and `split` only, not on the constants of the tile.
// Safety:   pixels and columns are clamped to the last one before a load and tested before a store; taps outside the image
//           load from the first pixel and count as zero. Needs all sizes > 0 and split <= n oh.
//           Mesa's software adapter silently ends a loop after 65,535 rounds of all loops of an invocation together
//           (measured on 22.3.6), so the host keeps below that: forward kh kw (ci4 + 2), grad_input the same with co4,
//           grad_weight (n oh / split + 1) (up(ow, 4) + 1).
// Source:   implicit GEMM as in cuDNN (Chetlur et al. 2014); strided gradients by output parity.

override ACCUMULATE: bool = false;

@group(0) @binding(1) var<storage, read> x: array<Floats>;
@group(0) @binding(2) var<storage, read> weight: array<Floats>;
@group(0) @binding(3) var<storage, read> dy: array<Floats>;
@group(0) @binding(4) var<storage, read_write> result: array<vec4<f32>>;

// Input channels of a group, in vec4.
fn inputs(size: Params) -> u32 {
    return up(size.ci, 4u);
}

// Output channels of a group, in vec4.
fn outputs(size: Params) -> u32 {
    return size.co_stride / 4u / size.groups;
}

fn put(at: u32, value: vec4<f32>) {
    if ACCUMULATE {
        result[at] += value;
    } else {
        result[at] = value;
    }
}

@compute @workgroup_size(LANES)
fn forward(
    @builtin(workgroup_id) group: vec3<u32>,
    @builtin(num_workgroups) groups: vec3<u32>,
    @builtin(local_invocation_index) lane: u32,
) {
    let size = params;
    let member = lane % TOGETHER;
    let index = (folded(group, groups) * LANES + lane) / TOGETHER;
    let pixels = size.n * size.oh * size.ow;
    let across = up(outputs(size), WIDE);
    let down = up(pixels, HIGH);
    if index >= size.groups * across * down {
        return;
    }
    let pixel = index % down * HIGH;
    let part = index / down / across;
    let column = index / down % across * WIDE;
    let ci4 = inputs(size);
    let xs = size.ci_stride / 4u;
    let ys = size.co_stride / 4u;
    var columns: array<u32, COLUMN_READS>;
    var steps: array<u32, COLUMN_READS>;
    for (var i = 0u; i < COLUMN_READS; i++) {
        let e = element_read(i, member);
        steps[i] = e / COLS;
        columns[i] = part * outputs(size) + min(column + column_held(e % COLS, member), outputs(size) - 1u);
    }
    // The corner of each pixel's window; a coordinate left of the image wraps round to a large number.
    var top: array<u32, ROW_READS>;
    var left: array<u32, ROW_READS>;
    var image: array<u32, ROW_READS>;
    let step = pixel_of(row_read(1u, 0u), size.ow, size.oh);
    var at = pixel_of(pixel + row_read(0u, member), size.ow, size.oh);
    for (var i = 0u; i < ROW_READS; i++) {
        left[i] = at.q * size.stride - size.pad;
        top[i] = at.p * size.stride - size.pad;
        image[i] = at.b * size.h;
        at = moved(at, step, size.ow, size.oh);
    }
    var tile: Tile;
    var first = 0u;
    for (var r = 0u; r < size.kh; r++) {
        var line: array<u32, ROW_READS>;
        var meets: array<bool, ROW_READS>;
        for (var i = 0u; i < ROW_READS; i++) {
            meets[i] = image[i] < size.n * size.h && top[i] + r < size.h;
            line[i] = ((image[i] + top[i] + r) * size.w + left[i]) * xs + part * ci4;
        }
        for (var s = 0u; s < size.kw; s++) {
            var at: array<u32, ROW_READS>;
            var inside: array<bool, ROW_READS>;
            for (var i = 0u; i < ROW_READS; i++) {
                inside[i] = meets[i] && left[i] + s < size.w;
                at[i] = select(0u, line[i] + s * xs, inside[i]);
            }
            for (var c = 0u; c < ci4; c++) {
                var read: array<vec4<f32>, COLUMN_READS>;
                for (var i = 0u; i < COLUMN_READS; i++) {
                    read[i] = floats(weight[(first + 4u * c + steps[i]) * ys + columns[i]]);
                }
                var b = steps_of_lines(read);
                for (var i = 0u; i < ROW_READS; i++) {
                    accumulate_rows(&tile, i, select(vec4(0.0), floats(x[at[i] + c]), inside[i]), &b);
                }
            }
            first += 4u * ci4;
        }
    }
    for (var i = 0u; i < ROWS; i++) {
        for (var v = 0u; v < COLS; v++) {
            let p = pixel + row_held(i, member);
            let c = column + column_held(v, member);
            if p < pixels && c < outputs(size) {
                result[p * ys + part * outputs(size) + c] = tile[i * COLS + v];
            }
        }
    }
    if !FINISHES {
        return;
    }
    for (var v = 0u; v < COLS; v++) {
        let held = column + column_held(v, member);
        for (var i = 0u; i < ROWS; i += PART) {
            let first = pixel + row_held(i, member);
            if first < pixels && held < outputs(size) {
                let c = part * outputs(size) + held;
                var gathered = begin(c);
                for (var p = first; p < min(first + PART, pixels); p++) {
                    let value = finish(&gathered, result[p * ys + c], p * ys + c);
                    if CHANGES {
                        result[p * ys + c] = value;
                    }
                }
                end(&gathered, first / PART, c, ys);
            }
        }
    }
}

@compute @workgroup_size(LANES)
fn grad_input(
    @builtin(workgroup_id) group: vec3<u32>,
    @builtin(num_workgroups) groups: vec3<u32>,
    @builtin(local_invocation_index) lane: u32,
) {
    let size = params;
    let member = lane % TOGETHER;
    let index = (folded(group, groups) * LANES + lane) / TOGETHER;
    // Pixels with the same remainder by the stride meet the same taps: a class.
    let high = up(size.h, size.stride);
    let wide = up(size.w, size.stride);
    let pixels = size.n * high * wide;
    let across = up(inputs(size), WIDE);
    let down = up(pixels, HIGH);
    let of_class = size.groups * across * down;
    let classes = size.stride * size.stride;
    if index >= classes * of_class {
        return;
    }
    // Classes in turn, which meet more or fewer taps, so that any run of workgroups has some of each: where they stood one after
    // the other llvmpipe's two threads are taken to be busy unequally long. But the same for all lanes of a workgroup.
    let class_index = select(index / of_class, index % classes, TOGETHER > 1u);
    let place = select(index % of_class, index / classes, TOGETHER > 1u);
    let a_row = class_index / size.stride;
    let a_col = class_index % size.stride;
    let pixel = place % down * HIGH;
    let part = place / down / across;
    let column = place / down % across * WIDE;
    let co4 = outputs(size);
    let ci4 = inputs(size);
    let xs = size.ci_stride / 4u;
    let ys = size.co_stride / 4u;
    // The first tap of the class; a tap further by a stride reads a pixel of dy before.
    let r0 = (a_row + size.pad) % size.stride;
    let s0 = (a_col + size.pad) % size.stride;
    if ACCUMULATE && !FINISHES && (r0 >= size.kh || s0 >= size.kw) { // a class without taps
        return;
    }
    let shift_x = (a_col + size.pad) / size.stride;
    let shift_y = (a_row + size.pad) / size.stride;
    var bottom: array<u32, ROW_READS>;
    var right: array<u32, ROW_READS>;
    var image: array<u32, ROW_READS>;
    let step = pixel_of(row_read(1u, 0u), wide, high);
    var at = pixel_of(pixel + row_read(0u, member), wide, high);
    for (var i = 0u; i < ROW_READS; i++) {
        right[i] = at.q + shift_x;
        bottom[i] = at.p + shift_y;
        image[i] = at.b;
        at = moved(at, step, wide, high);
    }
    var lines: array<u32, COLUMN_READS>;
    for (var i = 0u; i < COLUMN_READS; i++) {
        let e = element_read(i, member);
        lines[i] = (4u * min(column + column_held(e / 4u, member), ci4 - 1u) + e % 4u) * ys + part * co4;
    }
    var tile: Tile;
    var back_y = 0u;
    for (var r = r0; r < size.kh; r += size.stride) {
        var line: array<u32, ROW_READS>;
        var meets: array<bool, ROW_READS>;
        for (var i = 0u; i < ROW_READS; i++) {
            let oy = bottom[i] - back_y;
            meets[i] = image[i] < size.n && oy < size.oh;
            line[i] = ((image[i] * size.oh + oy) * size.ow + right[i]) * ys + part * co4;
        }
        var back_x = 0u;
        for (var s = s0; s < size.kw; s += size.stride) {
            var at: array<u32, ROW_READS>;
            var inside: array<bool, ROW_READS>;
            for (var i = 0u; i < ROW_READS; i++) {
                inside[i] = meets[i] && right[i] - back_x < size.ow;
                at[i] = select(0u, line[i] - back_x * ys, inside[i]);
            }
            let first = (r * size.kw + s) * ci4 * 4u * ys;
            for (var o = 0u; o < co4; o++) {
                var read: array<vec4<f32>, COLUMN_READS>;
                for (var i = 0u; i < COLUMN_READS; i++) {
                    read[i] = floats(weight[first + lines[i] + o]);
                }
                var b = steps_of_columns(read);
                for (var i = 0u; i < ROW_READS; i++) {
                    accumulate_rows(&tile, i, select(vec4(0.0), floats(dy[at[i] + o]), inside[i]), &b);
                }
            }
            back_x++;
        }
        back_y++;
    }
    let next = pixel_of(1u, wide, high);
    var to = pixel_of(pixel + row_held(0u, member), wide, high);
    for (var i = 0u; i < ROWS; i++) {
        let ix = to.q * size.stride + a_col;
        let iy = to.p * size.stride + a_row;
        for (var v = 0u; v < COLS; v++) {
            let c = column + column_held(v, member);
            if to.b < size.n && iy < size.h && ix < size.w && c < ci4 {
                put(((to.b * size.h + iy) * size.w + ix) * xs + part * ci4 + c, tile[i * COLS + v]);
            }
        }
        to = moved(to, next, wide, high);
    }
    if !FINISHES {
        return;
    }
    for (var v = 0u; v < COLS; v++) {
        let held = column + column_held(v, member);
        for (var i = 0u; i < ROWS; i += PART) {
            let first = pixel + row_held(i, member);
            if first < pixels && held < ci4 {
                let c = part * ci4 + held;
                var gathered = begin(c);
                var to = pixel_of(first, wide, high);
                for (var p = first; p < min(first + PART, pixels); p++) {
                    let ix = to.q * size.stride + a_col;
                    let iy = to.p * size.stride + a_row;
                    if iy < size.h && ix < size.w {
                        let at = ((to.b * size.h + iy) * size.w + ix) * xs + c;
                        let value = finish(&gathered, result[at], at);
                        if CHANGES {
                            result[at] = value;
                        }
                    }
                    to = moved(to, next, wide, high);
                }
                end(&gathered, (a_row * size.stride + a_col) * up(pixels, PART) + first / PART, c, xs);
            }
        }
    }
}

@compute @workgroup_size(LANES)
fn grad_weight(
    @builtin(workgroup_id) group: vec3<u32>,
    @builtin(num_workgroups) groups: vec3<u32>,
    @builtin(local_invocation_index) lane: u32,
) {
    let size = params;
    let member = lane % TOGETHER;
    let index = (folded(group, groups) * LANES + lane) / TOGETHER;
    let ci4 = inputs(size);
    let xs = size.ci_stride / 4u;
    let ys = size.co_stride / 4u;
    let across = up(outputs(size), WIDE);
    let lanes = size.groups * across;
    let fours = size.kh * size.kw * ci4; // rows of dw in fours: tap by tap, channels within
    let down = up(4u * fours, HIGH);
    if index >= size.split * down * lanes {
        return;
    }
    let part = index % lanes / across;
    let column = index % across * WIDE;
    let row = index / lanes % down * HIGH;
    // The rows of dy that are this part's.
    let chunk = index / (lanes * down);
    let lines = size.n * size.oh;
    let start = chunk * (lines / size.split) + min(chunk, lines % size.split);
    let end = start + lines / size.split + u32(chunk < lines % size.split);
    var columns: array<u32, COLUMN_READS>;
    var steps: array<u32, COLUMN_READS>;
    for (var i = 0u; i < COLUMN_READS; i++) {
        let e = element_read(i, member);
        steps[i] = e / COLS;
        columns[i] = part * outputs(size) + min(column + column_held(e % COLS, member), outputs(size) - 1u);
    }
    // The tap of each four, and its channels; a coordinate left of the image wraps round to a large number.
    var channels: array<u32, FOUR_READS>;
    var down_by: array<u32, FOUR_READS>;
    var right_by: array<u32, FOUR_READS>;
    for (var i = 0u; i < FOUR_READS; i++) {
        let four = min(row / 4u + four_read(i, member), fours - 1u);
        channels[i] = part * ci4 + four % ci4;
        down_by[i] = four / ci4 / size.kw - size.pad;
        right_by[i] = four / ci4 % size.kw - size.pad;
    }
    var tile: Tile;
    var oy = start % size.oh;
    var top = start / size.oh * size.h;
    for (var line = start; line < end; line++) {
        var at_line: array<u32, FOUR_READS>;
        var inside_line: array<bool, FOUR_READS>;
        for (var i = 0u; i < FOUR_READS; i++) {
            let iy = oy * size.stride + down_by[i];
            inside_line[i] = iy < size.h;
            at_line[i] = (top + iy) * size.w;
        }
        oy++;
        top += select(0u, size.h, oy == size.oh);
        oy = select(oy, 0u, oy == size.oh);
        for (var q = 0u; q < size.ow; q += 4u) {
            var read: array<vec4<f32>, COLUMN_READS>;
            for (var i = 0u; i < COLUMN_READS; i++) {
                read[i] = floats(dy[(line * size.ow + min(q + steps[i], size.ow - 1u)) * ys + columns[i]]);
            }
            var b = steps_of_lines(read);
            for (var i = 0u; i < FOUR_READS; i++) {
                var taps: array<vec4<f32>, STEPS>;
                for (var j = 0u; j < STEPS; j++) {
                    let step = q + step_read(j, member);
                    let ix = step * size.stride + right_by[i];
                    let inside = inside_line[i] && ix < size.w && step < size.ow;
                    taps[j] = select(vec4(0.0), floats(x[select(0u, (at_line[i] + ix) * xs, inside) + channels[i]]), inside);
                }
                accumulate_fours(&tile, i, taps, &b);
            }
        }
    }
    for (var i = 0u; i < ROWS; i++) {
        for (var v = 0u; v < COLS; v++) {
            let r = row + row_of_four_held(i, member);
            let c = column + column_held(v, member);
            if r < 4u * fours && c < outputs(size) {
                let at = (chunk * 4u * fours + r) * ys + part * outputs(size) + c;
                if ACCUMULATE && size.split == 1u {
                    result[at] += tile[i * COLS + v];
                } else {
                    result[at] = tile[i * COLS + v];
                }
            }
        }
    }
}

@compute @workgroup_size(LANES)
fn grad_weight_sum(
    @builtin(workgroup_id) group: vec3<u32>,
    @builtin(num_workgroups) groups: vec3<u32>,
    @builtin(local_invocation_index) lane: u32,
) {
    let size = params;
    let index = folded(group, groups) * LANES + lane;
    let total = size.kh * size.kw * inputs(size) * size.co_stride;
    if index >= total {
        return;
    }
    var sum = vec4(0.0);
    for (var t = 0u; t < size.split; t++) {
        sum += floats(x[t * total + index]);
    }
    put(index, sum);
}
