use crate::error::Result;
use crate::gpu::{Shader, Work};
use crate::shape::{Layout, padded};
use crate::tape::{Launch, Tape, Tensor};

pub(super) static SHADER: Shader = Shader { file: "column_sums.wgsl", text: include_str!("../../shaders/column_sums.wgsl") };

/// The gradient of a bias: the sum of every column of `dy` `[rows, n]`, if a gradient of `bias` `[n]` is wanted.
pub(super) fn column_sums(tape: &mut Tape, dy: Tensor, bias: Tensor) -> Result<()> {
    let Some(db) = tape.gradient(bias)? else { return Ok(()) };
    let rows = dy.shape()[0];
    // In chunks: more lanes, and fewer rounds for each than a lane may loop.
    let chunk_rows = rows.div_ceil(128).clamp(128, super::MAX_ROUNDS);
    if rows <= chunk_rows {
        return sum(tape, dy, db.tensor, rows, chunk_rows, db.accumulate);
    }
    let chunks = rows.div_ceil(chunk_rows);
    let parts = tape.output("parts", &[chunks, bias.shape()[0]], Layout::Rows)?;
    sum(tape, dy, parts, rows, chunk_rows, false)?;
    sum(tape, parts, db.tensor, chunks, chunks, db.accumulate)
}

fn sum(tape: &mut Tape, x: Tensor, y: Tensor, rows: usize, chunk_rows: usize, accumulate: bool) -> Result<()> {
    let launch = Launch::new(&SHADER, "sum").on("ACCUMULATE", accumulate).param("rows", rows).param("chunk_rows", chunk_rows);
    let launch = launch.param("cols4", padded(x.shape()[1]) / 4).bind("x", x).bind("y", y);
    tape.launch(launch.groups((y.words() / 4).div_ceil(64)).work(Work::new(x.words(), x.words())))
}
