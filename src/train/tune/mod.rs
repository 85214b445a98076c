//! Finding the fastest algorithms on the adapter at hand, and keeping what was found.
//!
//! Products and convolutions can be computed by several algorithms ([`Problem::candidates`](crate::ops::Problem::candidates)). What is
//! preferred stands in a static table; a [`Tuner`] measures instead. Each candidate is checked before it is timed: on whole
//! numbers so small that no plain sum rounds, its result must equal elements computed on the host and, in every element,
//! that of another candidate. Those that pass are timed in turns.
//!
//! Algorithms add in different orders, so choices change the last bits. They are therefore made once: [`Run`](super::Run) writes those
//! in force into its folder and repeats them when it goes on.
//!
//! ```no_run
//! use instdisc::gpu::Gpu;
//! use instdisc::train::tune::{Cache, Effort, Tuner};
//!
//! let gpu = Gpu::open(&Default::default())?;
//! let problems = ["conv2d.forward b4 64->64 32x32 k3 s1".parse()?, "gemm.nn 512x512x512".parse()?];
//! let report = Tuner::new(&gpu, Effort::Quick).run(&problems, &mut Cache::in_memory(&gpu), &mut |found, left| {
//!     println!("{} by {}; {left} left", found.problem, found.algorithm);
//! });
//! let gpu = gpu.with_choices(report.choices(gpu.choices().clone()));
//! # Ok::<(), instdisc::Error>(())
//! ```

mod cache;
mod candidate;
mod contest;
mod line;
mod numbers;
mod problems;
mod reference;
mod report;
mod trial;
mod tuner;

pub use super::cached::cache_folder;
pub use cache::{Cache, Ignored};
pub use candidate::Candidate;
pub use problems::{problems, problems_of};
pub use report::{Basis, Found, LeftOut, Report};
pub use tuner::{Effort, Tuner};
