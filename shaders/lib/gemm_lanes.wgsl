// gemm_lanes: the accumulate-a-tile core of the `lanes` family, for adapters without a GPU.
//   tile[r, c] += sum over j < 4 of a[r][j] * b[j, c]        r < ROWS, c < 4 COLS
// One lane owns a whole tile: ROWS rows by COLS vec4 columns of the result, in a private array, and takes four steps
// of the reduction at a time: a row of A is one vec4 along the reduction, B is 4 x COLS vec4. The three forms of a
// product differ only in how these are loaded; registers hold a vec4 as four separate values, so turning one
// round costs nothing:
//   nn   a = x[row][k .. k+3]            b[j, v] = w[k+j][v]
//   nt   a = x[row][k .. k+3]            b[j, v] = (w[4v][k+j], w[4v+1][k+j], w[4v+2][k+j], w[4v+3][k+j])
//   tn   a = (x[k][row] .. x[k+3][row])  b[j, v] = w[k+j][v]
// On llvmpipe a vec4 load inside a loop costs about 20 ns for 8 lanes, whether its address is the same in all lanes or not,
// so what counts is loads a product: (ROWS + 4 COLS) vec4 for 16 ROWS COLS multiply-adds a step. Row and column
// addresses must stand in private arrays filled before the loop, and a row must be loaded right before `accumulate`:
// otherwise the rate halves and compilation takes two to ten times as long (measured).
// Source: register blocking as in Goto and van de Geijn, "Anatomy of High-Performance Matrix Multiplication", 2008.

// tune
const LANES = 8u;
const ROWS = 8u;
const COLS = 4u;

alias Tile = array<vec4<f32>, ROWS * COLS>;
alias Steps = array<vec4<f32>, 4u * COLS>;

fn accumulate(tile: ptr<function, Tile>, row: u32, a: vec4<f32>, b: ptr<function, Steps>) {
    for (var v = 0u; v < COLS; v++) {
        let t = row * COLS + v;
        (*tile)[t] = fma(vec4(a.w), (*b)[3u * COLS + v], fma(vec4(a.z), (*b)[2u * COLS + v],
            fma(vec4(a.y), (*b)[COLS + v], fma(vec4(a.x), (*b)[v], (*tile)[t]))));
    }
}
