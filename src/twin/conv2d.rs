//! `y[n,o,i,j] = Σ_{c,p,q} x[n, g·cin/groups + c, i·stride + p − pad, j·stride + q − pad] · w[o,c,p,q]`
//!
//! g is the group of output channel o; x is zero in the padding. A correlation, as in PyTorch's `conv2d`; no bias.

use super::{Reference, indices, source, windows};

/// x: `[n, ci, h, w]`, w: `[co, ci/groups, kh, kw]`; returns `[n, co, h', w']`.
pub fn conv2d(x: &[f64], xs: [usize; 4], w: &[f64], ws: [usize; 4], stride: usize, pad: usize, groups: usize) -> Reference {
    let ([n, ci, h, wide], [co, per_group, kh, kw]) = (xs, ws);
    debug_assert!(x.len() == xs.iter().product::<usize>() && w.len() == ws.iter().product::<usize>());
    debug_assert!(per_group * groups == ci && co % groups == 0);
    let dims = [n, co, windows(h, kh, stride, pad), windows(wide, kw, stride, pad)];
    let pairs = indices(dims).map(|[n, o, i, j]| {
        let first = o / (co / groups) * per_group;
        let (mut sum, mut all) = (0.0, 0.0);
        for [_, c, p, q] in indices([1, per_group, kh, kw]) {
            if let (Some(y), Some(x0)) = (source(i, p, stride, pad, h), source(j, q, stride, pad, wide)) {
                let term = x[((n * ci + first + c) * h + y) * wide + x0] * w[((o * per_group + c) * kh + p) * kw + q];
                sum += term;
                all += term.abs();
            }
        }
        (sum, all)
    });
    Reference::new(&dims, pairs)
}

#[cfg(test)]
mod tests {
    use super::conv2d;

    const X: [f64; 9] = [1.0, 2.0, 3.0, 4.0, 5.0, 6.0, 7.0, 8.0, 9.0];

    #[test]
    fn a_two_by_two_difference_by_hand() {
        let y = conv2d(&X, [1, 1, 3, 3], &[1.0, 0.0, 0.0, -1.0], [1, 1, 2, 2], 1, 0, 1);
        assert_eq!((y.dims, y.value), (vec![1, 1, 2, 2], vec![-4.0; 4]));
        assert_eq!(y.magnitude, [6.0, 8.0, 12.0, 14.0]);
    }

    #[test]
    fn padding_is_zero_and_stride_skips() {
        let y = conv2d(&X, [1, 1, 3, 3], &[1.0; 9], [1, 1, 3, 3], 2, 1, 1);
        assert_eq!((y.dims, y.value), (vec![1, 1, 2, 2], vec![12.0, 16.0, 24.0, 28.0]));
    }

    #[test]
    fn the_kernel_is_not_flipped_nor_transposed() {
        let y = conv2d(&X, [1, 1, 3, 3], &[0.0, 1.0, 0.0, 0.0], [1, 1, 2, 2], 1, 0, 1);
        assert_eq!(y.value, [2.0, 3.0, 5.0, 6.0]);
    }

    #[test]
    fn groups_see_only_their_own_channels_and_images_do_not_mix() {
        let x: Vec<f64> = (1..=8).map(f64::from).collect();
        let y = conv2d(&x, [2, 4, 1, 1], &[1.0, 0.0, 0.0, 1.0, 10.0, 0.0, 0.0, 10.0], [4, 2, 1, 1], 1, 0, 2);
        assert_eq!(y.value, [1.0, 2.0, 30.0, 40.0, 5.0, 6.0, 70.0, 80.0]);
    }

    #[test]
    fn a_kernel_larger_than_the_image_gives_nothing() {
        assert_eq!(conv2d(&X, [1, 1, 3, 3], &[0.0; 16], [1, 1, 4, 4], 1, 0, 1).dims, [1, 1, 0, 0]);
    }
}
