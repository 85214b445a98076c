//! The room `data`: what is read, what is refused and how, and that nothing depends on threads.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "a test fails by panicking, its helpers too")]
#![allow(clippy::print_stdout, reason = "scorecard lines are printed by design")]

mod batch;
mod cifar;
#[cfg(feature = "images")]
mod files;
#[cfg(feature = "images")]
mod folder;
#[cfg(feature = "images")]
mod jpeg_matrix;
#[cfg(feature = "images")]
mod kinds;
#[cfg(feature = "images")]
mod known;
mod labels;
mod loader;
#[cfg(all(feature = "images", unix))]
mod names;
#[cfg(feature = "images")]
mod odd_images;
mod sampler;
#[cfg(feature = "images")]
mod threads;

#[cfg(feature = "images")]
use instdisc::data::Dataset;
use instdisc::data::{Image, Memory};
use std::path::Path;

/// Writes a file and the folders above it.
fn write(root: &Path, name: &str, bytes: &[u8]) {
    let path = root.join(name);
    std::fs::create_dir_all(path.parent().unwrap()).unwrap();
    std::fs::write(path, bytes).unwrap();
}

/// `n` images of different sizes and contents.
fn images(n: usize) -> Vec<Image> {
    let image = |i: usize| {
        let (width, height) = (1 + i % 5, 1 + i % 3);
        Image::new(width as u32, height as u32, (0..width * height * 3).map(|k| (i * 31 + k) as u8).collect()).unwrap()
    };
    (0..n).map(image).collect()
}

fn memory(n: usize) -> Memory {
    Memory::new(images(n)).unwrap()
}

/// Name, label and image.
#[cfg(feature = "images")]
type Contents = (String, Option<u32>, Result<Image, String>);

/// Everything that a data set says.
#[cfg(feature = "images")]
fn contents(set: &dyn Dataset) -> Vec<Contents> {
    (0..set.len()).map(|i| (set.name(i).to_owned(), set.label(i), set.image(i).map_err(|error| error.to_string()))).collect()
}

/// Those of `rows` whose check fails.
fn missed(rows: &[(&'static str, fn())]) -> Vec<&'static str> {
    rows.iter().filter(|(_, check)| std::panic::catch_unwind(check).is_err()).map(|(row, _)| *row).collect()
}

/// The text of the error that was to come.
#[track_caller]
fn refusal<T>(result: instdisc::Result<T>) -> String {
    match result {
        Ok(_) => panic!("this was to be refused"),
        Err(error) => error.to_string(),
    }
}

/// Asserts that `text` says each of `parts`.
#[track_caller]
fn says(text: &str, parts: &[&str]) {
    for part in parts {
        assert!(text.contains(part), "`{text}` does not say `{part}`");
    }
}
