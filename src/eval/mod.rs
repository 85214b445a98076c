//! Judging features: embedding images in evaluation mode, nearest neighbours, weighted votes.

mod embed;
mod judge;
mod knn;

pub use embed::{Embedder, Layer};
pub use judge::{Judgement, Labelled, judge, shared_classes, usual_k};
pub use knn::{Accuracy, Neighbour, accuracy, neighbours};

use crate::error::{Error, Result};

/// Rows of numbers, one after the other: embeddings, a bank.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Matrix {
    /// Columns of a row.
    pub cols: usize,
    /// All rows.
    pub values: Vec<f32>,
}

impl Matrix {
    /// Rows of `cols` numbers.
    ///
    /// # Errors
    /// [`Error::Shape`] where `values` does not come out even, or `cols` is 0.
    pub fn new(cols: usize, values: Vec<f32>) -> Result<Self> {
        if cols == 0 || !values.len().is_multiple_of(cols) {
            return Err(Error::shape("matrix", "values", format!("rows of {cols}"), format!("{} numbers", values.len())));
        }
        Ok(Self { cols, values })
    }

    /// How many rows there are.
    pub fn rows(&self) -> usize {
        self.values.len() / self.cols.max(1)
    }

    /// Row `i`; empty where there is none.
    pub fn row(&self, i: usize) -> &[f32] {
        self.values.get(i * self.cols..(i + 1) * self.cols).unwrap_or(&[])
    }

    /// Every row scaled to unit length.
    pub fn normalised(mut self) -> Self {
        for row in self.values.chunks_mut(self.cols.max(1)) {
            let length = row.iter().map(|v| f64::from(*v).powi(2)).sum::<f64>().sqrt().max(1e-12);
            row.iter_mut().for_each(|v| *v = (f64::from(*v) / length) as f32);
        }
        self
    }
}
