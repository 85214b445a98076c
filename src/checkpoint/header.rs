//! The JSON header of a safetensors file: written sorted, read with suspicion.

use super::tensor::{DType, Tensor, byte_count};
use crate::shape::Shape;
use serde::de::{Deserialize, Deserializer, Error as _, MapAccess, Visitor};
use std::collections::BTreeMap;

/// The longest header that is read or written. The study of a ResNet-50 with its optimiser needs 60 KB.
pub const MAX_HEADER_BYTES: usize = 1 << 20;
/// The most tensors that are read or written.
pub const MAX_TENSORS: usize = 4096;
/// The longest name of a tensor, in bytes of UTF-8.
pub const MAX_NAME_BYTES: usize = 256;

/// The key that holds metadata instead of a tensor, as safetensors has it.
const METADATA: &str = "__metadata__";

/// What the header says of one tensor. The byte count of type and shape equals `end - start`.
#[derive(Debug)]
pub(super) struct Place {
    pub(super) dtype: DType,
    pub(super) shape: Shape,
    pub(super) start: u64,
    pub(super) end: u64,
}

/// A header whose every entry is within the caps; the places are not yet checked against each other.
#[derive(Debug)]
pub(super) struct Header {
    pub(super) metadata: BTreeMap<String, String>,
    pub(super) places: BTreeMap<String, Place>,
}

impl Header {
    /// Reads a header.
    ///
    /// # Errors
    /// The byte within `json` at which it went wrong, and why.
    pub(super) fn parse(json: &[u8]) -> Result<Self, (u64, String)> {
        if json.first() != Some(&b'{') {
            return Err((0, "the header does not begin with `{`, so this is no safetensors file".into()));
        }
        serde_json::from_slice(json).map_err(|e| {
            let before: usize = json.split_inclusive(|&b| b == b'\n').take(e.line().saturating_sub(1)).map(<[u8]>::len).sum();
            (before.saturating_add(e.column()) as u64, format!("the header is wrong: {e}"))
        })
    }

    /// The tensors in the order of their bytes.
    ///
    /// # Errors
    /// The byte within the data at which there is a hole, an overlap or an end too early or too late, and why.
    pub(super) fn in_order(&self, data_bytes: u64) -> Result<Vec<(&str, &Place)>, (u64, String)> {
        let mut order: Vec<_> = self.places.iter().map(|(name, place)| (name.as_str(), place)).collect();
        order.sort_by_key(|&(name, place)| (place.start, place.end, name));
        let mut at = 0;
        for &(name, place) in &order {
            if place.start != at {
                let what = if place.start > at { "there is a hole before" } else { "another tensor overlaps" };
                return Err((at, format!("{what} tensor `{name}`")));
            }
            at = place.end;
        }
        if at != data_bytes {
            let what = if at > data_bytes { "is truncated" } else { "has bytes after its last tensor" };
            return Err((
                at.min(data_bytes),
                format!("the file {what}: the header promises {at} bytes of data, and there are {data_bytes}"),
            ));
        }
        Ok(order)
    }
}

/// The entries of a header that holds `metadata` and `tensors`, one after the other: a JSON object without its braces.
///
/// # Errors
/// Which name or count is outside what a reader takes.
pub(super) fn entries(tensors: &[(&String, &Tensor)]) -> Result<String, String> {
    use std::fmt::Write;
    if tensors.len() > MAX_TENSORS {
        return Err(format!("{} tensors", tensors.len()));
    }
    let (mut json, mut at) = (String::new(), 0);
    for (name, tensor) in tensors {
        if name.len() > MAX_NAME_BYTES || *name == METADATA {
            return Err(format!("a tensor named `{name}`"));
        }
        let (dtype, shape, start) = (tensor.dtype().name(), tensor.shape(), at);
        at += tensor.bytes().len() as u64;
        let name = text(name);
        // writing to a string cannot fail
        let _ = write!(json, r#",{name}:{{"dtype":"{dtype}","shape":{shape:?},"data_offsets":[{start},{at}]}}"#);
    }
    Ok(json)
}

/// `s` as a JSON string.
pub(super) fn text(s: &str) -> String {
    serde_json::Value::from(s).to_string()
}

impl<'de> Deserialize<'de> for Header {
    fn deserialize<D: Deserializer<'de>>(source: D) -> Result<Self, D::Error> {
        struct Entries;
        impl<'de> Visitor<'de> for Entries {
            type Value = Header;
            fn expecting(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
                f.write_str("an object of tensors")
            }
            fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Header, A::Error> {
                let (mut metadata, mut places) = (None, BTreeMap::new());
                while let Some(name) = map.next_key::<String>()? {
                    let twice = if name == METADATA {
                        metadata.replace(map.next_value::<Texts>()?.0).is_some()
                    } else if name.len() > MAX_NAME_BYTES || places.len() == MAX_TENSORS {
                        return Err(A::Error::custom(format!(
                            "more than {MAX_TENSORS} tensors or {MAX_NAME_BYTES} bytes of name"
                        )));
                    } else {
                        let place = map.next_value().map_err(|e| A::Error::custom(format!("tensor `{name}`: {e}")))?;
                        places.insert(name.clone(), place).is_some()
                    };
                    if twice {
                        return Err(A::Error::custom(format!("`{name}` stands there twice")));
                    }
                }
                Ok(Header { metadata: metadata.unwrap_or_default(), places })
            }
        }
        source.deserialize_map(Entries)
    }
}

