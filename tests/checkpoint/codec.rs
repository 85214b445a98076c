//! What goes in comes out, in our files and in those of others; equal state gives equal bytes (R30).

use crate::{sample, step_of};
use instdisc::checkpoint::{DType, File, Tensor};
use proptest::prelude::*;

#[test]
fn a_file_survives_the_round_trip() {
    let file = sample(7, 100);
    let bytes = file.encode().unwrap();
    for back in [File::decode("x", &bytes).unwrap(), File::decode_own("x", &bytes).unwrap()] {
        assert!(back.verified());
        assert_eq!(back.tensors, file.tensors);
        assert_eq!(back.metadata, file.metadata);
        assert_eq!(step_of(&back), 7);
        assert_eq!(back.get("counts").unwrap().as_i32().unwrap(), [-1, 0, 1]);
        assert_eq!(back.get("tracked").unwrap().as_i64().unwrap(), [i64::MIN]);
        assert_eq!(back.get("loss").unwrap().as_f64().unwrap(), [7.0, -0.5]);
        assert_eq!(back.get("mask").unwrap().as_u8().unwrap(), [1, 2, 3]);
        assert_eq!(back.get("half").unwrap().bytes(), [0, 0x3c]);
        assert_eq!(back.get("none").unwrap().shape(), [0, 4]);
        assert!(back.get("counts").unwrap().as_f32().unwrap_err().to_string().contains("F32"));
        assert!(back.get("absent").unwrap_err().to_string().contains("absent"));
    }
    let empty = File::default().encode().unwrap();
    assert!(File::decode_own("x", &empty).unwrap().tensors.is_empty());
}

#[test]
fn nan_and_negative_zero_keep_their_bits() {
    let bits = [0x7fc0_0001, 0xff80_0000, 0x8000_0000, 0x7f80_0001, 1];
    let mut file = File::default();
    file.tensors.insert("x".into(), Tensor::f32(&[5], &bits.map(f32::from_bits)).unwrap());
    let back = File::decode_own("x", &file.encode().unwrap()).unwrap();
    assert_eq!(back.get("x").unwrap().as_f32().unwrap().iter().map(|v| v.to_bits()).collect::<Vec<_>>(), bits);
}

#[test]
fn elements_are_aligned_whatever_their_types() {
    let bytes = sample(1, 5).encode().unwrap();
    let header = u64::from_le_bytes(bytes[..8].try_into().unwrap()) as usize;
    assert_eq!(header % 8, 0);
    let json: serde_json::Value = serde_json::from_slice(&bytes[8..8 + header]).unwrap();
    for (name, entry) in json.as_object().unwrap().iter().filter(|(name, _)| *name != "__metadata__") {
        let size = DType::from_name(entry["dtype"].as_str().unwrap()).unwrap().size_bytes() as u64;
        assert_eq!(entry["data_offsets"][0].as_u64().unwrap() % size, 0, "{name}");
    }
}

#[test]
fn equal_state_gives_equal_bytes() {
    // R30. The order in which things were put in does not matter, nor does a round trip.
    let first = sample(3, 500).encode().unwrap();
    let mut equal = 0;
    for turn in 0..20u64 {
        let source = sample(3, 500);
        let mut file = File::default();
        let mut names: Vec<_> = source.tensors.keys().collect();
        names.sort_by_key(|name| crate::random(turn, name.len() as u64 + u64::from(name.as_bytes()[0])));
        for name in names {
            file.tensors.insert(name.clone(), source.tensors[name].clone());
        }
        file.metadata.extend(source.metadata.into_iter().rev());
        let bytes = file.encode().unwrap();
        equal += usize::from(bytes == first && File::decode("x", &bytes).unwrap().encode().unwrap() == first);
    }
    println!("scorecard R30 {equal} of 20 saves of one state identical");
    assert_eq!(equal, 20);
}

#[test]
fn what_a_reader_would_refuse_is_not_written() {
    let tensor = Tensor::u8(&[1], &[0]).unwrap();
    let with = |change: &dyn Fn(&mut File)| {
        let mut file = File::default();
        change(&mut file);
        file.encode()
    };
    assert!(with(&|f| drop(f.metadata.insert("format".into(), "pt".into()))).is_err());
    assert!(with(&|f| drop(f.metadata.insert("crc32c.tensors".into(), String::new()))).is_err());
    assert!(with(&|f| drop(f.metadata.insert("long".into(), "x".repeat(1 << 20)))).is_err());
    assert!(with(&|f| drop(f.tensors.insert("__metadata__".into(), tensor.clone()))).is_err());
    assert!(with(&|f| drop(f.tensors.insert("n".repeat(257), tensor.clone()))).is_err());
    assert!(with(&|f| f.tensors.extend((0..4097).map(|i| (i.to_string(), tensor.clone())))).is_err());
    let most = with(&|f| {
        f.tensors.extend((0..4095).map(|i| (i.to_string(), tensor.clone())));
        f.tensors.insert("n".repeat(256), tensor.clone());
    });
    assert_eq!(File::decode_own("x", &most.unwrap()).unwrap().tensors.len(), 4096);
    assert!(Tensor::f32(&[2, 2], &[0.0; 3]).is_err());
    assert!(Tensor::f32(&[1; 5], &[0.0]).is_err());
    assert!(Tensor::f32(&[0, 1 << 31], &[]).is_err());
    assert!(Tensor::new(DType::F16, &[usize::MAX, usize::MAX], vec![]).is_err());
}

