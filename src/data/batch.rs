//! Images of one step, packed as the GPU reads them.

use super::{Dataset, Image, Skipped};
use crate::error::{Error, Result};

/// Images of any sizes in one buffer of words, and a table of where each stands.
///
/// Bytes stand four to a word, the first in the lowest bits. An image begins on a word; its last word is filled up
/// with zeros. Images follow one another in the order of the table.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Batch {
    /// The step that the batch is for; 0 where there is none.
    pub step: u64,
    /// Red, green and blue of each pixel, row by row, of each image.
    pub pixels: Vec<u32>,
    /// A row an image: the word of `pixels` at which it begins, its width, its height, its index in the data set.
    pub table: Vec<[u32; 4]>,
    /// Images that belong here and cannot be read, where they are skipped (see [`Loader::skipping`](super::Loader::skipping)).
    pub skipped: Vec<Skipped>,
}

impl Batch {
    /// The images of `dataset` with these indices, in this order.
    ///
    /// # Errors
    /// Those of [`Dataset::image`], and those of [`push`](Self::push).
    ///
    /// ```
    /// use instdisc::data::{Batch, Image, Memory};
    /// let set = Memory::new(vec![Image::new(1, 1, vec![1, 2, 3])?, Image::new(2, 1, vec![4; 6])?])?;
    /// let batch = Batch::gather(&set, &[1, 0])?;
    /// assert_eq!(batch.pixels, [0x0404_0404, 0x0404, 0x0003_0201]);
    /// assert_eq!(batch.table, [[0, 2, 1, 1], [2, 1, 1, 0]]);
    /// # Ok::<(), instdisc::Error>(())
    /// ```
    pub fn gather(dataset: &dyn Dataset, indices: &[u32]) -> Result<Self> {
        let mut batch = Self::default();
        for &index in indices {
            batch.push(index, &dataset.image(index as usize)?)?;
        }
        Ok(batch)
    }

    /// Appends an image, which has `index` in its data set.
    ///
    /// # Errors
    /// [`Error::Value`] if the image's sides and bytes disagree; [`Error::Limit`] if the batch would begin an image
    /// past word 2³².
    pub fn push(&mut self, index: u32, image: &Image) -> Result<()> {
        image.check()?;
        let Ok(offset) = u32::try_from(self.pixels.len()) else {
            return Err(Error::Limit {
                what: "a batch of images".into(),
                asked: self.pixels.len() as u64,
                allowed: u64::from(u32::MAX),
                advice: "take a smaller batch or smaller images",
            });
        };
        let (words, rest) = image.rgb.as_chunks::<4>();
        self.pixels.reserve(words.len() + 1);
        self.pixels.extend(words.iter().map(|&word| u32::from_le_bytes(word)));
        if !rest.is_empty() {
            self.pixels.push(rest.iter().rev().fold(0, |word, &byte| word << 8 | u32::from(byte)));
        }
        self.table.push([offset, image.width, image.height, index]);
        Ok(())
    }

    /// How many images there are.
    pub fn len(&self) -> usize {
        self.table.len()
    }

    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.table.is_empty()
    }

    /// The image in row `slot` of the table, unpacked; `None` if there is no such row or it points past the pixels.
    pub fn image(&self, slot: usize) -> Option<Image> {
        let &[offset, width, height, _] = self.table.get(slot)?;
        let bytes = (width as usize).checked_mul(height as usize)?.checked_mul(3)?;
        let words = self.pixels.get(offset as usize..)?.get(..bytes.div_ceil(4))?;
        let mut rgb: Vec<u8> = words.iter().flat_map(|word| word.to_le_bytes()).collect();
        rgb.truncate(bytes);
        Some(Image { width, height, rgb })
    }
}
