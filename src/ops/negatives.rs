use super::expect;
use crate::error::{Error, Result};
use crate::gpu::{Shader, Work};
use crate::tape::{Element, Launch, Tape, Tensor};

pub(super) static SHADER: Shader = Shader { file: "negatives.wgsl", text: include_str!("../../shaders/negatives.wgsl") };

/// Draw `m` rows of a bank of `n` for every sample, evenly and with replacement, anew for every step.
///
/// With `exclude_own` a sample's own row is never drawn; it needs at least two rows.
///
/// **Shapes**: `own` `[b]` of integers, each sample's row; the result `[b, m]` of integers.
/// **Source**: Wu et al. 2018, section 3.2 (uniform noise); leaving out the own row is ours, and matters on small sets.
///
/// # Errors
/// [`Error::Value`] for `m` = 0 or too few rows; [`Error::Shape`]; those of [`Tape::launch`].
pub fn negatives(tape: &mut Tape, own: Tensor, m: usize, n: usize, exclude_own: bool) -> Result<Tensor> {
    let batch = own.shape().count();
    expect("negatives", "own", own, &[batch], Element::U32)?;
    drawable("negatives", m, n, exclude_own)?;
    let step = tape.step_block()?;
    let rows = tape.output_u32("negatives", &[batch, m])?;
    let launch = Launch::new(&SHADER, "draw").param("batch", batch).param("m", m).param("n", n).param("exclude", exclude_own);
    let launch = launch.bind("step", step).bind("own", own).bind("rows", rows).work(Work::new(0, batch * (m + 1)));
    tape.launch(launch.groups((batch * m.div_ceil(4)).div_ceil(64)))?;
    Ok(rows)
}

/// Refuse no rows, and more than there are to draw from.
pub(super) fn drawable(op: &'static str, m: usize, n: usize, exclude_own: bool) -> Result<()> {
    if m == 0 {
        return Err(Error::value(op, "negatives", "at least 1", m));
    }
    if n <= usize::from(exclude_own) {
        return Err(Error::value(op, "n", "at least 2 rows (1 where the own row may be drawn)", n));
    }
    Ok(())
}