#[test]
fn files_of_others_are_read_but_not_taken_for_ours() {
    let bytes =
        foreign(r#"{"w":{"dtype":"F32","shape":[1],"data_offsets":[0,4]},"__metadata__":{"format":"pt"}}"#, &[0, 0, 128, 63]);
    let file = File::decode("x", &bytes).unwrap();
    assert!(!file.verified());
    assert_eq!(file.metadata["format"], "pt");
    assert_eq!(file.get("w").unwrap().as_f32().unwrap(), [1.0]);
    let refused = File::decode_own("x", &bytes).unwrap_err().to_string();
    assert!(refused.contains("no checkpoint of ours"), "{refused}");
}

/// A file with that header, as another program might write it.
pub(crate) fn foreign(header: &str, data: &[u8]) -> Vec<u8> {
    [&(header.len() as u64).to_le_bytes(), header.as_bytes(), data].concat()
}

fn any_file() -> impl Strategy<Value = File> {
    let tensor = (prop::collection::vec(0usize..5, 0..5), 0usize..7).prop_map(|(shape, dtype)| {
        let dtype = ["F32", "F64", "F16", "I32", "I64", "U32", "U8"].map(DType::from_name)[dtype].unwrap();
        let count = shape.iter().product::<usize>() * dtype.size_bytes();
        Tensor::new(dtype, &shape, (0..count).map(|i| i as u8).collect()).unwrap()
    });
    let tensors = prop::collection::btree_map(".{0,20}", tensor, 0..8);
    (tensors, prop::collection::btree_map(".{0,9}", ".{0,30}", 0..6)).prop_map(|(tensors, metadata)| {
        let mut file = File::default();
        (file.tensors, file.metadata) = (tensors, metadata);
        file
    })
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 10_000, failure_persistence: None, ..Default::default() })]

    #[test]
    fn any_file_survives_the_round_trip(file in any_file()) {
        let back = File::decode_own("x", &file.encode().unwrap()).unwrap();
        prop_assert_eq!(&back.tensors, &file.tensors);
        prop_assert_eq!(&back.metadata, &file.metadata);
    }

    #[test]
    fn random_bytes_never_panic(bytes in prop::collection::vec(any::<u8>(), 0..400), header in ".{0,300}") {
        let _ = File::decode("x", &bytes);
        let _ = File::decode("x", &foreign(&header, &bytes));
    }

    #[test]
    fn mutated_files_never_panic(file in any_file(), edits in prop::collection::vec((any::<prop::sample::Index>(), any::<u8>(), 0..3u8), 1..9)) {
        // the seal is undone by giving it another name, so that the edits reach the parser
        let mut bytes = file.encode().unwrap();
        for (place, byte, how) in edits {
            let place = place.index(bytes.len());
            match how {
                0 => bytes[place] = byte,
                1 => bytes.insert(place, byte),
                _ => drop(bytes.remove(place)),
            }
            if bytes.is_empty() {
                break;
            }
        }
        prop_assert!(File::decode_own("x", &bytes).is_err() || bytes == file.encode().unwrap());
        let _ = File::decode("x", &bytes);
        let text = String::from_utf8_lossy(&bytes).replace("crc32c.", "other.").replace("instdisc-", "somebody-");
        let text = text.char_indices().find(|(_, c)| *c == '{').map_or("", |(at, _)| &text[at..]);
        let end = text.rfind('}').map_or(0, |at| at + 1);
        let _ = File::decode("x", &foreign(&text[..end], &text.as_bytes()[end..]));
    }

    #[test]
    fn headers_of_likely_words_never_panic(words in prop::collection::vec(prop::sample::select(WORDS), 0..60), data in 0usize..32) {
        let _ = File::decode("x", &foreign(&format!("{{{}", words.concat()), &vec![0; data]));
    }
}

const WORDS: &[&str] = &[
    "{",
    "}",
    "[",
    "]",
    ",",
    ":",
    "\"a\"",
    "\"b\"",
    "\"dtype\"",
    "\"shape\"",
    "\"data_offsets\"",
    "\"F32\"",
    "\"U8\"",
    "0",
    "1",
    "4",
    "-1",
    "1e9",
    "18446744073709551615",
    "\"__metadata__\"",
    "\"a\":{\"dtype\":\"U8\",\"shape\":[4],\"data_offsets\":[0,4]}",
    "null",
    "true",
    "\\",
    "\"\\u0061\"",
    " ",
    "\"crc32c.header\":\"00000000\"",
];
