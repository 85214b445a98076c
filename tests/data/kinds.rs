//! Kinds of image files that people have and that were read wrongly once: each beside the pixels that it must give.

use crate::{says, write};
use image::{DynamicImage, ImageBuffer, ImageFormat, Luma, Rgb, RgbImage};
use instdisc::data::{Dataset, Image, ImageFolder, Known, Limits, Options, decode, open};
use std::path::Path;
use std::sync::Arc;

fn read(bytes: &[u8]) -> Result<Image, String> {
    decode("".as_ref(), bytes, &Limits::default(), None).map_err(|error| error.to_string())
}

/// The mean difference of two images of the same size, of 255.
fn difference(got: &Image, expected: &Image) -> f64 {
    assert_eq!((got.width, got.height), (expected.width, expected.height));
    let sum: u64 = got.rgb.iter().zip(&expected.rgb).map(|(a, b)| u64::from(a.abs_diff(*b))).sum();
    sum as f64 / got.rgb.len() as f64
}

#[test]
fn every_case_gives_the_pixels_beside_it_or_is_refused_by_name() {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/data/cases");
    let mut seen = Vec::new();
    for entry in std::fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        if path.extension().is_some_and(|end| end == "png" || end == "md") {
            continue;
        }
        let name = path.file_name().unwrap().to_str().unwrap().to_owned();
        let image = match read(&std::fs::read(&path).unwrap()) {
            Err(reason) if name == "arithmetic_coding.jpg" => {
                says(&reason, &["arithmetic coding, which is not read", "jpegtran"]);
                seen.push(format!("{name} refused"));
                continue;
            }
            image => image.unwrap_or_else(|reason| panic!("{name}: {reason}")),
        };
        // What it must be, read by another decoder than ours: a PNG. Without one it is any picture but a flat one.
        let Ok(expected) = std::fs::read(path.with_extension("png")) else {
            assert!(image.rgb.chunks(3).any(|pixel| pixel != &image.rgb[..3]), "{name} is a single colour");
            seen.push(name);
            continue;
        };
        let expected = image::load_from_memory_with_format(&expected, ImageFormat::Png).unwrap().into_rgb8();
        let expected = Image::new(expected.width(), expected.height(), expected.into_raw()).unwrap();
        let difference = difference(&image, &expected);
        let allowed = if name.ends_with("jpg") || name.starts_with("jpeg") { 2.0 } else { 0.5 };
        assert!(difference < allowed, "{name}: a mean difference of {difference:.2}");
        seen.push(format!("{name} {difference:.2}"));
    }
    seen.sort();
    assert!(seen.len() >= 9, "{seen:?}");
    println!("scorecard odd files: mean difference of 255: {}", seen.join(", "));
}

/// A TIFF of one strip: the tags (number, type, values) in order, and the samples. `big` makes a BigTIFF.
fn tiff(tags: &[(u16, u16, Vec<u64>)], samples: &[u8], big: bool, big_endian: bool) -> Vec<u8> {
    let put = |value: u64, size: usize| {
        let mut bytes = value.to_le_bytes()[..size].to_vec();
        if big_endian {
            bytes.reverse();
        }
        bytes
    };
    let (word, entry, counts) = if big { (8, 20, 8) } else { (4, 12, 2) };
    let start = if big { 16 } else { 8 };
    let mut tags = tags.to_vec();
    // Planes of their own have a strip each.
    let planes = if tags.iter().any(|(tag, _, values)| *tag == 284 && values == &[2]) { 3 } else { 1 };
    let size = samples.len() / planes;
    tags.push((273, 4, (0..planes).map(|plane| (start + plane * size) as u64).collect()));
    tags.push((279, 4, vec![size as u64; planes]));
    tags.sort();
    let directory = (start + samples.len()).next_multiple_of(8);
    let mut extra = Vec::new();
    let behind = directory + counts + entry * tags.len() + word;
    let mut file = if big_endian { b"MM".to_vec() } else { b"II".to_vec() };
    file.extend(if big {
        [put(43, 2), put(8, 2), put(0, 2), put(directory as u64, 8)].concat()
    } else {
        [put(42, 2), put(directory as u64, 4)].concat()
    });
    file.extend(samples);
    file.resize(directory, 0);
    file.extend(put(tags.len() as u64, counts));
    for (tag, kind, values) in &tags {
        let size = [0, 1, 1, 2, 4][usize::from(*kind)];
        let mut bytes: Vec<u8> = values.iter().flat_map(|value| put(*value, size)).collect();
        if bytes.len() > word {
            let at = behind + extra.len();
            extra.extend(std::mem::replace(&mut bytes, put(at as u64, word)));
        }
        bytes.resize(word, 0);
        file.extend([put(u64::from(*tag), 2), put(u64::from(*kind), 2), put(values.len() as u64, word), bytes].concat());
    }
    file.extend(put(0, word));
    file.extend(extra);
    file
}

