//! TIFF: what scanners and microscopes write.
//!
//! The crate `tiff` reads the file, strips, tiles, compression and all, but for two things that it does not: it gets a palette's
//! indices as grey levels, and JPEG strips go to the decoder that reads JPEG files.

use super::{ifd, jpeg};
use image::RgbImage;
use tiff::decoder::{BufferLayoutPreference, ChunkType, Decoder, DecodingResult, Limits};
use tiff::tags::Tag;
use tiff::{ColorType, TiffError};

const PHOTOMETRIC: u16 = 262;
const PALETTE: u64 = 3;
const YCBCR: u64 = 6;
const JPEG: u64 = 7;

type Read<'a> = Decoder<std::io::Cursor<&'a [u8]>>;
type Result<T> = std::result::Result<T, String>;

fn told(error: TiffError) -> String {
    format!("the TIFF is damaged or of a kind that is not read: {error}")
}

/// Whether a file begins like a TIFF, classic or big.
pub(super) fn begins(bytes: &[u8]) -> bool {
    matches!(bytes.get(..4), Some(b"II*\0" | b"MM\0*" | b"II+\0" | b"MM\0+"))
}

fn open(bytes: &[u8], most: u64) -> Result<Read<'_>> {
    let mut limits = Limits::unlimited();
    // A value of a directory holds at most the places of all strips.
    let most = usize::try_from(most).unwrap_or(usize::MAX);
    (limits.decoding_buffer_size, limits.intermediate_buffer_size) = (most, most);
    limits.ifd_value_size = bytes.len();
    Ok(Decoder::new(std::io::Cursor::new(bytes)).map_err(told)?.with_limits(limits))
}

/// Width and height of the first page, and bytes of a pixel as stored.
pub(super) fn head(bytes: &[u8]) -> Result<([u32; 2], u64)> {
    let mut file = open(bytes, 1 << 20)?;
    let (width, height) = file.dimensions().map_err(told)?;
    let tag = |tag: u16| ifd::entry(bytes, tag).and_then(|entry| entry.first());
    let (bits, samples) = (tag(258).unwrap_or(1), tag(277).unwrap_or(1));
    Ok(([width, height], (bits.min(64) * samples.min(64)).div_ceil(8)))
}

/// How the numbers of a pixel become a colour.
struct Kind {
    colour: Colour,
    /// Numbers a pixel.
    samples: usize,
    /// The place of alpha among them, and whether colours are multiplied by it already.
    alpha: Option<(usize, bool)>,
    /// Of a palette: three 8-bit numbers a colour.
    palette: Vec<[u8; 3]>,
}

#[derive(Clone, Copy, PartialEq)]
enum Colour {
    Grey,
    Rgb,
    Cmyk,
    YCbCr,
    Palette,
}

/// The first page as 8-bit RGB on white, and whether its numbers have more than 8 bits and leave the upper ones unused.
pub(super) fn pixels(bytes: &[u8], most: u64) -> Result<(RgbImage, bool)> {
    let photometric = ifd::entry(bytes, PHOTOMETRIC);
    let kind = photometric.as_ref().and_then(ifd::Entry::first);
    let compression = ifd::entry(bytes, 259).and_then(|entry| entry.first());
    if compression == Some(JPEG) {
        return jpegs(bytes, most, kind).map(|image| (image, false));
    }
    if kind != Some(PALETTE) {
        return plain(&mut open(bytes, most)?, Vec::new());
    }
    let mut grey = bytes.to_vec();
    let place = photometric.and_then(|entry| entry.low_byte()).and_then(|at| grey.get_mut(at));
    *place.ok_or("the TIFF is damaged: it has no kind of colours")? = 1;
    let map = ifd::entry(bytes, 320).and_then(|entry| entry.numbers(3 << 16)).ok_or("the TIFF has a palette without colours")?;
    // Colours have 16 bits; some writers put 8 into them.
    let shift = if map.iter().any(|value| *value > 255) { 8 } else { 0 };
    let level = |value: Option<&u64>| value.map_or(0, |value| (value >> shift) as u8);
    let third = map.len() / 3;
    let palette = (0..third).map(|i| [0, 1, 2].map(|c| level(map.get(c * third + i)))).collect();
    plain(&mut open(&grey, most)?, palette)
}

