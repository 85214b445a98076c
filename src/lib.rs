//! Image features without labels, by telling every image apart from every other one, on any Vulkan, Metal or DX12 GPU.
//!
//! This is instance discrimination (Wu, Xiong, Yu, Lin, "Unsupervised Feature Learning via Non-Parametric Instance-level
//! Discrimination", CVPR 2018): a network maps an image to a unit vector, a memory bank keeps one for every image, and the loss
//! tells each image from all others. Everything on the device is hand-written WGSL in `shaders/`, run through wgpu and
//! recorded on a small autograd tape; there is no CUDA, no global state, and no network access.
//!
//! # Where things are
//!
//! | module | holds |
//! |---|---|
//! | [`train`] | runs: configuration, steps, epochs, metrics, checkpoints, resume |
//! | [`eval`] | embedding in evaluation mode, nearest neighbours, weighted votes |
//! | [`npid`] | the method: memory bank, losses, Z, bank update |
//! | [`nn`], [`optim`] | layers and ResNets with torchvision's names; SGD and schedules |
//! | [`data`], [`checkpoint`] | images in; files that survive |
//! | [`ops`] | the operations, one file each |
//! | [`tape`] | recording, gradients, compiled programs, the store of parameters |
//! | [`gpu`] | the device: the only module that speaks to wgpu |
//! | [`error`], [`name`], [`shape`], [`rng`] | what everything rests on |
//!
//! # Features
//!
//! `images` decodes image files; `selftest` brings the f64 reference of every op; `cli` builds the tool and implies both. None is
//! on by default.
//!
//! # A run in a few lines
//!
//! ```no_run
//! use instdisc::data::{Image, Memory};
//! use instdisc::gpu::Gpu;
//! use instdisc::train::{Choices, Run, RunOptions};
//! use std::sync::Arc;
//!
//! let gpu = Gpu::open(&Default::default())?;
//! let pictures = (0..64).map(|i| Image::new(32, 32, vec![i; 32 * 32 * 3])).collect::<instdisc::Result<_>>()?;
//! let images = Arc::new(Memory::new(pictures)?);
//! let (config, _notes) = Choices { epochs: Some(1), width: Some(8), ..Choices::default() }.resolve(64, 32, 0)?;
//! let mut run = Run::new(&gpu, config, images, None)?;
//! run.train(&RunOptions::default(), &mut |event| println!("{event:?}"))?;
//! # Ok::<(), instdisc::Error>(())
//! ```
#![warn(clippy::print_stdout)]

pub mod checkpoint;
pub mod data;
pub mod error;
pub mod eval;
pub mod gpu;
pub mod name;
pub mod nn;
pub mod npid;
pub mod ops;
pub mod optim;
pub mod rng;
#[cfg(feature = "selftest")]
pub mod selftest;
pub mod shape;
pub mod tape;
pub mod train;
#[cfg(feature = "selftest")]
pub mod twin;

pub use error::{Error, Result};
pub use wgpu;
