//! The augmentation: crop, flip, colour jitter, grey, normalise. This page is the specification that the kernel follows too.
//!
//! **In**: an image of `w`×`h` pixels, bytes in the order row, column, (R, G, B). **Out**: `[3, s, s]`.
//!
//! **1. Draw** ([`Drawn::new`]). u(i, lane) is `rng::unit` of word `lane` of `hash(key, step, 8·b + i)`, where b is the row in
//! the batch and key that of (seed, `Stream::Augment`):
//!
//! | i | lane 0 | lane 1 | lane 2 | lane 3 |
//! |---|---|---|---|---|
//! | 0 | area | aspect | x0 | y0 |
//! | 1 | flip | grey | order | hue |
//! | 2 | brightness | contrast | saturation | (free) |
//!
//! i = 3 to 7 are free. With u the number of its own slot in each line:
//!
//! - `area = (lo + (hi − lo)·u)·w·h`, `aspect = exp((2u − 1)·ln(max aspect))`
//! - `cw = min(√(area·aspect), w)`, `ch = min(√(area/aspect), h)`, `x0 = u·(w − cw)`, `y0 = u·(h − ch)`
//! - flip if `u < flip`, grey if `u < grey`
//! - `brightness = 1 + (2u − 1)·strength`, contrast and saturation alike; `hue = (2u − 1)·strength`, in turns
//! - order: `below(word, 24)`, the place of the permutation of (0 brightness, 1 contrast, 2 saturation, 3 hue) in
//!   lexicographic order, so that 0 is 0123, 1 is 0132, and 23 is 3210 ([`order`])
//!
//! **2. Sample**. Output pixel (i, j), column i, reads column `i' = s − 1 − i` if flipped, else `i' = i`. The number of taps of
//! an axis is, with c its cw or ch: 1 if c ≤ 1.5·s, else 2 if c ≤ 2·s, else 3 if c ≤ 3·s, else 4. Taps t = 0.. stand at
//! `x = x0 + (i' + (t + 0.5)/taps)·cw/s − 0.5`, and so for y; the pixel is the mean over all pairs of taps of the bilinear
//! interpolation at (x, y), x clamped to [0, w − 1] and y to [0, h − 1], of bytes divided by 255. (With one tap this is PyTorch's
//! `grid_sample`, not aligned to corners, with border padding; more keep a large reduction from skipping pixels.)
//!
//! **3. Jitter**. In the drawn order, each followed by a clamp to [0, 1]; grey(p) = 0.299 R + 0.587 G + 0.114 B:
//!
//! - brightness: `p·f`
//! - contrast: `m + f·(p − m)`, m the mean of grey over all s×s pixels of the image as it is at that point
//! - saturation: `g + f·(p − g)`, g = grey(p)
//! - hue: a rotation by `hue` turns in HSV: with V the largest, d the largest less the smallest of R, G, B, H in sixths
//!   `(G − B)/d` if R is the largest, else `2 + (B − R)/d` if G is, else `4 + (R − G)/d`, 0 for d = 0; channel c becomes
//!   `V − d·clamp(min(k, 4 − k), 0, 1)` with `k = (5, 3, 1)[c] + H + 6·hue` modulo 6 (in [0, 6))
//!
//! **4. Grey**: if drawn, all three channels become grey(p). **5. Normalise**: `(p − mean[c])/std[c]`.
//!
//! For evaluation ([`Drawn::plain`]) the crop is the largest square in the middle, at whole pixels:
//! `cw = ch = min(w, h)`, `x0 = ⌊(w − cw)/2⌋`, `y0 = ⌊(h − ch)/2⌋`; nothing else is changed before normalising.
//!
//! What is drawn differs between 64 and 32 bits by roundings, and the number of taps jumps; so a test compares the drawn numbers
//! first, and then gives the kernel's own to [`augment`]. Steps and ranges are those of Wu et al. 2018 as run by the reference
//! in PyTorch, which draws other random numbers.

use super::Reference;
use crate::rng::{below, hash, unit};

/// How strong the augmentation is.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Strength {
    /// The crop's share of the image's area, from and to.
    pub area: [f64; 2],
    /// The largest ratio of width to height; the smallest is its inverse.
    pub aspect: f64,
    /// Brightness, contrast and saturation factors lie in 1 ± this.
    pub jitter: [f64; 3],
    /// Hue is turned by at most this, either way, in turns.
    pub hue: f64,
    /// How likely an image becomes grey.
    pub grey: f64,
    /// How likely it is mirrored.
    pub flip: f64,
}

