// gemm_lanes: the accumulate-a-tile core of the `lanes` family, for adapters without a GPU.
//   tile[r, c] += sum over j < 4 of a[r][j] * b[j, c]        r < ROWS, c < 4 COLS
// A lane holds ROWS rows by COLS vec4 columns in a private array and takes four steps of the reduction at a time: B is
// 4 x COLS vec4, a row of A is one vec4 along the reduction. The three forms of a product differ only in how these are
// loaded; registers hold a vec4 as four separate values, so turning one round costs nothing:
//   nn   a = x[row][k .. k+3]                        b[j, v] = w[k+j][v]
//   nt   a = x[row][k .. k+3]                        b[j, v] = (w[4v][k+j], w[4v+1][k+j], w[4v+2][k+j], w[4v+3][k+j])
//   tn   a = four rows at a step, x[k][row .. row+3]  b[j, v] = w[k+j][v]
// The lanes of a workgroup each have a tile of their own (ACROSS = DOWN = 1), or with together.wgsl a common one: side by
// side (ACROSS = LANES), holding the same rows, of which each reads a part; or one below the other (DOWN = LANES),
// holding the same columns, of which each reads a part.
// On llvmpipe a vec4 load inside a loop costs about 20 ns for 8 lanes, whether its address is the same in all lanes or not,
// so what counts is loads a product. Four steps take 8 + 16 loads for 512 multiply-adds where each lane has 8 rows by 4
// columns of its own; 4 + 4 for 512 where 8 lanes side by side hold 32 rows and a column each; 8 + 2 for 512 where they
// stand one below the other with 8 rows each and 4 columns. A shuffle costs about as much as an addition (measured:
// 22, 45 and 40 GFLOP/s).
// Addresses must stand in private arrays filled before the loop, and rows must be loaded right before they are used, so
// that no run of instructions without a load between them grows long: otherwise the rate falls to a half or a third and
// compilation takes two to ten times as long (measured).
// Source: register blocking as in Goto and van de Geijn, "Anatomy of High-Performance Matrix Multiplication", 2008.

// tune
const LANES = 8u;
const ROWS = 8u;
const COLS = 4u;
const ACROSS = 1u; // ACROSS or DOWN may be LANES, with together.wgsl in place of apart.wgsl
const DOWN = 1u;

// Rows of a result whose sums for a batch norm are one part, whatever the tile; ROWS must be a multiple of it where there are any.
const PART = 8u;

// The tile that TOGETHER lanes hold: HIGH rows by WIDE vec4 columns.
const TOGETHER = ACROSS * DOWN;
const HIGH = ROWS * DOWN;
const WIDE = COLS * ACROSS;
// Rows of A that a lane reads, and vec4 of B.
const ROW_READS = ROWS / ACROSS;
const COLUMN_READS = (4u * COLS + DOWN - 1u) / DOWN;
// For tn, where a read is four rows at a step: reads at STEPS steps give a lane, or lanes side by side, FOURS times four rows.
const STEPS = 4u / min(ACROSS, 4u);
const FOURS = (ACROSS + 3u) / 4u;
const FOUR_READS = ROWS / (4u * FOURS);

alias Tile = array<vec4<f32>, ROWS * COLS>;
alias Steps = array<vec4<f32>, 4u * COLS>;

// The i-th row of the tile that a lane reads; it may be held by others.
fn row_read(i: u32, member: u32) -> u32 {
    return row_held(i * ACROSS + member % ACROSS, member);
}

// The i-th row that a lane holds: they are neighbours.
fn row_held(i: u32, member: u32) -> u32 {
    return member / ACROSS * ROWS + i;
}

// For tn: the i-th four of rows that a lane reads, at steps from member % 4 side by side, else from 0.
fn four_read(i: u32, member: u32) -> u32 {
    return (i * FOURS + member % ACROSS / 4u) * DOWN + member / ACROSS;
}

fn step_read(j: u32, member: u32) -> u32 {
    return j + member % ACROSS % 4u;
}

// For tn: the i-th row that a lane holds.
fn row_of_four_held(i: u32, member: u32) -> u32 {
    return 4u * (i / 4u * DOWN + member / ACROSS) + i % 4u;
}

// The v-th vec4 column that a lane holds.
fn column_held(v: u32, member: u32) -> u32 {
    return v * ACROSS + member % ACROSS;
}

// The i-th of the 4 COLS vec4 of B that a lane reads.
fn element_read(i: u32, member: u32) -> u32 {
    return min(i * DOWN + member / ACROSS, 4u * COLS - 1u);
}

// B from elements (j, v), in the order of j.
fn steps_of_lines(read: array<vec4<f32>, COLUMN_READS>) -> Steps {
    var b: Steps;
    for (var e = 0u; e < 4u * COLS; e++) {
        b[e] = of_columns(read, e);
    }
    return b;
}

// B from elements (v, c), in the order of v: column c of the vec4 column v at four steps.
fn steps_of_columns(read: array<vec4<f32>, COLUMN_READS>) -> Steps {
    var b: Steps;
    for (var v = 0u; v < COLS; v++) {
        let turned = transpose(mat4x4(of_columns(read, 4u * v), of_columns(read, 4u * v + 1u),
            of_columns(read, 4u * v + 2u), of_columns(read, 4u * v + 3u)));
        for (var j = 0u; j < 4u; j++) {
            b[j * COLS + v] = turned[j];
        }
    }
    return b;
}

// One row that the lane holds.
fn accumulate(tile: ptr<function, Tile>, row: u32, a: vec4<f32>, b: ptr<function, Steps>) {
    for (var v = 0u; v < COLS; v++) {
        let t = row * COLS + v;
        (*tile)[t] = fma(vec4(a.w), (*b)[3u * COLS + v], fma(vec4(a.z), (*b)[2u * COLS + v],
            fma(vec4(a.y), (*b)[COLS + v], fma(vec4(a.x), (*b)[v], (*tile)[t]))));
    }
}

// The rows of the i-th read of all lanes that hold them.
fn accumulate_rows(tile: ptr<function, Tile>, i: u32, a: vec4<f32>, b: ptr<function, Steps>) {
    for (var m = 0u; m < ACROSS; m++) {
        accumulate(tile, i * ACROSS + m, of_row(a, m), b);
    }
}

// The same for tn.
fn accumulate_fours(tile: ptr<function, Tile>, i: u32, read: array<vec4<f32>, STEPS>, b: ptr<function, Steps>) {
    for (var four = 0u; four < FOURS; four++) {
        let rows = of_rows(read, four);
        for (var r = 0u; r < 4u; r++) {
            accumulate(tile, 4u * (i * FOURS + four) + r, rows[r], b);
        }
    }
}
