//! The operations: one file each, with its shape rule, its launches, its gradient and its cost.
//!
//! An op is a function of a [`Tape`](crate::tape::Tape) and tensors. It checks shapes, allocates its results,
//! appends its launches and says how the gradient flows; its kernels stand in the file of the same name in
//! `shaders/`. [`OPS`] lists them all, and the tests, `selftest` and the benchmarks go through that list.

mod add;
mod algorithm;
mod alone;
mod augment;
mod avg_pool;
mod bank;
mod bank_update;
mod batch_norm;
mod column_sums;
mod conv2d;
mod depthwise;
mod epilogue;
mod gemm;
mod l2norm;
mod line_buffer;
mod max_pool;
mod mean;
mod nce;
mod negatives;
mod parse;
mod problem;
mod prox;
mod relu;
mod scale;
mod scale_by;
mod sgd;
mod softmax;
mod tiled;
mod top_k;
mod window;
mod winograd;

pub use add::add;
pub use algorithm::{Algorithm, Tile};
pub use alone::Operand;
#[cfg(feature = "selftest")]
pub(crate) use augment::augment_drawn;
pub use augment::{Augmentation, augment};
pub use avg_pool::{avg_pool, global_avg_pool};
pub use bank::{Bank, bank_tile};
pub use bank_update::bank_update;
pub use batch_norm::{Norm, Then, batch_norm, batch_norm_freeze, batch_norm_frozen, batch_norm_running, batch_norm_statistics};
use column_sums::column_sums;
pub use conv2d::{Conv, Sizes as ConvSizes, conv2d, conv2d_then_norm, conv2d_with_moments};
pub use gemm::{Sizes as GemmSizes, linear, scores};
pub use l2norm::l2norm;
pub use max_pool::max_pool;
pub use mean::mean;
pub use nce::{Nce, Noise, nce, nce_estimate};
pub use negatives::negatives;
pub use problem::{Direction, Form, Problem};
pub use prox::prox;
pub use relu::relu;
pub use scale::scale;
pub use sgd::{Sgd, guard_gradients, sgd};
pub use softmax::{Softmax, softmax};
pub use tiled::Tiled;
pub use top_k::{TopK, top_k};

use crate::error::{Error, Result};
use crate::gpu::Shader;
use crate::shape::Layout;
use crate::tape::{Element, Tensor};

/// An op: its name, which is also that of its function, its shader and its tests.
#[derive(Clone, Copy, Debug)]
pub struct Op {
    /// The name.
    pub name: &'static str,
    /// The files with its kernels; the first has its name.
    pub shaders: &'static [&'static Shader],
}

/// Every op of this crate.
pub static OPS: &[Op] = &[
    Op { name: "add", shaders: &[&add::SHADER] },
    Op { name: "augment", shaders: &[&augment::SHADER] },
    Op { name: "avg_pool", shaders: &[&avg_pool::SHADER] },
    Op { name: "bank_update", shaders: &[&bank_update::SHADER] },
    Op { name: "batch_norm", shaders: &[&batch_norm::SHADER] },
    Op { name: "column_sums", shaders: &[&column_sums::SHADER] },
    Op {
        name: "conv2d",
        shaders: &[
            &conv2d::SHADER,
            &conv2d::SCALAR,
            &conv2d::TILED,
            &depthwise::SHADER,
            &line_buffer::SHADER,
            &window::SHADER,
            &winograd::SHADER,
        ],
    },
    Op { name: "finite", shaders: &[&crate::tape::FINITE] },
    Op { name: "gemm", shaders: &[&gemm::SHADER, &gemm::TILED] },
    Op { name: "l2norm", shaders: &[&l2norm::SHADER] },
    Op { name: "max_pool", shaders: &[&max_pool::SHADER] },
    Op { name: "mean", shaders: &[&mean::SHADER] },
    Op { name: "nce", shaders: &[&nce::SHADER, &nce::TILED] },
    Op { name: "negatives", shaders: &[&negatives::SHADER] },
    Op { name: "prox", shaders: &[&prox::SHADER] },
    Op { name: "relu", shaders: &[&relu::SHADER] },
    Op { name: "scale", shaders: &[&scale::SHADER] },
    Op { name: "scale_by", shaders: &[&scale_by::SHADER] },
    Op { name: "sgd", shaders: &[&sgd::SHADER] },
    Op { name: "softmax", shaders: &[&softmax::SHADER, &softmax::TILED] },
    Op { name: "top_k", shaders: &[&top_k::SHADER] },
];

