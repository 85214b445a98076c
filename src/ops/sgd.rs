use crate::error::{Error, Result};
use crate::gpu::{Bound, Shader, Work};
use crate::shape::Layout;
use crate::tape::{Element, Launch, Store, Tape};

pub(super) static SHADER: Shader = Shader { file: "sgd.wgsl", text: include_str!("../../shaders/sgd.wgsl") };

/// The settings of [`sgd`]. The learning rate comes with each step.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Sgd {
    /// How much of the velocity is kept, in [0, 1).
    pub momentum: f32,
    /// Weight decay, added to the gradient of every parameter.
    pub weight_decay: f32,
}

/// Update all parameters of `store` from their gradients, in one dispatch a slab: v ← μ v + g + λ w; w ← w − lr v.
///
/// Nothing happens while the guard is up. **Source**: PyTorch's form of momentum (no dampening, no Nesterov step).
///
/// # Errors
/// [`Error::Value`] for a momentum outside [0, 1) or a negative decay; those of [`Tape::launch`].
pub fn sgd(tape: &mut Tape, store: &Store, settings: Sgd) -> Result<()> {
    let Sgd { momentum, weight_decay } = settings;
    if !(0.0..1.0).contains(&momentum) {
        return Err(Error::value("sgd", "momentum", "at least 0 and below 1", momentum));
    }
    if !(weight_decay.is_finite() && weight_decay >= 0.0) {
        return Err(Error::value("sgd", "weight_decay", "a finite number of at least 0", weight_decay));
    }
    let (step, flag) = (tape.step_block()?, tape.guard()?);
    for slab in store.slabs() {
        let words = slab.values.words;
        let mut bind = |name: &str, range: &Bound| tape.bound(name, &[words], Layout::Plain, Element::F32, range.clone());
        let (w, g, v) = (bind("parameters", &slab.values)?, bind("gradients", &slab.grads)?, bind("momentum", &slab.momentum)?);
        let launch =
            Launch::new(&SHADER, "update").param("words", words).param("momentum", momentum).param("decay", weight_decay);
        let launch = launch.bind("step", step).bind("flag", flag).bind("g", g).bind("v", v).bind("w", w);
        tape.launch(launch.groups(words.div_ceil(1024)).work(Work::new(6 * words, 5 * words)))?;
    }
    Ok(())
}

/// Raise the guard where any gradient of `store` is NaN or infinite. Belongs before [`sgd`].
///
/// # Errors
/// Those of [`Tape::launch`].
pub fn guard_gradients(tape: &mut Tape, store: &Store) -> Result<()> {
    for slab in store.slabs() {
        let gradients = tape.bound("gradients", &[slab.grads.words], Layout::Plain, Element::F32, slab.grads.clone())?;
        tape.guard_finite(gradients)?;
    }
    Ok(())
}