/// An object of strings in which no key stands twice.
struct Texts(BTreeMap<String, String>);

impl<'de> Deserialize<'de> for Texts {
    fn deserialize<D: Deserializer<'de>>(source: D) -> Result<Self, D::Error> {
        struct Entries;
        impl<'de> Visitor<'de> for Entries {
            type Value = Texts;
            fn expecting(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
                f.write_str("an object of strings")
            }
            fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Texts, A::Error> {
                let mut texts = BTreeMap::new();
                while let Some((key, value)) = map.next_entry::<String, String>()? {
                    if texts.insert(key.clone(), value).is_some() {
                        return Err(A::Error::custom(format!("metadata `{key}` stands there twice")));
                    }
                }
                Ok(Texts(texts))
            }
        }
        source.deserialize_map(Entries)
    }
}

impl<'de> Deserialize<'de> for Place {
    fn deserialize<D: Deserializer<'de>>(source: D) -> Result<Self, D::Error> {
        struct Fields;
        impl<'de> Visitor<'de> for Fields {
            type Value = Place;
            fn expecting(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
                f.write_str("an object with dtype, shape and data_offsets")
            }
            fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Place, A::Error> {
                let (mut dtype, mut shape, mut offsets) = (None::<String>, None::<Vec<u64>>, None::<[u64; 2]>);
                while let Some(field) = map.next_key::<String>()? {
                    let twice = match field.as_str() {
                        "dtype" => dtype.replace(map.next_value()?).is_some(),
                        "shape" => shape.replace(map.next_value()?).is_some(),
                        "data_offsets" => offsets.replace(map.next_value()?).is_some(),
                        _ => return Err(A::Error::custom(format!("field `{field}` is unknown"))),
                    };
                    if twice {
                        return Err(A::Error::custom(format!("field `{field}` stands there twice")));
                    }
                }
                match (dtype, shape, offsets) {
                    (Some(dtype), Some(shape), Some(offsets)) => place(&dtype, &shape, offsets).map_err(A::Error::custom),
                    _ => Err(A::Error::custom("dtype, shape or data_offsets is missing")),
                }
            }
        }
        source.deserialize_map(Fields)
    }
}

fn place(dtype: &str, dims: &[u64], [start, end]: [u64; 2]) -> Result<Place, String> {
    let dtype = DType::from_name(dtype).ok_or_else(|| {
        format!("type `{dtype}` is not read here; convert the tensor to F32, F64, F16, I32, I64, U32 or U8 where it was made")
    })?;
    if dims.len() > 4 {
        return Err(format!("it has {} dimensions, and four are allowed", dims.len()));
    }
    let sizes = dims.iter().map(|&d| usize::try_from(d)).collect::<Result<Vec<_>, _>>();
    let shape = sizes.ok().and_then(|sizes| Shape::new(&sizes).ok()).ok_or_else(|| format!("shape {dims:?} is too large"))?;
    let bytes = byte_count(dtype, shape).map(|n| n as u64);
    if bytes.is_none() || bytes != end.checked_sub(start) {
        return Err(format!("{shape} of {} does not fit the bytes from {start} to {end}", dtype.name()));
    }
    Ok(Place { dtype, shape, start, end })
}
