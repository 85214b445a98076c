use super::mean::guarded_mean;
use super::scale_by::scale_by;
use super::{Bank, expect, matrix, positive};
use crate::error::{Error, Result};
use crate::gpu::{Gpu, Shader, Work};
use crate::shape::{Layout, padded};
use crate::tape::{Element, Launch, Tape, Tensor};

pub(super) static SHADER: Shader = Shader { file: "nce.wgsl", text: include_str!("../../shaders/nce.wgsl") };

/// The kernel that gathers rows on GPUs.
pub(super) static TILED: Shader = Shader { file: "nce_tiled.wgsl", text: include_str!("../../shaders/nce_tiled.wgsl") };

/// How the rows of noise are gathered.
#[derive(Clone, Copy, Debug)]
struct Gather {
    /// Whether by workgroups whose lanes share rows, or a row a lane.
    tiled: bool,
    /// Sums that a sample is cut into.
    parts: usize,
}

impl Gather {
    fn new(gpu: &Gpu, negatives: usize, dim4: usize) -> Result<Self> {
        let tiled = !gpu.facts().software;
        // Rounds that a row costs: two loops over its columns, and finding it; or the sum over a team, shared by ROUND rows.
        let rounds = if tiled { ((team(dim4) + 1) * team(dim4)).div_ceil(1024) } else { 2 * dim4 + 3 };
        let least = if tiled { 8 } else { 32 };
        // More parts where a lane would loop too long; a GPU's lanes also loop over the rows of a round at the end.
        let most = super::MAX_ROUNDS - 1024;
        let parts = (negatives * rounds).div_ceil(most).next_power_of_two().max(least);
        if parts > 256 {
            let (asked, allowed) = (negatives as u64, (256 * most / rounds) as u64);
            let advice = "draw fewer negatives, or use the exact softmax";
            return Err(Error::Limit { what: "nce (negatives)".into(), asked, allowed, advice });
        }
        Ok(Self { tiled, parts })
    }

    fn launch(self, dim4: usize, batch: usize) -> Launch {
        if self.tiled {
            let launch = Launch::new(&TILED, "gather").tune("TEAM", team(dim4) as u32).tune("PARTS", self.parts as u32);
            return launch.groups(batch * self.parts);
        }
        Launch::new(&SHADER, "gather").tune("LANES", self.parts as u32).groups(batch)
    }
}

/// Lanes that share a row of so many vec4.
fn team(dim4: usize) -> usize {
    dim4.next_power_of_two().max(8)
}

/// Where the rows of noise come from.
#[derive(Clone, Copy, Debug)]
pub enum Noise {
    /// The host writes them: `[b, m]` of integers below n (larger ones are clamped).
    Given(Tensor),
    /// They are drawn as they are gathered, the same that [`negatives`](super::negatives) returns, anew for every step.
    Drawn {
        /// m, the rows a sample.
        negatives: usize,
        /// Never draw a sample's own row.
        exclude_own: bool,
    },
}

impl From<Tensor> for Noise {
    fn from(rows: Tensor) -> Self {
        Self::Given(rows)
    }
}

/// What [`nce`] returns.
#[derive(Clone, Copy, Debug)]
pub struct Nce {
    /// `[1]`: the mean over the batch, which the gradient is of.
    pub loss: Tensor,
    /// `[b]`: the loss of every sample.
    pub losses: Tensor,
    /// `[b]`: ln Σ exp(v·f/τ) over the positive and the negatives, for [`nce_estimate`].
    pub spread: Tensor,
}

