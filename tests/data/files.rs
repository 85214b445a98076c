//! Image files made by hand, where an encoder cannot make them, or by the `image` crate.

use image::{DynamicImage, ImageFormat, Rgb, RgbImage};
use std::io::Cursor;

pub(crate) fn encoded(image: impl Into<DynamicImage>, format: ImageFormat) -> Vec<u8> {
    let mut bytes = Cursor::new(Vec::new());
    image.into().write_to(&mut bytes, format).unwrap();
    bytes.into_inner()
}

/// An image in which every pixel differs from its neighbours.
pub(crate) fn pattern(width: u32, height: u32, seed: u8) -> RgbImage {
    RgbImage::from_fn(width, height, |x, y| Rgb([(x * 7) as u8 ^ seed, (y * 11) as u8, (x * 3 + y * 5) as u8]))
}

pub(crate) fn png(width: u32, height: u32, seed: u8) -> Vec<u8> {
    encoded(pattern(width, height, seed), ImageFormat::Png)
}

/// A PNG of these chunks.
pub(crate) fn png_of(chunks: &[(&[u8; 4], Vec<u8>)]) -> Vec<u8> {
    let mut file = b"\x89PNG\r\n\x1a\n".to_vec();
    for (kind, body) in chunks {
        let checked: Vec<u8> = kind.iter().chain(body).copied().collect();
        file.extend((body.len() as u32).to_be_bytes());
        file.extend(&checked);
        file.extend((!crc(&checked)).to_be_bytes());
    }
    file
}

/// The header chunk: colour type 0 is grey, 2 RGB, 3 palette, 6 RGB with alpha.
pub(crate) fn header(width: u32, height: u32, depth: u8, colour: u8) -> (&'static [u8; 4], Vec<u8>) {
    (b"IHDR", [&width.to_be_bytes()[..], &height.to_be_bytes(), &[depth, colour, 0, 0, 0]].concat())
}

/// `data` in zlib's format, not compressed.
pub(crate) fn stored(data: &[u8]) -> Vec<u8> {
    let (mut a, mut b) = (1u32, 0u32);
    for &byte in data {
        a = (a + u32::from(byte)) % 65_521;
        b = (b + a) % 65_521;
    }
    let len = data.len() as u16;
    [&[0x78, 1, 1], &len.to_le_bytes()[..], &(!len).to_le_bytes(), data, &(b << 16 | a).to_be_bytes()].concat()
}

fn crc(bytes: &[u8]) -> u32 {
    let bit = |crc: u32, _| if crc & 1 == 1 { crc >> 1 ^ 0xedb8_8320 } else { crc >> 1 };
    bytes.iter().fold(u32::MAX, |crc, &byte| (0..8).fold(crc ^ u32::from(byte), bit))
}

/// A JPEG of 8 × 8 pixels in which every sample of a component has the value given. With `scans`, each component has
/// a scan of its own.
pub(crate) fn flat_jpeg(samples: &[u8], scans: bool) -> Vec<u8> {
    let n = samples.len() as u8;
    let mut file = vec![0xff, 0xd8];
    segment(&mut file, 0xdb, &[&[0][..], &[8; 64]].concat());
    let components = (1..=n).flat_map(|id| [id, 0x11, 0]);
    segment(&mut file, 0xc0, &[8, 0, 8, 0, 8, n].into_iter().chain(components).collect::<Vec<_>>());
    // DC: nine categories, each with a code of four bits; AC: the end of block alone, with a code of one bit.
    segment(&mut file, 0xc4, &[&[0, 0, 0, 0, 9][..], &[0; 12], &[0, 1, 2, 3, 4, 5, 6, 7, 8]].concat());
    segment(&mut file, 0xc4, &[&[0x10, 1][..], &[0; 15], &[0]].concat());
    let ids: Vec<u8> = (1..=n).collect();
    for group in if scans { ids.chunks(1).collect::<Vec<_>>() } else { vec![&ids[..]] } {
        let selected = group.iter().flat_map(|&id| [id, 0]);
        let head = [group.len() as u8].into_iter().chain(selected).chain([0, 63, 0]);
        segment(&mut file, 0xda, &head.collect::<Vec<_>>());
        let mut bits = String::new();
        for &id in group {
            let level = i32::from(samples[usize::from(id) - 1]) - 128;
            let size = 32 - level.unsigned_abs().leading_zeros();
            bits += &format!("{size:04b}");
            let value = if level < 0 { level + (1 << size) - 1 } else { level };
            bits += &(0..size).rev().map(|bit| if value >> bit & 1 == 1 { '1' } else { '0' }).collect::<String>();
            bits += "0";
        }
        while !bits.len().is_multiple_of(8) {
            bits += "1";
        }
        for byte in bits.as_bytes().chunks(8) {
            let byte = byte.iter().fold(0, |byte, &bit| byte << 1 | (bit - b'0'));
            file.push(byte);
            if byte == 0xff {
                file.push(0);
            }
        }
    }
    file.extend([0xff, 0xd9]);
    file
}

fn segment(file: &mut Vec<u8>, marker: u8, body: &[u8]) {
    file.extend([0xff, marker]);
    file.extend((body.len() as u16 + 2).to_be_bytes());
    file.extend(body);
}

/// The JPEG with an EXIF segment that says `orientation`, followed by `thumbnail`.
pub(crate) fn with_exif(jpeg: &[u8], orientation: u8, thumbnail: &[u8]) -> Vec<u8> {
    let mut file = jpeg[..2].to_vec();
    let tiff = [b"Exif\0\0II*\0\x08\0\0\0\x01\0\x12\x01\x03\0\x01\0\0\0", &[orientation, 0, 0, 0, 0, 0, 0, 0][..], thumbnail];
    segment(&mut file, 0xe1, &tiff.concat());
    file.extend(&jpeg[2..]);
    file
}
