use super::mean::guarded_mean;
use super::scale_by::scale_by;
use super::{Bank, expect, matrix, positive};
use crate::error::{Error, Result};
use crate::gpu::{Gpu, Shader, Work};
use crate::shape::{Layout, padded};
use crate::tape::{Element, Launch, Tape, Tensor};

pub(super) static SHADER: Shader = Shader { file: "softmax.wgsl", text: include_str!("../../shaders/softmax.wgsl") };

/// The kernel that streams the bank on GPUs.
pub(super) static TILED: Shader = Shader { file: "softmax_tiled.wgsl", text: include_str!("../../shaders/softmax_tiled.wgsl") };

/// How the bank is streamed.
#[derive(Clone, Copy, Debug)]
struct Stream {
    /// Whether by workgroups whose lanes share rows and samples, or a sample a lane.
    tiled: bool,
    /// Lanes that share a sample.
    team: usize,
    /// Samples of a workgroup.
    samples: usize,
    /// Chunks of a workgroup.
    together: usize,
    /// Rows that a workgroup takes at a time.
    block: usize,
    /// Rows of a chunk that a dispatch may take.
    step: usize,
    /// Chunks of the bank to aim at.
    chunks: usize,
}

impl Stream {
    fn new(gpu: &Gpu, batch: usize, dim4: usize) -> Self {
        if gpu.facts().software {
            // Two rows cost a lane two loops over their columns.
            let step = (super::MAX_ROUNDS / (2 * dim4 + 1) * 2).max(2);
            let samples = batch.next_power_of_two().clamp(1, 8);
            return Self { tiled: false, team: 1, samples, together: 8 / samples, block: 2, step, chunks: 64 };
        }
        let team = dim4.div_ceil(8).next_power_of_two();
        let block = if dim4 <= 64 { 8 } else { 4 };
        // To bring the block, and of each row its dot product, and twice the sum over the team.
        let rounds = 1 + (block * dim4).div_ceil(256) + block * (2 * team + 3);
        Self { tiled: true, team, samples: 256 / team, together: 1, block, step: super::MAX_ROUNDS / rounds * block, chunks: 128 }
    }

    fn launch(self) -> Launch {
        if self.tiled {
            Launch::new(&TILED, "stream").tune("TEAM", self.team as u32).tune("BLOCK", self.block as u32)
        } else {
            Launch::new(&SHADER, "stream").tune("SAMPLES", self.samples as u32)
        }
    }
}

/// What [`softmax`] returns.
#[derive(Clone, Copy, Debug)]
pub struct Softmax {
    /// `[1]`: the mean over the batch, which the gradient is of.
    pub loss: Tensor,
    /// `[b]`: the loss of every sample.
    pub losses: Tensor,
}

/// Cross-entropy of every sample's own row against the whole bank: −ln(exp(v·f/τ) / Σⱼ exp(vⱼ·f/τ)).
///
/// The bank is streamed once for loss and gradient; scores are never stored. No gradient reaches the bank. Raises the
/// guard where a loss is not finite.
///
/// **Shapes**: `f` `[b, d]`; `bank` of n rows of d; `own` `[b]` of integers below n (larger ones are clamped).
/// **Source**: Wu et al. 2018, equation 2.
///
/// # Errors
/// [`Error::Shape`] for other shapes or an empty batch, [`Error::Value`] for a `tau` not above 0 or `d` over 512; those of
/// [`Tape::launch`].
pub fn softmax(tape: &mut Tape, f: Tensor, bank: impl Into<Bank>, own: Tensor, tau: f32) -> Result<Softmax> {
    let bank = bank.into();
    let [batch, dim] = matrix("softmax", "f", f)?;
    let n = bank.rows();
    bank.check("softmax", dim)?;
    expect("softmax", "own", own, &[batch], Element::U32)?;
    positive("softmax", "tau", tau)?;
    if n == 0 || dim == 0 || dim > 512 {
        return Err(Error::value("softmax", "bank", "at least one row of 1 to 512 columns", format!("[{n}, {dim}]")));
    }
    let dim4 = padded(dim) / 4;
    let by = Stream::new(tape.gpu(), batch, dim4);
    // Chunks depend on the bank and its tile alone: the same bits whatever the batch and the number of shards.
    let chunk_rows = n.div_ceil(by.chunks).next_power_of_two().max(256).min(bank.tile());
    let chunks = n.div_ceil(chunk_rows);
    super::within_rounds("softmax", 2 * chunks)?;
    let params = move |l: Launch, [shard, chunk, chunks]: [usize; 3], [begin, end]: [usize; 2]| {
        let l = l.tune("DIM4", dim4 as u32).param("batch", batch).param("n", n).param("shard", shard);
        let l = l.param("chunk", chunk).param("chunks", chunks).param("chunk_rows", chunk_rows);
        let l = l.param("begin", begin).param("end", end).param("inv_tau", 1.0 / tau);
        l.param("share", 1.0 / batch.max(1) as f32)
    };
    let losses = tape.output("softmax", &[batch], Layout::Rows)?;
    let slope = tape.output("slope", &[batch, dim], Layout::Rows)?;
    let self_rows = tape.output("self_rows", &[batch, dim], Layout::Rows)?;
    let parts = tape.output("parts", &[chunks * batch, padded(dim) + 4], Layout::Rows)?;
    let teams = batch.div_ceil(by.samples);
    for shard in bank.shards() {
        let (first, count) = (shard.first / chunk_rows, (shard.end - shard.first).div_ceil(chunk_rows));
        // A dispatch takes as many rows of each chunk as it may.
        for begin in (0..chunk_rows).step_by(by.step) {
            let stream = bank.read_by(params(by.launch(), [shard.first, first, count], [begin, begin + by.step]));
            let stream = stream.bind("f", f).bind("own", own).bind("bank", shard.tensor).bind("parts", parts);
            // Of a last chunk that is not whole there may be less.
            let rows = count * by.step.min(chunk_rows - begin).min(n);
            let again = if begin > 0 { 2 } else { 1 };
            let words = teams * rows * bank.row_words(dim) + again * count * batch * (padded(dim) + 4);
            let stream = stream.bind("self_rows_out", self_rows).groups(teams * count.div_ceil(by.together));
            tape.launch(stream.work(Work::new(4 * batch * rows * dim, words)))?;
        }
    }
    let merge = params(Launch::new(&SHADER, "merge"), [0, 0, chunks], [0; 2]).bind("self_rows", self_rows);
    let merge = merge.bind("streamed", parts).bind("losses", losses).bind("slope", slope);
    let groups = (padded(batch) * dim4).div_ceil(64);
    tape.launch(merge.groups(groups).work(Work::new(parts.words(), parts.words() + 2 * slope.words())))?;
    let loss = guarded_mean(tape, losses, losses)?;
    tape.differentiable(loss, &[f], move |tape, dl| scale_by(tape, slope, dl, f));
    Ok(Softmax { loss, losses })
}
