//! The pictures: emoji of the crate `twemoji-assets`, on white.

use image::imageops::{self, FilterType};
use image::{Rgb, RgbImage};
use instdisc::data::{Batch, Image, Memory};
use instdisc::{Error, Result};
use twemoji_assets::png::PngTwemojiAsset;

/// Side of the pictures in the crate.
pub(crate) const SIDE: u32 = 72;

/// Emoji as the crate has them, and as the network sees them.
pub(crate) struct Pictures {
    /// On white, at full size.
    pub(crate) originals: Vec<RgbImage>,
    /// Made smaller, named, and labelled with the group (`Flags`, `Objects`, …).
    pub(crate) set: Memory,
    /// The group of each.
    pub(crate) groups: Vec<Option<u32>>,
}

impl Pictures {
    /// `count` pictures of `side`, spread evenly over the emoji without a skin tone; all of them if there are fewer.
    pub(crate) fn load(count: usize, side: u32) -> Result<Self> {
        let all: Vec<_> = emojis::iter().filter_map(|e| Some((e, find(e.as_str())?))).collect();
        let count = count.min(all.len());
        let classes: Vec<_> = emojis::Group::iter().collect();
        let (mut originals, mut small, mut names, mut groups) = (Vec::new(), Vec::new(), Vec::new(), Vec::new());
        for i in 0..count {
            let (emoji, asset) = all[i * all.len() / count];
            let picture = on_white(asset.data.0).map_err(|e| Error::data(emoji.name(), format!("cannot be decoded: {e}")))?;
            let reduced = imageops::resize(&picture, side, side, FilterType::Triangle);
            small.push(Image::new(side, side, reduced.into_raw())?);
            names.push(emoji.name().to_owned());
            groups.push(classes.iter().position(|&group| group == emoji.group()).map(|class| class as u32));
            originals.push(picture);
        }
        let class_names = classes.iter().map(|group| format!("{group:?}")).collect();
        let set = Memory::new(small)?.with_names(names)?.with_labels(groups.clone(), class_names)?;
        Ok(Self { originals, set, groups })
    }

    /// All pictures in their order, packed `batch` at a time.
    pub(crate) fn batches(&self, batch: usize) -> Result<Vec<Batch>> {
        let indices: Vec<u32> = (0..self.originals.len() as u32).collect();
        indices.chunks(batch).map(|some| Batch::gather(&self.set, some)).collect()
    }
}

fn on_white(png: &[u8]) -> image::ImageResult<RgbImage> {
    let picture = image::load_from_memory(png)?.to_rgba8();
    Ok(RgbImage::from_fn(picture.width(), picture.height(), |x, y| {
        let [r, g, b, alpha] = picture.get_pixel(x, y).0.map(u32::from);
        Rgb([r, g, b].map(|c| ((c * alpha + 255 * (255 - alpha) + 127) / 255) as u8))
    }))
}

/// The crate leaves the variation selector out of most names.
fn find(emoji: &str) -> Option<&'static PngTwemojiAsset> {
    PngTwemojiAsset::from_emoji(emoji).or_else(|| PngTwemojiAsset::from_emoji(&emoji.replace('\u{fe0f}', "")))
}
