//! A tensor as a file holds it: element type, shape, little-endian bytes.

use crate::error::{Error, Result};
use crate::shape::Shape;

/// The element types that we read and write.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum DType {
    /// 32-bit float.
    F32,
    /// 64-bit float.
    F64,
    /// 16-bit float, kept as bytes: this room does no arithmetic.
    F16,
    /// Signed 32-bit integer.
    I32,
    /// Signed 64-bit integer.
    I64,
    /// Unsigned 32-bit integer.
    U32,
    /// Unsigned byte.
    U8,
}

impl DType {
    const ALL: [Self; 7] = [Self::F32, Self::F64, Self::F16, Self::I32, Self::I64, Self::U32, Self::U8];

    /// The name in the file, which is safetensors'.
    pub fn name(self) -> &'static str {
        match self {
            Self::F32 => "F32",
            Self::F64 => "F64",
            Self::F16 => "F16",
            Self::I32 => "I32",
            Self::I64 => "I64",
            Self::U32 => "U32",
            Self::U8 => "U8",
        }
    }

    /// The type of that name, if we know it.
    pub fn from_name(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|d| d.name() == name)
    }

    /// Bytes of one element.
    pub fn size_bytes(self) -> usize {
        match self {
            Self::F64 | Self::I64 => 8,
            Self::F32 | Self::I32 | Self::U32 => 4,
            Self::F16 => 2,
            Self::U8 => 1,
        }
    }
}

/// A tensor in the file's own form. Its bytes always fit its type and shape.
///
/// Shapes: up to four dimensions, row-major; `[]` is a scalar with one element; a dimension of 0 means no bytes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Tensor {
    dtype: DType,
    shape: Shape,
    bytes: Vec<u8>,
}

impl Tensor {
    /// A tensor of little-endian `bytes`.
    ///
    /// # Errors
    /// [`Error::Value`] for a shape that [`Shape`] refuses; [`Error::Shape`] if `bytes` is too short or too long.
    pub fn new(dtype: DType, shape: &[usize], bytes: Vec<u8>) -> Result<Self> {
        let shape = Shape::new(shape)?;
        if byte_count(dtype, shape) != Some(bytes.len()) {
            let got = format!("{} bytes", bytes.len());
            return Err(Error::shape("checkpoint", "bytes", format!("{shape} of {}", dtype.name()), got));
        }
        Ok(Self { dtype, shape, bytes })
    }

    /// The element type.
    pub fn dtype(&self) -> DType {
        self.dtype
    }

    /// The dimensions, outermost first.
    pub fn shape(&self) -> &[usize] {
        self.shape.dims()
    }

    /// The elements, little-endian.
    pub fn bytes(&self) -> &[u8] {
        &self.bytes
    }

    /// The elements, little-endian, without a copy.
    pub fn into_bytes(self) -> Vec<u8> {
        self.bytes
    }
}

/// Bytes of a tensor, or `None` where this machine cannot count them.
pub(super) fn byte_count(dtype: DType, shape: Shape) -> Option<usize> {
    shape.count().checked_mul(dtype.size_bytes())
}

macro_rules! typed {
    ($($name:ident $as_name:ident $type:ty, $dtype:ident;)*) => {
        impl Tensor {$(
            #[doc = concat!("A tensor of `", stringify!($type), "` values, row-major.")]
            ///
            /// # Errors
            /// [`Error::Value`] for a shape that [`Shape`] refuses; [`Error::Shape`] if there are too few or too many values.
            pub fn $name(shape: &[usize], values: &[$type]) -> Result<Self> {
                Self::new(DType::$dtype, shape, values.iter().flat_map(|v| v.to_le_bytes()).collect())
            }

            #[doc = concat!("The values of a tensor of ", stringify!($dtype), ", row-major. No conversion: see [`Tensor::dtype`].")]
            ///
            /// # Errors
            /// [`Error::Value`] if the tensor has another type.
            pub fn $as_name(&self) -> Result<Vec<$type>> {
                if self.dtype != DType::$dtype {
                    return Err(Error::value("checkpoint", "dtype", stringify!($dtype), self.dtype.name()));
                }
                let (chunks, _) = self.bytes.as_chunks();
                Ok(chunks.iter().map(|&c| <$type>::from_le_bytes(c)).collect())
            }
        )*}
    };
}

typed! {
    f32 as_f32 f32, F32;
    f64 as_f64 f64, F64;
    i32 as_i32 i32, I32;
    i64 as_i64 i64, I64;
    u32 as_u32 u32, U32;
    u8 as_u8 u8, U8;
}