/// Whether a dispatch only prepares or ends another's work: Winograd's transforms, and the sums of partial sums.
pub fn apart(dispatch: &crate::gpu::Dispatch) -> bool {
    let variant = &dispatch.kernel.variant;
    variant.file == winograd::SHADER.file || variant.entry.ends_with("_sum")
}

/// How many rounds one lane may loop in all. Mesa's llvmpipe ends every loop of an invocation after 65,535 rounds in
/// total, without a word (measured on 22.3.6), so each op splits its loops to stay below this, and the tests go above.
/// What is left is for the loops that do not grow with a sum, as those over a tile's stored results (at most 80 rounds).
const MAX_ROUNDS: usize = 48_000;

/// Refuse what would make one lane loop more often than drivers let it.
fn within_rounds(what: &str, rounds: usize) -> Result<()> {
    if rounds <= MAX_ROUNDS {
        return Ok(());
    }
    let (asked, allowed) = (rounds as u64, MAX_ROUNDS as u64);
    Err(Error::Limit {
        what: format!("{what} (rounds of a loop)"),
        asked,
        allowed,
        advice: "use a smaller size, or do it in two steps",
    })
}

/// The words of a tensor that is handled four at a time, whatever its shape.
fn vectors(op: &'static str, arg: &'static str, x: Tensor) -> Result<usize> {
    let words = x.words();
    if x.element() == Element::F32 && words.is_multiple_of(4) {
        return Ok(words);
    }
    Err(Error::shape(
        op,
        arg,
        "floats, padded to a multiple of four",
        format!("{} ({:?} in {:?})", x.shape(), x.element(), x.layout()),
    ))
}

/// The four sizes of a tensor of images: n, c, h, w.
fn images(op: &'static str, arg: &'static str, x: Tensor) -> Result<[usize; 4]> {
    match (x.shape().dims(), x.layout(), x.element()) {
        (&[n, c, h, w], Layout::Rows, Element::F32) => Ok([n, c, h, w]),
        _ => Err(Error::shape(op, arg, "[n, c, h, w] in rows", x.shape())),
    }
}

/// The two sizes of a matrix.
fn matrix(op: &'static str, arg: &'static str, x: Tensor) -> Result<[usize; 2]> {
    match (x.shape().dims(), x.layout(), x.element()) {
        (&[rows, cols], Layout::Rows, Element::F32) => Ok([rows, cols]),
        _ => Err(Error::shape(op, arg, "[rows, cols] in rows", x.shape())),
    }
}

/// Refuse `x` unless it has this shape and element type; floats stand in rows.
fn expect(op: &'static str, arg: &'static str, x: Tensor, dims: &[usize], element: Element) -> Result<()> {
    let layout = if element == Element::F32 { Layout::Rows } else { Layout::Plain };
    if x.shape().dims() == dims && x.element() == element && x.layout() == layout {
        return Ok(());
    }
    let got = format!("{} of {:?} in {:?}", x.shape(), x.element(), x.layout());
    Err(Error::shape(op, arg, format!("{dims:?} of {element:?} in {layout:?}"), got))
}

/// Refuse a number that is not finite and above zero.
fn positive(op: &'static str, arg: &'static str, value: f32) -> Result<()> {
    if value.is_finite() && value > 0.0 { Ok(()) } else { Err(Error::value(op, arg, "a finite number above 0", value)) }
}
