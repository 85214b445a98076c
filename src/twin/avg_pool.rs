//! `y[n,c,i,j]` = (sum of x in the window) / (kh·kw); the padding counts as zeros (PyTorch's `count_include_pad`).

use super::{Reference, indices, source, windows};

/// x: `[n, c, h, w]`; a k×k window.
pub fn avg_pool(x: &[f64], xs: [usize; 4], k: usize, stride: usize, pad: usize) -> Reference {
    window(x, xs, [k, k], stride, pad)
}

/// The mean of each whole plane: x `[n, c, h, w]`, returns `[n, c]`.
pub fn global_avg_pool(x: &[f64], xs: [usize; 4]) -> Reference {
    Reference { dims: xs[..2].to_vec(), ..window(x, xs, [xs[2], xs[3]], 1, 0) }
}

fn window(x: &[f64], xs: [usize; 4], [kh, kw]: [usize; 2], stride: usize, pad: usize) -> Reference {
    let [n, c, h, w] = xs;
    debug_assert_eq!(x.len(), n * c * h * w);
    let dims = [n, c, windows(h, kh, stride, pad), windows(w, kw, stride, pad)];
    let pairs = indices(dims).map(|[n, ch, i, j]| {
        let (mut sum, mut all) = (0.0, 0.0);
        for [_, _, p, q] in indices([1, 1, kh, kw]) {
            if let (Some(y), Some(x0)) = (source(i, p, stride, pad, h), source(j, q, stride, pad, w)) {
                let value = x[((n * c + ch) * h + y) * w + x0];
                sum += value;
                all += value.abs();
            }
        }
        (sum / (kh * kw) as f64, all / (kh * kw) as f64)
    });
    Reference::new(&dims, pairs)
}

#[cfg(test)]
mod tests {
    use super::*;

    const X: [f64; 8] = [1.0, 2.0, 3.0, 4.0, -5.0, 5.0, -7.0, 3.0];

    #[test]
    fn windows_are_averaged_and_padding_counts() {
        assert_eq!(avg_pool(&X, [1, 2, 2, 2], 2, 2, 0).value, [2.5, -1.0]);
        assert_eq!(avg_pool(&X[..4], [1, 1, 2, 2], 2, 2, 1).value, [0.25, 0.5, 0.75, 1.0]);
    }

    #[test]
    fn the_global_mean_of_each_plane() {
        let y = global_avg_pool(&X, [1, 2, 2, 2]);
        assert_eq!((y.dims, y.value, y.magnitude), (vec![1, 2], vec![2.5, -1.0], vec![2.5, 5.0]));
    }
}
