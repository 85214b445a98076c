//! Odd but legal images, and damaged ones: what becomes of each (`instdisc::data::decode` states it).

use crate::files::{encoded, flat_jpeg, header, pattern, png, png_of, stored, with_exif};
use crate::{missed, says, write};
use image::codecs::gif::GifEncoder;
use image::codecs::jpeg::JpegEncoder;
use image::{DynamicImage, Frame, ImageBuffer, ImageFormat, Luma, Rgb, RgbImage, Rgba, RgbaImage};
use instdisc::data::{Dataset, Image, ImageFolder, Limits, Options, decode};
use instdisc::{Error, Result};
use proptest::prelude::*;
use std::time::{Duration, Instant};

fn read(bytes: &[u8]) -> Result<Image> {
    decode("file".as_ref(), bytes, &Limits::default(), None)
}

/// The size and the first pixel.
fn first(bytes: &[u8]) -> ([u32; 2], [u8; 3]) {
    let image = read(bytes).unwrap();
    ([image.width, image.height], [image.rgb[0], image.rgb[1], image.rgb[2]])
}

#[track_caller]
fn refused(bytes: &[u8], parts: &[&str]) {
    let error = read(bytes).unwrap_err();
    assert!(matches!(error, Error::Data { .. }));
    says(&error.to_string(), &[&["file: "], parts].concat());
}

/// R35: every odd but legal image, and what is to become of it.
const ODD: [(&str, fn()); 12] = [
    ("1 × 1", one_pixel_is_read_as_it_is),
    ("1 × n", one_column_is_read_as_it_is),
    ("grey", grey_becomes_three_equal_channels),
    ("16 bits", sixteen_bits_are_rounded_to_eight),
    ("floating point", floats_beyond_0_to_1_are_stretched),
    ("palette", a_palette_is_looked_up),
    ("alpha", transparent_pixels_are_laid_on_white),
    ("CMYK", cmyk_is_taken_for_inverted_as_adobe_writes_it),
    ("EXIF", the_orientation_of_exif_is_applied),
    ("animated", of_an_animation_the_first_frame_is_taken),
    ("empty file", an_empty_file_is_refused),
    ("folder", a_folder_named_like_an_image_is_a_folder),
];

#[test]
fn odd_images_become_what_is_stated() {
    let (total, missed) = (ODD.len(), missed(&ODD));
    println!("scorecard R35 {} of {total} odd images become what is stated", total - missed.len());
    assert!(missed.is_empty(), "{missed:?}");
}

fn one_pixel_is_read_as_it_is() {
    assert_eq!(first(&png(1, 1, 9)), ([1, 1], [9, 0, 0]));
}

fn one_column_is_read_as_it_is() {
    let column = read(&png(1, 300, 9)).unwrap();
    assert_eq!((column.width, column.height), (1, 300));
    assert_eq!(column.rgb, pattern(1, 300, 9).into_raw());
}

#[test]
fn every_format_gives_its_pixels() {
    let image = pattern(9, 5, 1);
    for format in [ImageFormat::Png, ImageFormat::Bmp, ImageFormat::Tiff, ImageFormat::WebP] {
        assert_eq!(read(&encoded(image.clone(), format)).unwrap().rgb, *image.as_raw(), "{format:?}");
    }
}

fn grey_becomes_three_equal_channels() {
    let grey = ImageBuffer::from_pixel(3, 2, Luma([77u8]));
    assert_eq!(first(&encoded(grey, ImageFormat::Png)), ([3, 2], [77; 3]));
}

fn sixteen_bits_are_rounded_to_eight() {
    // 255 / 257 rounds to 1; the upper byte alone would be 0.
    let deep = ImageBuffer::from_pixel(2, 2, Rgb([255u16, 65_535, 128]));
    assert_eq!(first(&encoded(deep, ImageFormat::Png)).1, [1, 255, 0]);
}

fn floats_beyond_0_to_1_are_stretched() {
    let becomes = |levels: [f32; 3]| {
        let image = DynamicImage::ImageRgb32F(ImageBuffer::from_pixel(2, 3, Rgb(levels)));
        first(&encoded(image, ImageFormat::Tiff))
    };
    assert_eq!(becomes([0.2, 1.0, 0.0]), ([2, 3], [51, 255, 0]));
    // From -1 to 1.5: 1.2 of 2.5, all of it, nothing.
    assert_eq!(becomes([0.2, 1.5, -1.0]), ([2, 3], [122, 255, 0]));
}

fn a_palette_is_looked_up() {
    let palette = (b"PLTE", vec![0, 0, 0, 10, 20, 30, 40, 50, 60]);
    // One row of two pixels of four bits, a filter byte in front: colours 2 and 1.
    let file = png_of(&[header(2, 1, 4, 3), palette, (b"IDAT", stored(&[0, 0x21])), (b"IEND", vec![])]);
    assert_eq!(read(&file).unwrap().rgb, [40, 50, 60, 10, 20, 30]);
}