/// The tags of an image: sides, bits of a sample, samples a pixel, what colours mean, and more.
fn tags(sides: [u64; 2], bits: u64, samples: u64, photometric: u64, more: &[(u16, u16, Vec<u64>)]) -> Vec<(u16, u16, Vec<u64>)> {
    let mut tags = vec![
        (256, 4, vec![sides[0]]),
        (257, 4, vec![sides[1]]),
        (258, 3, vec![bits; samples as usize]),
        (259, 3, vec![1]),
        (262, 3, vec![photometric]),
        (277, 3, vec![samples]),
        (278, 4, vec![sides[1]]),
    ];
    tags.extend_from_slice(more);
    tags
}

/// A value in the file's order of bytes.
fn ordered<const N: usize>(little: [u8; N], big_endian: bool) -> Vec<u8> {
    if big_endian { little.into_iter().rev().collect() } else { little.to_vec() }
}

#[test]
fn tiffs_of_scanners_and_microscopes_have_their_colours() {
    let mut kinds = 0;
    for (big, big_endian) in [(false, false), (false, true), (true, false), (true, true)] {
        let mut check = |name: &str, tags: &[(u16, u16, Vec<u64>)], samples: Vec<u8>, expected: &[[u8; 3]]| {
            let image = read(&tiff(tags, &samples, big, big_endian)).unwrap_or_else(|reason| panic!("{name}: {reason}"));
            assert_eq!(image.rgb.as_chunks::<3>().0, expected, "{name}, big {big}, big-endian {big_endian}");
            kinds += 1;
        };
        let bytes16 = |v: u16| ordered(v.to_le_bytes(), big_endian);
        let floats = |all: &[f32]| all.iter().flat_map(|v| ordered(v.to_le_bytes(), big_endian)).collect::<Vec<u8>>();
        let pair = [2, 1];
        check("grey", &tags(pair, 8, 1, 1, &[]), vec![10, 200], &[[10; 3], [200; 3]]);
        check("white is zero", &tags(pair, 8, 1, 0, &[]), vec![10, 200], &[[245; 3], [55; 3]]);
        check("1 bit", &tags(pair, 1, 1, 1, &[]), vec![0b0100_0000], &[[0; 3], [255; 3]]);
        check("1 bit, white is zero", &tags(pair, 1, 1, 0, &[]), vec![0b0100_0000], &[[255; 3], [0; 3]]);
        check("4 bits", &tags([3, 2], 4, 1, 1, &[]), vec![0x0f, 0x80, 0x12, 0x30], &[0, 255, 136, 17, 34, 51].map(|v| [v; 3]));
        check("16 bits", &tags(pair, 16, 1, 1, &[]), [bytes16(257), bytes16(65535)].concat(), &[[1; 3], [255; 3]]);
        let rgb16 = [0u16, 32896, 65535].map(bytes16).concat();
        check("RGB of 16 bits", &tags([1, 1], 16, 3, 2, &[]), rgb16, &[[0, 128, 255]]);
        let float = (339, 3, vec![3]);
        check("grey floats", &tags(pair, 32, 1, 1, std::slice::from_ref(&float)), floats(&[0.0, 0.5]), &[[0; 3], [128; 3]]);
        let beyond = floats(&[0.0, 2048.0, 4096.0, f32::NAN]);
        check(
            "floats beyond 1",
            &tags([4, 1], 32, 1, 1, std::slice::from_ref(&float)),
            beyond,
            &[0, 128, 255, 0].map(|v| [v; 3]),
        );
        let below = floats(&[-1.0, 0.0, 1.0]);
        check("floats below 0", &tags([3, 1], 32, 1, 1, std::slice::from_ref(&float)), below, &[0, 128, 255].map(|v| [v; 3]));
        let rgb = floats(&[0.0, 2.0, 4.0, 1.0, 3.0, 0.0]);
        let of_three = (339, 3, vec![3; 3]);
        check("RGB floats", &tags(pair, 32, 3, 2, &[of_three]), rgb, &[[0, 128, 255], [64, 191, 0]]);
        let signed = [0i16, 16384, 32767].map(|v| ordered(v.to_le_bytes(), big_endian)).concat();
        check("signed", &tags([3, 1], 16, 1, 1, &[(339, 3, vec![2])]), signed, &[0, 128, 255].map(|v| [v; 3]));
        let map = [[0u64, 65535, 0, 0], [0, 0, 65535, 0], [0, 0, 0, 65535]].concat();
        check(
            "palette of 2 bits",
            &tags([4, 1], 2, 1, 3, &[(320, 3, map.clone())]),
            vec![0b0001_1011],
            &[[0; 3], [255, 0, 0], [0, 255, 0], [0, 0, 255]],
        );
        let of_bytes: Vec<u64> = map.iter().map(|v| v >> 8).collect();
        let padded = |map: &[u64]| map.chunks(4).flat_map(|channel| [channel, &[0; 252]].concat()).collect::<Vec<_>>();
        check(
            "palette of 8 bits, colours too",
            &tags(pair, 8, 1, 3, &[(320, 3, padded(&of_bytes))]),
            vec![1, 3],
            &[[255, 0, 0], [0, 0, 255]],
        );
        let alpha = |kind: u64| (338, 3, vec![kind]);
        check("straight alpha", &tags([1, 1], 8, 4, 2, &[alpha(2)]), vec![100, 0, 200, 51], &[[224, 204, 244]]);
        check("multiplied alpha", &tags([1, 1], 8, 4, 2, &[alpha(1)]), vec![20, 0, 40, 51], &[[224, 204, 244]]);
        check("a fourth number that is no alpha", &tags([1, 1], 8, 4, 2, &[alpha(0)]), vec![20, 0, 40, 0], &[[20, 0, 40]]);
        check("grey with alpha", &tags([1, 1], 8, 2, 1, &[alpha(2)]), vec![100, 51], &[[224; 3]]);
        check("inks", &tags([1, 1], 8, 4, 5, &[]), vec![255, 0, 0, 51], &[[0, 204, 204]]);
        check("luma and chroma", &tags([1, 1], 8, 3, 6, &[(530, 3, vec![1, 1])]), vec![76, 85, 255], &[[254, 0, 0]]);
        check("planes", &tags(pair, 8, 3, 2, &[(284, 3, vec![2])]), vec![1, 2, 3, 4, 5, 6], &[[1, 3, 5], [2, 4, 6]]);
    }
    let lab = read(&tiff(&tags([1, 1], 8, 3, 8, &[]), &[1, 2, 3], false, false)).unwrap_err();
    says(&lab, &["TIFF", "not read"]);
    println!("scorecard TIFF: {kinds} files of 21 kinds, classic and big, in both orders of bytes, have their colours");
}

