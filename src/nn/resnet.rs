//! Residual networks (He et al. 2016) that map images to unit vectors, with torchvision's names.

use super::layers::Recording;
use super::{BatchNorm2d, Conv2d, Linear, Mode, Statistics};
use crate::error::{Error, Result};
use crate::ops;
use crate::tape::{Store, StoreBuilder, Tape, Tensor};
use serde::{Deserialize, Serialize};

/// The kind of residual block.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Block {
    /// Two 3×3 convolutions.
    Basic,
    /// 1×1, 3×3 (with the stride and the groups) and 1×1 to four times the width.
    Bottleneck,
}

impl Block {
    fn expansion(self) -> usize {
        match self {
            Self::Basic => 1,
            Self::Bottleneck => 4,
        }
    }
}

/// What comes before the first block.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Stem {
    /// 3×3 at stride 1, for small images.
    Cifar,
    /// 3×3 at stride 2, for small images and little time.
    Half,
    /// 7×7 at stride 2, then a 3×3 max-pool at stride 2.
    Imagenet,
}

/// The shape of a network.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct ResNetConfig {
    /// The kind of block.
    pub block: Block,
    /// Blocks in each stage; stage i has `width` · 2^i channels and, from the second on, stride 2.
    pub blocks: Vec<usize>,
    /// Channels of the first stage.
    pub width: usize,
    /// Groups of the bottleneck's 3×3 convolution.
    pub groups: usize,
    /// What comes before the first block.
    pub stem: Stem,
    /// Length of the embedding.
    pub dim: usize,
}

impl ResNetConfig {
    /// ResNet-18, 34 or 50 with 64 channels and an embedding of 128.
    ///
    /// # Errors
    /// [`Error::Value`] for another name.
    pub fn named(arch: &str, stem: Stem) -> Result<Self> {
        let (block, blocks) = match arch {
            "resnet18" => (Block::Basic, vec![2, 2, 2, 2]),
            "resnet34" => (Block::Basic, vec![3, 4, 6, 3]),
            "resnet50" => (Block::Bottleneck, vec![3, 4, 6, 3]),
            _ => return Err(Error::value("resnet", "arch", "resnet18, resnet34 or resnet50", arch)),
        };
        Ok(Self { block, blocks, width: 64, groups: 1, stem, dim: 128 })
    }

    /// The name of the network with these blocks, if it has one.
    pub fn arch(&self) -> Option<&'static str> {
        let alike = |arch: &&str| {
            Self::named(arch, self.stem)
                .is_ok_and(|named| named.block == self.block && named.blocks == self.blocks && named.groups == self.groups)
        };
        ["resnet18", "resnet34", "resnet50"].into_iter().find(alike)
    }
}

/// A residual network with an embedding head.
///
/// ```
/// # use instdisc::nn::{ResNet, ResNetConfig, Stem};
/// let config = ResNetConfig { width: 16, ..ResNetConfig::named("resnet18", Stem::Cifar)? };
/// let net = ResNet::new(config)?;
/// assert_eq!(net.backbone_columns(), 128);
/// # Ok::<(), instdisc::Error>(())
/// ```
#[derive(Clone, Debug)]
pub struct ResNet {
    config: ResNetConfig,
    conv1: Conv2d,
    bn1: BatchNorm2d,
    blocks: Vec<Residual>,
    fc: Linear,
}

/// One residual block: its convolutions with their norms, and the projection of the shortcut where shapes change.
#[derive(Clone, Debug)]
struct Residual {
    body: Vec<(Conv2d, BatchNorm2d)>,
    shortcut: Option<(Conv2d, BatchNorm2d)>,
}

/// What a network makes of a batch of images.
#[derive(Clone, Debug)]
pub struct Features {
    /// `[n, columns]`: the average-pooled last stage.
    pub backbone: Tensor,
    /// `[n, dim]`: unit vectors.
    pub embedding: Tensor,
    /// The statistics of the batch norms: in training the running ones are still to be moved towards them.
    pub statistics: Statistics,
}

fn conv(name: String, input: usize, output: usize, kernel: usize, stride: usize, groups: usize) -> Conv2d {
    Conv2d { name, input, output, kernel, stride, pad: kernel / 2, groups }
}

impl ResNet {
    /// A network of this shape. Nothing is allocated yet.
    ///
    /// # Errors
    /// [`Error::Value`] for a width, depth, number of groups or embedding of 0, or groups that do not divide the width.
    pub fn new(config: ResNetConfig) -> Result<Self> {
        let ResNetConfig { block, width, groups, stem, dim, .. } = config;
        let blocks_ok = !config.blocks.is_empty() && config.blocks.len() <= 8 && config.blocks.iter().all(|&b| b > 0);
        if width == 0 || width > 4096 || dim == 0 || dim > 512 || groups == 0 || width % groups != 0 || !blocks_ok {
            return Err(Error::value(
                "resnet",
                "config",
                "a width of 1 to 4096 that the groups divide, 1 to 8 stages of at least a block, an embedding of 1 to 512",
                format!("{config:?}"),
            ));
        }
        let (kernel, stride) = match stem {
            Stem::Cifar => (3, 1),
            Stem::Half => (3, 2),
            Stem::Imagenet => (7, 2),
        };
        let conv1 = conv("conv1".into(), 3, width, kernel, stride, 1);
        let bn1 = BatchNorm2d { name: "bn1".into(), channels: width };
        let mut blocks = Vec::new();
        let mut input = width;
        for (stage, &count) in config.blocks.iter().enumerate() {
            for number in 0..count {
                let name = format!("layer{}.{number}", stage + 1);
                let stride = if stage > 0 && number == 0 { 2 } else { 1 };
                blocks.push(Residual::new(&name, block, input, width << stage, stride, groups));
                input = (width << stage) * block.expansion();
            }
        }
        let fc = Linear { name: "fc".into(), input, output: dim };
        Ok(Self { config, conv1, bn1, blocks, fc })
    }