fn transparent_pixels_are_laid_on_white() {
    let pixels = [Rgba([100, 0, 255, 255]), Rgba([100, 0, 255, 0]), Rgba([100, 0, 255, 51])];
    let image = RgbaImage::from_fn(3, 1, |x, _| pixels[x as usize]);
    // 51 / 255 is a fifth: 100 / 5 + 255 × 4 / 5 = 224.
    assert_eq!(read(&encoded(image, ImageFormat::Png)).unwrap().rgb, [100, 0, 255, 255, 255, 255, 224, 204, 255]);
}

fn cmyk_is_taken_for_inverted_as_adobe_writes_it() {
    for scans in [false, true] {
        assert_eq!(first(&flat_jpeg(&[200, 100, 50, 255], scans)), ([8, 8], [200, 100, 50]), "scans {scans}");
        assert_eq!(first(&flat_jpeg(&[200, 100, 50, 51], scans)).1, [40, 20, 10], "scans {scans}");
    }
}

fn the_orientation_of_exif_is_applied() {
    let (red, blue) = (Rgb([250, 0, 0]), Rgb([0, 0, 250]));
    let image = RgbImage::from_fn(16, 8, |x, _| if x < 8 { red } else { blue });
    let mut jpeg = Vec::new();
    JpegEncoder::new_with_quality(&mut jpeg, 95).encode_image(&image).unwrap();
    let is_red = |image: &Image, x: u32, y: u32| image.rgb[((y * image.width + x) * 3) as usize] > 128;

    let plain = read(&jpeg).unwrap();
    assert_eq!((plain.width, plain.height), (16, 8));
    // 6: the camera was turned; what is stored at the left belongs at the top. 3: upside down.
    let turned = read(&with_exif(&jpeg, 6, &[])).unwrap();
    assert_eq!((turned.width, turned.height), (8, 16));
    assert!(is_red(&turned, 4, 2) && !is_red(&turned, 4, 13));
    let over = read(&with_exif(&jpeg, 3, &[])).unwrap();
    assert!(!is_red(&over, 2, 4) && is_red(&over, 13, 4));
    assert_eq!(read(&with_exif(&jpeg, 99, &[])).unwrap(), plain, "an orientation that is none is passed over");
}

fn of_an_animation_the_first_frame_is_taken() {
    let mut file = Vec::new();
    let frames = [10u8, 200].map(|grey| Frame::new(RgbaImage::from_pixel(4, 4, Rgba([grey, grey, grey, 255]))));
    GifEncoder::new(&mut file).encode_frames(frames).unwrap();
    assert_eq!(first(&file), ([4, 4], [10; 3]));
}

fn an_empty_file_is_refused() {
    refused(b"", &["the file is empty"]);
}

fn a_folder_named_like_an_image_is_a_folder() {
    let root = tempfile::tempdir().unwrap();
    write(root.path(), "x.png/a.png", &png(2, 2, 0));
    let set = ImageFolder::open(root.path(), &Options::default()).unwrap();
    assert_eq!((set.len(), set.name(0), set.classes()), (1, "x.png/a.png", &["x.png".to_owned()][..]));
}

#[test]
fn images_over_the_limits_are_refused_at_once() {
    let bomb = |width, height| png_of(&[header(width, height, 8, 6), (b"IDAT", stored(&[0; 9])), (b"IEND", vec![])]);
    let mut jpeg = flat_jpeg(&[128], false);
    let size = jpeg.windows(2).position(|pair| pair == [0xff, 0xc0]).unwrap() + 5;
    jpeg[size..size + 4].copy_from_slice(&[0xff, 0xdc, 0xff, 0xdc]);
    let mut gif = encoded(DynamicImage::ImageRgba8(RgbaImage::new(2, 2)), ImageFormat::Gif);
    gif[6..10].copy_from_slice(&[255; 4]);

    let start = Instant::now();
    refused(&bomb(0x7fff_ffff, 0x7fff_ffff), &["2147483647 × 2147483647", "over the limit of 100000000", "--max-pixels"]);
    refused(&bomb(10_001, 10_000), &["= 100010000 pixels", "--max-pixels (`Limits::pixels`)"]);
    refused(&jpeg, &["65500 × 65500", "over the limit"]);
    refused(&gif, &["65535 × 65535", "over the limit"]);
    assert!(start.elapsed() < Duration::from_millis(100), "{:?} for four refusals", start.elapsed());

    let small = Limits { file_bytes: 50, ..Limits::default() };
    let error = decode("a".as_ref(), &png(9, 9, 0), &small, None).unwrap_err();
    says(&error.to_string(), &["over the limit of 50", "--max-file-bytes (`Limits::file_bytes`)"]);
    // What is just within the limits is read.
    let limits = Limits { pixels: 36, file_bytes: png(9, 4, 0).len() as u64 };
    assert!(decode("a".as_ref(), &png(9, 4, 0), &limits, None).is_ok());
    assert!(decode("a".as_ref(), &png(9, 4, 0), &Limits { pixels: 35, ..limits }, None).is_err());
    assert!(decode("a".as_ref(), &png(9, 4, 0), &Limits { file_bytes: limits.file_bytes - 1, ..limits }, None).is_err());
}

