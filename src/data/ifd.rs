//! The directory of a TIFF file, which EXIF data are too: where the value of a tag stands.

/// A tag's entry: the type of its values, how many there are, and the bytes from the first one on.
pub(super) struct Entry<'a> {
    kind: u16,
    count: u64,
    big_endian: bool,
    /// Where the values begin in the file.
    pub(super) at: usize,
    values: &'a [u8],
}

/// The entry of `tag` in the first directory, of a classic TIFF or a BigTIFF.
pub(super) fn entry(bytes: &[u8], tag: u16) -> Option<Entry<'_>> {
    let big_endian = match bytes.get(..2)? {
        b"II" => false,
        b"MM" => true,
        _ => return None,
    };
    let number = |at: usize, size: usize| number(bytes.get(at..at.checked_add(size)?)?, big_endian);
    // The sizes of the count of entries, of an entry, and of a count or offset in it.
    let (from, counts, size, word) = match number(2, 2)? {
        42 => (number(4, 4)?, 2, 12, 4),
        43 => (number(8, 8)?, 8, 20, 8),
        _ => return None,
    };
    let from = usize::try_from(from).ok()?;
    let first = from.checked_add(counts)?;
    // Of a damaged count no more is looked at than there is.
    let entries = number(from, counts)?.min(bytes.len() as u64 / size as u64);
    let place = |i: u64| first.checked_add(i as usize * size);
    let at = (0..entries).filter_map(place).find(|&at| number(at, 2) == Some(u64::from(tag)))?;
    let (kind, count) = (number(at + 2, 2)? as u16, number(at + 4, word)?);
    let inline = at + 4 + word;
    let at = match count.checked_mul(bytes_of(kind)?)? <= word as u64 {
        true => inline,
        false => usize::try_from(number(inline, word)?).ok()?,
    };
    Some(Entry { kind, count, big_endian, at, values: bytes.get(at..)? })
}

/// Bytes of a value of a type: 8-bit, 16-bit, 32-bit and 64-bit numbers, whatever they mean.
fn bytes_of(kind: u16) -> Option<u64> {
    match kind {
        1 | 2 | 6 | 7 => Some(1),
        3 | 8 => Some(2),
        4 | 9 | 11 | 13 => Some(4),
        5 | 10 | 12 | 16..=18 => Some(8),
        _ => None,
    }
}

fn number(bytes: &[u8], big_endian: bool) -> Option<u64> {
    let digits = |all: u64, byte: &u8| all << 8 | u64::from(*byte);
    (bytes.len() <= 8).then(|| if big_endian { bytes.iter().fold(0, digits) } else { bytes.iter().rev().fold(0, digits) })
}

impl Entry<'_> {
    /// The values, of which there may be at most `most`.
    pub(super) fn numbers(&self, most: u64) -> Option<Vec<u64>> {
        let size = bytes_of(self.kind)? as usize;
        let values = self.values.get(..usize::try_from(self.count).ok().filter(|_| self.count <= most)?.checked_mul(size)?)?;
        values.chunks_exact(size).map(|value| number(value, self.big_endian)).collect()
    }

    /// The first value, where it is an unsigned whole number of any size: writers differ.
    pub(super) fn first(&self) -> Option<u64> {
        let size = matches!(self.kind, 1 | 3 | 4 | 16).then(|| bytes_of(self.kind))?? as usize;
        number(self.values.get(..size).filter(|_| self.count > 0)?, self.big_endian)
    }

    /// Where the low byte of the first value stands in the file.
    pub(super) fn low_byte(&self) -> Option<usize> {
        Some(if self.big_endian { self.at + bytes_of(self.kind)? as usize - 1 } else { self.at })
    }
}

#[cfg(test)]
#[allow(clippy::indexing_slicing, reason = "a test fails by panicking")]
mod tests {
    use super::*;

    /// A directory with the orientation 6, as a number of two bytes or of four, in either order of bytes.
    fn exif(big_endian: bool, kind: u16) -> Vec<u8> {
        let put = |value: u64, size: usize| {
            let mut bytes = value.to_le_bytes()[..size].to_vec();
            if big_endian {
                bytes.reverse();
            }
            bytes
        };
        let value = if kind == 3 { [put(6, 2), put(0, 2)].concat() } else { put(6, 4) };
        let order = if big_endian { b"MM" } else { b"II" };
        [order.to_vec(), put(42, 2), put(8, 4), put(1, 2), put(0x112, 2), put(u64::from(kind), 2), put(1, 4), value, put(0, 4)]
            .concat()
    }

    #[test]
    fn numbers_of_two_and_four_bytes_are_read_in_both_orders() {
        for big_endian in [false, true] {
            for kind in [3, 4] {
                let bytes = exif(big_endian, kind);
                let found = entry(&bytes, 0x112).unwrap();
                assert_eq!((found.first(), found.numbers(1)), (Some(6), Some(vec![6])), "{big_endian} {kind}");
                assert!(entry(&bytes, 0x113).is_none());
            }
        }
    }

    #[test]
    fn damage_is_no_panic() {
        let good = exif(false, 4);
        for length in 0..good.len() {
            let _ = entry(&good[..length], 0x112).and_then(|entry| entry.first());
            for bit in 0..8 {
                let mut bad = good.clone();
                bad[length] ^= 1 << bit;
                let _ = entry(&bad, 0x112).and_then(|entry| entry.numbers(9));
            }
        }
    }
}
