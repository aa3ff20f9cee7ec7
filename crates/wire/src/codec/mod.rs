//! Reading and writing of the protocol's primitive types, arrays, nullable structs and tagged fields.

mod decoder;
mod encoder;
mod error;
mod parts;
mod tags;

pub use decoder::Decoder;
pub use encoder::Encoder;
pub(crate) use encoder::required;
pub use error::{DecodeError, DecodeFault, EncodeError, EncodeFault};
pub use parts::{Part, Parts};
pub use tags::{RawTaggedField, Tags};