/// Noise-contrastive estimation: tell the own row of the bank from `m` rows of noise.
///
/// With p(v) = exp(v·f/τ) / Z and k = m / n, a sample's loss is −ln(p⁺ / (p⁺ + k)) − Σ ln(k / (p⁻ + k)). It is computed
/// in log space, so that no τ overflows. Each sampled row is gathered once for loss and gradient. No gradient reaches
/// the bank or Z. Raises the guard where a loss or a spread is not finite.
///
/// **Shapes**: `f` `[b, d]`; `bank` of n rows of d; `own` `[b]` of integers below n (larger ones are clamped); `z` the
/// state `[4]`: ln Z, 1 once it is set, and two zeros. **Source**: Wu et al. 2018, equations 4 to 8.
///
/// # Errors
/// [`Error::Shape`] for other shapes or an empty batch, [`Error::Value`] for a `tau` not above 0, `d` over 512, or noise
/// that cannot be drawn; those of [`Tape::launch`].
pub fn nce(
    tape: &mut Tape,
    f: Tensor,
    bank: impl Into<Bank>,
    own: Tensor,
    noise: impl Into<Noise>,
    z: Tensor,
    tau: f32,
) -> Result<Nce> {
    let (bank, noise) = (bank.into(), noise.into());
    let [batch, dim] = matrix("nce", "f", f)?;
    let n = bank.rows();
    bank.check("nce", dim)?;
    expect("nce", "own", own, &[batch], Element::U32)?;
    expect("nce", "z", z, &[4], Element::F32)?;
    positive("nce", "tau", tau)?;
    if n == 0 || dim == 0 || dim > 512 {
        return Err(Error::value("nce", "bank", "at least one row of 1 to 512 columns", format!("[{n}, {dim}]")));
    }
    let (m, exclude, source) = match noise {
        Noise::Given(rows) => {
            let m = rows.shape().dims().get(1).copied().unwrap_or(0);
            expect("nce", "rows", rows, &[batch, m.max(1)], Element::U32)?;
            (m, false, ("rows", rows))
        }
        Noise::Drawn { negatives, exclude_own } => {
            super::negatives::drawable("nce", negatives, n, exclude_own)?;
            (negatives, exclude_own, ("step", tape.step_block()?))
        }
    };
    let dim4 = padded(dim) / 4;
    let by = Gather::new(tape.gpu(), m, dim4)?;
    let params = move |l: Launch, [shard, first, end]: [usize; 3]| {
        let l = l.tune("DIM4", dim4 as u32).param("batch", batch).param("n", n).param("negatives", m);
        let l = l.param("exclude", exclude).param("shard", shard).param("first", first).param("end", end);
        let l = l.param("inv_tau", 1.0 / tau).param("log_noise", (m as f32 / n as f32).ln());
        l.param("share", 1.0 / batch.max(1) as f32).param("keep", 0.0f32)
    };
    let losses = tape.output("nce", &[batch], Layout::Rows)?;
    let spread = tape.output("spread", &[batch], Layout::Rows)?;
    let slope = tape.output("slope", &[batch, dim], Layout::Rows)?;
    let parts = tape.output("parts", &[batch * by.parts, 4 * dim4 + 4], Layout::Rows)?;
    for shard in bank.shards() {
        for first in (shard.first..shard.end).step_by(bank.tile()) {
            let end = first.saturating_add(bank.tile()).min(shard.end);
            let launch = by.launch(dim4, batch).on("SEVERAL", n > bank.tile());
            let gather = params(launch, [shard.first, first, end]);
            let gather = match noise {
                Noise::Given(_) => gather.swap("lib/noise_drawn.wgsl", "lib/noise_given.wgsl"),
                Noise::Drawn { .. } => gather,
            };
            let gather = bank.read_by(gather).bind("f", f).bind("own", own).bind(source.0, source.1).bind("z", z);
            // Of all rows this share, in the mean; indices where they are read, and the parts, once more where it goes on.
            let rows = (batch * (m + 1)) as f64 * (end - first) as f64 / n as f64;
            let indices = if source.0 == "rows" { batch * m } else { 0 };
            let moved = rows * bank.row_words(dim) as f64 + (indices + parts.words() * (1 + usize::from(first > 0))) as f64;
            let work = Work { flops: rows * 4.0 * padded(dim) as f64, bytes: 4.0 * moved };
            tape.launch(gather.bind("bank", shard.tensor).bind("parts", parts).work(work))?;
        }
    }
    let merge = params(Launch::new(&SHADER, "merge").tune("LANES", by.parts as u32), [0; 3]).bind("gathered", parts);
    let merge = merge.bind("losses", losses).bind("slope", slope).bind("spread_out", spread);
    let work = Work::new(parts.words(), parts.words() + slope.words());
    tape.launch(merge.groups((padded(batch) * dim4).div_ceil(64)).work(work))?;
    let loss = guarded_mean(tape, losses, spread)?;
    tape.differentiable(loss, &[f], move |tape, dl| scale_by(tape, slope, dl, f));
    Ok(Nce { loss, losses, spread })
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
    let launch = ["exclude", "shard", "first", "end"].into_iter().fold(launch, |l, name| l.param(name, 0u32));
    let launch = launch.param("inv_tau", 0.0f32).param("log_noise", 0.0f32).param("share", 0.0f32).param("keep", keep);
    let launch = launch.bind("spread", spread).bind("z_out", z).bind("flag", flag);
    tape.launch(launch.groups(usize::from(batch > 0)).work(Work::new(4 * batch, 2 * batch + 5)))
}
