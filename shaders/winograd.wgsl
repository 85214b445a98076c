// needs: lib/grid.wgsl lib/floats.wgsl lib/plain.wgsl
// winograd: the transforms of F(2x2, 3x3) and F(4x4, 3x3), between which SIDE^2 independent products of matrices stand for
// a 3x3 convolution with stride 1. In each of the SIDE^2 places t, with SIDE = OUTPUTS + 2, over tiles of OUTPUTS^2 results,
//   y = At [(G w Gt)(Bt x B)] A     so    v = input(x), u = weight(w), m[t] = v[t] u[t], y = output(m)
// The input gradient is the same for dy with w flipped, padding 2 - pad and u transposed in the product. The weight gradient:
//   dw = Gt [(Bt x B)(A dy At)] G   so    v = input(x), dm = grad_output(dy), du[t] = v[t]t dm[t], dw = grad_weight(du)
//   input        v[t, tile, c]  = (Bt x B)[t] of the SIDE^2 pixels from (OUTPUTS row + shift, OUTPUTS column + shift) on
//   weight       u[t, i, o]     = (G w Gt)[t] of the 9 taps, with `flip` the last tap first
//   output       y[.., c]       = At m A: OUTPUTS^2 pixels of `each` tiles in turn; with ACCUMULATE added to what y holds. With
//                moments.wgsl, slopes.wgsl or affine.wgsl in place of plain.wgsl it does a part of a batch norm's work on them
//   grad_output  dm[t, tile, c] = (A dy At)[t] of the tile's OUTPUTS^2 pixels
//   grad_weight  dw[.., i, o]   = (Gt du G): 9 taps; with ACCUMULATE added to what dw holds
// Outside an image everything is 0. Each transform is a small one along rows, then the same along columns, over polynomials
// in the points 0, +-1, infinity for OUTPUTS = 2 and 0, +-5/8, +-13/8, infinity for 4: with +-1, +-2 in their place, as in
// the source, the error is twice as large (measured), and a bound on it 4.7 times. Bt and At are exact in f32.
// Shapes:   an image [n, h, w, channels]; its transform [SIDE^2, n down across, channels], where a tile is (image, row,
//           column) of down = up(h of y, OUTPUTS) by across = up(w of y, OUTPUTS); w, dw [9, ci, co]; u [SIDE^2, ci, co];
//           du [SIDE^2, ci, co]. Rows are padded to a multiple of 4; `vectors` is the vec4 in a pixel's channels,
//           for weights in ci co (ci padded too). Padding in is 0, and so is padding out.
// Dispatch: a lane a tile (in output `each` tiles) and vec4 of channels: n down across vectors; weight and grad_weight: vectors. Folded.
// Order:    as the lines below have it; it depends on OUTPUTS only.
// Safety:   pixels outside the image load from the first one and count as 0; results outside are not stored. At most
//           SIDE (3 SIDE + 1) rounds a lane, in output `each` times that.
// Source:   Winograd 1980; Lavin and Gray 2015, arXiv:1509.09308; the choice of points after Barabasz et al. 2018,
//           arXiv:1803.10986.

override ACCUMULATE: bool = false;

// tune
const OUTPUTS = 4u;
const LANES = 64u;

const SIDE = OUTPUTS + 2u;

struct Params {
    n: u32,
    h: u32,
    w: u32,
    down: u32,
    across: u32,
    vectors: u32,
    shift: i32,
    flip: u32,
    each: u32,
    zero: u32,
}

@group(0) @binding(0) var<storage, read> params: Params;
@group(0) @binding(1) var<storage, read> x: array<Floats>;
@group(0) @binding(2) var<storage, read_write> y: array<vec4<f32>>;

// A row or a column, whichever length it has.
alias Line = array<vec4<f32>, 6>;
// Up to 6 lines of up to 6, a line after the other.
alias Block = array<vec4<f32>, 36>;