impl Default for Strength {
    /// The ImageNet recipe of Wu et al. 2018.
    fn default() -> Self {
        Self { area: [0.2, 1.0], aspect: 4.0 / 3.0, jitter: [0.4; 3], hue: 0.4, grey: 0.2, flip: 0.5 }
    }
}

/// What was drawn for one image.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Drawn {
    /// Left, top, width and height of the crop, in source pixels.
    pub crop: [f64; 4],
    /// Mirror left and right.
    pub flip: bool,
    /// Make grey.
    pub grey: bool,
    /// Which permutation of the four jitter steps: 0 to 23.
    pub order: u32,
    /// Factors of brightness, contrast and saturation.
    pub factor: [f64; 3],
    /// Rotation of hue, in turns.
    pub hue: f64,
}

impl Drawn {
    /// The numbers of batch row `b` at `step`, for an image of `w`×`h`.
    pub fn new(key: [u32; 2], step: u32, b: u32, [w, h]: [usize; 2], strength: &Strength) -> Self {
        let words = [0, 1, 2].map(|i| hash(key, step, 8 * b + i));
        let u = |i: usize, lane: usize| f64::from(unit(words[i][lane]));
        let both = |i, lane| 2.0 * u(i, lane) - 1.0;
        let (w, h) = (w as f64, h as f64);
        let area = (strength.area[0] + (strength.area[1] - strength.area[0]) * u(0, 0)) * w * h;
        let aspect = (both(0, 1) * strength.aspect.ln()).exp();
        let (cw, ch) = ((area * aspect).sqrt().min(w), (area / aspect).sqrt().min(h));
        Self {
            crop: [u(0, 2) * (w - cw), u(0, 3) * (h - ch), cw, ch],
            flip: u(1, 0) < strength.flip,
            grey: u(1, 1) < strength.grey,
            order: below(words[1][2], 24),
            factor: [0, 1, 2].map(|lane| 1.0 + both(2, lane) * strength.jitter[lane]),
            hue: both(1, 3) * strength.hue,
        }
    }

    /// The largest square in the middle, and no change of colour.
    pub fn plain([w, h]: [usize; 2]) -> Self {
        let side = w.min(h);
        let crop = [(w - side) / 2, (h - side) / 2, side, side].map(|x| x as f64);
        Self { crop, flip: false, grey: false, order: 0, factor: [1.0; 3], hue: 0.0 }
    }
}

/// Permutation `place` (0 to 23, lexicographic) of the steps 0 brightness, 1 contrast, 2 saturation, 3 hue.
pub fn order(place: u32) -> [usize; 4] {
    let mut left = vec![0, 1, 2, 3];
    let place = place as usize;
    [left.remove(place / 6), left.remove(place % 6 / 2), left.remove(place % 2), left.remove(0)]
}

/// How many taps an axis takes whose crop of `c` source pixels becomes `s` pixels.
pub fn taps(c: f64, s: usize) -> usize {
    let s = s as f64;
    if c <= 1.5 * s {
        1
    } else if c <= 2.0 * s {
        2
    } else if c <= 3.0 * s {
        3
    } else {
        4
    }
}

/// A colour and the magnitudes of its channels.
type Colour = ([f64; 3], [f64; 3]);

/// image: `[h, w, 3]` bytes of an image of `[w, h]` pixels; returns `[3, s, s]`.
///
/// M carries the error of the coordinates (whose size is that of the image) through the slope of the picture there and
/// through every step; the depth is that of the sum for the mean grey.
pub fn augment(image: &[u8], [w, h]: [usize; 2], s: usize, drawn: &Drawn, mean: [f64; 3], std: [f64; 3]) -> Reference {
    debug_assert_eq!(image.len(), w * h * 3);
    let mut pixels: Vec<Colour> =
        (0..s * s).map(|i| sample(image, [w, h], s, drawn, if drawn.flip { s - 1 - i % s } else { i % s }, i / s)).collect();
    for step in order(drawn.order) {
        let grey_mean = {
            let greys = pixels.iter().map(|p| grey(*p));
            let (sum, all) = greys.fold((0.0, 0.0), |t, g| (t.0 + g.0, t.1 + g.1));
            (sum / pixels.len() as f64, all / pixels.len() as f64)
        };
        for p in &mut pixels {
            let next = match step {
                0 => (p.0.map(|v| v * drawn.factor[0]), [0, 1, 2].map(|c| (p.0[c] + p.1[c]) * drawn.factor[0])),
                1 => towards(*p, grey_mean, drawn.factor[1]),
                2 => towards(*p, grey(*p), drawn.factor[2]),
                _ => turned(*p, drawn.hue),
            };
            *p = (next.0.map(|v| v.clamp(0.0, 1.0)), next.1);
        }
    }
    if drawn.grey {
        for p in &mut pixels {
            let (value, all) = grey(*p);
            *p = ([value; 3], [all; 3]);
        }
    }
    let at = |c: usize, i: usize| {
        let (value, all) = (pixels[i].0[c], pixels[i].1[c]);
        ((value - mean[c]) / std[c], (value + all + mean[c].abs()) / std[c].abs())
    };
    Reference::new(&[3, s, s], (0..3).flat_map(|c| (0..s * s).map(move |i| (c, i))).map(|(c, i)| at(c, i)))
}

