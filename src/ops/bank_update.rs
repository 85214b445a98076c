use super::{Bank, expect, matrix};
use crate::error::{Error, Result};
use crate::gpu::{Shader, Work};
use crate::shape::padded;
use crate::tape::{Element, Launch, Tape, Tensor};

pub(super) static SHADER: Shader = Shader { file: "bank_update.wgsl", text: include_str!("../../shaders/bank_update.wgsl") };

/// Move every sample's row of the bank towards its embedding: row ← (`keep` row + (1 − `keep`) f) / |…|.
///
/// `keep` is the weight of the OLD row. Where a row occurs twice in the batch, both are applied in the batch's order.
/// Nothing happens while the guard is up. Belongs into the last segment of a step, since the losses read the bank.
///
/// **Shapes**: `f` `[b, d]`; `bank` of n rows of d, changed in place (16-bit rows are rounded to the nearest, ties to even); `own` `[b]` of integers below n (larger ones are clamped).
/// **Source**: Wu et al. 2018, section 3.1; the moving average is that of the authors' released code.
///
/// # Errors
/// [`Error::Value`] for a `keep` outside 0 to 1, [`Error::Shape`] for other shapes; those of [`Tape::launch`].
pub fn bank_update(tape: &mut Tape, bank: impl Into<Bank>, f: Tensor, own: Tensor, keep: f32) -> Result<()> {
    let bank = bank.into();
    let [batch, dim] = matrix("bank_update", "f", f)?;
    let n = bank.rows();
    bank.check("bank_update", dim)?;
    expect("bank_update", "own", own, &[batch], Element::U32)?;
    if !(0.0..=1.0).contains(&keep) {
        return Err(Error::value("bank_update", "keep", "between 0 and 1", keep));
    }
    if n == 0 {
        return Err(Error::shape("bank_update", "bank", "at least one row", n));
    }
    let flag = tape.guard()?;
    // Where every sample has the same row, one lane does them all: two loops over the columns each.
    let most = (super::MAX_ROUNDS / (2 * (padded(dim) / 4) + 2)).max(1);
    for shard in bank.shards() {
        for first in (0..batch).step_by(most) {
            let part = most.min(batch - first);
            let launch = Launch::new(&SHADER, "update").on("HALF", bank.half()).param("first", first).param("batch", part);
            let launch = launch.param("n", n).param("dim4", padded(dim) / 4).param("keep", keep);
            let launch = launch.param("shard", shard.first).param("end", shard.end);
            let launch = launch.bind("f", f).bind("own", own).bind("flag", flag).bind("bank", shard.tensor);
            let words = part * (padded(dim) + 2 * bank.row_words(dim));
            tape.launch(launch.groups(part.div_ceil(64)).work(Work::new(6 * part * padded(dim), words)))?;
        }
    }
    Ok(())
}
