//! Layers and networks built from ops, with the names and first weights of PyTorch.

mod layers;
mod resnet;

pub use layers::{BatchNorm2d, Conv2d, Linear, Mode, Statistics};
pub use resnet::{Block, Features, ResNet, ResNetConfig, Stem};
