//! Words for people on standard error and results on standard output, where either may be gone.
//!
//! A pipe that closed or a disk that is full must not end a training of hours, so words that cannot be written are dropped. A
//! result that cannot be written is another matter: the command ends, and quietly if it is only that nobody reads on.

use std::fmt::Arguments;
use std::io::{ErrorKind, Write};

/// A line on standard error.
macro_rules! say {
    ($($text:tt)*) => { $crate::say::words(format_args!($($text)*)) };
}
/// A line on standard output, or the end of the program.
macro_rules! result {
    ($($text:tt)*) => { $crate::say::output(format_args!($($text)*)) };
}
pub(crate) use {result, say};

/// What `say!` does.
pub(crate) fn words(text: Arguments) {
    let _ = writeln!(std::io::stderr().lock(), "{text}");
}

/// What `result!` does.
pub(crate) fn output(text: Arguments) {
    match writeln!(std::io::stdout().lock(), "{text}") {
        Ok(()) => {}
        Err(error) if error.kind() == ErrorKind::BrokenPipe => std::process::exit(0),
        Err(error) => {
            say!("error: writing to standard output: {error}");
            std::process::exit(1);
        }
    }
}
