use super::bank::Shard;
use super::{Bank, expect, matrix};
use crate::error::{Error, Result};
use crate::gpu::{Shader, Work};
use crate::shape::{Layout, padded};
use crate::tape::{Element, Launch, Tape, Tensor};

pub(super) static SHADER: Shader = Shader { file: "prox.wgsl", text: include_str!("../../shaders/prox.wgsl") };

/// The squared distance |f − v|² of every embedding from its own row of the bank; no gradient reaches the bank.
///
/// **Shapes**: `f` `[b, d]`; `bank` of n rows of d; `own` `[b]` of integers below n (larger ones are clamped); the result `[b]`.
/// **Source**: the proximal term of Wu et al. 2018, equation 9, without its weight.
///
/// # Errors
/// [`Error::Shape`] for other shapes or an empty bank; those of [`Tape::launch`].
pub fn prox(tape: &mut Tape, f: Tensor, bank: impl Into<Bank>, own: Tensor) -> Result<Tensor> {
    let bank = bank.into();
    let [batch, dim] = matrix("prox", "f", f)?;
    let n = bank.rows();
    bank.check("prox", dim)?;
    expect("prox", "own", own, &[batch], Element::U32)?;
    if n == 0 {
        return Err(Error::shape("prox", "bank", "at least one row", n));
    }
    let dim4 = padded(dim) / 4;
    super::within_rounds("prox", dim4)?;
    let half = bank.half();
    let params = move |l: Launch, shard: Shard| {
        let l = l.on("HALF", half).param("batch", batch).param("n", n).param("dim4", dim4);
        l.param("shard", shard.first).param("end", shard.end).bind("bank", shard.tensor)
    };
    let loss = tape.output("prox", &[batch], Layout::Rows)?;
    let shards = bank.shards();
    for shard in &shards {
        let forward = params(Launch::new(&SHADER, "forward"), *shard).bind("f", f).bind("own", own).bind("loss", loss);
        tape.launch(forward.groups(padded(batch).div_ceil(64)).work(Work::new(3 * f.words(), 2 * f.words())))?;
    }
    tape.differentiable(loss, &[f], move |tape, dl| {
        let Some(df) = tape.gradient(f)? else { return Ok(()) };
        for shard in shards {
            let backward = params(Launch::new(&SHADER, "backward").on("ACCUMULATE", df.accumulate), shard);
            let backward = backward.bind("f", f).bind("own", own).bind("dl", dl).bind("df", df.tensor);
            tape.launch(backward.groups((batch * dim4).div_ceil(64)).work(Work::new(3 * f.words(), 3 * f.words())))?;
        }
        Ok(())
    });
    Ok(loss)
}
