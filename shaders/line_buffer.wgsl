// needs: lib/grid.wgsl lib/convolution.wgsl lib/floats.wgsl lib/apart.wgsl lib/gemm_lanes.wgsl
// line_buffer: convolutions with very few channels a group, and the gradients of any weight, where a lane keeps all the taps, and
// the lines of pixels that its windows see, while it goes down the image: it loads every pixel of its strip once.
//   forward     y[b, p, q, o]  = sum over r, s, c of x[b, p st + r - pad, q st + s - pad, c] w[r, s, c, o]
//   grad_input  dx[b, i, j, c] = sum over r, s, o of dy[b, (i + pad - r) / st, (j + pad - s) / st, o] w[r, s, c, o],
//                                over the taps for which both divisions come out even
//   grad_weight part[t, r, s, c, o] = sum over the strips of pixels (b, q) of part t, and p, of
//                                x[b, p st + r - pad, q st + s - pad, c] dy[b, p, q, o]
// outside the image x is 0; output channel o reads the input channels of its group. With ACCUMULATE the gradients are added to
// what the output holds. conv2d.wgsl says how the parts are summed; with split = 1 grad_weight writes dw itself.
// A lane holds a strip of ROWS pixels in a line (grad_input: of STRIDE ROWS pixels in STRIDE lines), by COLS vec4 of channels.
// For grad_weight a lane holds all taps of FOURS_IN vec4 of input channels by COLS, and goes down the strips of a part. Lanes
// share nothing: to load all taps once a lane is faster than to hand them over by shuffles (benches/README.md has the numbers).
// Shapes:   x, dx [n, h, w, ci_stride]; y, dy [n, oh, ow, co_stride]; w, dw [kh, kw, ci padded to 4, co_stride]; part
//           [split] of dw. Channels are padded to a multiple of 4 and the padding is 0. ci: input channels a group, co: all
//           output channels, ci_stride = groups ci padded, co_stride = co padded; of several groups both are multiples of 4.
// Dispatch: LANES tiles a workgroup, folded; the tiles are, with up(a, b) = a / b rounded up, ci4 = up(ci, 4), co4 = up(co, 4) /
//           groups (co / 4 / groups with groups),
//           forward     paths(n up(ow, ROWS), oh) groups up(co4, COLS)
//           grad_input  paths(n up(up(w, STRIDE), ROWS), up(h, STRIDE)) groups up(ci4, COLS)
//           grad_weight split groups ci4 / FOURS_IN up(co4, COLS)
//           For the first two `split` is the lines that a lane goes down with the same taps: some of a strip, which is cut into
//           runs then, or so many times all of it that a lane takes several strips, one after the other:
//           paths(strips, lines) = up(strips up(lines, split), max(split / lines, 1))
// Order:    r, then vec4 of channels, s, and the four channels of a vec4, ascending (s descending in grad_input), one chain of
//           fused multiply-adds: the order of window.wgsl; grad_weight: strips, p, and q ascending within a part.
// Safety:   columns are clamped to the last one before a load and tested before a store, as pixels are; pixels outside the image
//           are loaded from the first one and count as zero. Needs all sizes > 0, kh = KH, kw = KW, stride = STRIDE, pad = PAD,
//           FOURS_IN = ci4 (grad_input: co4, grad_weight: any divisor of ci4), CHANNELS = min(ci, 4) (grad_input: 4),
//           KH and KW 2 or 3, STRIDE 1 or 2, PAD < KH, KW.
//           Mesa's software adapter silently ends a loop after 65,535 rounds of all loops of an invocation together (measured
//           on 22.3.6), so the host keeps below that: a round for every line that a lane goes down and one for every strip, or
//           with run-time checks, with which not all loops within a line are unrolled, the rounds of those too.
// Source:   the line buffers of streaming filters in hardware, as in Bailey, "Design for Embedded Image Processing on FPGAs",
//           2011; strided gradients by output parity.

override ACCUMULATE: bool = false;

@group(0) @binding(1) var<storage, read> x: array<Floats>;
@group(0) @binding(2) var<storage, read> weight: array<Floats>;
@group(0) @binding(3) var<storage, read> dy: array<Floats>;
@group(0) @binding(4) var<storage, read_write> result: array<Floats>;