    /// Its shape.
    pub fn config(&self) -> &ResNetConfig {
        &self.config
    }

    /// Columns of [`Features::backbone`].
    pub fn backbone_columns(&self) -> usize {
        self.fc.input
    }

    /// Every convolution in order, with the side of the square images that reach it where the network sees images of `side`.
    pub fn convolutions(&self, side: usize) -> Vec<(&Conv2d, usize)> {
        let mut all = vec![(&self.conv1, side)];
        let mut side = self.conv1.side(side);
        if self.config.stem == Stem::Imagenet {
            side = side.div_ceil(2);
        }
        for block in &self.blocks {
            let first = side;
            for (conv, _) in &block.body {
                all.push((conv, side));
                side = conv.side(side);
            }
            all.extend(block.shortcut.iter().map(|(conv, _)| (conv, first)));
        }
        all
    }

    /// Declare all parameters and running statistics, with first weights by `seed`.
    ///
    /// # Errors
    /// [`Error::Value`] for an impossible shape.
    pub fn declare(&self, builder: &mut StoreBuilder, seed: u64) -> Result<()> {
        self.conv1.declare(builder, seed)?;
        self.bn1.declare(builder)?;
        for (conv, bn) in self.blocks.iter().flat_map(|b| b.body.iter().chain(&b.shortcut)) {
            conv.declare(builder, seed)?;
            bn.declare(builder)?;
        }
        self.fc.declare(builder, seed)
    }

    /// Record the network on images `[n, 3, h, w]`.
    ///
    /// # Errors
    /// [`Error::Shape`] for other images; those of the ops.
    pub fn forward(&self, tape: &mut Tape, store: &Store, x: Tensor, mode: Mode) -> Result<Features> {
        let statistics = Statistics::new(tape, store)?;
        let mut recording = Recording { tape, store, mode, statistics };
        let mut x = recording.conv_norm(&self.conv1, &self.bn1, x, RELU)?;
        if self.config.stem == Stem::Imagenet {
            x = ops::max_pool(recording.tape, x, 3, 2, 1)?;
        }
        for block in &self.blocks {
            x = block.forward(&mut recording, x)?;
        }
        let Recording { statistics, .. } = recording;
        tape.scope("head");
        let backbone = ops::global_avg_pool(tape, x)?;
        let projected = self.fc.forward(tape, store, backbone)?;
        let embedding = ops::l2norm(tape, projected, 1e-12)?;
        tape.scope("");
        Ok(Features { backbone, embedding, statistics })
    }
}

/// What follows most batch norms.
const RELU: ops::Then = ops::Then { addend: None, relu: true };

impl Residual {
    fn new(name: &str, block: Block, input: usize, width: usize, stride: usize, groups: usize) -> Self {
        let output = width * block.expansion();
        let pairs = match block {
            Block::Basic => vec![(input, width, 3, stride, 1), (width, width, 3, 1, 1)],
            Block::Bottleneck => vec![(input, width, 1, 1, 1), (width, width, 3, stride, groups), (width, output, 1, 1, 1)],
        };
        let pairs = pairs.into_iter().enumerate().map(|(i, (from, to, kernel, stride, groups))| {
            let norm = BatchNorm2d { name: format!("{name}.bn{}", i + 1), channels: to };
            (conv(format!("{name}.conv{}", i + 1), from, to, kernel, stride, groups), norm)
        });
        let shortcut = (stride != 1 || input != output).then(|| {
            let norm = BatchNorm2d { name: format!("{name}.downsample.1"), channels: output };
            (conv(format!("{name}.downsample.0"), input, output, 1, stride, 1), norm)
        });
        Self { body: pairs.collect(), shortcut }
    }

    fn forward(&self, recording: &mut Recording<'_>, x: Tensor) -> Result<Tensor> {
        let (last, first) = self.body.split_last().ok_or_else(|| Error::value("resnet", "block", "a convolution", "none"))?;
        let mut y = x;
        for (conv, norm) in first {
            y = recording.conv_norm(conv, norm, y, RELU)?;
        }
        let shortcut = match &self.shortcut {
            Some((conv, norm)) => recording.conv_norm(conv, norm, x, ops::Then::default())?,
            None => x,
        };
        recording.conv_norm(&last.0, &last.1, y, ops::Then { addend: Some(shortcut), relu: true })
    }
}