/// The page of strips or tiles of JPEG, each an image of its own but for tables that they share.
fn jpegs(bytes: &[u8], most: u64, kind: Option<u64>) -> Result<RgbImage> {
    let mut file = open(bytes, most)?;
    let (width, height) = file.dimensions().map_err(told)?;
    let numbers = |tag| ifd::entry(bytes, tag).and_then(|entry| entry.numbers(1 << 24));
    let tiles = file.get_chunk_type() == ChunkType::Tile;
    let places = numbers(if tiles { 324 } else { 273 }).zip(numbers(if tiles { 325 } else { 279 }));
    let (offsets, counts) = places.ok_or("the TIFF is damaged: its strips have no places")?;
    let (chunk_width, chunk_height) = file.chunk_dimensions();
    let across = width.div_ceil(chunk_width.max(1)).max(1) as usize;
    if offsets.len() != across * height.div_ceil(chunk_height.max(1)) as usize {
        return Err("the TIFF has its colours in JPEGs apart, which are not read; save it with its colours together".into());
    }
    // A strip has no more pixels than it says, whatever the JPEG in it says.
    let pixels = (u64::from(chunk_width) * u64::from(chunk_height)).min(most / super::decode::WIDEST);
    let tables: Vec<u8> = numbers(347).unwrap_or_default().into_iter().map(|byte| byte as u8).collect();
    let mut page = RgbImage::new(width, height);
    for (i, (offset, count)) in offsets.iter().zip(&counts).enumerate() {
        let end = offset.checked_add(*count);
        let part = end.and_then(|end| bytes.get(usize::try_from(*offset).ok()?..usize::try_from(end).ok()?));
        let part = part.ok_or("the TIFF was cut off: a strip ends behind the file")?;
        // The tables without their end marker, the strip without its start.
        let whole = match tables.len().checked_sub(2).filter(|length| *length > 2) {
            Some(length) => [tables.get(..length).unwrap_or_default(), part.get(2..).unwrap_or_default()].concat(),
            None => part.to_vec(),
        };
        let image = jpeg::strip(&whole, pixels, kind == Some(YCBCR))?.into_rgb8();
        let place = |n: usize, size: u32| n as i64 * i64::from(size);
        image::imageops::replace(&mut page, &image, place(i % across, chunk_width), place(i / across, chunk_height));
    }
    Ok(page)
}

fn plain(file: &mut Read, palette: Vec<[u8; 3]>) -> Result<(RgbImage, bool)> {
    let (width, height) = file.dimensions().map_err(told)?;
    let stored = file.colortype().map_err(told)?;
    let extra = file.find_tag_unsigned_vec::<u16>(Tag::ExtraSamples).map_err(told)?.unwrap_or_default();
    let samples: u16 = file.find_tag_unsigned(Tag::SamplesPerPixel).map_err(told)?.unwrap_or(1);
    let (colour, colours) = match stored {
        _ if !palette.is_empty() => (Colour::Palette, 1),
        ColorType::Gray(_) | ColorType::GrayA(_) | ColorType::Multiband { .. } => (Colour::Grey, 1),
        ColorType::RGB(_) | ColorType::RGBA(_) => (Colour::Rgb, 3),
        ColorType::CMYK(_) | ColorType::CMYKA(_) => (Colour::Cmyk, 4),
        ColorType::YCbCr(_) => (Colour::YCbCr, 3),
        other => return Err(format!("the TIFF has colours of a kind that is not read ({other:?}); save it as RGB")),
    };
    let mut numbers = DecodingResult::U8(Vec::new());
    let layout = file.read_image_to_buffer(&mut numbers).map_err(told)?;
    let mut kind = Kind { colour, samples: usize::from(samples), alpha: None, palette };
    let pixels = width as usize * height as usize;
    let bits = u32::from(stored.bit_depth());
    if bits >= 8 {
        // The crate leaves out some of the numbers beside the colours.
        kind.samples = count(&numbers) / pixels.max(1);
    }
    if kind.samples < colours {
        return Err("the TIFF is damaged: it has too few numbers a pixel".into());
    }
    let alpha = extra.iter().take(kind.samples - colours).position(|kind| matches!(kind, 1 | 2));
    kind.alpha = alpha.map(|i| (colours + i, extra.get(i) == Some(&1)));
    let page = Page { width, height, planes: layout.planes > 1, bits, kind };
    page.colours(numbers, &layout)
}

fn count(numbers: &DecodingResult) -> usize {
    match numbers {
        DecodingResult::U8(v) => v.len(),
        DecodingResult::U16(v) => v.len(),
        DecodingResult::U32(v) => v.len(),
        DecodingResult::U64(v) => v.len(),
        DecodingResult::F16(v) => v.len(),
        DecodingResult::F32(v) => v.len(),
        DecodingResult::F64(v) => v.len(),
        DecodingResult::I8(v) => v.len(),
        DecodingResult::I16(v) => v.len(),
        DecodingResult::I32(v) => v.len(),
        DecodingResult::I64(v) => v.len(),
    }
}

struct Page {
    width: u32,
    height: u32,
    planes: bool,
    bits: u32,
    kind: Kind,
}

