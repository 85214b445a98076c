// gemm_tiled: the accumulate-a-tile core of the `tiled` family, for GPUs.
//   tile[r, c] += sum over k < TILE_K of a_tile[k, r] * b_tile[k, c]        r < TILE_M, c < TILE_N
// A workgroup owns TILE_M rows by TILE_N columns of the result and takes the reduction in slices of TILE_K steps. It
// brings a slice of both operands into workgroup memory, a step's rows (columns) side by side, and each lane keeps ROWS by
// COLS of the result in a private array: four rows and four columns of each half of the tile, so that neighbouring lanes
// read neighbouring vec4. A step takes ROWS / 4 + COLS / 4 vec4 from workgroup memory for ROWS COLS multiply-adds.
// There are two slices in memory: in round s of the loop
//   if s < slices { fetch slice s into registers }
//   if s > 0      { multiply(slice s - 1) }
//   if s < slices { keep slice s }
//   workgroupBarrier()
// the fetches are under way during the multiply-adds, and one barrier a round is enough: what round s overwrites was
// last read in round s - 1. `slices` must come from `params` and the workgroup's number alone.
// An operand comes in one of two ways, `Four` vec4 a lane and slice at most:
//   lines    its vec4 run along rows (columns) of the tile: LANES of them at a time, in the order of the tile's memory
//   block    its vec4 run along the reduction: one block of four rows (columns) by four steps, turned on its way
// No loop has a private array in it: naga gives drivers no hint to unroll, and an array that is indexed by a loop's
// variable would leave the registers.
// With moments.wgsl, slopes.wgsl or affine.wgsl in place of plain.wgsl a workgroup goes over its tile once more when it is stored
// (`finish_tile`), lanes taking PART rows of a vec4 of columns each: the sums of a part are those of the lanes family to the bit.
// Source: Volkov and Demmel 2008; CUTLASS; S. Boehm, "How to Optimize a CUDA Matmul Kernel", 2022.

// tune
const TILE_M = 64u; // 32, 64, 128
const TILE_N = 64u; // 8, 16, 32, 64, 128
const TILE_K = 16u; // 8, 16
const ROWS = 8u; // 4, 8
const COLS = 4u; // 4, 8

const LANES = (TILE_M / ROWS) * (TILE_N / COLS);
const SUM_LANES = 64u; // for sums of parts

// In vec4: a step's rows and columns, and a slice's steps.
const M4 = TILE_M / 4u;
const N4 = TILE_N / 4u;
const K4 = TILE_K / 4u;

// How many vec4 in lines a lane fetches: 1, 2 or 4.
const A_EACH = max(TILE_K * M4 / LANES, 1u);
const B_EACH = max(TILE_K * N4 / LANES, 1u);

alias Tile = array<vec4<f32>, ROWS * COLS / 4u>;
alias Four = array<vec4<f32>, 4>;

// Rows of a result whose sums for a batch norm are one part, as in gemm_lanes.wgsl.
const PART = 8u;

// The place of what is not there.
const NOWHERE = 0xffffffffu;

const OWN = vec4<u32>(0u, 1u, 2u, 3u);

var<workgroup> a_tile: array<vec4<f32>, 2u * TILE_K * M4>;
var<workgroup> b_tile: array<vec4<f32>, 2u * TILE_K * N4>;

// The place of tile `index` of down x across tiles: eight down, then one across, so that those under way share operands.
fn place_of(index: u32, down: u32, across: u32) -> vec2<u32> {
    let first = index / (8u * across) * 8u;
    let high = min(8u, down - first);
    let within = index - first * across;
    return vec2(first + within % high, within / high);
}

// Whether a lane has something to fetch.
fn fetches_a_lines(lane: u32) -> bool {
    return lane < TILE_K * M4;
}
fn fetches_b_lines(lane: u32) -> bool {
    return lane < TILE_K * N4;
}
fn fetches_a_block(lane: u32) -> bool {
    return lane < K4 * M4;
}
fn fetches_b_block(lane: u32) -> bool {
    return lane < K4 * N4;
}

// The steps of a slice that a lane fetches in lines; its vec4 across is `lane % M4` or `lane % N4`.
fn steps_of(lane: u32, across: u32) -> vec4<u32> {
    return lane / across + OWN * (LANES / across);
}

// The rows (columns) of the tile in a lane's block; its steps are the vec4 `lane % K4` of the slice.
fn rows_of(lane: u32) -> vec4<u32> {
    return lane / K4 * 4u + OWN;
}

fn keep_a_lines(slice: u32, lane: u32, v: Four) {
    if fetches_a_lines(lane) {
        let at = slice % 2u * TILE_K * M4 + lane;
        a_tile[at] = v[0];
        if A_EACH > 1u {
            a_tile[at + LANES] = v[1];
        }
        if A_EACH > 2u {
            a_tile[at + 2u * LANES] = v[2];
            a_tile[at + 3u * LANES] = v[3];
        }
    }
}

fn keep_b_lines(slice: u32, lane: u32, v: Four) {
    if fetches_b_lines(lane) {
        let at = slice % 2u * TILE_K * N4 + lane;
        b_tile[at] = v[0];
        if B_EACH > 1u {
            b_tile[at + LANES] = v[1];
        }
        if B_EACH > 2u {
            b_tile[at + 2u * LANES] = v[2];
            b_tile[at + 3u * LANES] = v[3];
        }
    }
}