/// Output pixel (i, j) of the crop.
fn sample(image: &[u8], [w, h]: [usize; 2], s: usize, drawn: &Drawn, i: usize, j: usize) -> Colour {
    let [x0, y0, cw, ch] = drawn.crop;
    let (nx, ny) = (taps(cw, s), taps(ch, s));
    let place = |first: f64, side: f64, i: usize, t: usize, n: usize, size: usize| {
        (first + (i as f64 + (t as f64 + 0.5) / n as f64) * side / s as f64 - 0.5).clamp(0.0, size as f64 - 1.0)
    };
    let byte = |x: usize, y: usize, c: usize| f64::from(image[(y.min(h - 1) * w + x.min(w - 1)) * 3 + c]) / 255.0;
    let (mut value, mut all) = ([0.0; 3], [0.0; 3]);
    for (tx, ty) in (0..nx).flat_map(|tx| (0..ny).map(move |ty| (tx, ty))) {
        let (x, y) = (place(x0, cw, i, tx, nx, w), place(y0, ch, j, ty, ny, h));
        let (xi, yi, fx, fy) = (x as usize, y as usize, x.fract(), y.fract());
        for c in 0..3 {
            let top = byte(xi, yi, c) * (1.0 - fx) + byte(xi + 1, yi, c) * fx;
            let low = byte(xi, yi + 1, c) * (1.0 - fx) + byte(xi + 1, yi + 1, c) * fx;
            let here = top * (1.0 - fy) + low * fy;
            // Coordinates are off by a share of their size, and may so fall on the next pixel.
            let around = (0..16).map(|k| byte((xi + k % 4).saturating_sub(1), (yi + k / 4).saturating_sub(1), c));
            let (least, most) = around.fold((1.0f64, 0.0f64), |t, v| (t.0.min(v), t.1.max(v)));
            value[c] += here / (nx * ny) as f64;
            all[c] += (here + (most - least) * (w + h) as f64) / (nx * ny) as f64;
        }
    }
    (value, all)
}

/// The grey of a colour, and its magnitude.
fn grey((value, all): Colour) -> (f64, f64) {
    let of = |v: [f64; 3]| 0.299 * v[0] + 0.587 * v[1] + 0.114 * v[2];
    (of(value), of(value) + of(all))
}

/// `m + f·(p − m)`
fn towards((value, all): Colour, (m, m_all): (f64, f64), f: f64) -> Colour {
    let off = |c: usize| f.abs() * (value[c] + all[c]) + (1.0 + f.abs()) * (m + m_all);
    (value.map(|v| m + f * (v - m)), [0, 1, 2].map(off))
}

