//! The tool as a newcomer meets it: the built program is run, and its words, files and exit codes are looked at. Goals print a
//! line that begins with `scorecard`.
#![allow(clippy::print_stdout, reason = "the scorecard is assembled from standard output")]
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "a test fails by panicking, its helpers too")]

#[cfg(target_os = "linux")]
mod again;
mod bad_data;
mod bad_run;
mod bench;
mod feed;
mod first_use;
#[cfg(unix)]
mod judging;
mod output;
#[cfg(unix)]
mod stop;
mod tune;

use image::{Rgb, RgbImage};
use std::path::{Path, PathBuf};
use std::process::Command;

/// What a command said.
struct Said {
    code: Option<i32>,
    out: String,
    err: String,
}

fn command(args: &[&str]) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_instdisc"));
    command.args(args);
    command
}

fn finish(mut command: Command) -> Said {
    let output = command.output().unwrap();
    let text = |bytes: &[u8]| String::from_utf8(bytes.to_vec()).unwrap();
    let said = Said { code: output.status.code(), out: text(&output.stdout), err: text(&output.stderr) };
    assert!(!said.err.contains("panicked"), "{}", said.err);
    said
}

fn tool(args: &[&str]) -> Said {
    finish(command(args))
}

/// The command must succeed.
#[track_caller]
fn done(args: &[&str]) -> Said {
    let said = tool(args);
    assert_eq!(said.code, Some(0), "{args:?}\n{}", said.err);
    said
}

/// The command must fail with one line `error: …` at the end that has each of `parts`.
#[track_caller]
fn refused(args: &[&str], parts: &[&str]) -> String {
    check_refused(&tool(args), parts)
}

/// The command must not know `option`.
#[track_caller]
fn refused_option(args: &[&str], option: &str) {
    let said = tool(args);
    assert!(said.code == Some(2) && said.err.contains(&format!("unexpected argument '{option}'")), "{args:?}: {}", said.err);
}

#[track_caller]
fn check_refused(said: &Said, parts: &[&str]) -> String {
    assert_eq!(said.code, Some(1), "{}", said.err);
    let last = said.err.lines().last().unwrap_or_default();
    assert!(last.starts_with("error: ") && said.err.matches("error: ").count() == 1, "not one line: {}", said.err);
    for part in parts {
        assert!(last.contains(part), "`{last}` does not say `{part}`");
    }
    last.to_owned()
}

/// A folder with room for pictures and runs.
struct Place(tempfile::TempDir);

impl Place {
    fn new() -> Self {
        Self(tempfile::tempdir().unwrap())
    }

    fn path(&self, name: &str) -> PathBuf {
        self.0.path().join(name)
    }

    /// The path as an argument.
    fn arg(&self, name: &str) -> String {
        self.path(name).into_os_string().into_string().unwrap()
    }

    fn write(&self, name: &str, bytes: &[u8]) {
        let path = self.path(name);
        std::fs::create_dir_all(path.parent().unwrap()).unwrap();
        std::fs::write(path, bytes).unwrap();
    }

    fn picture(&self, name: &str, width: u32, height: u32, seed: u32) {
        let path = self.path(name);
        std::fs::create_dir_all(path.parent().unwrap()).unwrap();
        let pixel = |x: u32, y: u32| Rgb([x * 9 + seed * 37, y * 7 + seed * 91, (x / 3 + y / 2) * 40 + seed].map(|v| v as u8));
        RgbImage::from_fn(width, height, pixel).save(path).unwrap();
    }

    /// `n` pictures in two folders `a` and `b`.
    fn pictures(&self, folder: &str, n: u32) -> String {
        for i in 0..n {
            let class = if i % 2 == 0 { "a" } else { "b" };
            self.picture(&format!("{folder}/{class}/{i:02}.png"), 20, 20, i);
        }
        self.arg(folder)
    }
}

/// A network that is quick to train.
const SMALL: [&str; 12] = ["--width", "4", "--size", "16", "--dim", "16", "--batch", "4", "--epochs", "2", "--seed", "5"];

fn train<'a>(data: &'a str, out: &'a str, more: &[&'a str]) -> Vec<&'a str> {
    let mut args = vec!["train", data, "--out", out];
    args.extend(SMALL);
    args.extend(more);
    args
}

/// The step of a run's checkpoint, 0 without one.
fn step(run: &str) -> u64 {
    let file = instdisc::checkpoint::File::load(Path::new(run).join("last.safetensors"));
    file.map_or(0, |file| file.metadata["step"].parse().unwrap())
}

fn checkpoint(run: &Path) -> Vec<u8> {
    std::fs::read(run.join("last.safetensors")).unwrap()
}
