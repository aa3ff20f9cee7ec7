//! What all generated types share.

use std::ops::RangeInclusive;

use bytes::Bytes;

use crate::ApiKey;
use crate::codec::{DecodeError, DecodeFault, Decoder, EncodeError, EncodeFault, Encoder};

/// A struct of the schemas, read and written field by field. The version is the enclosing message's and is taken to
/// be one that exists; [`Message`] checks it.
pub trait Fields: Sized + Default {
    /// Reads the struct.
    fn read(d: &mut Decoder, version: i16) -> Result<Self, DecodeFault>;

    /// Writes the struct.
    fn write(&self, e: &mut Encoder, version: i16) -> Result<(), EncodeFault>;
}

/// A message, record or header: a struct with versions of its own.
pub trait Message: Fields {
    /// The schema's name.
    const NAME: &'static str;
    /// The versions that can be read and written.
    const VERSIONS: RangeInclusive<i16>;
    /// The first version with compact lengths and tagged fields.
    const FLEXIBLE_FROM: Option<i16>;

    /// Reads the message; what follows it is left in `d`.
    fn decode(d: &mut Decoder, version: i16) -> Result<Self, DecodeError> {
        let message = if Self::VERSIONS.contains(&version) {
            Self::read(d, version)
        } else {
            Err(DecodeFault::Version { supported: Self::VERSIONS })
        };
        message.map_err(|fault| decode_error::<Self>(d, version, fault))
    }

    /// Writes the message. Fails on a value that the version cannot express; then `e` holds a part of it.
    fn encode(&self, e: &mut Encoder, version: i16) -> Result<(), EncodeError> {
        let written = if Self::VERSIONS.contains(&version) {
            self.write(e, version)
        } else {
            Err(EncodeFault::Version { supported: Self::VERSIONS })
        };
        written.map_err(|fault| EncodeError { message: Self::NAME, version, fault })
    }
}

/// A request's body.
pub trait Request: Message {
    /// The API that it belongs to.
    const KEY: ApiKey;
    /// The answer's body.
    type Response: Message;
}

/// A record that is identified by a number: in the metadata log, or a coordinator's key or value.
pub trait Record: Message {
    /// The number.
    const API_KEY: i16;
}

/// Reads a message that must fill `bytes`.
pub fn decode_exact<M: Message>(bytes: Bytes, version: i16) -> Result<M, DecodeError> {
    let mut d = Decoder::new(bytes);
    let message = M::decode(&mut d, version)?;
    match d.remaining() {
        0 => Ok(message),
        left => Err(decode_error::<M>(&d, version, DecodeFault::Trailing { left })),
    }
}

/// Writes a message into one buffer; fails on a file region.
pub fn encode_to_bytes<M: Message>(message: &M, version: i16) -> Result<Bytes, EncodeError> {
    let mut e = Encoder::new();
    message.encode(&mut e, version)?;
    let region = EncodeError { message: M::NAME, version, fault: EncodeFault::Region };
    e.finish().into_bytes().ok_or(region)
}

fn decode_error<M: Message>(d: &Decoder, version: i16, fault: DecodeFault) -> DecodeError {
    DecodeError { message: M::NAME, version, position: d.position(), fault }
}
