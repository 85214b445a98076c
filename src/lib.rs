//! Self-supervised image features by instance discrimination, on any Vulkan, Metal or DX12 GPU.

pub mod checkpoint;
pub mod data;
pub mod error;
pub mod eval;
pub mod gpu;
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
