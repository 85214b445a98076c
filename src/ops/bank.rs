use crate::error::{Error, Result};
use crate::shape::{Layout, padded};
use crate::tape::{Element, Launch, Tensor};

/// The memory bank as the losses see it: rows `[n, dim]` in one tensor, or in several that hold whole tiles of rows.
///
/// Sums over the bank go tile by tile, so that their bits depend on the tile and not on the number of tensors. Rows are
/// 32-bit or 16-bit floats; what is computed from them is in 32 bits.
#[derive(Clone, Debug)]
pub struct Bank {
    shards: Vec<Tensor>,
    tile: usize,
}

/// A tensor of a [`Bank`] and the rows of the bank that it holds.
#[derive(Clone, Copy, Debug)]
pub(super) struct Shard {
    pub(super) tensor: Tensor,
    pub(super) first: usize,
    pub(super) end: usize,
}

/// Rows of `dim` numbers that stay together: a power of two of which each takes at most 128 MiB in 32 bits, the largest
/// binding that every device has.
pub fn bank_tile(dim: usize) -> usize {
    1 << ((1usize << 25) / padded(dim.max(1))).max(1).ilog2()
}

impl From<Tensor> for Bank {
    fn from(rows: Tensor) -> Self {
        Self { shards: vec![rows], tile: bank_tile(rows.shape().dims().get(1).copied().unwrap_or(1)) }
    }
}

impl From<&Self> for Bank {
    fn from(bank: &Self) -> Self {
        bank.clone()
    }
}

impl Bank {
    /// The bank whose rows `shards` hold one after the other: tensors `[rows, dim]` of one element type, of which all but
    /// the last hold a whole number of tiles.
    ///
    /// # Errors
    /// [`Error::Value`] for a tile that is no power of two; [`Error::Shape`] for no tensors, or other ones.
    pub fn new(shards: &[Tensor], tile: usize) -> Result<Self> {
        let bank = Self { shards: shards.to_vec(), tile };
        if !tile.is_power_of_two() {
            return Err(Error::value("bank", "tile", "a power of two", tile));
        }
        let Some((last, whole)) = shards.split_last() else { return Err(Error::shape("bank", "shards", "at least one", "none")) };
        bank.check("bank", last.shape().dims().get(1).copied().unwrap_or(0))?;
        match whole.iter().find(|t| t.shape()[0] == 0 || !t.shape()[0].is_multiple_of(tile)) {
            Some(part) => Err(Error::shape("bank", "shards", format!("whole tiles of {tile} rows"), part.shape())),
            None => Ok(bank),
        }
    }

    /// The number of rows.
    pub fn rows(&self) -> usize {
        self.shards.iter().map(|t| t.shape().dims().first().copied().unwrap_or(0)).sum()
    }

    /// Rows that stay together.
    pub fn tile(&self) -> usize {
        self.tile
    }

    /// Refuse a bank that is not of rows of `dim` numbers.
    pub(super) fn check(&self, op: &'static str, dim: usize) -> Result<()> {
        let element = if self.half() { Element::F16 } else { Element::F32 };
        let fits = |t: &&Tensor| {
            let rows = matches!(t.shape().dims(), &[_, cols] if cols == dim);
            rows && t.layout() == Layout::Rows && t.element() == element
        };
        match self.shards.iter().find(|t| !fits(t)) {
            None => Ok(()),
            Some(t) => {
                let got = format!("{} of {:?} in {:?}", t.shape(), t.element(), t.layout());
                Err(Error::shape(op, "bank", format!("[rows, {dim}] of floats in rows"), got))
            }
        }
    }

    /// Whether it is stored in 16 bits.
    pub(super) fn half(&self) -> bool {
        self.shards.iter().any(|t| t.element() == Element::F16)
    }

    /// Words of one row.
    pub(super) fn row_words(&self, dim: usize) -> usize {
        if self.half() { padded(dim) / 2 } else { padded(dim) }
    }

    pub(super) fn shards(&self) -> Vec<Shard> {
        let mut end = 0;
        let shard = |tensor: &Tensor| {
            let first = end;
            end += tensor.shape()[0];
            Shard { tensor: *tensor, first, end }
        };
        self.shards.iter().map(shard).collect()
    }

    /// Let a launch that needs `lib/bank_f32.wgsl` read rows as they are stored.
    pub(super) fn read_by(&self, launch: Launch) -> Launch {
        if self.half() { launch.swap("lib/bank_f32.wgsl", "lib/bank_f16.wgsl") } else { launch }
    }
}