// The points +-A and +-B, and the factors of G for 0, A and B.
const A = 0.625;
const B = 1.625;
const A2 = A * A;
const B2 = B * B;
const G0 = 1.0 / (A2 * B2);
const GA = 0.5 / (A2 * (A2 - B2));
const GB = 0.5 / (B2 * (B2 - A2));

fn times(a: f32, b: vec4<f32>, c: vec4<f32>) -> vec4<f32> {
    return fma(vec4(a), b, c);
}

// Bt d.
fn input_line(d: Line) -> Line {
    if OUTPUTS == 2u {
        return Line(d[0] - d[2], d[2] + d[1], d[2] - d[1], d[3] - d[1], vec4(0.0), vec4(0.0));
    }
    let even_a = times(-B2, d[2], d[4]);
    let even_b = times(-A2, d[2], d[4]);
    let odd_a = A * times(-B2, d[1], d[3]);
    let odd_b = B * times(-A2, d[1], d[3]);
    return Line(
        times(A2 * B2, d[0], times(-(A2 + B2), d[2], d[4])),
        even_a + odd_a, even_a - odd_a, even_b + odd_b, even_b - odd_b,
        times(A2 * B2, d[1], times(-(A2 + B2), d[3], d[5])),
    );
}

// G w.
fn weight_line(w: Line) -> Line {
    if OUTPUTS == 2u {
        let even = 0.5 * (w[0] + w[2]);
        let odd = 0.5 * w[1];
        return Line(w[0], even + odd, even - odd, w[2], vec4(0.0), vec4(0.0));
    }
    let even_a = GA * times(A2, w[2], w[0]);
    let even_b = GB * times(B2, w[2], w[0]);
    let odd_a = (GA * A) * w[1];
    let odd_b = (GB * B) * w[1];
    return Line(G0 * w[0], even_a + odd_a, even_a - odd_a, even_b + odd_b, even_b - odd_b, w[2]);
}

// At m.
fn output_line(m: Line) -> Line {
    if OUTPUTS == 2u {
        return Line(m[0] + (m[1] + m[2]), (m[1] - m[2]) + m[3], vec4(0.0), vec4(0.0), vec4(0.0), vec4(0.0));
    }
    let sum_a = m[1] + m[2];
    let sum_b = m[3] + m[4];
    let off_a = m[1] - m[2];
    let off_b = m[3] - m[4];
    return Line(
        m[0] + (sum_a + sum_b), times(A, off_a, B * off_b), times(A2, sum_a, B2 * sum_b),
        times(A * A2, off_a, times(B * B2, off_b, m[5])),
        vec4(0.0), vec4(0.0),
    );
}

// A y.
fn grad_output_line(y: Line) -> Line {
    if OUTPUTS == 2u {
        return Line(y[0], y[0] + y[1], y[0] - y[1], y[1], vec4(0.0), vec4(0.0));
    }
    let even_a = times(A2, y[2], y[0]);
    let even_b = times(B2, y[2], y[0]);
    let odd_a = A * times(A2, y[3], y[1]);
    let odd_b = B * times(B2, y[3], y[1]);
    return Line(y[0], even_a + odd_a, even_a - odd_a, even_b + odd_b, even_b - odd_b, y[3]);
}

// Gt u.
fn grad_weight_line(u: Line) -> Line {
    if OUTPUTS == 2u {
        let sum = 0.5 * (u[1] + u[2]);
        return Line(u[0] + sum, 0.5 * (u[1] - u[2]), sum + u[3], vec4(0.0), vec4(0.0), vec4(0.0));
    }
    let sum_a = GA * (u[1] + u[2]);
    let sum_b = GB * (u[3] + u[4]);
    let off_a = (GA * A) * (u[1] - u[2]);
    let off_b = (GB * B) * (u[3] - u[4]);
    return Line(
        times(G0, u[0], sum_a + sum_b), off_a + off_b, times(A2, sum_a, times(B2, sum_b, u[5])),
        vec4(0.0), vec4(0.0), vec4(0.0),
    );
}

