// gemm_lanes: the accumulate-a-tile core of the `lanes` family, for adapters without a GPU.
//   tile[r, c] += sum over j < 4 of a[r][j] * b[j, c]        r < ROWS, c < 4 COLS
// TOGETHER lanes own a tile of ROWS rows by 4 COLS TOGETHER columns. Each lane holds all rows of its own COLS vec4
// columns (every TOGETHER-th, so that neighbours load neighbours) in a private array, reads its part of the rows, and
// takes four steps of the reduction at a time: B is 4 x COLS vec4, a row of A is one vec4 along the reduction. The three
// forms of a product differ only in how these are loaded; registers hold a vec4 as four separate values, so turning one
// round costs nothing:
//   nn   a = x[row][k .. k+3]                        b[j, v] = w[k+j][v]
//   nt   a = x[row][k .. k+3]                        b[j, v] = (w[4v][k+j], w[4v+1][k+j], w[4v+2][k+j], w[4v+3][k+j])
//   tn   a = four rows at a step, x[k][row .. row+3]  b[j, v] = w[k+j][v]
// On llvmpipe a vec4 load inside a loop costs about 20 ns for 8 lanes, whether its address is the same in all lanes or not,
// so what counts is loads a product. With a tile a lane (8 rows, 4 columns, TOGETHER 1) four steps take 24 loads for 512
// multiply-adds; with a tile for 8 lanes (32 rows, 1 column) 8 loads for 512, and a shuffle a row, which costs about as
// much as an addition (measured: 22 and 45 GFLOP/s).
// Addresses must stand in private arrays filled before the loop, and rows must be loaded right before they are used, so
// that no run of instructions without a load between them grows long: otherwise the rate falls to a half or a third and
// compilation takes two to ten times as long (measured).
// Source: register blocking as in Goto and van de Geijn, "Anatomy of High-Performance Matrix Multiplication", 2008.

// tune
const LANES = 8u;
const ROWS = 8u;
const COLS = 4u;
const TOGETHER = 1u; // 1, or LANES with together.wgsl in place of apart.wgsl

// Rows that a lane reads whole: every TOGETHER-th of the tile, from its own number among the lanes on.
const OWN = ROWS / TOGETHER;
// For tn: four rows at a step are read by a lane, and FOURS of them by the lanes together, each lane STEPS of the steps.
const FOURS = (TOGETHER + 3u) / 4u;
const STEPS = 4u / min(TOGETHER, 4u);
const OWN_FOURS = ROWS / (4u * FOURS);

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

// The rows 4 (`own` FOURS + four) .. + 3, of which each member has read the four member / 4 at steps from member % 4 on.
fn accumulate_fours(tile: ptr<function, Tile>, own: u32, read: array<vec4<f32>, STEPS>, b: ptr<function, Steps>) {
    for (var four = 0u; four < FOURS; four++) {
        let rows = of_members(read, four);
        for (var i = 0u; i < 4u; i++) {
            accumulate(tile, 4u * (own * FOURS + four) + i, rows[i], b);
        }
    }
}
