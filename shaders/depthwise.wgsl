// needs: lib/grid.wgsl lib/convolution.wgsl lib/floats.wgsl
// depthwise: convolutions of every channel by itself: as many groups as input and output channels.
//   forward      y[b, p, q, c]  = sum over r, s of x[b, p st + r - pad, q st + s - pad, c] w[r, s, c]
//   grad_input   dx[b, i, j, c] = sum over r, s of dy[b, (i + pad - r) / st, (j + pad - s) / st, c] w[r, s, c],
//                                 over the taps for which both divisions come out even
//   grad_weight  part[t, r, s, c] = sum over the rows (b, p) of part t, and q, of
//                                 x[b, p st + r - pad, q st + s - pad, c] dy[b, p, q, c]
// outside the image x is 0. With ACCUMULATE the gradients are added to what the output holds. conv2d.wgsl says how the parts
// are summed; with split = 1 grad_weight writes dw itself. A lane has a vec4 of channels, and lanes side by side have channels
// side by side: no lane needs what another has. It holds HIGH lines by WIDE pixels of the result, so that a pixel is loaded once
// for all of them (grad_input: of STRIDE times as many of each; grad_weight: all taps). With stride 1 the input's gradient is
// `forward` of dy with the weight turned round (TURNED) and as much padding as is left of a window.
// Shapes:   x, dx [n, h, w, c padded to 4]; y, dy [n, oh, ow, c padded to 4]; w, dw [kh, kw, 4, c padded to 4], of whose rows
//           of four the first holds the weight and the others 0; part [split] of dw. The padding of channels is 0. c = groups.
// Dispatch: workgroups of LANES lanes, folded; a lane for each of, with up(a, b) = a / b rounded up and c4 = up(c, 4),
//           forward      n up(oh, HIGH) up(ow, WIDE) c4
//           grad_input   n up(h, STRIDE HIGH) up(w, STRIDE WIDE) c4
//           grad_weight  split c4
// Order:    r, s ascending (of `forward` TURNED: descending), one chain of fused multiply-adds; grad_weight: b, p, q ascending
//           within a part. It depends on the shapes and `split` only, not on HIGH and WIDE.
// Safety:   pixels outside the image load from the first one and count as zero; tested before a store. Needs all sizes > 0,
//           split <= n oh, kh = KH, kw = KW, stride = STRIDE, and of grad_input pad = PAD and split = 1.
//           Mesa's software adapter silently ends a loop after 65,535 rounds of all loops of an invocation together (measured
//           on 22.3.6), so the host keeps below that: (n oh / split + 1) (up(ow, WIDE) + 1). What loops over arrays of as many
//           elements as it has rounds is unrolled there, which keeps the arrays in registers.
// Source:   depth-wise convolutions as in Howard et al., "MobileNets", 2017.

override TURNED: bool = false;
override ACCUMULATE: bool = false;

@group(0) @binding(1) var<storage, read> x: array<Floats>;
@group(0) @binding(2) var<storage, read> weight: array<Floats>;
@group(0) @binding(3) var<storage, read> dy: array<Floats>;
@group(0) @binding(4) var<storage, read_write> result: array<vec4<f32>>;

// tune
const LANES = 8u;
const HIGH = 4u; // lines of a tile
const WIDE = 8u; // pixels of a line of it
const KH = 3u;
const KW = 3u;
const STRIDE = 1u;
const PAD = 1u;

