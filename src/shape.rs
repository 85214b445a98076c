//! Shapes and the only place where sizes are multiplied.

use crate::error::{Error, Result};

/// Up to four dimensions, as the user counts them: images are `[n, c, h, w]`, matrices `[rows, cols]`.
///
/// The device stores them otherwise (see [`Layout`]).
#[derive(Clone, Copy, PartialEq, Eq, Hash)]
pub struct Shape {
    dims: [usize; 4],
    rank: usize,
}

impl Shape {
    /// A shape of up to four dimensions.
    ///
    /// # Errors
    /// [`Error::Value`] for more than four dimensions, a dimension over 2³¹, or more than 2⁴⁰ elements.
    pub fn new(dims: &[usize]) -> Result<Self> {
        let count = dims.iter().try_fold(1usize, |n, &d| if d < 1 << 31 { n.checked_mul(d.max(1)) } else { None });
        if dims.len() > 4 || count.is_none_or(|n| n > 1 << 40) {
            return Err(Error::value("shape", "dims", "at most four dimensions of at most 2^40 elements", format!("{dims:?}")));
        }
        let mut shape = Self { dims: [1; 4], rank: dims.len() };
        shape.dims[..dims.len()].copy_from_slice(dims);
        Ok(shape)
    }

    /// The dimensions.
    pub fn dims(&self) -> &[usize] {
        &self.dims[..self.rank]
    }

    /// How many dimensions there are.
    pub fn rank(&self) -> usize {
        self.rank
    }

    /// How many elements there are; 1 for a scalar.
    pub fn count(&self) -> usize {
        self.dims().iter().product()
    }
}

impl std::ops::Index<usize> for Shape {
    type Output = usize;
    fn index(&self, i: usize) -> &usize {
        &self.dims()[i]
    }
}

impl std::fmt::Debug for Shape {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{:?}", self.dims())
    }
}

impl std::fmt::Display for Shape {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{:?}", self.dims())
    }
}

/// `n` rounded up to a multiple of four: the channels of one pixel as the device stores them.
pub fn padded(n: usize) -> usize {
    n.div_ceil(4) * 4
}

/// How the elements of a shape stand in device memory. Padding is zero and stands at the end of a row.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Layout {
    /// As given, without padding: vectors of labels, losses, indices.
    Plain,
    /// Images `[n, c, h, w]` as n, h, w, c with c padded to a multiple of four; matrices `[rows, cols]` with
    /// cols padded; vectors `[c]` padded.
    Rows,
    /// Weights `[out, in, kh, kw]` as kh, kw, in, out, both padded; `[out, in]` as in, out, both padded.
    Weight,
}

impl Layout {
    /// Elements of `shape` in device memory, padding included.
    pub fn count(self, shape: Shape) -> usize {
        match (self, shape.dims()) {
            (Self::Plain, dims) => dims.iter().product(),
            (Self::Rows, &[n, c, h, w]) => n * h * w * padded(c),
            (Self::Rows, &[rows, cols]) => rows * padded(cols),
            (Self::Rows, &[c]) => padded(c),
            (Self::Weight, &[o, i, h, w]) => h * w * padded(i) * padded(o),
            (Self::Weight, &[o, i]) => padded(i) * padded(o),
            (_, dims) => dims.iter().product(),
        }
    }

    /// The place in device memory of the element at `index`, which has as many numbers as `shape` has dimensions.
    pub fn place(self, shape: Shape, index: &[usize]) -> usize {
        match (self, shape.dims(), index) {
            (Self::Rows, &[_, c, h, w], &[i, channel, y, x]) => ((i * h + y) * w + x) * padded(c) + channel,
            (Self::Rows, &[_, cols], &[row, col]) => row * padded(cols) + col,
            (Self::Weight, &[o, i, _, w], &[out, input, y, x]) => ((y * w + x) * padded(i) + input) * padded(o) + out,
            (Self::Weight, &[o, _], &[out, input]) => input * padded(o) + out,
            (_, dims, index) => dims.iter().zip(index).fold(0, |place, (size, at)| place * size + at),
        }
    }

    /// The place in device memory of each element of `shape`, in the user's order.
    pub fn places(self, shape: Shape) -> Box<dyn Iterator<Item = usize>> {
        match (self, shape.dims()) {
            (Self::Rows, &[n, c, h, w]) => {
                let row = padded(c);
                Box::new(four(n, c, h, w).map(move |[n, c, y, x]| ((n * h + y) * w + x) * row + c))
            }
            (Self::Rows, &[rows, cols]) => {
                let row = padded(cols);
                Box::new(four(rows, cols, 1, 1).map(move |[r, c, ..]| r * row + c))
            }
            (Self::Weight, &[o, i, h, w]) => {
                let (ip, op) = (padded(i), padded(o));
                Box::new(four(o, i, h, w).map(move |[o, i, y, x]| ((y * w + x) * ip + i) * op + o))
            }
            (Self::Weight, &[o, i]) => {
                let op = padded(o);
                Box::new(four(o, i, 1, 1).map(move |[o, i, ..]| i * op + o))
            }
            _ => Box::new(0..shape.count()),
        }
    }
}

fn four(a: usize, b: usize, c: usize, d: usize) -> impl Iterator<Item = [usize; 4]> {
    (0..a).flat_map(move |i| (0..b).flat_map(move |j| (0..c).flat_map(move |k| (0..d).map(move |l| [i, j, k, l]))))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn padding_stands_at_the_end_of_a_row() {
        let shape = Shape::new(&[1, 3, 1, 2]).unwrap();
        assert_eq!(Layout::Rows.count(shape), 8);
        assert_eq!(Layout::Rows.places(shape).collect::<Vec<_>>(), [0, 4, 1, 5, 2, 6]);
    }

    #[test]
    fn weights_are_stored_output_channel_last() {
        let shape = Shape::new(&[2, 3, 1, 1]).unwrap();
        assert_eq!(Layout::Weight.count(shape), 16);
        assert_eq!(Layout::Weight.places(shape).collect::<Vec<_>>(), [0, 4, 8, 1, 5, 9]);
    }

    #[test]
    fn one_place_is_found_as_all_are() {
        for (layout, dims) in [
            (Layout::Plain, &[2, 3, 4][..]),
            (Layout::Rows, &[7]),
            (Layout::Rows, &[3, 5]),
            (Layout::Rows, &[2, 3, 5, 4]),
            (Layout::Weight, &[5, 3]),
            (Layout::Weight, &[5, 3, 2, 7]),
        ] {
            let shape = Shape::new(dims).unwrap();
            for (number, place) in layout.places(shape).enumerate() {
                let mut rest = number;
                let mut index: Vec<usize> = dims.iter().rev().map(|d| (rest % d, rest /= d).0).collect();
                index.reverse();
                assert_eq!(layout.place(shape, &index), place, "{layout:?} {dims:?} {index:?}");
            }
        }
    }

    #[test]
    fn too_many_dimensions_or_elements_are_refused() {
        assert!(Shape::new(&[1; 5]).is_err());
        assert!(Shape::new(&[1 << 20, 1 << 20, 2]).is_err());
    }
}