#[test]
fn a_jpeg_that_was_cut_off_is_refused_wherever_it_was_cut() {
    let mut jpeg = Vec::new();
    JpegEncoder::new(&mut jpeg).encode_image(&pattern(40, 30, 3)).unwrap();
    // The thumbnail has an end marker of its own, which must not count.
    let jpeg = with_exif(&jpeg, 1, &flat_jpeg(&[10], false));
    let whole = read(&jpeg).unwrap();
    for end in 0..jpeg.len() {
        assert!(read(&jpeg[..end]).is_err(), "cut at byte {end}");
    }
    refused(&jpeg[..jpeg.len() - 2], &["no end marker", "cut off"]);
    // What cameras put behind the end is not looked at.
    assert_eq!(read(&[&jpeg[..], b"\xff\xe1\xff a film"].concat()).unwrap(), whole);
}

#[test]
fn a_jpeg_of_restart_markers_and_filled_markers_is_whole() {
    let jpeg = flat_jpeg(&[90], false);
    let end = jpeg.len() - 2;
    let with = |bytes: &[u8]| [&jpeg[..end], bytes, &jpeg[end..]].concat();
    assert_eq!(first(&jpeg).1, [90; 3]);
    assert!(read(&with(&[0xff, 0xff])).is_ok(), "an end marker may be preceded by fill bytes");
    assert!(read(&with(&[0xff, 0xd0])).is_ok(), "a restart marker does not end a scan");
    assert!(read(&[&jpeg[..end], &[0xff, 0, 0xd9]].concat()).is_err(), "a stuffed byte is no marker");
}

#[test]
fn a_png_that_was_cut_off_never_gives_other_pixels() {
    let file = png(40, 30, 3);
    let whole = read(&file).unwrap();
    let mut refusals = 0;
    for end in 0..file.len() {
        match read(&file[..end]) {
            Ok(image) => assert_eq!(image, whole, "cut at byte {end}"),
            Err(_) => refusals += 1,
        }
    }
    assert!(refusals > file.len() / 2);
}

#[test]
fn images_are_reduced_to_the_side_and_never_enlarged() {
    let sides = |width, height, side| {
        let image = decode("a".as_ref(), &png(width, height, 0), &Limits::default(), Some(side)).unwrap();
        (image.width, image.height)
    };
    assert_eq!(sides(64, 48, 12), (16, 12));
    assert_eq!(sides(48, 65, 12), (12, 16));
    assert_eq!(sides(10, 10, 12), (10, 10));
    assert_eq!(sides(1, 90, 1), (1, 90));

    // Every pixel counts: stripes of 0 and 200, four times finer than the result, come out as their mean.
    let stripes = RgbImage::from_fn(64, 64, |x, _| Rgb([200 * (x % 2) as u8; 3]));
    let image = decode("a".as_ref(), &encoded(stripes, ImageFormat::Png), &Limits::default(), Some(8)).unwrap();
    assert!(image.rgb.iter().all(|&value| (95..=105).contains(&value)), "{:?}", image.rgb);
}

proptest! {
    #[test]
    fn damaged_files_are_read_or_refused(
        which in 0usize..6,
        flips in prop::collection::vec((any::<prop::sample::Index>(), any::<u8>()), 0..12),
        cut in any::<prop::sample::Index>(),
    ) {
        let image = pattern(13, 11, 5);
        let formats = [ImageFormat::Png, ImageFormat::Jpeg, ImageFormat::Gif, ImageFormat::WebP, ImageFormat::Bmp, ImageFormat::Tiff];
        let mut bytes = encoded(image, formats[which]);
        for (place, byte) in flips {
            let place = place.index(bytes.len());
            bytes[place] ^= byte;
        }
        bytes.truncate(cut.index(bytes.len() * 2));
        match read(&bytes) {
            Ok(image) => prop_assert_eq!(image.rgb.len() as u64, u64::from(image.width) * u64::from(image.height) * 3),
            Err(error) => prop_assert!(!error.to_string().contains("panicked"), "{}", error),
        }
    }
}
