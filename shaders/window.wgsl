// needs: lib/grid.wgsl lib/convolution.wgsl lib/floats.wgsl lib/apart.wgsl lib/gemm_lanes.wgsl lib/plain.wgsl
// window: convolutions with few channels a group, where a pixel that was loaded serves every tap along a line.
//   forward      y[b, p, q, o]  = sum over r, s, c of x[b, p st + r - pad, q st + s - pad, c] w[r, s, c, o]
//   grad_input   dx[b, i, j, c] = sum over r, s, o of dy[b, (i + pad - r) / st, (j + pad - s) / st, o] w[r, s, c, o],
//                                 over the taps for which both divisions come out even
// outside the image x is 0; output channel o reads the input channels of its group. With ACCUMULATE dx is added to what the
// output holds.
// With moments.wgsl, slopes.wgsl or affine.wgsl in place of plain.wgsl `forward` and `grad_input` do a part of a batch norm's
// work on their results, every PART pixels (of a class) a part of its sums, as conv2d.wgsl does and in the same parts: where
// ROWS and a line of pixels (of a class) are multiples of PART.
// A lane holds a strip of ROWS pixels in a line, by COLS vec4 of channels. As long as a line's taps take SPAN pixels, a load a
// pixel serves up to KW ROWS products, where an implicit product of matrices needs one for each. With together.wgsl the lanes
// have strips one below the other, and hand each other the weights.
// Shapes:   x, dx [n, h, w, ci_stride]; y, dy [n, oh, ow, co_stride]; w [kh, kw, ci padded to 4, co_stride]. Channels are
//           padded to a multiple of 4 and the padding is 0. ci: input channels a group, co: all output channels, ci_stride =
//           groups ci padded, co_stride = co padded; of several groups both are multiples of 4.
// Dispatch: workgroups of LANES lanes, TOGETHER a tile, folded; the tiles are, with up(a, b) = a / b rounded up,
//           ci4 = up(ci, 4), co4 = up(co, 4) / groups (co / 4 / groups with groups),
//           forward      up(n oh up(ow, ROWS), DOWN) groups up(co4, COLS)
//           grad_input   stride^2 up(n up(h, stride) up(up(w, stride), ROWS), DOWN) groups up(ci4, COLS)
// Order:    r, then vec4 of channels, s, and the four channels of a vec4, ascending (s descending in grad_input), one chain of
//           fused multiply-adds. It depends on the shapes only.
// Safety:   strips and columns are clamped to the last one before a load and tested before a store; taps outside the image
//           load from the first pixel and count as zero. Needs all sizes > 0, kw = KW, stride = STRIDE
//           (grad_input: KW = up(kw, stride), STRIDE = 1), CHANNELS = min(ci, 4) (grad_input: 4).
//           Mesa's software adapter silently ends a loop after 65,535 rounds of all loops of an invocation together
//           (measured on 22.3.6), so the host keeps below that: kh (ci4 + 2), kh (co4 + 2).
// Source:   input reuse along a line as in Zhang, Franchetti and Low, "High Performance Zero-Memory Overhead Direct
//           Convolutions", 2018; strided gradients by output parity.

override ACCUMULATE: bool = false;

@group(0) @binding(1) var<storage, read> x: array<Floats>;
@group(0) @binding(2) var<storage, read> weight: array<Floats>;
@group(0) @binding(3) var<storage, read> dy: array<Floats>;
@group(0) @binding(4) var<storage, read_write> result: array<vec4<f32>>;

// tune
const KW = 3u; // taps along a line
const STRIDE = 1u; // pixels from window to window
const CHANNELS = 4u; // of a vec4 that hold something

// Pixels that the windows of a strip see in a line.
const SPAN = (ROWS - 1u) * STRIDE + KW;

// Weights of a line of taps, by tap, step and column.
alias Taps = array<vec4<f32>, KW * 4u * COLS>;

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

