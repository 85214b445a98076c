//! `y[n,c,i,j]` = the largest of x in the k×k window at (i·stride − pad, j·stride − pad); padding never wins.

use super::{Reference, indices, source, windows};

/// x: `[n, c, h, w]`, `pad` < k; a NaN in the window wins, as in PyTorch. Exact.
pub fn max_pool(x: &[f64], xs: [usize; 4], k: usize, stride: usize, pad: usize) -> Reference {
    let [n, c, h, w] = xs;
    debug_assert!(x.len() == n * c * h * w && pad < k);
    let dims = [n, c, windows(h, k, stride, pad), windows(w, k, stride, pad)];
    let pairs = indices(dims).map(|[n, ch, i, j]| {
        let mut best = f64::NEG_INFINITY;
        for [_, _, p, q] in indices([1, 1, k, k]) {
            if let (Some(y), Some(x0)) = (source(i, p, stride, pad, h), source(j, q, stride, pad, w)) {
                let value = x[((n * c + ch) * h + y) * w + x0];
                if value > best || value.is_nan() {
                    best = value;
                }
            }
        }
        (best, 0.0)
    });
    Reference::new(&dims, pairs)
}

#[cfg(test)]
mod tests {
    use super::max_pool;

    #[test]
    fn a_padded_window_takes_the_largest_inside() {
        let x: Vec<f64> = (1..=16).map(|i| -f64::from(i)).collect();
        let y = max_pool(&x, [1, 1, 4, 4], 3, 2, 1);
        assert_eq!((y.dims, y.value), (vec![1, 1, 2, 2], vec![-1.0, -2.0, -5.0, -6.0]));
    }

    #[test]
    fn nan_wins() {
        assert!(max_pool(&[1.0, f64::NAN, 2.0, 3.0], [1, 1, 2, 2], 2, 2, 0).value[0].is_nan());
    }
}