/// The hue turned by `turns`, in HSV.
fn turned((value, all): Colour, turns: f64) -> Colour {
    let [r, g, b] = value;
    let (v, least) = (r.max(g).max(b), r.min(g).min(b));
    let d = v - least;
    let sixths = if d == 0.0 {
        0.0
    } else if r == v {
        (g - b) / d
    } else if g == v {
        2.0 + (b - r) / d
    } else {
        4.0 + (r - g) / d
    };
    let channel = |first: f64| {
        let k = (first + sixths + 6.0 * turns).rem_euclid(6.0);
        v - d * k.min(4.0 - k).clamp(0.0, 1.0)
    };
    // Each channel is linear in (r, g, b) by pieces, its slopes adding up to at most 7; k is up to 12, and d · 12 in size.
    let most = 7.0 * all[0].max(all[1]).max(all[2]) + v + 12.0 * d;
    ([channel(5.0), channel(3.0), channel(1.0)], [most; 3])
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::rng::{Stream, key};

    const NONE: ([f64; 3], [f64; 3]) = ([0.0; 3], [1.0; 3]);

    fn picture(w: usize, h: usize) -> Vec<u8> {
        (0..w * h * 3).map(|i| (i * i * 7 % 251) as u8).collect()
    }

    fn apply(image: &[u8], size: [usize; 2], s: usize, drawn: &Drawn) -> Vec<f64> {
        augment(image, size, s, drawn, NONE.0, NONE.1).value
    }

    fn colour(rgb: [u8; 3], change: impl Fn(&mut Drawn)) -> Vec<f64> {
        let mut drawn = Drawn::plain([1, 1]);
        change(&mut drawn);
        apply(&rgb, [1, 1], 1, &drawn)
    }

    fn close(a: &[f64], b: &[f64]) {
        assert!(a.len() == b.len() && a.iter().zip(b).all(|(a, b)| (a - b).abs() < 1e-12), "{a:?} {b:?}");
    }

    #[test]
    fn plain_at_its_own_size_is_the_image_with_channels_first() {
        let image = picture(5, 5);
        let expected: Vec<f64> = (0..75).map(|i| f64::from(image[i % 25 * 3 + i / 25]) / 255.0).collect();
        close(&apply(&image, [5, 5], 5, &Drawn::plain([5, 5])), &expected);
        let out = augment(&image, [5, 5], 5, &Drawn::plain([5, 5]), [0.5, 0.25, 0.0], [0.5, 2.0, 4.0]).value;
        close(&[out[0], out[25], out[50]], &[(expected[0] - 0.5) / 0.5, (expected[25] - 0.25) / 2.0, expected[50] / 4.0]);
    }

    #[test]
    fn plain_takes_the_square_in_the_middle_at_whole_pixels() {
        assert_eq!(Drawn::plain([7, 4]).crop, [1.0, 0.0, 4.0, 4.0]);
        assert_eq!(Drawn::plain([4, 8]).crop, [0.0, 2.0, 4.0, 4.0]);
    }

    #[test]
    fn a_doubled_row_is_interpolated_and_its_ends_repeat() {
        let drawn = Drawn { crop: [0.0, 0.0, 2.0, 1.0], ..Drawn::plain([2, 1]) };
        close(&apply(&[0, 0, 0, 255, 255, 255], [2, 1], 4, &drawn)[..4], &[0.0, 0.25, 0.75, 1.0]);
        close(&apply(&[0, 0, 0, 255, 255, 255], [2, 1], 4, &Drawn { flip: true, ..drawn })[..4], &[1.0, 0.75, 0.25, 0.0]);
    }

    #[test]
    fn a_crop_reads_what_it_covers() {
        let image: Vec<u8> = (0..16).flat_map(|i| [i * 10; 3]).collect();
        let drawn = Drawn { crop: [1.0, 2.0, 2.0, 2.0], ..Drawn::plain([4, 4]) };
        close(&apply(&image, [4, 4], 2, &drawn)[..4], &[90.0 / 255.0, 100.0 / 255.0, 130.0 / 255.0, 140.0 / 255.0]);
    }

    #[test]
    fn taps_follow_the_reduction() {
        let of = [10.0, 15.0, 15.1, 20.0, 20.1, 30.0, 30.1, 1000.0].map(|c| taps(c, 10));
        assert_eq!(of, [1, 1, 2, 2, 3, 3, 4, 4]);
    }

    #[test]
    fn a_reduction_by_two_or_four_is_the_mean_of_its_block() {
        for factor in [2, 4] {
            let image = picture(4, 4);
            let s = 4 / factor;
            let out = apply(&image, [4, 4], s, &Drawn::plain([4, 4]));
            for (i, value) in out.iter().enumerate() {
                let (c, y, x) = (i / (s * s), i / s % s, i % s);
                let block = (0..factor * factor).map(|k| {
                    let (y, x) = (y * factor + k / factor, x * factor + k % factor);
                    f64::from(image[(y * 4 + x) * 3 + c]) / 255.0
                });
                close(&[*value], &[block.sum::<f64>() / (factor * factor) as f64]);
            }
        }
    }

    #[test]
    fn orders_are_the_permutations_in_lexicographic_order() {
        assert_eq!([order(0), order(1), order(6), order(23)], [[0, 1, 2, 3], [0, 1, 3, 2], [1, 0, 2, 3], [3, 2, 1, 0]]);
        let all: Vec<_> = (0..24).map(order).collect();
        assert!(all.is_sorted_by(|a, b| a < b));
    }

    #[test]
    fn steps_by_hand() {
        let (red, half) = ([255, 0, 0], 127.5 / 255.0);
        close(&colour(red, |d| d.factor[0] = half), &[half, 0.0, 0.0]);
        close(&colour([255, 255, 0], |d| d.factor[0] = 1.4), &[1.0, 1.0, 0.0]);
        // Of one pixel the mean grey is its own, so contrast and saturation do the same.
        for which in [1, 2] {
            close(&colour(red, |d| d.factor[which] = 0.5), &[0.6495, 0.1495, 0.1495]);
        }
        close(&colour(red, |d| d.hue = 1.0 / 3.0), &[0.0, 1.0, 0.0]);
        close(&colour(red, |d| d.hue = -1.0 / 3.0), &[0.0, 0.0, 1.0]);
        close(&colour(red, |d| d.hue = 1.0 / 12.0), &[1.0, 0.5, 0.0]);
        close(&colour([51, 102, 51], |d| d.hue = 0.5), &[0.4, 0.2, 0.4]);
        close(&colour([77, 77, 77], |d| d.hue = 0.3), &[77.0 / 255.0; 3]);
        close(&colour(red, |d| d.grey = true), &[0.299; 3]);
    }

    #[test]
    fn no_turn_and_a_whole_turn_change_nothing() {
        for rgb in [[0, 0, 0], [3, 200, 100], [200, 3, 100], [100, 3, 200], [9, 9, 8], [255, 255, 0]] {
            let same = rgb.map(|v| f64::from(v) / 255.0);
            close(&colour(rgb, |_| ()), &same);
            close(&colour(rgb, |d| d.hue = 1.0), &same);
        }
    }

    #[test]
    fn contrast_is_against_the_mean_grey_of_the_image_at_that_point() {
        let image = [0, 0, 0, 255, 255, 255, 0, 0, 0, 0, 0, 0];
        let contrast = Drawn { factor: [1.0, 0.5, 1.0], ..Drawn::plain([2, 2]) };
        close(&apply(&image, [2, 2], 2, &contrast)[..4], &[0.125, 0.625, 0.125, 0.125]);
        // Halving before moves the mean; halving after does not.
        let first = Drawn { factor: [0.5, 0.5, 1.0], ..contrast };
        close(&apply(&image, [2, 2], 2, &first)[..4], &[0.0625, 0.3125, 0.0625, 0.0625]);
        // 1.4 before the contrast clamps white to 1, and after it does not.
        let before = Drawn { factor: [1.4, 0.5, 1.0], order: 0, ..contrast };
        close(&apply(&image, [2, 2], 2, &before)[..2], &[0.125, 0.625]);
        close(&apply(&image, [2, 2], 2, &Drawn { order: 6, ..before })[..2], &[0.175, 0.875]);
    }

    #[test]
    fn drawn_numbers_stay_in_range_and_have_the_stated_frequencies() {
        let (strength, size) = (Strength::default(), [48, 32]);
        let (mut flips, mut greys, mut orders, mut hue) = (0, 0, [0; 24], 0.0);
        for b in 0..10_000 {
            let drawn = Drawn::new(key(1, Stream::Augment), 9, b, size, &strength);
            let [x, y, w, h] = drawn.crop;
            assert!(x >= 0.0 && y >= 0.0 && w > 0.0 && h > 0.0 && x + w <= 48.0001 && y + h <= 32.0001);
            assert!(w * h <= 48.0 * 32.0 && (w == 48.0 || h == 32.0 || w * h >= 0.1999 * 48.0 * 32.0));
            assert!((0.7499..=1.3334).contains(&(w / h)) || w == 48.0 || h == 32.0);
            assert!(drawn.factor.iter().all(|f| (0.6..=1.4).contains(f)) && drawn.hue.abs() <= 0.4);
            flips += i32::from(drawn.flip);
            greys += i32::from(drawn.grey);
            orders[drawn.order as usize] += 1;
            hue += drawn.hue;
        }
        assert!((flips - 5000i32).abs() < 200 && (greys - 2000i32).abs() < 160 && (hue / 1e4f64).abs() < 0.01);
        assert!(orders.iter().all(|n| (330..500).contains(n)), "{orders:?}");
    }

    #[test]
    fn a_jittered_picture_stays_within_zero_and_one() {
        let image = picture(20, 13);
        for b in 0..50 {
            let drawn = Drawn::new(key(2, Stream::Augment), 0, b, [20, 13], &Strength::default());
            let out = augment(&image, [20, 13], 8, &drawn, NONE.0, NONE.1);
            assert!(out.value.iter().all(|v| (0.0..=1.0).contains(v)));
            assert!(out.value.iter().zip(&out.magnitude).all(|(v, m)| v <= m && m.is_finite()));
        }
    }
}
