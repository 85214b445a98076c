//! Image files to pixels, under limits.

use super::{Image, Limits, ifd, jpeg, tiff};
use crate::error::{Error, Result};
use image::metadata::Orientation;
use image::{ColorType, DynamicImage, ImageDecoder, ImageFormat, ImageReader, RgbImage, RgbaImage, imageops};
use std::io::{Cursor, Read};
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::Path;

/// Why a file is no image: it was seen before its pixels were decoded, or then.
pub(super) enum Fault {
    Before(String),
    Pixels { reason: String, sides: [u32; 2] },
}

impl Fault {
    pub(super) fn reason(self) -> String {
        match self {
            Self::Before(reason) | Self::Pixels { reason, .. } => reason,
        }
    }
}

/// What is odd about an image that can be read.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Oddity {
    /// All its pixels have the same colour, and there is more than one.
    pub(super) single_colour: bool,
    /// It has more than 8 bits a sample and leaves the upper ones unused, so that it is nearly black.
    pub(super) dark: bool,
}

/// What a file says of its image.
pub(super) struct Header {
    format: ImageFormat,
    /// Width and height as stored.
    pub(super) sides: [u32; 2],
    /// Bytes of memory that decoding takes for each pixel.
    pixel_bytes: u64,
    orientation: Orientation,
}

/// Decodes the bytes of an image file; `path` is what errors name. Nothing is read from it.
///
/// The format is told by the content. PNG, JPEG, GIF, WebP, BMP and TIFF are read, and become 8-bit RGB like this:
///
/// - grey becomes three equal channels, a palette is looked up, more bits a channel than 8 are rounded to 8;
/// - floating-point channels from 0 to 1 are taken as they are; where some are beyond, the image is stretched so that 0, or the
///   lowest below it, is black and the highest is white, and what is no number is black;
/// - what is transparent is laid on white, whether its colours are multiplied by alpha or not; an alpha that a TIFF does not
///   call one is none, nor is a BMP's that is 0 everywhere;
/// - CMYK and YCCK JPEGs are taken to be stored inverted, as Adobe's programs do;
/// - the orientation in the EXIF data is applied; one that cannot be read is passed over;
/// - of an animation the first frame is taken (of an animated PNG its default image, of a TIFF the first page);
/// - colour profiles are not applied;
/// - the shorter side is reduced to `max_side` if it is longer, the other one in proportion, with a triangle filter as
///   wide as the reduction.
///
/// # Errors
/// [`Error::Data`]: a file or image over the limits, which is seen before pixels are decoded; content that is none of
/// these formats, damaged, or stored in a way that is not read (a JPEG in arithmetic coding, a TIFF in CIE Lab), which is named; a
/// JPEG without its end marker, which was cut off. Damage that a format has no check for, as most changed bytes in a JPEG, goes
/// unseen and gives other pixels.
///
/// ```
/// let error = instdisc::data::decode("a.png".as_ref(), b"no image", &Default::default(), None).unwrap_err();
/// assert!(error.to_string().starts_with("a.png: the content is none of"));
/// ```
pub fn decode(path: &Path, bytes: &[u8], limits: &Limits, max_side: Option<u32>) -> Result<Image> {
    let header = header(bytes, limits).map_err(|reason| Error::data(path, reason))?;
    pixels(bytes, &header, limits, max_side).map(|(image, _)| image).map_err(|fault| Error::data(path, fault.reason()))
}

/// The bytes of a file, if it is a file and within the limit.
pub(super) fn read(path: &Path, limits: &Limits) -> std::result::Result<Vec<u8>, String> {
    let data = std::fs::metadata(path).map_err(|error| format!("it cannot be read: {error}"))?;
    if !data.is_file() {
        return Err("it is not a file".into());
    }
    limits.check_file(data.len())?;
    let mut bytes = Vec::new();
    std::fs::File::open(path)
        .and_then(|file| file.take(limits.file_bytes.saturating_add(1)).read_to_end(&mut bytes))
        .map_err(|error| format!("it cannot be read: {error}"))?;
    // The file may have grown since it was measured.
    limits.check_file(bytes.len() as u64)?;
    Ok(bytes)
}

