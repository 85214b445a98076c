//! The command line of instdisc.
fn main() {}