// Which line a transform is made of.
const INPUT = 0u;
const WEIGHT = 1u;
const OUTPUT = 2u;
const GRAD_OUTPUT = 3u;
const GRAD_WEIGHT = 4u;

fn line(block: ptr<function, Block>, kind: u32, first: u32, step: u32) {
    var l: Line;
    for (var i = 0u; i < 6u; i++) {
        l[i] = (*block)[first + i * step];
    }
    switch kind {
        case INPUT: {
            l = input_line(l);
        }
        case WEIGHT: {
            l = weight_line(l);
        }
        case OUTPUT: {
            l = output_line(l);
        }
        case GRAD_OUTPUT: {
            l = grad_output_line(l);
        }
        default: {
            l = grad_weight_line(l);
        }
    }
    for (var i = 0u; i < 6u; i++) {
        (*block)[first + i * step] = l[i];
    }
}

// Every row, then every column. Written out, and not as a loop: drivers unroll small loops only, and an array that is
// indexed in one that stays lies in memory.
fn transform(block: ptr<function, Block>, kind: u32) {
    line(block, kind, 0u, 1u);
    line(block, kind, 6u, 1u);
    line(block, kind, 12u, 1u);
    line(block, kind, 18u, 1u);
    line(block, kind, 24u, 1u);
    line(block, kind, 30u, 1u);
    line(block, kind, 0u, 6u);
    line(block, kind, 1u, 6u);
    line(block, kind, 2u, 6u);
    line(block, kind, 3u, 6u);
    line(block, kind, 4u, 6u);
    line(block, kind, 5u, 6u);
}

// The first pixel of a lane's tile, and its vec4 of channels.
struct Place {
    image: u32,
    row: u32,
    column: u32,
    vector: u32,
}

fn place(size: Params, index: u32) -> Place {
    let tile = index / size.vectors;
    let down = tile / size.across;
    return Place(down / size.down * size.h, down % size.down * OUTPUTS, tile % size.across * OUTPUTS, index % size.vectors);
}

// The lanes of a transform of images.
fn lanes(size: Params) -> u32 {
    return size.n * size.down * size.across * size.vectors;
}

// Pixels of an image, `side` rows and columns of them from (top, left) on. A coordinate above or left of the image wraps round
// to a large number.
fn gather(size: Params, at: Place, top: u32, left: u32, side: u32, block: ptr<function, Block>) {
    for (var r = 0u; r < side; r++) {
        for (var s = 0u; s < side; s++) {
            let inside = top + r < size.h && left + s < size.w;
            let pixel = select(0u, (at.image + top + r) * size.w + left + s, inside);
            (*block)[6u * r + s] = select(vec4(0.0), floats(x[pixel * size.vectors + at.vector]), inside);
        }
    }
}

fn put(at: u32, value: vec4<f32>) {
    if ACCUMULATE {
        // A compiler that knew the last multiplication of the transform would draw this addition into it, and round otherwise.
        y[at] += bitcast<vec4<f32>>(bitcast<vec4<u32>>(value) ^ vec4(params.zero));
    } else {
        y[at] = value;
    }
}

@compute @workgroup_size(LANES)
fn input(
    @builtin(workgroup_id) group: vec3<u32>,
    @builtin(num_workgroups) groups: vec3<u32>,
    @builtin(local_invocation_index) lane: u32,
) {
    let size = params;
    let index = folded(group, groups) * LANES + lane;
    let total = lanes(size);
    if index >= total {
        return;
    }
    let at = place(size, index);
    var block: Block;
    gather(size, at, at.row + u32(size.shift), at.column + u32(size.shift), SIDE, &block);
    transform(&block, INPUT);
    for (var r = 0u; r < SIDE; r++) {
        for (var s = 0u; s < SIDE; s++) {
            y[(r * SIDE + s) * total + index] = block[6u * r + s];
        }
    }
}