// What pixel j of a line gives to every pixel of the strip whose window sees it.
fn slide(tile: ptr<function, Tile>, j: u32, a: vec4<f32>, b: ptr<function, Taps>) {
    for (var s = 0u; s < KW; s++) {
        if j >= s && (j - s) % STRIDE == 0u && (j - s) / STRIDE < ROWS {
            for (var v = 0u; v < COLS; v++) {
                let t = (j - s) / STRIDE * COLS + v;
                for (var k = 0u; k < CHANNELS; k++) {
                    (*tile)[t] = fma(vec4(a[k]), (*b)[(s * 4u + k) * COLS + v], (*tile)[t]);
                }
            }
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
    let member = lane % TOGETHER;
    let index = (folded(group, groups) * LANES + lane) / TOGETHER;
    let strips = up(size.ow, ROWS);
    let all = size.n * size.oh * strips;
    let across = up(outputs(size), COLS);
    let down = up(all, DOWN);
    if index >= size.groups * across * down {
        return;
    }
    let strip = min(index % down * DOWN + member, all - 1u);
    let part = index / down / across;
    let column = index / down % across * COLS;
    let ci4 = inputs(size);
    let xs = size.ci_stride / 4u;
    let ys = size.co_stride / 4u;
    var columns: array<u32, COLUMN_READS>;
    var steps: array<u32, COLUMN_READS>;
    for (var i = 0u; i < COLUMN_READS; i++) {
        let e = element_read(i, member);
        steps[i] = e / COLS;
        columns[i] = part * outputs(size) + min(column + e % COLS, outputs(size) - 1u);
    }
    // The corner of the first window; a coordinate left of the image wraps round to a large number.
    let line = strip / strips;
    let q = strip % strips * ROWS;
    let left = q * STRIDE - size.pad;
    let top = line % size.oh * STRIDE - size.pad;
    let image = line / size.oh * size.h;
    var tile: Tile;
    for (var r = 0u; r < size.kh; r++) {
        var at: array<u32, SPAN>;
        var inside: array<bool, SPAN>;
        for (var j = 0u; j < SPAN; j++) {
            inside[j] = top + r < size.h && left + j < size.w;
            at[j] = select(0u, ((image + top + r) * size.w + left + j) * xs, inside[j]) + part * ci4;
        }
        for (var c = 0u; c < ci4; c++) {
            var b: Taps;
            for (var s = 0u; s < KW; s++) {
                var read: array<vec4<f32>, COLUMN_READS>;
                for (var i = 0u; i < COLUMN_READS; i++) {
                    read[i] = floats(weight[(((r * KW + s) * ci4 + c) * 4u + steps[i]) * ys + columns[i]]);
                }
                for (var e = 0u; e < 4u * COLS; e++) {
                    b[s * 4u * COLS + e] = of_columns(read, e);
                }
            }
            for (var j = 0u; j < SPAN; j++) {
                slide(&tile, j, select(vec4(0.0), floats(x[at[j] + c]), inside[j]), &b);
            }
        }
    }
    for (var i = 0u; i < ROWS; i++) {
        for (var v = 0u; v < COLS; v++) {
            if index % down * DOWN + member < all && q + i < size.ow && column + v < outputs(size) {
                result[(line * size.ow + q + i) * ys + part * outputs(size) + column + v] = tile[i * COLS + v];
            }
        }
    }
    if !FINISHES || index % down * DOWN + member >= all {
        return;
    }
    for (var v = 0u; v < min(COLS, outputs(size) - column); v++) {
        let c = part * outputs(size) + column + v;
        for (var first = q; first < min(q + ROWS, size.ow); first += PART) {
            let pixel = line * size.ow + first;
            var gathered = begin(c);
            for (var p = pixel; p < pixel + PART; p++) {
                let value = finish(&gathered, result[p * ys + c], p * ys + c);
                if CHANGES {
                    result[p * ys + c] = value;
                }
            }
            end(&gathered, pixel / PART, c, ys);
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
    let strips = up(wide, ROWS);
    let all = size.n * high * strips;
    let across = up(inputs(size), COLS);
    let down = up(all, DOWN);
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
    let strip = min(place % down * DOWN + member, all - 1u);
    let part = place / down / across;
    let column = place / down % across * COLS;
    let co4 = outputs(size);
    let ci4 = inputs(size);
    let xs = size.ci_stride / 4u;
    let ys = size.co_stride / 4u;
    var lines: array<u32, COLUMN_READS>;
    for (var i = 0u; i < COLUMN_READS; i++) {
        let e = element_read(i, member);
        lines[i] = (4u * min(column + e / 4u, ci4 - 1u) + e % 4u) * ys + part * co4;
    }
    // The first tap of the class; a tap further by a stride reads a pixel of dy before. The strip's first pixel sees
    // KW - 1 pixels left of the one below its first tap.
    let r0 = (a_row + size.pad) % size.stride;
    let s0 = (a_col + size.pad) % size.stride;
    let line = strip / strips;
    let q = strip % strips * ROWS;
    let left = q + (a_col + size.pad) / size.stride - (KW - 1u);
    let image = line / high * size.oh;
    var bottom = line % high + (a_row + size.pad) / size.stride;
    var tile: Tile;
    for (var r = r0; r < size.kh; r += size.stride) {
        var at: array<u32, SPAN>;
        var inside: array<bool, SPAN>;
        for (var j = 0u; j < SPAN; j++) {
            inside[j] = bottom < size.oh && left + j < size.ow;
            at[j] = select(0u, ((image + bottom) * size.ow + left + j) * ys, inside[j]) + part * co4;
        }
        for (var o = 0u; o < co4; o++) {
            // The leftmost pixel meets the last tap. A class may have one less than others: zero.
            var b: Taps;
            for (var t = 0u; t < KW; t++) {
                let s = s0 + (KW - 1u - t) * size.stride;
                let first = (r * size.kw + min(s, size.kw - 1u)) * ci4 * 4u * ys;
                var read: array<vec4<f32>, COLUMN_READS>;
                for (var i = 0u; i < COLUMN_READS; i++) {
                    read[i] = select(vec4(0.0), floats(weight[first + lines[i] + o]), s < size.kw);
                }
                let turned = steps_of_columns(read);
                for (var e = 0u; e < 4u * COLS; e++) {
                    b[t * 4u * COLS + e] = turned[e];
                }
            }
            for (var j = 0u; j < SPAN; j++) {
                slide(&tile, j, select(vec4(0.0), floats(dy[at[j] + o]), inside[j]), &b);
            }
        }
        bottom--;
    }
    let iy = line % high * size.stride + a_row;
    // An array of as many places as the loop has rounds has drivers unroll it, and keep the tile in registers.
    var pixels: array<u32, ROWS>;
    for (var i = 0u; i < ROWS; i++) {
        pixels[i] = (q + i) * size.stride + a_col;
    }
    for (var i = 0u; i < ROWS; i++) {
        for (var v = 0u; v < COLS; v++) {
            if place % down * DOWN + member < all && iy < size.h && pixels[i] < size.w && column + v < ci4 {
                put(((line / high * size.h + iy) * size.w + pixels[i]) * xs + part * ci4 + column + v, tile[i * COLS + v]);
            }
        }
    }
    if !FINISHES || place % down * DOWN + member >= all {
        return;
    }
    let parts = (a_row * size.stride + a_col) * (size.n * high * wide / PART); // of the classes before
    for (var v = 0u; v < min(COLS, ci4 - column); v++) {
        let c = part * ci4 + column + v;
        for (var first = q; first < min(q + ROWS, wide); first += PART) {
            var gathered = begin(c);
            for (var p = first; p < first + PART; p++) {
                let ix = p * size.stride + a_col;
                if iy < size.h && ix < size.w {
                    let at = ((line / high * size.h + iy) * size.w + ix) * xs + c;
                    let value = finish(&gathered, result[at], at);
                    if CHANGES {
                        result[at] = value;
                    }
                }
            }
            end(&gathered, parts + (line * wide + first) / PART, c, xs);
        }
    }
}