// tune
const KH = 3u; // taps of a window
const KW = 3u;
const STRIDE = 1u; // pixels from window to window
const PAD = 1u; // lines and columns of zeros before the image
const FOURS_IN = 1u; // vec4 of channels that a sum goes over, or of input channels of a weight
const CHANNELS = 4u; // of a vec4 that hold something

// Pixels that the windows of a strip see in a line.
const SPAN = (ROWS - 1u) * STRIDE + KW;
// Lines that a window has in common with the next one.
const COMMON = KH - min(STRIDE, KH);

alias Pixel = array<vec4<f32>, FOURS_IN>;
alias Line = array<Pixel, SPAN>;
alias Tap = array<Steps, FOURS_IN>;
alias Taps = array<array<Tap, KW>, KH>;

// Line `top` of an image of x from pixel `left` on; a coordinate above or left of the image is a large number.
fn line_of_x(image: u32, top: u32, left: u32, channels: u32, size: Params) -> Line {
    var line: Line;
    for (var j = 0u; j < SPAN; j++) {
        let inside = top < size.h && left + j < size.w;
        let at = select(0u, ((image * size.h + top) * size.w + left + j) * (size.ci_stride / 4u), inside) + channels;
        for (var c = 0u; c < FOURS_IN; c++) {
            line[j][c] = select(vec4(0.0), floats(x[at + c]), inside);
        }
    }
    return line;
}

// sum + what the channels of a pixel give to column v by a tap.
fn multiplied(pixel: vec4<f32>, tap: ptr<function, Steps>, v: u32, sum: vec4<f32>) -> vec4<f32> {
    var result = fma(vec4(pixel.x), (*tap)[v], sum);
    if CHANNELS > 1u {
        result = fma(vec4(pixel.y), (*tap)[COLS + v], result);
    }
    if CHANNELS > 2u {
        result = fma(vec4(pixel.z), (*tap)[2u * COLS + v], result);
    }
    if CHANNELS > 3u {
        result = fma(vec4(pixel.w), (*tap)[3u * COLS + v], result);
    }
    return result;
}

// What line r of the windows gives to the pixels of the strip. Called with r as a number, it leaves no index that is unknown
// where drivers unroll little, as with run-time checks: they compile it in half the time then (measured).
fn slide(tile: ptr<function, Tile>, lines: ptr<function, array<Line, KH>>, taps: ptr<function, Taps>, r: u32) {
    var line = (*lines)[r];
    for (var c = 0u; c < FOURS_IN; c++) {
        for (var s = 0u; s < KW; s++) {
            var tap = (*taps)[r][s][c];
            for (var i = 0u; i < ROWS; i++) {
                let pixel = line[i * STRIDE + s][c];
                for (var v = 0u; v < COLS; v++) {
                    (*tile)[i * COLS + v] = multiplied(pixel, &tap, v, (*tile)[i * COLS + v]);
                }
            }
        }
    }
}

// How the strips of all images are cut into runs of lines, and how many runs a lane goes down.
struct Runs {
    strips: u32, // of an image
    cuts: u32, // of a strip
    count: u32,
    each: u32,
}

fn runs_of(strips: u32, lines: u32, size: Params) -> Runs {
    let cuts = up(lines, size.split);
    return Runs(strips, cuts, size.n * strips * cuts, max(size.split / lines, 1u));
}

