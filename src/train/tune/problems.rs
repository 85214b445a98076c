//! The problems that a network's training poses.

use crate::error::Result;
use crate::gpu::{Choices, Gpu};
use crate::nn::ResNet;
use crate::ops::Problem;
use crate::optim::Sgd;
use crate::tape::StoreBuilder;
use crate::train::{Config, Images, StepOptions, TrainingStep};

/// The distinct problems of a training step of `config`, found by recording one, the dearest first.
///
/// # Errors
/// Those of [`TrainingStep::new`].
pub fn problems(gpu: &Gpu, config: &Config) -> Result<Vec<Problem>> {
    let net = ResNet::new(config.net.clone())?;
    let mut builder = StoreBuilder::default();
    net.declare(&mut builder, config.seed)?;
    config.method.declare(&mut builder, config.images, config.net.dim, config.seed)?;
    let store = builder.build(gpu)?;
    let side = config.augmentation.side;
    let options = StepOptions {
        batch: config.batch,
        images: Images::Given { side },
        method: config.method,
        sgd: Sgd { momentum: config.momentum, weight_decay: config.weight_decay },
        given_negatives: false,
    };
    let mut step = TrainingStep::new(gpu, &net, &store, options)?;
    problems_of(step.program().choices())
}

/// The problems that `choices` are about, the dearest first.
///
/// # Errors
/// [`Error::Value`](crate::Error::Value) for a text that is no problem's.
pub fn problems_of(choices: &Choices) -> Result<Vec<Problem>> {
    let mut all = choices.iter().map(|(problem, _)| problem.parse()).collect::<Result<Vec<Problem>>>()?;
    all.sort_by(|a, b| b.work().flops.total_cmp(&a.work().flops));
    Ok(all)
}
