use super::scale_rows::scale_rows;
use super::{expect, matrix, positive};
use crate::error::{Error, Result};
use crate::gpu::{Shader, Work};
use crate::shape::{Layout, padded};
use crate::tape::{Element, Launch, Tape, Tensor};

pub(super) static SHADER: Shader = Shader { file: "softmax.wgsl", text: include_str!("../../shaders/softmax.wgsl") };

/// Samples a workgroup.
const LANES: usize = 8;

/// Cross-entropy of every sample's own row against the whole bank: −ln(exp(v·f/τ) / Σⱼ exp(vⱼ·f/τ)).
///
/// The bank is streamed once for loss and gradient; scores are never stored. No gradient reaches the bank.
///
/// **Shapes**: `f` `[b, d]`; `bank` `[n, d]`; `own` `[b]` of integers below n (larger ones are clamped); the result `[b]`.
/// **Source**: Wu et al. 2018, equation 2.
///
/// # Errors
/// [`Error::Shape`] for other shapes, [`Error::Value`] for a `tau` not above 0 or `d` over 512; those of [`Tape::launch`].
pub fn softmax(tape: &mut Tape, f: Tensor, bank: Tensor, own: Tensor, tau: f32) -> Result<Tensor> {
    let [batch, dim] = matrix("softmax", "f", f)?;
    let [n, _] = matrix("softmax", "bank", bank)?;
    expect("softmax", "bank", bank, &[n, dim], Element::F32)?;
    expect("softmax", "own", own, &[batch], Element::U32)?;
    positive("softmax", "tau", tau)?;
    if n == 0 || dim == 0 || dim > 512 {
        return Err(Error::value("softmax", "bank", "at least one row of 1 to 512 columns", bank.shape()));
    }
    let dim4 = padded(dim) / 4;
    // Chunks depend on the bank alone: the same bits whatever the batch. A row costs a lane three loops over its columns.
    let most = super::MAX_ROUNDS / (3 * dim4 + 2);
    let chunk_rows = n.div_ceil(n.div_ceil(256).min(64)).min(most);
    let chunks = n.div_ceil(chunk_rows);
    let params = move |l: Launch| {
        let l = l.tune("DIM4", dim4 as u32).param("batch", batch).param("n", n);
        l.param("chunks", chunks).param("chunk_rows", chunk_rows).param("inv_tau", 1.0 / tau)
    };
    let loss = tape.output("softmax", &[batch], Layout::Rows)?;
    let slope = tape.output("slope", &[batch, dim], Layout::Rows)?;
    let parts = tape.output("parts", &[chunks * batch, padded(dim) + 4], Layout::Rows)?;
    let stream = params(Launch::new(&SHADER, "stream")).bind("f", f).bind("bank", bank).bind("parts_out", parts);
    let flops = 4 * batch * n * dim;
    tape.launch(stream.groups(batch.div_ceil(LANES) * chunks).work(Work::new(flops, bank.words() * batch.div_ceil(LANES))))?;
    let merge = params(Launch::new(&SHADER, "merge")).bind("f", f).bind("bank", bank).bind("own", own);
    let merge = merge.bind("parts", parts).bind("loss", loss).bind("slope", slope);
    let groups = if batch == 0 { 0 } else { (padded(batch) * dim4).div_ceil(64) };
    tape.launch(merge.groups(groups).work(Work::new(parts.words(), parts.words())))?;
    tape.differentiable(loss, &[f], move |tape, dl| scale_rows(tape, slope, dl, f));
    Ok(loss)
}
