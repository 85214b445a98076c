// gemm_lanes: the accumulate-a-tile core of the `lanes` family, for adapters without a GPU.
//   tile[r, c] += sum over j < 4 of a[r][j] * b[j, c]        r < ROWS, c < 4 COLS
// TOGETHER lanes own a tile of ROWS rows by 4 COLS TOGETHER columns. Each lane holds all rows of its own COLS vec4
// columns (every TOGETHER-th, so that neighbours load neighbours) in a private array, reads OWN of the rows (again every
// TOGETHER-th), and takes four steps of the reduction at a time: a row of A is one vec4 along the reduction, B is 4 x COLS
// vec4. The three forms of a product differ only in how these are loaded; registers hold a vec4 as four separate
// values, so turning one round costs nothing:
//   nn   a = x[row][k .. k+3]            b[j, v] = w[k+j][v]
//   nt   a = x[row][k .. k+3]            b[j, v] = (w[4v][k+j], w[4v+1][k+j], w[4v+2][k+j], w[4v+3][k+j])
//   tn   a = (x[k][row] .. x[k+3][row])  b[j, v] = w[k+j][v]
// On llvmpipe a vec4 load inside a loop costs about 20 ns for 8 lanes, whether its address is the same in all lanes or not,
// so what counts is loads a product: a step of 16 ROWS COLS multiply-adds a lane takes OWN + 4 COLS vec4. With a tile
// a lane (8 rows, 4 columns, TOGETHER 1) that is 24 loads for 512 multiply-adds; with a tile for 8 lanes (32 rows, 1
// column) 8 loads for 512, and a shuffle a row, which costs about as much as an addition.
// Addresses must stand in private arrays filled before the loop, and a row must be loaded right before it is used:
// otherwise the rate halves and compilation takes two to ten times as long (measured).
// Source: register blocking as in Goto and van de Geijn, "Anatomy of High-Performance Matrix Multiplication", 2008.

// tune
const LANES = 8u;
const ROWS = 8u;
const COLS = 4u;
const TOGETHER = 1u; // 1, or LANES with together.wgsl in place of apart.wgsl

const OWN = ROWS / TOGETHER;

alias Tile = array<vec4<f32>, ROWS * COLS>;
alias Steps = array<vec4<f32>, 4u * COLS>;

// One row of the tile, which every lane that shares it knows.
fn accumulate(tile: ptr<function, Tile>, row: u32, a: vec4<f32>, b: ptr<function, Steps>) {
    for (var v = 0u; v < COLS; v++) {
        let t = row * COLS + v;
        (*tile)[t] = fma(vec4(a.w), (*b)[3u * COLS + v], fma(vec4(a.z), (*b)[2u * COLS + v],
            fma(vec4(a.y), (*b)[COLS + v], fma(vec4(a.x), (*b)[v], (*tile)[t]))));
    }
}

// The rows `own` TOGETHER + member of the tile, of which each member has read its own.
fn accumulate_rows(tile: ptr<function, Tile>, own: u32, a: vec4<f32>, b: ptr<function, Steps>) {
    for (var i = 0u; i < TOGETHER; i++) {
        accumulate(tile, own * TOGETHER + i, of_member(a, i), b);
    }
}

// The rows 4 (`own` TOGETHER + member) .. + 3, of which each member has read four steps: a[j] holds step j of its four.
fn accumulate_fours(tile: ptr<function, Tile>, own: u32, a: array<vec4<f32>, 4>, b: ptr<function, Steps>) {
    let turned = array<vec4<f32>, 4>(vec4(a[0].x, a[1].x, a[2].x, a[3].x), vec4(a[0].y, a[1].y, a[2].y, a[3].y),
        vec4(a[0].z, a[1].z, a[2].z, a[3].z), vec4(a[0].w, a[1].w, a[2].w, a[3].w));
    for (var i = 0u; i < TOGETHER; i++) {
        let row = 4u * (own * TOGETHER + i);
        accumulate(tile, row, of_member(turned[0], i), b);
        accumulate(tile, row + 1u, of_member(turned[1], i), b);
        accumulate(tile, row + 2u, of_member(turned[2], i), b);
        accumulate(tile, row + 3u, of_member(turned[3], i), b);
    }
}