@compute @workgroup_size(LANES)
fn forward(
    @builtin(workgroup_id) group: vec3<u32>,
    @builtin(num_workgroups) groups: vec3<u32>,
    @builtin(local_invocation_index) lane: u32,
) {
    let size = params;
    let index = folded(group, groups) * LANES + lane;
    let co4 = size.co_stride / 4u / size.groups;
    let ys = size.co_stride / 4u;
    let runs = runs_of(up(size.ow, ROWS), size.oh, size);
    let across = up(co4, COLS);
    if index >= up(runs.count, runs.each) * size.groups * across {
        return;
    }
    // Tiles side by side have the same pixels, of which they share cache lines.
    let begin = index / (size.groups * across) * runs.each;
    let part = index / across % size.groups;
    let column = index % across * COLS;
    var taps: Taps;
    for (var r = 0u; r < KH; r++) {
        for (var s = 0u; s < KW; s++) {
            for (var c = 0u; c < FOURS_IN; c++) {
                var read: array<vec4<f32>, COLUMN_READS>;
                for (var i = 0u; i < COLUMN_READS; i++) {
                    let at = (((r * KW + s) * FOURS_IN + c) * 4u + i / COLS) * ys;
                    read[i] = floats(weight[at + part * co4 + min(column + i % COLS, co4 - 1u)]);
                }
                taps[r][s][c] = steps_of_lines(read);
            }
        }
    }
    for (var run = begin; run < min(begin + runs.each, runs.count); run++) {
        let q = run % runs.strips * ROWS;
        let left = q * STRIDE - PAD;
        let image = run / runs.strips / runs.cuts;
        let first = run / runs.strips % runs.cuts * size.split;
        var lines: array<Line, KH>;
        for (var r = 0u; r < COMMON; r++) {
            lines[r] = line_of_x(image, first * STRIDE + r - PAD, left, part * FOURS_IN, size);
        }
        for (var p = first; p < min(first + size.split, size.oh); p++) {
            for (var r = COMMON; r < KH; r++) {
                lines[r] = line_of_x(image, p * STRIDE + r - PAD, left, part * FOURS_IN, size);
            }
            var tile: Tile;
            slide(&tile, &lines, &taps, 0u);
            slide(&tile, &lines, &taps, 1u);
            if KH > 2u {
                slide(&tile, &lines, &taps, 2u);
            }
            for (var i = 0u; i < ROWS; i++) {
                for (var v = 0u; v < COLS; v++) {
                    if q + i < size.ow && column + v < co4 {
                        let at = ((image * size.oh + p) * size.ow + q + i) * ys + part * co4 + column + v;
                        result[at] = packed(tile[i * COLS + v]);
                    }
                }
            }
            for (var r = 0u; r < COMMON; r++) {
                lines[r] = lines[r + KH - COMMON];
            }
        }
    }
}

// For grad_input. Line i of an image meets tap r of line (i + PAD - r) / STRIDE of dy: lines STRIDE l .. STRIDE l + STRIDE - 1
// meet those from l - BEFORE on, HELD in all; so do columns.
const BEFORE = (KH - 1u - PAD) / STRIDE;
const HELD = BEFORE + (STRIDE - 1u + PAD) / STRIDE + 1u;
const LEFT = (KW - 1u - PAD) / STRIDE;
const SEEN = ROWS + LEFT + (STRIDE - 1u + PAD) / STRIDE;

alias LineOfDy = array<Pixel, SEEN>;
alias Lines = array<LineOfDy, HELD>;
// Of the pixels that share a remainder by STRIDE.
alias Classes = array<Tile, STRIDE>;

fn line_of_dy(image: u32, line: u32, left: u32, part: u32, size: Params) -> LineOfDy {
    var read: LineOfDy;
    for (var j = 0u; j < SEEN; j++) {
        let inside = line < size.oh && left + j < size.ow;
        let at = select(0u, ((image * size.oh + line) * size.ow + left + j) * (size.co_stride / 4u), inside) + part * FOURS_IN;
        for (var o = 0u; o < FOURS_IN; o++) {
            read[j][o] = select(vec4(0.0), floats(dy[at + o]), inside);
        }
    }
    return read;
}

// Whether a pixel that leaves `rest` meets a tap.
fn meets(rest: u32, tap: u32) -> bool {
    return (rest + PAD + KH * KW * STRIDE - tap) % STRIDE == 0u;
}

// What tap line r gives to the line of an image that leaves `rest`. The taps of a line stand from the last to the first.
fn spread(classes: ptr<function, Classes>, rest: u32, lines: ptr<function, Lines>, taps: ptr<function, Taps>, r: u32) {
    if !meets(rest, r) {
        return;
    }
    var line = (*lines)[(rest + PAD + BEFORE * STRIDE - r) / STRIDE];
    for (var o = 0u; o < FOURS_IN; o++) {
        for (var a = 0u; a < STRIDE; a++) {
            for (var t = 0u; t < KW; t++) {
                if meets(a, KW - 1u - t) {
                    let first = (a + PAD + LEFT * STRIDE - (KW - 1u - t)) / STRIDE;
                    var tap = (*taps)[r][t][o];
                    for (var i = 0u; i < ROWS; i++) {
                        let pixel = line[first + i][o];
                        for (var v = 0u; v < COLS; v++) {
                            let at = i * COLS + v;
                            (*classes)[a][at] = multiplied(pixel, &tap, v, (*classes)[a][at]);
                        }
                    }
                }
            }
        }
    }
}

