//! Random numbers as a function of (seed, stream, step, index), the same in Rust and in WGSL.
//!
//! Nothing here has state that threads could race for: the n-th number of a stream is computed, not
//! drawn, so a resumed run, another number of loader threads or another batch split see the same numbers.
//! The hash is pcg4d of Jarzynski and Olano, "Hash Functions for GPU Rendering" (JCGT 9(3), 2020);
//! `shaders/lib/rng.wgsl` is its twin, and a test compares the two.

/// What a random number is for. Two uses never share a stream.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u32)]
pub enum Stream {
    /// Initial weights, a stream a parameter (the index of the parameter is the step).
    Weights = 1,
    /// Initial rows of the memory bank.
    Bank = 2,
    /// The order of images in an epoch (the epoch is the step).
    Order = 3,
    /// Augmentations.
    Augment = 4,
    /// Negatives of the noise-contrastive loss.
    Negatives = 5,
    /// Whatever a test or a benchmark fills buffers with.
    Test = 6,
}

/// The two words that stand for (seed, stream) in the hash.
pub fn key(seed: u64, stream: Stream) -> [u32; 2] {
    let [low, mix] = seed_words(seed);
    [low, mix ^ (stream as u32).wrapping_mul(0x85eb_ca6b)]
}

/// The part of [`key`] that does not depend on the stream, for kernels that mix in the stream themselves.
pub(crate) fn seed_words(seed: u64) -> [u32; 2] {
    [seed as u32, ((seed >> 32) as u32).wrapping_mul(0x9e37_79b9)]
}

/// Four random words for (key, step, index).
///
/// ```
/// use instdisc::rng::{Stream, hash, key};
/// let key = key(7, Stream::Bank);
/// assert_eq!(hash(key, 0, 3), hash(key, 0, 3));
/// assert_ne!(hash(key, 0, 3), hash(key, 0, 4));
/// ```
pub fn hash(key: [u32; 2], step: u32, index: u32) -> [u32; 4] {
    let mut v = [key[0], key[1], step, index].map(|x| x.wrapping_mul(1_664_525).wrapping_add(1_013_904_223));
    mix(&mut v);
    v = v.map(|x| x ^ (x >> 16));
    mix(&mut v);
    v
}

fn mix(v: &mut [u32; 4]) {
    v[0] = v[0].wrapping_add(v[1].wrapping_mul(v[3]));
    v[1] = v[1].wrapping_add(v[2].wrapping_mul(v[0]));
    v[2] = v[2].wrapping_add(v[0].wrapping_mul(v[1]));
    v[3] = v[3].wrapping_add(v[1].wrapping_mul(v[2]));
}

/// A word as a number in [0, 1), of its upper 24 bits.
pub fn unit(word: u32) -> f32 {
    (word >> 8) as f32 * (1.0 / 16_777_216.0)
}

/// A word as an integer in [0, n), by the upper half of word × n. The bias is below n / 2³².
pub fn below(word: u32, n: u32) -> u32 {
    ((u64::from(word) * u64::from(n)) >> 32) as u32
}

/// The numbers of one (key, step) in order, as a generator for the `rand` crate's algorithms.
#[derive(Clone, Debug)]
pub struct Sequence {
    key: [u32; 2],
    step: u32,
    next: u32,
    words: [u32; 4],
}

impl Sequence {
    /// The numbers of (seed, stream, step), from the first on.
    pub fn new(seed: u64, stream: Stream, step: u32) -> Self {
        Self { key: key(seed, stream), step, next: 0, words: [0; 4] }
    }

    fn word(&mut self) -> u32 {
        let lane = self.next % 4;
        if lane == 0 {
            self.words = hash(self.key, self.step, self.next / 4);
        }
        self.next = self.next.wrapping_add(1);
        self.words[lane as usize]
    }

    /// The next number in [0, 1).
    pub fn unit(&mut self) -> f32 {
        unit(self.word())
    }

    /// The next number of the normal distribution with mean 0 and deviation 1 (Box and Muller, 1958).
    pub fn normal(&mut self) -> f32 {
        let radius = (-2.0 * (1.0 - f64::from(self.unit())).ln()).sqrt();
        (radius * (std::f64::consts::TAU * f64::from(self.unit())).cos()) as f32
    }
}

impl rand::rand_core::TryRng for Sequence {
    type Error = std::convert::Infallible;
    fn try_next_u32(&mut self) -> Result<u32, Self::Error> {
        Ok(self.word())
    }
    fn try_next_u64(&mut self) -> Result<u64, Self::Error> {
        Ok(u64::from(self.word()) | u64::from(self.word()) << 32)
    }
    fn try_fill_bytes(&mut self, bytes: &mut [u8]) -> Result<(), Self::Error> {
        for chunk in bytes.chunks_mut(4) {
            let word = self.word().to_le_bytes();
            chunk.copy_from_slice(&word[..chunk.len()]);
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn unit_is_uniform_and_below_stays_below() {
        let key = key(1, Stream::Test);
        let mut sum = 0.0;
        for i in 0..10_000 {
            let words = hash(key, 0, i);
            for word in words {
                sum += f64::from(unit(word));
                assert!(below(word, 7) < 7);
            }
        }
        assert!((sum / 40_000.0 - 0.5).abs() < 0.01);
    }

    #[test]
    fn normal_has_mean_zero_and_deviation_one() {
        let mut sequence = Sequence::new(3, Stream::Test, 0);
        let (mut sum, mut squares) = (0.0, 0.0);
        for _ in 0..40_000 {
            let x = f64::from(sequence.normal());
            sum += x;
            squares += x * x;
        }
        assert!((sum / 40_000.0).abs() < 0.02 && (squares / 40_000.0 - 1.0).abs() < 0.03);
    }
}
