//! JPEG: whether a file is whole, and what is in it.
//!
//! Pixels come from the crate `jpeg-decoder`. The one that `image` has gives other pixels, without a word, for files whose
//! components have scans of their own or are finer than the first; `tests/data/jpeg_matrix.rs` holds ours against a second decoder.

use super::huffman;
use image::{DynamicImage, GrayImage, RgbImage};
use jpeg_decoder::{CodingProcess, ColorTransform, Decoder, Error, PixelFormat, UnsupportedFeature};
use std::borrow::Cow;

/// These two have no segment.
const TEM: u8 = 0x01;
const RST: std::ops::RangeInclusive<u8> = 0xd0..=0xd7;
const EOI: u8 = 0xd9;
const DHT: u8 = 0xc4;
const SOS: u8 = 0xda;

/// What a JPEG says of itself.
pub(super) struct Header {
    /// Width and height.
    pub(super) sides: [u32; 2],
    /// Bytes of memory that decoding takes for each pixel.
    pub(super) pixel_bytes: u64,
    pub(super) exif: Option<Vec<u8>>,
}

/// Reads the header.
pub(super) fn header(bytes: &[u8]) -> Result<Header, String> {
    let mut decoder = Decoder::new(bytes);
    decoder.read_info().map_err(|error| told(&error))?;
    let info = decoder.info().ok_or("the JPEG is damaged: it has no header")?;
    let stored = info.pixel_format.pixel_bytes() as u64;
    // Planes and their interleaved copy; a progressive one also keeps two bytes a coefficient.
    let coefficients = if info.coding_process == CodingProcess::DctProgressive { 2 * stored } else { 0 };
    let exif = decoder.exif_data().map(<[u8]>::to_vec);
    Ok(Header { sides: [info.width.into(), info.height.into()], pixel_bytes: 2 * stored + coefficients, exif })
}

/// The pixels, where there are at most so many.
pub(super) fn pixels(bytes: &[u8], most: u64) -> Result<DynamicImage, String> {
    decoded(&mut Decoder::new(&*with_tables(bytes)), most)
}

/// The file with the standard's Huffman tables in front, where its first scan comes without any: those of webcams do.
fn with_tables(bytes: &[u8]) -> Cow<'_, [u8]> {
    let Some(mut rest) = bytes.strip_prefix(b"\xff\xd8") else { return bytes.into() };
    while let Some((marker, after)) = next_marker(rest) {
        match marker {
            SOS => return [b"\xff\xd8", &*huffman::segment(), bytes.get(2..).unwrap_or_default()].concat().into(),
            DHT => break,
            _ => {}
        }
        let Some(behind) = segment_length(after).and_then(|length| after.get(length..)) else { break };
        rest = behind;
    }
    bytes.into()
}

/// The pixels of a strip of a TIFF, which says itself how its colours are stored.
pub(super) fn strip(bytes: &[u8], most: u64, luma_and_chroma: bool) -> Result<DynamicImage, String> {
    let mut decoder = Decoder::new(bytes);
    decoder.read_info().map_err(|error| told(&error))?;
    if decoder.info().is_some_and(|info| info.pixel_format == PixelFormat::RGB24) {
        decoder.set_color_transform(if luma_and_chroma { ColorTransform::YCbCr } else { ColorTransform::RGB });
    }
    decoded(&mut decoder, most)
}

fn decoded(decoder: &mut Decoder<&[u8]>, most: u64) -> Result<DynamicImage, String> {
    decoder.set_max_decoding_buffer_size(usize::try_from(most.saturating_mul(4)).unwrap_or(usize::MAX));
    let bytes = decoder.decode().map_err(|error| told(&error))?;
    let info = decoder.info().ok_or("the JPEG is damaged: it has no header")?;
    let (width, height) = (info.width.into(), info.height.into());
    let image = match info.pixel_format {
        PixelFormat::L8 => GrayImage::from_raw(width, height, bytes).map(DynamicImage::ImageLuma8),
        PixelFormat::RGB24 => RgbImage::from_raw(width, height, bytes).map(DynamicImage::ImageRgb8),
        PixelFormat::CMYK32 => RgbImage::from_raw(width, height, of_inks(&bytes)).map(DynamicImage::ImageRgb8),
        PixelFormat::L16 => {
            let levels = bytes.chunks_exact(2).map(|level| level.first_chunk().copied().map_or(0, u16::from_ne_bytes));
            image::ImageBuffer::from_raw(width, height, levels.collect()).map(DynamicImage::ImageLuma16)
        }
    };
    image.ok_or_else(|| "the JPEG is damaged: pixels are missing".to_owned())
}

/// Red, green and blue of cyan, magenta, yellow and black.
fn of_inks(inks: &[u8]) -> Vec<u8> {
    let mut colours = Vec::with_capacity(inks.len() / 4 * 3);
    for ink in inks.chunks_exact(4) {
        let [inks @ .., black] = ink else { continue };
        let light = 255 - u32::from(*black);
        colours.extend(inks.iter().map(|ink| ((255 - u32::from(*ink)) * light / 255) as u8));
    }
    colours
}

fn told(error: &Error) -> String {
    let kind = match error {
        Error::Unsupported(UnsupportedFeature::ArithmeticEntropyCoding) => {
            "arithmetic coding, which is not read; `jpegtran -copy all` writes it in Huffman's coding without loss"
        }
        Error::Unsupported(UnsupportedFeature::SamplePrecision(_)) => {
            "more than 8 bits a sample, which is not read; save it with 8 bits, or as PNG"
        }
        Error::Unsupported(UnsupportedFeature::Hierarchical) => "hierarchical coding, which is not read; save it anew",
        error => return format!("the JPEG is damaged or of a kind that is not read: {error}"),
    };
    format!("the JPEG is stored with {kind}")
}

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
