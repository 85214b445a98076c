use super::expect;
use crate::error::{Error, Result};
use crate::gpu::{Shader, Work};
use crate::shape::Layout;
use crate::tape::{Element, Launch, Tape, Tensor};
use serde::{Deserialize, Serialize};

pub(super) static SHADER: Shader = Shader { file: "augment.wgsl", text: include_str!("../../shaders/augment.wgsl") };

/// The settings of [`augment`].
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub struct Augmentation {
    /// Side of the square result.
    pub side: usize,
    /// The crop's share of the image's area, from and to.
    pub area: [f32; 2],
    /// The largest ratio of the crop's width to its height; the smallest is its inverse.
    pub aspect: f32,
    /// Brightness, contrast and saturation are multiplied by 1 ± this.
    pub jitter: [f32; 3],
    /// Hue turns by up to ± this, in whole turns.
    pub hue: f32,
    /// How likely an image becomes grey.
    pub grey: f32,
    /// How likely it is mirrored.
    pub flip: f32,
    /// Mean of each channel, taken off after all.
    pub mean: [f32; 3],
    /// Deviation of each channel, divided by after all.
    pub deviation: [f32; 3],
    /// No chance at all: the largest square in the middle, only resized and normalised. For evaluation.
    pub plain: bool,
}

impl Augmentation {
    /// The paper's, for images of `side`, without flips: area 0.2 to 1, jitter 0.4 four times, grey 0.2, and the channel
    /// means and deviations of ImageNet.
    pub fn paper(side: usize) -> Self {
        Self {
            side,
            area: [0.2, 1.0],
            aspect: 4.0 / 3.0,
            jitter: [0.4; 3],
            hue: 0.4,
            grey: 0.2,
            flip: 0.0,
            mean: [0.485, 0.456, 0.406],
            deviation: [0.229, 0.224, 0.225],
            plain: false,
        }
    }

    fn check(&self) -> Result<()> {
        let colours = self.jitter.iter().chain(&self.mean).chain(&[self.hue, self.grey, self.flip]).all(|v| v.is_finite());
        let area = 0.0 < self.area[0] && self.area[0] <= self.area[1] && self.area[1] <= 1.0;
        let deviation = self.deviation.iter().all(|d| d.is_finite() && *d > 0.0);
        let shape = (1..=640).contains(&self.side) && self.aspect.is_finite() && self.aspect >= 1.0;
        if !(shape && colours && area && deviation) {
            let expected = "a side of 1 to 640, an area within (0, 1], an aspect of at least 1, deviations above 0, all finite";
            return Err(Error::value("augment", "settings", expected, format!("{self:?}")));
        }
        Ok(())
    }
}

/// Crop, flip and colour 8-bit images at random, anew for every step, and normalise them: one kernel.
///
/// The numbers drawn depend on (seed, step, place in the batch) alone.
///
/// **Shapes**: `pixels` `[words]` of integers: bytes R, G, B row by row, four to a word, lowest first; `table` `[b, 4]` of
/// integers: first word, width, height (both at least 1), and anything; the result `[b, 3, side, side]`.
/// **Source**: the augmentation of Wu et al. 2018, section 4.
///
/// # Errors
/// [`Error::Value`] for settings out of range, [`Error::Shape`]; those of [`Tape::launch`].
pub fn augment(tape: &mut Tape, pixels: Tensor, table: Tensor, settings: Augmentation) -> Result<Tensor> {
    Ok(augment_drawn(tape, pixels, table, settings)?.0)
}

/// As [`augment`], with what was drawn for each image: `[b, 12]`, as the head of the shader says.
pub(crate) fn augment_drawn(tape: &mut Tape, pixels: Tensor, table: Tensor, settings: Augmentation) -> Result<(Tensor, Tensor)> {
    settings.check()?;
    let batch = table.shape().dims().first().copied().unwrap_or(0);
    expect("augment", "table", table, &[batch, 4], Element::U32)?;
    expect("augment", "pixels", pixels, &[pixels.words().max(1)], Element::U32)?;
    let (s, side) = (settings, settings.side);
    let step = tape.step_block()?;
    let y = tape.output("augment", &[batch, 3, side, side], Layout::Rows)?;
    let drawn = tape.output("drawn", &[batch, 12], Layout::Rows)?;
    let launch = Launch::new(&SHADER, "augment").param("batch", batch).param("side", side).param("words", pixels.words());
    let launch =
        launch.param("plain", s.plain).param("area_low", s.area[0]).param("area_high", s.area[1]).param("aspect", s.aspect);
    let launch = launch.param("brightness", s.jitter[0]).param("contrast", s.jitter[1]).param("saturation", s.jitter[2]);
    let launch = launch.param("hue", s.hue).param("grey", s.grey).param("flip", s.flip);
    let launch = launch.param("mean_r", s.mean[0]).param("mean_g", s.mean[1]).param("mean_b", s.mean[2]);
    let launch =
        launch.param("deviation_r", s.deviation[0]).param("deviation_g", s.deviation[1]).param("deviation_b", s.deviation[2]);
    let launch = launch.bind("step", step).bind("pixels", pixels).bind("table", table).bind("y", y).bind("drawn", drawn);
    // Not all pixels where those of other images stand there too: images are little larger than what they become.
    let read = pixels.words().min(y.words());
    tape.launch(launch.groups(batch).work(Work::new(100 * y.words(), y.words() + read)))?;
    Ok((y, drawn))
}
