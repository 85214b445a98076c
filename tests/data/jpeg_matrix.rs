//! JPEGs of every kind that libjpeg writes, against the pixels that libjpeg reads.

use instdisc::data::{Limits, decode};
use std::collections::BTreeMap;
use std::path::Path;
use std::process::{Command, Stdio};

/// Width, height, channels and samples of a PNM file.
fn pnm(bytes: &[u8]) -> (usize, usize, usize, &[u8]) {
    let mut rest = bytes;
    let mut word = || {
        let end = rest.iter().position(u8::is_ascii_whitespace).unwrap();
        let word = std::str::from_utf8(&rest[..end]).unwrap();
        rest = &rest[end + 1..];
        word
    };
    let channels = if word() == "P5" { 1 } else { 3 };
    let [width, height, most] = [(); 3].map(|()| word().parse().unwrap());
    assert_eq!(most, 255);
    (width, height, channels, rest)
}

/// The mean difference of the samples, of 255.
fn difference(jpeg: &Path) -> Result<f64, String> {
    let bytes = std::fs::read(jpeg).unwrap();
    let image = decode("".as_ref(), &bytes, &Limits::default(), None).map_err(|error| error.to_string())?;
    let expected = std::fs::read(jpeg.with_extension("pnm")).unwrap();
    let (width, height, channels, expected) = pnm(&expected);
    assert_eq!((image.width as usize, image.height as usize), (width, height), "{}", jpeg.display());
    let expected = expected.chunks_exact(channels).flat_map(|pixel| (0..3).map(move |c| pixel[c % channels]));
    assert_eq!(expected.clone().count(), image.rgb.len());
    let sum: u64 = image.rgb.iter().zip(expected).map(|(got, expected)| u64::from(got.abs_diff(expected))).sum();
    Ok(sum as f64 / image.rgb.len() as f64)
}

#[test]
fn every_kind_of_jpeg_has_the_pixels_of_libjpeg_or_is_refused_by_name() {
    let there = |tool: &str| Command::new(tool).arg("-version").stdin(Stdio::null()).stderr(Stdio::null()).status().is_ok();
    if !(there("cjpeg") && there("djpeg")) {
        println!("scorecard JPEG matrix: NOT TESTED, cjpeg and djpeg (Debian: libjpeg-turbo-progs) are not here");
        return;
    }
    let folder = tempfile::tempdir().unwrap();
    let script = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/jpeg_matrix.sh");
    assert!(Command::new("sh").arg(script).arg(folder.path()).status().unwrap().success());
    let mut files: Vec<_> = std::fs::read_dir(folder.path()).unwrap().map(|entry| entry.unwrap().path()).collect();
    files.retain(|path| path.extension().is_some_and(|end| end == "jpg"));
    files.sort();
    let (mut worst, mut wrong, mut refused) = ((0.0, String::new()), Vec::new(), BTreeMap::<String, usize>::new());
    for file in &files {
        let name = file.file_name().unwrap().to_str().unwrap().to_owned();
        match difference(file) {
            Ok(difference) if difference > 2.0 => wrong.push(format!("{name}: {difference:.2}")),
            Ok(difference) if difference > worst.0 => worst = (difference, name),
            Ok(_) => {}
            Err(reason) => {
                assert!(
                    name.contains("arithmetic") && reason.contains("arithmetic coding, which is not read"),
                    "{name}: {reason}"
                );
                *refused.entry(reason).or_default() += 1;
            }
        }
    }
    let counts: Vec<String> = refused.iter().map(|(reason, count)| format!("{count}{reason}")).collect();
    println!(
        "scorecard JPEG matrix: {} files, worst mean difference from libjpeg {:.2} of 255 ({}), wrong {}; refused {}",
        files.len(),
        worst.0,
        worst.1,
        wrong.len(),
        counts.join("; ")
    );
    assert!(files.len() > 3_000 && wrong.is_empty(), "{} files, wrong: {wrong:?}", files.len());
}
