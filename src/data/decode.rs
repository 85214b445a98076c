//! Image files to pixels, under limits.

use super::jpeg;
use super::{Image, Limits};
use crate::error::{Error, Result};
use image::metadata::Orientation;
use image::{DynamicImage, ImageDecoder, ImageFormat, ImageReader, RgbImage, imageops};
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

/// Decodes the bytes of an image file; `path` is what errors name. Nothing is read from it.
///
/// The format is told by the content. PNG, JPEG, GIF, WebP, BMP and TIFF are read, and become 8-bit RGB like this:
///
/// - grey becomes three equal channels, a palette is looked up, 16 bits a channel are rounded to 8, floating-point
///   channels are cut off at 0 and 1;
/// - what is transparent is laid on white;
/// - CMYK and YCCK JPEGs are taken to be stored inverted, as Adobe's programs do;
/// - the orientation in the EXIF data is applied; one that cannot be read is passed over;
/// - of an animation the first frame is taken (of an animated PNG its default image, of a TIFF the first page);
/// - colour profiles are not applied;
/// - the shorter side is reduced to `max_side` if it is longer, the other one in proportion, with a triangle filter as
///   wide as the reduction.
///
/// # Errors
/// [`Error::Data`]: a file or image over the limits, which is seen before pixels are decoded; content that is none of
/// these formats, or damaged; a JPEG without its end marker, which was cut off. Damage that a format has no check for,
/// as most changed bytes in a JPEG, goes unseen and gives other pixels.
///
/// ```
/// let error = instdisc::data::decode("a.png".as_ref(), b"no image", &Default::default(), None).unwrap_err();
/// assert!(error.to_string().starts_with("a.png: the content is none of"));
/// ```
pub fn decode(path: &Path, bytes: &[u8], limits: &Limits, max_side: Option<u32>) -> Result<Image> {
    pixels(bytes, limits, max_side).map(|(image, _)| image).map_err(|fault| Error::data(path, fault.reason()))
}

/// The bytes of a file, if it is a file and within the limit.
pub(super) fn read(path: &Path, limits: &Limits) -> std::result::Result<Vec<u8>, String> {
    let data = std::fs::metadata(path).map_err(|error| format!("it cannot be read: {error}"))?;
    if !data.is_file() {
        return Err("it is not a file".into());
    }
    let too_long = |bytes| format!("the file has {bytes} bytes, over the limit of {}; raise `file_bytes`", limits.file_bytes);
    if data.len() > limits.file_bytes {
        return Err(too_long(data.len()));
    }
    let mut bytes = Vec::new();
    std::fs::File::open(path)
        .and_then(|file| file.take(limits.file_bytes.saturating_add(1)).read_to_end(&mut bytes))
        .map_err(|error| format!("it cannot be read: {error}"))?;
    // The file may have grown since it was measured.
    if bytes.len() as u64 > limits.file_bytes { Err(too_long(bytes.len() as u64)) } else { Ok(bytes) }
}

/// What can be told without decoding pixels: format, limits and, for a JPEG, the end. Says the sides as stored.
pub(super) fn check(bytes: &[u8], limits: &Limits) -> std::result::Result<[u32; 2], String> {
    caught(|| decoder(bytes, limits).map(|decoder| decoder.dimensions().into()))
}

/// The image in the bytes of a file, and the sides as stored.
pub(super) fn pixels(bytes: &[u8], limits: &Limits, max_side: Option<u32>) -> std::result::Result<(Image, [u32; 2]), Fault> {
    let sides = check(bytes, limits).map_err(Fault::Before)?;
    let image = caught(|| {
        let mut decoder = decoder(bytes, limits)?;
        let orientation = decoder.orientation().unwrap_or(Orientation::NoTransforms);
        let image = DynamicImage::from_decoder(decoder).map_err(|error| told(&error, limits))?;
        let image = reduced(rgb(image), max_side);
        let mut image = DynamicImage::ImageRgb8(image);
        image.apply_orientation(orientation);
        let image = image.into_rgb8();
        Image::new(image.width(), image.height(), image.into_raw()).map_err(|error| error.to_string())
    });
    image.map(|image| (image, sides)).map_err(|reason| Fault::Pixels { reason, sides })
}

/// The format that the first bytes tell, if it is one that is read.
pub(super) fn format(bytes: &[u8]) -> Option<ImageFormat> {
    image::guess_format(bytes).ok().filter(ImageFormat::reading_enabled)
}

fn decoder<'a>(bytes: &'a [u8], limits: &Limits) -> std::result::Result<impl ImageDecoder + 'a, String> {
    if bytes.is_empty() {
        return Err("the file is empty".into());
    }
    if bytes.len() as u64 > limits.file_bytes {
        return Err(format!("{} bytes are over the limit of {}; raise `file_bytes`", bytes.len(), limits.file_bytes));
    }
    let format = format(bytes).ok_or("the content is none of PNG, JPEG, GIF, WebP, BMP and TIFF")?;
    if format == ImageFormat::Jpeg && !jpeg::has_end(bytes) {
        return Err("the JPEG has no end marker: the file was cut off".into());
    }
    let mut reader = ImageReader::with_format(Cursor::new(bytes), format);
    let mut allowed = image::Limits::no_limits();
    allowed.max_image_width = Some(limits.side);
    allowed.max_image_height = Some(limits.side);
    // The image itself, and as much for what the decoder needs beside it.
    allowed.max_alloc = Some(limits.decoded_bytes.saturating_mul(2));
    reader.limits(allowed);
    let decoder = reader.into_decoder().map_err(|error| told(&error, limits))?;
    let size = decoder.total_bytes();
    if size > limits.decoded_bytes {
        return Err(format!(
            "the image decodes to {size} bytes, over the limit of {}; raise `decoded_bytes`",
            limits.decoded_bytes
        ));
    }
    Ok(decoder)
}

fn told(error: &image::ImageError, limits: &Limits) -> String {
    match error {
        image::ImageError::Limits(_) => {
            format!("the image is over the limits of {} pixels a side and {} bytes decoded", limits.side, limits.decoded_bytes)
        }
        error => format!("the image is damaged or of a kind that is not read: {error}"),
    }
}

/// A decoder that panics has met damage that it does not know; that must not end the program.
fn caught<T>(work: impl FnOnce() -> std::result::Result<T, String>) -> std::result::Result<T, String> {
    catch_unwind(AssertUnwindSafe(work)).unwrap_or_else(|_| Err("the image is damaged: its decoder panicked".into()))
}

/// The image as 8-bit RGB, on white.
fn rgb(image: DynamicImage) -> RgbImage {
    if !image.color().has_alpha() {
        return image.into_rgb8();
    }
    let image = image.into_rgba8();
    RgbImage::from_fn(image.width(), image.height(), |x, y| {
        let [r, g, b, alpha] = image.get_pixel(x, y).0;
        let alpha = u32::from(alpha);
        image::Rgb([r, g, b].map(|c| ((u32::from(c) * alpha + 255 * (255 - alpha) + 127) / 255) as u8))
    })
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