// Lines and pixels of a line that the windows of a tile see.
const TALL = (HIGH - 1u) * STRIDE + KH;
const SPAN = (WIDE - 1u) * STRIDE + KW;

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
    let index = folded(group, groups) * LANES + lane;
    let c4 = size.co_stride / 4u;
    let across = up(size.ow, WIDE);
    let down = up(size.oh, HIGH);
    if index >= size.n * down * across * c4 {
        return;
    }
    let c = index % c4;
    let q = index / c4 % across * WIDE;
    let p = index / c4 / across % down * HIGH;
    let image = index / c4 / across / down;
    // The corner of the first window; a coordinate left of the image wraps round to a large number.
    let left = q * STRIDE - size.pad;
    let top = p * STRIDE - size.pad;
    var taps: array<vec4<f32>, KH * KW>;
    for (var t = 0u; t < KH * KW; t++) {
        taps[t] = floats(weight[4u * select(t, KH * KW - 1u - t, TURNED) * c4 + c]);
    }
    var lines: array<u32, TALL>;
    var meets: array<bool, TALL>;
    for (var i = 0u; i < TALL; i++) {
        meets[i] = top + i < size.h;
        lines[i] = (image * size.h + top + i) * size.w + left;
    }
    var rows: array<u32, KH>;
    for (var r = 0u; r < KH; r++) {
        rows[r] = r * KW;
    }
    var tile: array<vec4<f32>, HIGH * WIDE>;
    for (var i = 0u; i < TALL; i++) {
        var pixels: array<vec4<f32>, SPAN>;
        for (var j = 0u; j < SPAN; j++) {
            let inside = meets[i] && left + j < size.w;
            pixels[j] = select(vec4(0.0), floats(x[select(0u, lines[i] + j, inside) * c4 + c]), inside);
        }
        for (var r = 0u; r < KH; r++) {
            if i >= r && (i - r) % STRIDE == 0u && (i - r) / STRIDE < HIGH {
                for (var s = 0u; s < KW; s++) {
                    for (var j = 0u; j < WIDE; j++) {
                        let t = (i - r) / STRIDE * WIDE + j;
                        tile[t] = fma(pixels[j * STRIDE + s], taps[rows[r] + s], tile[t]);
                    }
                }
            }
        }
    }
    var below: array<u32, HIGH>;
    for (var i = 0u; i < HIGH; i++) {
        below[i] = p + i;
    }
    for (var i = 0u; i < HIGH; i++) {
        for (var j = 0u; j < WIDE; j++) {
            if below[i] < size.oh && q + j < size.ow {
                put(((image * size.oh + below[i]) * size.ow + q + j) * c4 + c, tile[i * WIDE + j]);
            }
        }
    }
}

// For grad_input, of a tile that begins at line STRIDE l: its line i meets tap r of line l - KH + past(i, KH, r) of dy, where
// past(i, k, r) = (i + PAD + STRIDE k - r) / STRIDE comes out even; the first and the number of those, and of those of a line:
const FIRST_LINE = (PAD + STRIDE * KH - (KH - 1u) + STRIDE - 1u) / STRIDE;
const LINES_SEEN = (STRIDE * HIGH - 1u + PAD) / STRIDE + KH - FIRST_LINE + 1u;
const FIRST_COLUMN = (PAD + STRIDE * KW - (KW - 1u) + STRIDE - 1u) / STRIDE;
const COLUMNS_SEEN = (STRIDE * WIDE - 1u + PAD) / STRIDE + KW - FIRST_COLUMN + 1u;

fn past(i: u32, k: u32, tap: u32) -> u32 {
    return (i + PAD + STRIDE * k - tap) / STRIDE;
}

fn even(i: u32, k: u32, tap: u32) -> bool {
    return (i + PAD + STRIDE * k - tap) % STRIDE == 0u;
}

