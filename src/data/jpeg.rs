//! Whether a JPEG file is whole.

const RST: std::ops::RangeInclusive<u8> = 0xd0..=0xd7;
const EOI: u8 = 0xd9;
const SOS: u8 = 0xda;

/// Whether the markers of a JPEG lead to an end marker (EOI).
///
/// The decoder fills up what a cut-off file lacks with grey and calls it an image, so this has to be asked before. It
/// is not enough to look for the marker's two bytes: the thumbnail inside the EXIF segment has them too. What follows
/// the end marker (some cameras put a second image or a film there) is not looked at.
pub(super) fn has_end(bytes: &[u8]) -> bool {
    let mut rest = bytes.strip_prefix(b"\xff\xd8").unwrap_or(bytes);
    while let Some((marker, after)) = next_marker(rest) {
        rest = match marker {
            EOI => return true,
            0x01 => after,
            marker if RST.contains(&marker) => after,
            marker => {
                let Some(&[high, low]) = after.first_chunk::<2>() else { return false };
                let Some(body) = after.get(usize::from(u16::from_be_bytes([high, low]))..) else { return false };
                if marker == SOS { after_scan(body) } else { body }
            }
        };
    }
    false
}

/// The next marker, and what follows it. Bytes between segments that belong to none are passed over, as decoders do.
fn next_marker(mut bytes: &[u8]) -> Option<(u8, &[u8])> {
    loop {
        let from = bytes.get(bytes.iter().position(|&byte| byte == 0xff)?..)?;
        let from = from.get(from.iter().position(|&byte| byte != 0xff)?..)?;
        let (&marker, after) = from.split_first()?;
        if marker != 0 {
            return Some((marker, after));
        }
        bytes = after;
    }
}

/// What follows the coded data of a scan, in which 0xff is always followed by 0 or a restart marker.
fn after_scan(bytes: &[u8]) -> &[u8] {
    let ends = |pair: &[u8]| matches!(pair, &[0xff, next] if next != 0 && next != 0xff && !RST.contains(&next));
    bytes.windows(2).position(ends).and_then(|end| bytes.get(end..)).unwrap_or_default()
}