#[test]
fn damaged_tiffs_are_read_or_refused() {
    let files = ["palette.tif", "jpeg_ycbcr.tif", "float_grey.tif", "premultiplied_alpha.tif"];
    let mut refused = 0;
    for file in files {
        let good = std::fs::read(Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/data/cases").join(file)).unwrap();
        for place in (0..good.len()).step_by(1 + good.len() / 400) {
            let mut bad = good.clone();
            bad[place] ^= 0x55;
            for bytes in [&good[..place], &bad] {
                match read(bytes) {
                    Ok(image) => assert_eq!(image.rgb.len() as u64, u64::from(image.width) * u64::from(image.height) * 3),
                    Err(reason) => {
                        assert!(!reason.contains("panicked"), "{file} at {place}: {reason}");
                        refused += 1;
                    }
                }
            }
        }
    }
    assert!(refused > 100);
}

/// A picture with a red corner, as bytes of a format.
fn corner(format: ImageFormat) -> Vec<u8> {
    let image = RgbImage::from_fn(16, 24, |x, y| if x < 8 && y < 12 { Rgb([255, 0, 0]) } else { Rgb([0, 0, 255]) });
    let mut bytes = std::io::Cursor::new(Vec::new());
    DynamicImage::ImageRgb8(image).write_to(&mut bytes, format).unwrap();
    bytes.into_inner()
}

#[test]
fn an_orientation_stored_as_a_long_number_is_applied() {
    for big_endian in [false, true] {
        let exif = |kind: u16| {
            let put = |value: u64, size: usize| {
                let mut bytes = value.to_le_bytes()[..size].to_vec();
                if big_endian {
                    bytes.reverse();
                }
                bytes
            };
            let value = if kind == 3 { [put(6, 2), put(0, 2)].concat() } else { put(6, 4) };
            let order = if big_endian { b"MM" } else { b"II" };
            [
                order.to_vec(),
                put(42, 2),
                put(8, 4),
                put(1, 2),
                put(0x112, 2),
                put(u64::from(kind), 2),
                put(1, 4),
                value,
                put(0, 4),
            ]
            .concat()
        };
        for kind in [3, 4] {
            let exif = exif(kind);
            let jpeg = corner(ImageFormat::Jpeg);
            let segment =
                [b"\xff\xe1".to_vec(), (exif.len() as u16 + 8).to_be_bytes().to_vec(), b"Exif\0\0".to_vec(), exif.clone()]
                    .concat();
            let jpeg = [&jpeg[..2], &segment, &jpeg[2..]].concat();
            let png = corner(ImageFormat::Png);
            let mut chunk = [b"eXIf".to_vec(), exif.clone()].concat();
            let sum = crc32(&chunk);
            chunk.extend(sum.to_be_bytes());
            let png = [&png[..33], &(exif.len() as u32).to_be_bytes(), &chunk, &png[33..]].concat();
            for (name, bytes) in [("JPEG", jpeg), ("PNG", png)] {
                let image = read(&bytes).unwrap();
                assert_eq!((image.width, image.height), (24, 16), "{name}, type {kind}, big-endian {big_endian}: not turned");
                let at = |x: usize, y: usize| image.rgb[3 * (y * 24 + x)];
                assert!(at(20, 3) > 200 && at(3, 3) < 60, "{name}: turned the other way");
            }
        }
    }
}

fn crc32(bytes: &[u8]) -> u32 {
    !bytes.iter().fold(!0u32, |sum, byte| {
        (0..8).fold(sum ^ u32::from(*byte), |sum, _| if sum & 1 == 1 { sum >> 1 ^ 0xedb8_8320 } else { sum >> 1 })
    })
}

#[test]
fn images_of_one_colour_and_nearly_black_ones_are_named_again_at_a_second_opening() {
    let root = tempfile::tempdir().unwrap();
    let png = |image: DynamicImage| {
        let mut bytes = std::io::Cursor::new(Vec::new());
        image.write_to(&mut bytes, ImageFormat::Png).unwrap();
        bytes.into_inner()
    };
    let deep = |most: u16| {
        let image = ImageBuffer::from_fn(8, 8, |x, y| Luma([((x + 8 * y) * u32::from(most) / 63) as u16]));
        png(DynamicImage::ImageLuma16(image))
    };
    write(root.path(), "good.png", &corner(ImageFormat::Png));
    write(root.path(), "white.png", &png(DynamicImage::ImageRgb8(RgbImage::from_pixel(3, 2, Rgb([255; 3])))));
    write(root.path(), "clear.png", &png(DynamicImage::new_rgba8(4, 4)));
    write(root.path(), "pixel.png", &png(DynamicImage::new_rgb8(1, 1)));
    write(root.path(), "twelve.png", &deep(4_095));
    write(root.path(), "sixteen.png", &deep(65_535));
    let seen = |options: &Options| {
        let report = open(root.path(), options).unwrap().report;
        (report.single_colour, report.dark, report.known)
    };
    let names = |names: &[&str]| names.iter().map(|name| (*name).to_owned()).collect::<Vec<_>>();
    let first = seen(&Options::default());
    assert_eq!(first, (names(&["clear.png", "white.png"]), names(&["twelve.png"]), 0));
    // Files that were known for a while are not read again, and named all the same.
    std::thread::sleep(std::time::Duration::from_millis(2_100));
    let known = ImageFolder::scan(root.path(), &Options::default()).unwrap().1;
    let bytes = known.encode(root.path(), &Limits::default());
    let known = Known::decode(&bytes, root.path(), &Limits::default()).unwrap();
    let again = seen(&Options { known: Some(Arc::new(known)), ..Options::default() });
    assert_eq!(again, (first.0, first.1, 6));
}

#[test]
fn ordinary_photos_are_within_the_limits() {
    let mut bytes = std::io::Cursor::new(Vec::new());
    DynamicImage::new_rgb8(6000, 4000).write_to(&mut bytes, ImageFormat::Jpeg).unwrap();
    let root = tempfile::tempdir().unwrap();
    write(root.path(), "photo.jpg", bytes.get_ref());
    let set = ImageFolder::open(root.path(), &Options { max_side: Some(48), ..Options::default() }).unwrap();
    assert_eq!((set.len(), set.bytes(0)), (1, Some(3 * 72 * 48)));
    let limits = Limits { pixels: 24_000_000 - 1, ..Limits::default() };
    let error = ImageFolder::open(root.path(), &Options { limits, ..Options::default() }).err().unwrap();
    says(&error.to_string(), &["photo.jpg", "6000 × 4000 = 24000000 pixels", "limit of 23999999", "raise --max-pixels"]);
}
