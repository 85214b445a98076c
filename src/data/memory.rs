//! Images that are in memory already.

use super::{Dataset, Image, no_image};
use crate::error::{Error, Result};

/// A data set of images that an application has in memory.
///
/// Images may differ in size. They are named `0`, `1`, … unless [`with_names`](Self::with_names) says otherwise.
///
/// ```
/// use instdisc::data::{Dataset, Image, Memory};
/// let images = vec![Image::new(1, 1, vec![1, 2, 3])?, Image::new(2, 1, vec![0; 6])?];
/// let set = Memory::new(images)?.with_labels(vec![Some(0), None], vec!["cat".into()])?;
/// assert_eq!((set.len(), set.name(1), set.label(0)), (2, "1", Some(0)));
/// # Ok::<(), instdisc::Error>(())
/// ```
#[derive(Clone, Debug)]
pub struct Memory {
    images: Vec<Image>,
    names: Vec<String>,
    labels: Vec<Option<u32>>,
    classes: Vec<String>,
}

impl Memory {
    /// A data set of these images, in this order, without labels. It may be empty.
    ///
    /// # Errors
    /// [`Error::Value`] if an image's sides and bytes disagree (see [`Image::new`]), or there are 2³² images or more.
    pub fn new(images: Vec<Image>) -> Result<Self> {
        if u32::try_from(images.len()).is_err() {
            return Err(Error::value("memory", "images", "fewer than 2^32 images", images.len()));
        }
        images.iter().try_for_each(Image::check)?;
        let names = (0..images.len()).map(|i| i.to_string()).collect();
        Ok(Self { labels: vec![None; images.len()], classes: Vec::new(), names, images })
    }

    /// The same with a name for each image.
    ///
    /// # Errors
    /// [`Error::Shape`] if there are not as many names as images.
    pub fn with_names(mut self, names: Vec<String>) -> Result<Self> {
        self.as_many("names", names.len())?;
        self.names = names;
        Ok(self)
    }

    /// The same with a label for each image (or `None`) and the names of the classes that labels count.
    ///
    /// # Errors
    /// [`Error::Shape`] if there are not as many labels as images; [`Error::Value`] if a label has no class.
    pub fn with_labels(mut self, labels: Vec<Option<u32>>, classes: Vec<String>) -> Result<Self> {
        self.as_many("labels", labels.len())?;
        if let Some(label) = labels.iter().flatten().find(|&&label| label as usize >= classes.len()) {
            return Err(Error::value("memory", "labels", format!("below {}, the number of classes", classes.len()), label));
        }
        self.labels = labels;
        self.classes = classes;
        Ok(self)
    }

    fn as_many(&self, arg: &'static str, got: usize) -> Result<()> {
        let expected = self.images.len();
        if got == expected { Ok(()) } else { Err(Error::shape("memory", arg, format!("[{expected}]"), format!("[{got}]"))) }
    }
}

impl Dataset for Memory {
    fn len(&self) -> usize {
        self.images.len()
    }

    fn name(&self, i: usize) -> &str {
        self.names.get(i).map_or("", String::as_str)
    }

    fn label(&self, i: usize) -> Option<u32> {
        self.labels.get(i).copied().flatten()
    }

    fn classes(&self) -> &[String] {
        &self.classes
    }

    fn image(&self, i: usize) -> Result<Image> {
        self.images.get(i).cloned().ok_or_else(|| no_image(i, self.images.len()))
    }

    fn bytes(&self, i: usize) -> Option<u64> {
        self.images.get(i).map(|image| image.rgb.len() as u64)
    }
}
