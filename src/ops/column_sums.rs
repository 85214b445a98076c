use crate::error::Result;
use crate::gpu::{Shader, Work};
use crate::tape::{Launch, Tape, Tensor};

pub(super) static SHADER: Shader = Shader { file: "column_sums.wgsl", text: include_str!("../../shaders/column_sums.wgsl") };

/// The gradient of a bias: the sum of every column of `dy` `[rows, n]`, if a gradient of `bias` `[n]` is wanted.
pub(super) fn column_sums(tape: &mut Tape, dy: Tensor, bias: Tensor) -> Result<()> {
    let Some(db) = tape.gradient(bias)? else { return Ok(()) };
    let (rows, cols4) = (dy.shape()[0], bias.words() / 4);
    let launch = Launch::new(&SHADER, "sum").on("ACCUMULATE", db.accumulate).param("rows", rows).param("cols4", cols4);
    tape.launch(launch.bind("x", dy).bind("y", db.tensor).groups(cols4.div_ceil(64)).work(Work::new(dy.words(), dy.words())))
}