@compute @workgroup_size(LANES)
fn grad_output(
    @builtin(workgroup_id) group: vec3<u32>,
    @builtin(num_workgroups) groups: vec3<u32>,
    @builtin(local_invocation_index) lane: u32,
) {
    let size = params;
    let index = folded(group, groups) * LANES + lane;
    let total = lanes(size);
    if index >= total {
        return;
    }
    let at = place(size, index);
    var block: Block;
    gather(size, at, at.row, at.column, OUTPUTS, &block);
    transform(&block, GRAD_OUTPUT);
    for (var r = 0u; r < SIDE; r++) {
        for (var s = 0u; s < SIDE; s++) {
            y[(r * SIDE + s) * total + index] = block[6u * r + s];
        }
    }
}

@compute @workgroup_size(LANES)
fn output(
    @builtin(workgroup_id) group: vec3<u32>,
    @builtin(num_workgroups) groups: vec3<u32>,
    @builtin(local_invocation_index) lane: u32,
) {
    let size = params;
    let index = folded(group, groups) * LANES + lane;
    let total = lanes(size);
    let vector = index % size.vectors;
    let strand = index / size.vectors;
    let first = strand * size.each * size.vectors + vector;
    if first >= total {
        return;
    }
    let end_tile = min(first + size.each * size.vectors, total);
    for (var tile = first; tile < end_tile; tile += size.vectors) {
        var block: Block;
        for (var r = 0u; r < SIDE; r++) {
            for (var s = 0u; s < SIDE; s++) {
                block[6u * r + s] = floats(x[(r * SIDE + s) * total + tile]);
            }
        }
        transform(&block, OUTPUT);
        let at = place(size, tile);
        for (var r = 0u; r < OUTPUTS; r++) {
            for (var s = 0u; s < OUTPUTS; s++) {
                if at.row + r < size.h && at.column + s < size.w {
                    put(((at.image + at.row + r) * size.w + at.column + s) * size.vectors + vector, block[6u * r + s]);
                }
            }
        }
    }
    if !FINISHES {
        return;
    }
    // A loop of its own, over what is stored: see conv2d.wgsl.
    var gathered = begin(vector);
    for (var tile = first; tile < end_tile; tile += size.vectors) {
        let at = place(size, tile);
        for (var p = 0u; p < OUTPUTS * OUTPUTS; p++) {
            let row = at.row + p / OUTPUTS;
            let column = at.column + p % OUTPUTS;
            if row < size.h && column < size.w {
                let to = ((at.image + row) * size.w + column) * size.vectors + vector;
                let value = finish(&gathered, y[to], to);
                if CHANGES {
                    y[to] = value;
                }
            }
        }
    }
    end(&gathered, strand, vector, size.vectors);
}

@compute @workgroup_size(LANES)
fn weight(
    @builtin(workgroup_id) group: vec3<u32>,
    @builtin(num_workgroups) groups: vec3<u32>,
    @builtin(local_invocation_index) lane: u32,
) {
    let size = params;
    let index = folded(group, groups) * LANES + lane;
    if index >= size.vectors {
        return;
    }
    var block: Block;
    for (var r = 0u; r < 3u; r++) {
        for (var s = 0u; s < 3u; s++) {
            let tap = select(3u * r + s, 8u - 3u * r - s, size.flip != 0u);
            block[6u * r + s] = floats(x[tap * size.vectors + index]);
        }
    }
    transform(&block, WEIGHT);
    for (var r = 0u; r < SIDE; r++) {
        for (var s = 0u; s < SIDE; s++) {
            y[(r * SIDE + s) * size.vectors + index] = block[6u * r + s];
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
    if index >= size.vectors {
        return;
    }
    var block: Block;
    for (var r = 0u; r < SIDE; r++) {
        for (var s = 0u; s < SIDE; s++) {
            block[6u * r + s] = floats(x[(r * SIDE + s) * size.vectors + index]);
        }
    }
    transform(&block, GRAD_WEIGHT);
    for (var r = 0u; r < 3u; r++) {
        for (var s = 0u; s < 3u; s++) {
            put((3u * r + s) * size.vectors + index, block[6u * r + s]);
        }
    }
}