// The line of an image that leaves `rest`.
fn line_of_dx(rest: u32, lines: ptr<function, Lines>, taps: ptr<function, Taps>) -> Classes {
    var classes: Classes;
    spread(&classes, rest, lines, taps, 0u);
    spread(&classes, rest, lines, taps, 1u);
    if KH > 2u {
        spread(&classes, rest, lines, taps, 2u);
    }
    return classes;
}

@compute @workgroup_size(LANES)
fn grad_input(
    @builtin(workgroup_id) group: vec3<u32>,
    @builtin(num_workgroups) groups: vec3<u32>,
    @builtin(local_invocation_index) lane: u32,
) {
    let size = params;
    let index = folded(group, groups) * LANES + lane;
    let ci4 = up(size.ci, 4u);
    let ys = size.co_stride / 4u;
    let high = up(size.h, STRIDE);
    let runs = runs_of(up(up(size.w, STRIDE), ROWS), high, size);
    let across = up(ci4, COLS);
    if index >= up(runs.count, runs.each) * size.groups * across {
        return;
    }
    // Tiles side by side have the same pixels, of which they share cache lines.
    let begin = index / (size.groups * across) * runs.each;
    let part = index / across % size.groups;
    let column = index % across * COLS;
    var taps: Taps;
    for (var r = 0u; r < KH; r++) {
        for (var t = 0u; t < KW; t++) {
            for (var o = 0u; o < FOURS_IN; o++) {
                var read: array<vec4<f32>, COLUMN_READS>;
                for (var i = 0u; i < COLUMN_READS; i++) {
                    let channel = 4u * min(column + i / 4u, ci4 - 1u) + i % 4u;
                    read[i] = floats(weight[((r * KW + KW - 1u - t) * ci4 * 4u + channel) * ys + part * FOURS_IN + o]);
                }
                taps[r][t][o] = steps_of_columns(read);
            }
        }
    }
    for (var run = begin; run < min(begin + runs.each, runs.count); run++) {
        let q = run % runs.strips * ROWS;
        let left = q - LEFT;
        let image = run / runs.strips / runs.cuts;
        let first = run / runs.strips % runs.cuts * size.split;
        var lines: Lines;
        for (var l = 0u; l < HELD - 1u; l++) {
            lines[l] = line_of_dy(image, first + l - BEFORE, left, part, size);
        }
        for (var l = first; l < min(first + size.split, high); l++) {
            lines[HELD - 1u] = line_of_dy(image, l + HELD - 1u - BEFORE, left, part, size);
            var above = line_of_dx(0u, &lines, &taps);
            put_line(image, l * STRIDE, q, part * ci4, column, &above, size);
            if STRIDE == 2u {
                var below = line_of_dx(1u, &lines, &taps);
                put_line(image, l * STRIDE + 1u, q, part * ci4, column, &below, size);
            }
            for (var h = 0u; h < HELD - 1u; h++) {
                lines[h] = lines[h + 1u];
            }
        }
    }
}

fn put_line(
    image: u32,
    line: u32,
    q: u32,
    channels: u32,
    column: u32,
    classes: ptr<function, Classes>,
    size: Params,
) {
    for (var a = 0u; a < STRIDE; a++) {
        for (var i = 0u; i < ROWS; i++) {
            let pixel = (q + i) * STRIDE + a;
            for (var v = 0u; v < COLS; v++) {
                if line < size.h && pixel < size.w && column + v < up(size.ci, 4u) {
                    let at = ((image * size.h + line) * size.w + pixel) * (size.ci_stride / 4u) + channels + column + v;
                    var value = (*classes)[a][i * COLS + v];
                    if ACCUMULATE {
                        value += floats(result[at]);
                    }
                    result[at] = packed(value);
                }
            }
        }
    }
}