/// What can be told without decoding pixels: format, limits and, for a JPEG, the end.
pub(super) fn header(bytes: &[u8], limits: &Limits) -> std::result::Result<Header, String> {
    limits.check_file(bytes.len() as u64)?;
    if bytes.is_empty() {
        return Err("the file is empty".into());
    }
    let format = format(bytes).ok_or("the content is none of PNG, JPEG, GIF, WebP, BMP and TIFF")?;
    let header = caught(|| {
        Ok(match format {
            ImageFormat::Jpeg => {
                if !jpeg::has_end(bytes) {
                    return Err("the JPEG has no end marker: the file was cut off".into());
                }
                let jpeg::Header { sides, pixel_bytes, exif } = jpeg::header(bytes)?;
                Header { format, sides, pixel_bytes, orientation: orientation(exif.as_deref()) }
            }
            ImageFormat::Tiff => {
                let (sides, stored) = tiff::head(bytes)?;
                Header { format, sides, pixel_bytes: 2 * stored, orientation: orientation(Some(bytes)) }
            }
            _ => {
                if let Some([width, height]) = png_sides(bytes, format) {
                    // Before a decoder sees it, which would speak of memory.
                    limits.check_pixels([width, height])?;
                }
                let mut decoder = decoder(bytes, format, limits)?;
                let exif = decoder.exif_metadata().ok().flatten();
                let (sides, stored) = (decoder.dimensions().into(), u64::from(decoder.color_type().bytes_per_pixel()));
                // The decoder may hold the image beside what it returns, and one with alpha is copied before it is laid on white.
                Header { format, sides, pixel_bytes: 2 * stored + 4, orientation: orientation(exif.as_deref()) }
            }
        })
    })?;
    limits.check_pixels(header.sides)?;
    Ok(header)
}

impl Header {
    /// Bytes of memory that it takes to decode and reduce the image.
    pub(super) fn need(&self, max_side: Option<u32>) -> u64 {
        let [width, height] = self.sides.map(u64::from);
        let [_, reduced] = reduced_sides(self.sides, max_side).map(u64::from);
        // Reduced first in height, in floats of four channels.
        let lines = if reduced < height { 16 * width * reduced } else { 0 };
        (self.pixel_bytes + 3) * width * height + lines
    }
}

/// The image in the bytes of a file that has this header, and what is odd about it.
pub(super) fn pixels(
    bytes: &[u8],
    header: &Header,
    limits: &Limits,
    max_side: Option<u32>,
) -> std::result::Result<(Image, Oddity), Fault> {
    let image = caught(|| {
        let (image, dark) = match header.format {
            ImageFormat::Jpeg => (jpeg::pixels(bytes, limits.pixels)?.into_rgb8(), false),
            ImageFormat::Tiff => tiff::pixels(bytes, limits.pixels.saturating_mul(WIDEST))?,
            format => {
                let decoder = decoder(bytes, format, limits)?;
                let image = DynamicImage::from_decoder(decoder).map_err(|error| told(&error))?;
                let deep = matches!(image.color(), ColorType::L16 | ColorType::La16 | ColorType::Rgb16 | ColorType::Rgba16);
                let image = rgb(image, format);
                let dark = deep && dark(image.iter().copied().max().unwrap_or(0));
                (image, dark)
            }
        };
        let oddity = Oddity { single_colour: single_colour(&image), dark };
        let mut image = DynamicImage::ImageRgb8(reduced(image, max_side));
        image.apply_orientation(header.orientation);
        let image = image.into_rgb8();
        let image = Image::new(image.width(), image.height(), image.into_raw()).map_err(|error| error.to_string())?;
        Ok((image, oddity))
    });
    image.map_err(|reason| Fault::Pixels { reason, sides: header.sides })
}

/// The most bytes of a pixel that a decoder may hold for each pixel of the limit: four channels of 64 bits.
pub(super) const WIDEST: u64 = 32;

/// The format that the first bytes tell, if it is one that is read.
pub(super) fn format(bytes: &[u8]) -> Option<ImageFormat> {
    if tiff::begins(bytes) {
        return Some(ImageFormat::Tiff);
    }
    let format = image::guess_format(bytes).ok()?;
    (format == ImageFormat::Jpeg || format.reading_enabled()).then_some(format)
}