impl Page {
    fn colours(&self, numbers: DecodingResult, layout: &BufferLayoutPreference) -> Result<(RgbImage, bool)> {
        let most = |bits: u32| ((1u128 << bits) - 1) as f64;
        Ok(match numbers {
            DecodingResult::U8(v) if self.bits < 8 => {
                let row_bytes = layout.row_stride.map_or(v.len() / (self.height.max(1) as usize), std::num::NonZero::get);
                let v = unpacked(&v, row_bytes, self.width as usize * self.kind.samples, self.bits);
                self.whole(&v, most(self.bits))
            }
            DecodingResult::U8(v) => self.whole(&v, 255.0),
            DecodingResult::U16(v) => self.whole(&v, most(self.bits.min(16))),
            DecodingResult::U32(v) => self.whole(&v, most(self.bits.min(32))),
            DecodingResult::U64(v) => self.image(&v.iter().map(|v| *v as f64).collect::<Vec<_>>(), |v| v / most(64)),
            DecodingResult::F16(v) => self.floats(&v.iter().map(|v| v.to_f32()).collect::<Vec<_>>()),
            DecodingResult::F32(v) => self.floats(&v),
            DecodingResult::F64(v) => self.floats(&v),
            DecodingResult::I8(v) => self.signed(&v, 7),
            DecodingResult::I16(v) => self.signed(&v, 15),
            DecodingResult::I32(v) => self.signed(&v, 31),
            DecodingResult::I64(v) => self.signed(&v.iter().map(|v| *v as f64).collect::<Vec<_>>(), 63),
        })
    }

    fn whole<T: Copy + Into<f64>>(&self, numbers: &[T], most: f64) -> (RgbImage, bool) {
        self.image(numbers, |v| v / most)
    }

    /// Signed numbers from 0 on are taken as they are; where some are below, the lowest that there could be is black.
    fn signed<T: Copy + Into<f64>>(&self, numbers: &[T], bits: i32) -> (RgbImage, bool) {
        let most = 2f64.powi(bits);
        let below = numbers.iter().any(|v| (*v).into() < 0.0);
        self.image(numbers, |v| if below { (v + most) / (2.0 * most - 1.0) } else { v / (most - 1.0) })
    }

    /// Floats from 0 to 1 are taken as they are. Where some are beyond, the image is stretched so that 0, or the lowest below it,
    /// is black and the highest is white: measured values have units of their own.
    fn floats<T: Copy + Into<f64>>(&self, numbers: &[T]) -> (RgbImage, bool) {
        let finite = numbers.iter().map(|v| (*v).into()).filter(|v: &f64| v.is_finite());
        let (low, high) = finite.fold((0.0f64, 1.0f64), |(low, high), v| (low.min(v), high.max(v)));
        // One that stays below 1 though others are below 0 keeps its upper end.
        self.image(numbers, |v| if v.is_nan() { 0.0 } else { (v - low) / (high - low) })
    }

    /// The image of numbers that `level` takes to 0 to 1.
    fn image<T: Copy + Into<f64>>(&self, numbers: &[T], level: impl Fn(f64) -> f64) -> (RgbImage, bool) {
        let Kind { colour, samples, alpha, palette } = &self.kind;
        let plane = self.width as usize * self.height as usize;
        let raw = |pixel: usize, sample: usize| {
            let place = if self.planes { sample * plane + pixel } else { pixel * samples + sample };
            numbers.get(place).map_or(0.0, |v| (*v).into())
        };
        let mut brightest = 0;
        let image = RgbImage::from_fn(self.width, self.height, |x, y| {
            let pixel = y as usize * self.width as usize + x as usize;
            if *colour == Colour::Palette {
                return image::Rgb(palette.get(raw(pixel, 0) as usize).copied().unwrap_or_default());
            }
            let at = |sample| level(raw(pixel, sample)).clamp(0.0, 1.0);
            let [r, g, b] = match colour {
                Colour::Grey | Colour::Palette => [at(0); 3],
                Colour::Rgb => [at(0), at(1), at(2)],
                Colour::Cmyk => [0, 1, 2].map(|i| (1.0 - at(i)) * (1.0 - at(3))),
                Colour::YCbCr => rgb([at(0), at(1), at(2)]),
            };
            let shown = match alpha {
                None => [r, g, b],
                Some((place, multiplied)) => {
                    let alpha = at(*place);
                    [r, g, b].map(|c| if *multiplied { c } else { c * alpha } + 1.0 - alpha)
                }
            };
            let colour = shown.map(|c| (c.clamp(0.0, 1.0) * 255.0).round() as u8);
            brightest = colour.into_iter().fold(brightest, u8::max);
            image::Rgb(colour)
        });
        (image, self.bits > 8 && super::decode::dark(brightest))
    }
}

/// Luma and chroma to red, green and blue (ITU-R BT.601, full range, the default of TIFF and JPEG).
fn rgb([y, cb, cr]: [f64; 3]) -> [f64; 3] {
    let (cb, cr) = (cb - 128.0 / 255.0, cr - 128.0 / 255.0);
    [y + 1.402 * cr, y - 0.344_136 * cb - 0.714_136 * cr, y + 1.772 * cb]
}

/// Numbers of fewer than 8 bits, which fill rows of whole bytes.
fn unpacked(bytes: &[u8], row_bytes: usize, numbers: usize, bits: u32) -> Vec<u8> {
    let number = |row: &[u8], i: usize| {
        let at = i * bits as usize;
        let byte = row.get(at / 8).copied().unwrap_or_default();
        (byte >> (8 - bits as usize - at % 8)) & ((1u16 << bits) - 1) as u8
    };
    bytes.chunks(row_bytes.max(1)).flat_map(|row| (0..numbers).map(move |i| number(row, i))).collect()
}