fn keep_a_block(slice: u32, lane: u32, v: Four) {
    if fetches_a_block(lane) {
        let at = (slice % 2u * TILE_K + 4u * (lane % K4)) * M4 + lane / K4;
        a_tile[at] = vec4(v[0].x, v[1].x, v[2].x, v[3].x);
        a_tile[at + M4] = vec4(v[0].y, v[1].y, v[2].y, v[3].y);
        a_tile[at + 2u * M4] = vec4(v[0].z, v[1].z, v[2].z, v[3].z);
        a_tile[at + 3u * M4] = vec4(v[0].w, v[1].w, v[2].w, v[3].w);
    }
}

fn keep_b_block(slice: u32, lane: u32, v: Four) {
    if fetches_b_block(lane) {
        let at = (slice % 2u * TILE_K + 4u * (lane % K4)) * N4 + lane / K4;
        b_tile[at] = vec4(v[0].x, v[1].x, v[2].x, v[3].x);
        b_tile[at + N4] = vec4(v[0].y, v[1].y, v[2].y, v[3].y);
        b_tile[at + 2u * N4] = vec4(v[0].z, v[1].z, v[2].z, v[3].z);
        b_tile[at + 3u * N4] = vec4(v[0].w, v[1].w, v[2].w, v[3].w);
    }
}

// A lane's vec4 of rows and of columns in the first half of the tile. 32 lanes in a row make a strip of 8 across and 4
// down (as near as a narrow tile lets them), which reads the fewest different vec4.
fn lane_place(lane: u32) -> vec2<u32> {
    let across = TILE_N / COLS;
    let wide = min(across, 8u);
    let strip = lane / 32u;
    let strips = across / wide;
    return vec2(strip / strips * (32u / wide) + lane % 32u / wide, strip % strips * wide + lane % wide);
}

// Four rows of one vec4 of columns, from `at` in the tile.
fn outer_product(tile: ptr<function, Tile>, at: u32, a: vec4<f32>, b: vec4<f32>) {
    (*tile)[at] = fma(vec4(a.x), b, (*tile)[at]);
    (*tile)[at + 1u] = fma(vec4(a.y), b, (*tile)[at + 1u]);
    (*tile)[at + 2u] = fma(vec4(a.z), b, (*tile)[at + 2u]);
    (*tile)[at + 3u] = fma(vec4(a.w), b, (*tile)[at + 3u]);
}

fn multiply(tile: ptr<function, Tile>, slice: u32, lane: u32) {
    let place = lane_place(lane);
    var a = slice % 2u * TILE_K * M4 + place.x;
    var b = slice % 2u * TILE_K * N4 + place.y;
    for (var k = 0u; k < TILE_K; k++) {
        let a0 = a_tile[a];
        let b0 = b_tile[b];
        outer_product(tile, 0u, a0, b0);
        if COLS > 4u {
            outer_product(tile, 4u, a0, b_tile[b + N4 / 2u]);
        }
        if ROWS > 4u {
            let a1 = a_tile[a + M4 / 2u];
            outer_product(tile, COLS, a1, b0);
            if COLS > 4u {
                outer_product(tile, COLS + 4u, a1, b_tile[b + N4 / 2u]);
            }
        }
        a += M4;
        b += N4;
    }
}

// Hand a lane's part of the tile whose first row is `row` and first vec4 of columns `column` to the file's `put`.
fn store(tile: ptr<function, Tile>, lane: u32, to: Output, row: u32, column: u32) {
    let place = lane_place(lane);
    let top = row + 4u * place.x;
    let left = column + place.y;
    put_four(tile, 0u, to, top, left);
    if COLS > 4u {
        put_four(tile, 4u, to, top, left + N4 / 2u);
    }
    if ROWS > 4u {
        put_four(tile, COLS, to, top + TILE_M / 2u, left);
        if COLS > 4u {
            put_four(tile, COLS + 4u, to, top + TILE_M / 2u, left + N4 / 2u);
        }
    }
}

fn put_four(tile: ptr<function, Tile>, at: u32, to: Output, row: u32, column: u32) {
    put(to, row, column, (*tile)[at]);
    put(to, row + 1u, column, (*tile)[at + 1u]);
    put(to, row + 2u, column, (*tile)[at + 2u]);
    put(to, row + 3u, column, (*tile)[at + 3u]);
}

// Go over the stored tile, where that is wanted, with the file's `refine`: every PART rows of each vec4 of columns by one lane, as
// one part of the sums; `parts` are those before the first row, `columns` the vec4 that the rows have. A barrier is in it.
fn finish_tile(lane: u32, to: Output, row: u32, column: u32, columns: u32, parts: u32) {
    if !FINISHES {
        return;
    }
    storageBarrier();
    for (var i = lane; i < TILE_M / PART * N4; i += LANES) {
        let first = row + i / N4 * PART;
        let c = column + i % N4;
        if first < to.rows && c < columns {
            var gathered = begin(to.first + c);
            for (var r = first; r < min(first + PART, to.rows); r++) {
                refine(&gathered, place_in(to, r, c));
            }
            end(&gathered, parts + first / PART, to.first + c, to.stride);
        }
    }
}