/// The sides that the first chunk of a PNG says.
fn png_sides(bytes: &[u8], format: ImageFormat) -> Option<[u32; 2]> {
    let side = |at: usize| bytes.get(at..)?.first_chunk().copied().map(u32::from_be_bytes);
    Some([side(16)?, side(20)?]).filter(|_| format == ImageFormat::Png)
}

fn decoder<'a>(bytes: &'a [u8], format: ImageFormat, limits: &Limits) -> std::result::Result<impl ImageDecoder + 'a, String> {
    let mut reader = ImageReader::with_format(Cursor::new(bytes), format);
    let mut allowed = image::Limits::no_limits();
    allowed.max_alloc = Some(limits.pixels.saturating_mul(WIDEST));
    reader.limits(allowed);
    reader.into_decoder().map_err(|error| told(&error))
}

fn told(error: &image::ImageError) -> String {
    format!("the image is damaged or of a kind that is not read: {error}")
}

/// The orientation in EXIF data, or in a TIFF, which is built alike.
fn orientation(exif: Option<&[u8]>) -> Orientation {
    const ORIENTATION: u16 = 0x112;
    let exif = exif.map(|exif| exif.strip_prefix(b"Exif\0\0").unwrap_or(exif));
    let value = exif.and_then(|exif| ifd::entry(exif, ORIENTATION)).and_then(|entry| entry.first());
    value.and_then(|value| Orientation::from_exif(u8::try_from(value).ok()?)).unwrap_or(Orientation::NoTransforms)
}

/// A decoder that panics has met damage that it does not know; that must not end the program.
fn caught<T>(work: impl FnOnce() -> std::result::Result<T, String>) -> std::result::Result<T, String> {
    catch_unwind(AssertUnwindSafe(work)).unwrap_or_else(|_| Err("the image is damaged: its decoder panicked".into()))
}

/// The image as 8-bit RGB, on white.
fn rgb(image: DynamicImage, format: ImageFormat) -> RgbImage {
    if !image.color().has_alpha() {
        return image.into_rgb8();
    }
    let image = image.into_rgba8();
    // Many programs leave the fourth byte of a BMP's pixels at 0 without meaning it.
    let meant = format != ImageFormat::Bmp || image.pixels().any(|pixel| pixel.0[3] != 0);
    if meant { on_white(&image) } else { DynamicImage::ImageRgba8(image).into_rgb8() }
}

fn on_white(image: &RgbaImage) -> RgbImage {
    RgbImage::from_fn(image.width(), image.height(), |x, y| {
        let [r, g, b, alpha] = image.get_pixel(x, y).0;
        let alpha = u32::from(alpha);
        image::Rgb([r, g, b].map(|c| ((u32::from(c) * alpha + 255 * (255 - alpha) + 127) / 255) as u8))
    })
}

/// Whether an image whose samples have more bits comes out nearly black: the brightest of 12 bits in 16 is 16 in 8.
pub(super) fn dark(brightest: u8) -> bool {
    (1..=16).contains(&brightest)
}

fn single_colour(image: &RgbImage) -> bool {
    let mut pixels = image.chunks_exact(3);
    let first = pixels.next();
    pixels.len() > 0 && pixels.all(|pixel| Some(pixel) == first)
}

fn reduced(image: RgbImage, max_side: Option<u32>) -> RgbImage {
    let sides = image.dimensions().into();
    let [width, height] = reduced_sides(sides, max_side);
    if [width, height] == sides { image } else { imageops::resize(&image, width, height, imageops::FilterType::Triangle) }
}

/// The sides of an image once it is reduced.
pub(super) fn reduced_sides(sides: [u32; 2], max_side: Option<u32>) -> [u32; 2] {
    let short = u64::from(sides[0].min(sides[1]));
    let Some(side) = max_side.map(u64::from).filter(|&side| side > 0 && side < short) else { return sides };
    // At most the side that it was, so it fits; at least `side`.
    sides.map(|side_was| ((u64::from(side_was) * side + short / 2) / short) as u32)
}
