use super::{Bank, matrix};
use crate::error::{Error, Result};
use crate::gpu::{Shader, Work};
use crate::shape::{Layout, padded};
use crate::tape::{Launch, Tape, Tensor};

pub(super) static SHADER: Shader = Shader { file: "top_k.wgsl", text: include_str!("../../shaders/top_k.wgsl") };

/// Queries that a lane holds, and rows of the bank that it takes at a time: the constants of `lib/gemm_lanes.wgsl`.
const HELD: usize = 8;
const AT_ONCE: usize = 16;

/// What [`top_k`] returns.
#[derive(Clone, Copy, Debug)]
pub struct TopK {
    /// `[q, k]`: the dot products, the largest first.
    pub scores: Tensor,
    /// `[q, k]` of integers: the rows of the bank that they are with.
    pub rows: Tensor,
}

/// The `k` rows of the bank with the largest dot products with each query; equal ones by rising row. Has no gradient.
///
/// The bank is read once for some hundred queries, and the best are kept on the way: there is no matrix of scores. Scores
/// have the bits of [`scores`](super::scores) with its lanes, whatever the number of queries, and of shards.
///
/// **Shapes**: `f` `[q, d]`; `bank` of n rows of d. **Source**: exhaustive search; Johnson, Douze and Jégou 2017 filter a
/// product in the same way.
///
/// # Errors
/// [`Error::Shape`] for other shapes; [`Error::Value`] for a `k` of 0 or above n; [`Error::Limit`] for one of some
/// thousands; those of [`Tape::launch`].
pub fn top_k(tape: &mut Tape, f: Tensor, bank: impl Into<Bank>, k: usize) -> Result<TopK> {
    let bank = bank.into();
    let [queries, dim] = matrix("top_k", "f", f)?;
    let n = bank.rows();
    bank.check("top_k", dim)?;
    if dim == 0 {
        return Err(Error::shape("top_k", "f", "at least one column", f.shape()));
    }
    if k == 0 || k > n {
        return Err(Error::value("top_k", "k", format!("1 to the {n} rows of the bank"), k));
    }
    let dim4 = padded(dim) / 4;
    // To put a row into a list takes a lane so many rounds at most; it may be every row.
    let insert = k.ilog2() as usize + 3;
    super::within_rounds("top_k", k * (insert + 2))?;
    let block = dim4 + HELD * (1 + AT_ONCE * insert);
    super::within_rounds("top_k", 2 * k + block)?;
    let step = (super::MAX_ROUNDS - 2 * k) / block * AT_ONCE;
    // What is found does not depend on the chunks: enough to keep the device busy, as few as will do, since each begins with
    // an empty list.
    let software = tape.gpu().facts().software;
    let blocks = queries.div_ceil(HELD).max(1);
    // On processors the lanes of a workgroup hand each other the rows of the bank, of which each reads a part.
    let down = tape.gpu().together() as usize;
    let lanes = match down {
        1 if software => 8,
        1 => blocks.next_power_of_two().clamp(8, 64),
        down => down,
    };
    let wanted = if software { 64 } else { 16_384 };
    let most = super::MAX_ROUNDS / (k * (insert + 1)) - 1;
    let longest = bank.shards().iter().map(|s| s.end - s.first).max().unwrap_or(0);
    let chunks = (wanted / blocks).min(most).min(longest.div_ceil(1024)).max(1);
    let lists = tape.output_u32("lists", &[chunks * k, 2 * queries])?;
    let params = |l: Launch, [shard, rows, chunk_rows]: [usize; 3], [begin, end]: [usize; 2], fresh: bool| {
        let l = l.tune("LANES", lanes as u32).param("queries", queries).param("k", k).param("dim4", dim4);
        let l = l.param("shard", shard).param("shard_rows", rows).param("chunks", chunks).param("chunk_rows", chunk_rows);
        l.param("begin", begin).param("end", end).param("fresh", fresh).bind("lists", lists)
    };
    let teams = queries.div_ceil(HELD * lanes);
    for shard in bank.shards() {
        let rows = shard.end - shard.first;
        let chunk_rows = rows.div_ceil(chunks);
        for begin in (0..chunk_rows).step_by(step) {
            let taken = step.min(chunk_rows - begin) * chunks;
            let fresh = shard.first == 0 && begin == 0;
            let launch = Launch::new(&SHADER, "scan").tune("DOWN", down as u32);
            let launch = if down > 1 { launch.swap("lib/apart.wgsl", "lib/together.wgsl") } else { launch };
            let scan = params(launch, [shard.first, rows, chunk_rows], [begin, begin + step], fresh);
            let words = teams * taken * bank.row_words(dim) + f.words();
            let scan = bank.read_by(scan).bind("f", f).bind("bank", shard.tensor).groups(teams * chunks);
            tape.launch(scan.work(Work::new(2 * queries * taken * dim, words)))?;
        }
    }
    let scores = tape.output("scores", &[queries, k], Layout::Rows)?;
    let rows = tape.output_u32("rows", &[queries, k])?;
    let choose = params(Launch::new(&SHADER, "choose"), [0; 3], [0; 2], false).bind("scores", scores).bind("rows", rows);
    tape.launch(choose.groups(queries.div_ceil(64)).work(Work::new(0, lists.words() + scores.words() + rows.words())))?;
    Ok(TopK { scores, rows })
}
