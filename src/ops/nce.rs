use super::scale_rows::scale_rows;
use super::{expect, matrix, positive};
use crate::error::{Error, Result};
use crate::gpu::{Shader, Work};
use crate::shape::{Layout, padded};
use crate::tape::{Element, Launch, Tape, Tensor};

pub(super) static SHADER: Shader = Shader { file: "nce.wgsl", text: include_str!("../../shaders/nce.wgsl") };

/// Lanes that share a sample's negatives: more where one would loop too long. A row costs a lane two loops over its columns.
fn lanes(m: usize, dim4: usize) -> usize {
    (m * (2 * dim4 + 1)).div_ceil(super::MAX_ROUNDS).next_power_of_two().max(32)
}

/// What [`nce`] returns.
#[derive(Clone, Copy, Debug)]
pub struct Nce {
    /// `[b]`: the loss of every sample.
    pub loss: Tensor,
    /// `[b]`: ln Σ exp(v·f/τ) over the positive and the negatives, for [`nce_estimate`].
    pub spread: Tensor,
}

/// Noise-contrastive estimation: tell the own row of the bank from `m` rows of noise.
///
/// With p(v) = exp(v·f/τ) / Z and k = m / n, a sample's loss is −ln(p⁺ / (p⁺ + k)) − Σ ln(k / (p⁻ + k)). It is computed
/// in log space, so that no τ overflows. Each sampled row is gathered once for loss and gradient. No gradient reaches
/// the bank or Z.
///
/// **Shapes**: `f` `[b, d]`; `bank` `[n, d]`; `own` `[b]` and `rows` `[b, m]` of integers below n (larger ones are
/// clamped); `z` the state `[4]`: ln Z, 1 once it is set, and two zeros. **Source**: Wu et al. 2018, equations 4 to 8.
///
/// # Errors
/// [`Error::Shape`] for other shapes, [`Error::Value`] for a `tau` not above 0 or `d` over 512; those of [`Tape::launch`].
pub fn nce(tape: &mut Tape, f: Tensor, bank: Tensor, own: Tensor, rows: Tensor, z: Tensor, tau: f32) -> Result<Nce> {
    let [batch, dim] = matrix("nce", "f", f)?;
    let [n, _] = matrix("nce", "bank", bank)?;
    let m = rows.shape().dims().get(1).copied().unwrap_or(0);
    expect("nce", "bank", bank, &[n, dim], Element::F32)?;
    expect("nce", "own", own, &[batch], Element::U32)?;
    expect("nce", "rows", rows, &[batch, m.max(1)], Element::U32)?;
    expect("nce", "z", z, &[4], Element::F32)?;
    positive("nce", "tau", tau)?;
    if n == 0 || dim == 0 || dim > 512 {
        return Err(Error::value("nce", "bank", "at least one row of 1 to 512 columns", bank.shape()));
    }
    let dim4 = padded(dim) / 4;
    let lanes = lanes(m, dim4);
    if lanes > 256 {
        let (asked, allowed) = (m as u64, (256 * super::MAX_ROUNDS / (2 * dim4 + 1)) as u64);
        let advice = "draw fewer negatives, or use the exact softmax";
        return Err(Error::Limit { what: "nce (negatives)".into(), asked, allowed, advice });
    }
    let params = move |l: Launch| {
        let l = l.tune("DIM4", dim4 as u32).tune("LANES", lanes as u32).param("batch", batch).param("n", n).param("negatives", m);
        l.param("inv_tau", 1.0 / tau).param("log_noise", (m as f32 / n as f32).ln()).param("keep", 0.0f32)
    };
    let loss = tape.output("nce", &[batch], Layout::Rows)?;
    let spread = tape.output("spread", &[batch], Layout::Rows)?;
    let slope = tape.output("slope", &[batch, dim], Layout::Rows)?;
    let parts = tape.output("parts", &[batch * lanes, 4 * dim4 + 4], Layout::Rows)?;
    let gather = params(Launch::new(&SHADER, "gather")).bind("f", f).bind("bank", bank).bind("own", own).bind("rows", rows);
    let words = batch * (m + 1) * dim4 * 4;
    tape.launch(gather.bind("z", z).bind("parts_out", parts).groups(batch).work(Work::new(4 * words, words)))?;
    let merge = params(Launch::new(&SHADER, "merge")).bind("parts", parts);
    let merge = merge.bind("loss", loss).bind("slope", slope).bind("spread_out", spread);
    tape.launch(merge.groups((padded(batch) * dim4).div_ceil(64)).work(Work::new(parts.words(), parts.words())))?;
    tape.differentiable(loss, &[f], move |tape, dl| scale_rows(tape, slope, dl, f));
    Ok(Nce { loss, spread })
}

/// Set Z from this batch's estimate n · mean exp(v·f/τ): the first time as it is, later as a moving average that keeps
/// `keep` of the old value. With `keep` = 1 the first estimate stays, as in the paper.
///
/// **Shapes**: `spread` `[b]` from [`nce`] with `m` negatives against `n` rows; `z` the same state.
///
/// # Errors
/// [`Error::Value`] for a `keep` outside 0 to 1; [`Error::Shape`]; those of [`Tape::launch`].
pub fn nce_estimate(tape: &mut Tape, spread: Tensor, z: Tensor, m: usize, n: usize, keep: f32) -> Result<()> {
    let batch = spread.shape().count();
    expect("nce_estimate", "z", z, &[4], Element::F32)?;
    expect("nce_estimate", "spread", spread, &[batch], Element::F32)?;
    if !(0.0..=1.0).contains(&keep) {
        return Err(Error::value("nce_estimate", "keep", "between 0 and 1", keep));
    }
    super::within_rounds("nce_estimate", 2 * batch)?;
    let flag = tape.guard()?;
    let launch = Launch::new(&SHADER, "estimate").param("batch", batch).param("n", n).param("negatives", m);
    let launch = launch.param("inv_tau", 0.0f32).param("log_noise", 0.0f32).param("keep", keep);
    tape.launch(launch.bind("spread", spread).bind("z_out", z).bind("flag", flag).groups(usize::from(batch > 0)))
}