// For grad_weight: of dy, and of dw.
alias Pixels = array<array<vec4<f32>, COLS>, ROWS>;
alias Sums = array<array<array<array<vec4<f32>, CHANNELS * COLS>, FOURS_IN>, KW>, KH>;

// What line r of the windows gives to the taps.
fn gather(sums: ptr<function, Sums>, lines: ptr<function, array<Line, KH>>, pixels: ptr<function, Pixels>, r: u32) {
    for (var s = 0u; s < KW; s++) {
        for (var c = 0u; c < FOURS_IN; c++) {
            for (var i = 0u; i < ROWS; i++) {
                let pixel = (*lines)[r][i * STRIDE + s][c];
                for (var k = 0u; k < CHANNELS; k++) {
                    for (var v = 0u; v < COLS; v++) {
                        let t = k * COLS + v;
                        (*sums)[r][s][c][t] = fma(vec4(pixel[k]), (*pixels)[i][v], (*sums)[r][s][c][t]);
                    }
                }
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
    let index = folded(group, groups) * LANES + lane;
    let ci4 = up(size.ci, 4u);
    let deep = ci4 / FOURS_IN; // lanes for all input channels of a group
    let ys = size.co_stride / 4u;
    let co4 = ys / size.groups;
    let across = up(co4, COLS);
    if index >= size.split * across * size.groups * deep {
        return;
    }
    // Lanes side by side read channels side by side.
    let first = index % deep * FOURS_IN;
    let part = index / deep % size.groups;
    let column = index / deep / size.groups % across * COLS;
    let chunk = index / deep / size.groups / across;
    let strips = up(size.ow, ROWS);
    let all = size.n * strips;
    let start = chunk * (all / size.split) + min(chunk, all % size.split);
    let end = start + all / size.split + u32(chunk < all % size.split);
    var columns: array<u32, COLS>;
    for (var v = 0u; v < COLS; v++) {
        columns[v] = part * co4 + min(column + v, co4 - 1u);
    }
    var sums: Sums;
    for (var strip = start; strip < end; strip++) {
        let image = strip / strips;
        let q = strip % strips * ROWS;
        let left = q * STRIDE - PAD;
        var lines: array<Line, KH>;
        for (var r = 0u; r < COMMON; r++) {
            lines[r] = line_of_x(image, r - PAD, left, part * ci4 + first, size);
        }
        for (var p = 0u; p < size.oh; p++) {
            for (var r = COMMON; r < KH; r++) {
                lines[r] = line_of_x(image, p * STRIDE + r - PAD, left, part * ci4 + first, size);
            }
            var pixels: Pixels;
            for (var i = 0u; i < ROWS; i++) {
                let at = ((image * size.oh + p) * size.ow + min(q + i, size.ow - 1u)) * ys;
                for (var v = 0u; v < COLS; v++) {
                    pixels[i][v] = select(vec4(0.0), floats(dy[at + columns[v]]), q + i < size.ow);
                }
            }
            gather(&sums, &lines, &pixels, 0u);
            gather(&sums, &lines, &pixels, 1u);
            if KH > 2u {
                gather(&sums, &lines, &pixels, 2u);
            }
            for (var r = 0u; r < COMMON; r++) {
                lines[r] = lines[r + KH - COMMON];
            }
        }
    }
    for (var r = 0u; r < KH; r++) {
        for (var s = 0u; s < KW; s++) {
            for (var c = 0u; c < FOURS_IN; c++) {
                for (var k = 0u; k < 4u; k++) {
                    for (var v = 0u; v < COLS; v++) {
                        if column + v < co4 {
                            let row = (((chunk * KH + r) * KW + s) * ci4 + first + c) * 4u + k;
                            let at = row * ys + part * co4 + column + v;
                            var sum = select(vec4(0.0), sums[r][s][c][min(k, CHANNELS - 1u) * COLS + v], k < CHANNELS);
                            if ACCUMULATE && size.split == 1u {
                                sum += floats(result[at]);
                            }
                            result[at] = packed(sum);
                        }
                    }
                }
            }
        }
    }
}
