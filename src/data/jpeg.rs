//! Whether a JPEG file is whole.

/// These two have no segment.
const TEM: u8 = 0x01;
const RST: std::ops::RangeInclusive<u8> = 0xd0..=0xd7;
const EOI: u8 = 0xd9;

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
            TEM => after,
            marker if RST.contains(&marker) => after,
            _ => match segment_length(after).and_then(|length| after.get(length..)) {
                Some(behind) => behind,
                None => return false,
            },
        };
    }
    false
}

/// The bytes of a segment from its length on, which counts itself.
fn segment_length(bytes: &[u8]) -> Option<usize> {
    bytes.first_chunk().map(|&length| usize::from(u16::from_be_bytes(length)))
}

/// The next marker, and what follows it. What belongs to no segment is passed over: the coded data of a scan, in which
/// 0xff is followed by 0 or by a restart marker, and stray bytes, which decoders pass over too.
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