@compute @workgroup_size(LANES)
fn grad_input(
    @builtin(workgroup_id) group: vec3<u32>,
    @builtin(num_workgroups) groups: vec3<u32>,
    @builtin(local_invocation_index) lane: u32,
) {
    let size = params;
    let index = folded(group, groups) * LANES + lane;
    let c4 = size.co_stride / 4u;
    let across = up(size.w, STRIDE * WIDE);
    let down = up(size.h, STRIDE * HIGH);
    if index >= size.n * down * across * c4 {
        return;
    }
    let c = index % c4;
    let q = index / c4 % across * WIDE;
    let p = index / c4 / across % down * HIGH;
    let image = index / c4 / across / down;
    var taps: array<vec4<f32>, KH * KW>;
    for (var t = 0u; t < KH * KW; t++) {
        taps[t] = floats(weight[4u * t * c4 + c]);
    }
    // A coordinate above or left of dy wraps round to a large number.
    var pixels: array<array<vec4<f32>, COLUMNS_SEEN>, LINES_SEEN>;
    for (var i = 0u; i < LINES_SEEN; i++) {
        let line = p + FIRST_LINE + i - KH;
        for (var j = 0u; j < COLUMNS_SEEN; j++) {
            let column = q + FIRST_COLUMN + j - KW;
            let inside = line < size.oh && column < size.ow;
            let at = select(0u, (image * size.oh + line) * size.ow + column, inside);
            pixels[i][j] = select(vec4(0.0), floats(dy[at * c4 + c]), inside);
        }
    }
    var lines: array<u32, STRIDE * HIGH>;
    for (var i = 0u; i < STRIDE * HIGH; i++) {
        lines[i] = p * STRIDE + i;
    }
    var columns: array<u32, STRIDE * WIDE>;
    for (var j = 0u; j < STRIDE * WIDE; j++) {
        columns[j] = q * STRIDE + j;
    }
    // Zero, since split is 1, but no driver knows it: from a plain 0 on Mesa adds what ACCUMULATE finds before the few taps of a
    // pixel instead of after them, and a gradient recorded twice is off by 1e-6 of itself where they cancel (the op table sees).
    let zero = vec4(f32(size.split - 1u));
    for (var i = 0u; i < STRIDE * HIGH; i++) {
        for (var j = 0u; j < STRIDE * WIDE; j++) {
            var sum = zero;
            for (var r = 0u; r < KH; r++) {
                for (var s = 0u; s < KW; s++) {
                    if even(i, KH, r) && even(j, KW, s) {
                        sum = fma(pixels[past(i, KH, r) - FIRST_LINE][past(j, KW, s) - FIRST_COLUMN], taps[r * KW + s], sum);
                    }
                }
            }
            if lines[i] < size.h && columns[j] < size.w {
                put(((image * size.h + lines[i]) * size.w + columns[j]) * c4 + c, sum);
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
    let c4 = size.co_stride / 4u;
    if index >= size.split * c4 {
        return;
    }
    let c = index % c4;
    // The rows of dy that are this part's.
    let chunk = index / c4;
    let lines = size.n * size.oh;
    let start = chunk * (lines / size.split) + min(chunk, lines % size.split);
    let end = start + lines / size.split + u32(chunk < lines % size.split);
    var sums: array<vec4<f32>, KH * KW>;
    for (var line = start; line < end; line++) {
        // A coordinate above or left of the image wraps round to a large number.
        let top = line % size.oh * STRIDE - size.pad;
        var meets: array<bool, KH>;
        var above: array<u32, KH>;
        for (var r = 0u; r < KH; r++) {
            meets[r] = top + r < size.h;
            above[r] = (line / size.oh * size.h + top + r) * size.w;
        }
        for (var q = 0u; q < size.ow; q += WIDE) {
            let left = q * STRIDE - size.pad;
            var b: array<vec4<f32>, WIDE>;
            for (var j = 0u; j < WIDE; j++) {
                b[j] = select(vec4(0.0), floats(dy[(line * size.ow + min(q + j, size.ow - 1u)) * c4 + c]), q + j < size.ow);
            }
            for (var r = 0u; r < KH; r++) {
                var pixels: array<vec4<f32>, SPAN>;
                for (var j = 0u; j < SPAN; j++) {
                    let inside = meets[r] && left + j < size.w;
                    pixels[j] = select(vec4(0.0), floats(x[select(0u, above[r] + left + j, inside) * c4 + c]), inside);
                }
                for (var j = 0u; j < WIDE; j++) {
                    let a = b[j];
                    for (var s = 0u; s < KW; s++) {
                        sums[r * KW + s] = fma(pixels[j * STRIDE + s], a, sums[r * KW + s]);
                    }
                }
            }
        }
    }
    for (var t = 0u; t < KH * KW; t++) {
        let at = (chunk * KH * KW + t) * 4u * c4 + c;
        if ACCUMULATE && size.split == 1u {
            result[at] += sums[t];
        } else {
            result[at] = sums[t];
            for (var k = 1u; k < 4u; k++) {
                result[at + k * c4] = vec4(0.0);
            }
        }
    }
}
