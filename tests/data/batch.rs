//! Images in memory and batches packed for the GPU.

use crate::{images, memory, refusal, says};
use instdisc::Error;
use instdisc::data::{Batch, Dataset, Image, Memory};

#[test]
fn a_batch_holds_its_images_on_word_boundaries() {
    let set = memory(20);
    let indices = [7, 0, 19, 7, 3];
    let batch = Batch::gather(&set, &indices).unwrap();
    assert_eq!(batch.len(), 5);
    let mut offset = 0;
    for (slot, &index) in indices.iter().enumerate() {
        let image = set.image(index as usize).unwrap();
        assert_eq!(batch.table[slot], [offset, image.width, image.height, index]);
        for (i, &byte) in image.rgb.iter().enumerate() {
            assert_eq!((batch.pixels[offset as usize + i / 4] >> (8 * (i % 4))) as u8, byte);
        }
        offset += image.rgb.len().div_ceil(4) as u32;
        assert_eq!(batch.image(slot), Some(image));
    }
    assert_eq!(batch.pixels.len() as u32, offset);
}

#[test]
fn what_is_over_in_the_last_word_is_zero() {
    let set = Memory::new(vec![Image::new(3, 1, vec![255; 9]).unwrap()]).unwrap();
    assert_eq!(Batch::gather(&set, &[0]).unwrap().pixels, [u32::MAX, u32::MAX, 255]);
}

#[test]
fn a_batch_that_lies_gives_no_image() {
    let mut batch = Batch::gather(&memory(2), &[0, 1]).unwrap();
    assert_eq!(batch.image(2), None);
    batch.table = vec![[1, 60, 60, 0], [u32::MAX, 1, 1, 0], [0, u32::MAX, u32::MAX, 0]];
    assert!((0..3).all(|slot| batch.image(slot).is_none()));
}

#[test]
fn images_whose_bytes_and_sides_disagree_are_refused() {
    assert!(Image::new(0, 1, vec![]).is_err());
    assert!(Image::new(u32::MAX, u32::MAX, vec![0; 3]).is_err());
    let broken = Image { width: 2, height: 2, rgb: vec![0; 11] };
    says(&refusal(Memory::new(vec![broken.clone()])), &["11 bytes for 2 × 2"]);
    assert!(matches!(Batch::default().push(0, &broken), Err(Error::Value { .. })));
}

#[test]
fn names_and_labels_must_be_as_many_as_images() {
    let set = Memory::new(images(2)).unwrap();
    assert_eq!((set.name(0), set.name(1), set.name(2), set.label(0)), ("0", "1", "", None));
    assert!(matches!(set.clone().with_names(vec!["a".into()]), Err(Error::Shape { .. })));
    assert!(matches!(set.clone().with_labels(vec![None], vec![]), Err(Error::Shape { .. })));
    assert!(matches!(set.clone().with_labels(vec![None, Some(1)], vec!["a".into()]), Err(Error::Value { .. })));
    assert!(matches!(set.image(2), Err(Error::Value { .. })));
    assert!(Memory::new(vec![]).unwrap().is_empty());
}
