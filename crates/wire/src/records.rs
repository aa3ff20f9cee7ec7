//! What is written to the metadata log, to the coordinators' topics and to control batches, with its framing.

use bytes::Bytes;

pub use crate::generated::records::*;

use crate::codec::{DecodeError, DecodeFault, Decoder, EncodeError, EncodeFault, Encoder};
use crate::message::{Message, Record, decode_exact, encode_to_bytes};

/// The only version of the frame around a metadata record.
const FRAME_VERSION: u32 = 1;

/// The frame of a metadata record: three unsigned varints (frame version, record type, record version), and the body.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Frame {
    /// The record's type: [`Record::API_KEY`].
    pub api_key: i16,
    /// The record's version.
    pub version: i16,
    /// The record, to be read by [`decode_exact`].
    pub body: Bytes,
}

impl Frame {
    /// Writes the frame.
    pub fn encode(&self) -> Result<Bytes, EncodeFault> {
        let mut e = Encoder::new();
        e.unsigned_varint(FRAME_VERSION);
        for number in [self.api_key, self.version] {
            e.unsigned_varint(u32::try_from(number).map_err(|_| EncodeFault::NotInVersion("Frame.api_key"))?);
        }
        e.raw(&self.body);
        e.finish().into_bytes().ok_or(EncodeFault::Region)
    }
}

/// Writes a metadata record in its frame.
pub fn encode_framed<R: Record>(record: &R, version: i16) -> Result<Bytes, EncodeError> {
    let body = encode_to_bytes(record, version)?;
    let frame = Frame { api_key: R::API_KEY, version, body };
    frame.encode().map_err(|fault| EncodeError { message: R::NAME, version, fault })
}

/// Reads the frame of a metadata record.
pub fn decode_frame(bytes: Bytes) -> Result<Frame, DecodeFault> {
    let mut d = Decoder::new(bytes);
    match d.unsigned_varint()? {
        FRAME_VERSION => {}
        other => return Err(DecodeFault::FrameVersion(other)),
    }
    let (api_key, version) = (frame_number(&mut d)?, frame_number(&mut d)?);
    Ok(Frame { api_key, version, body: d.rest() })
}

fn frame_number(d: &mut Decoder) -> Result<i16, DecodeFault> {
    i16::try_from(d.unsigned_varint()?).map_err(|_| crate::primitive::VarintError::Overflow.into())
}

/// Writes the key of a coordinator's record: its type in two bytes, and the body, which has one version only.
pub fn encode_key<R: Record>(key: &R) -> Result<Bytes, EncodeError> {
    prefixed(key, R::API_KEY, *R::VERSIONS.start())
}

/// Writes the value of a coordinator's record: its version in two bytes, and the body. The consumer protocol's
/// subscriptions and assignments, and the value of an end-of-transaction marker look the same.
pub fn encode_value<M: Message>(value: &M, version: i16) -> Result<Bytes, EncodeError> {
    prefixed(value, version, version)
}

fn prefixed<M: Message>(message: &M, prefix: i16, version: i16) -> Result<Bytes, EncodeError> {
    let mut e = Encoder::new();
    e.i16(prefix);
    message.encode(&mut e, version)?;
    let region = EncodeError { message: M::NAME, version, fault: EncodeFault::Region };
    e.finish().into_bytes().ok_or(region)
}

/// Splits the key or value of a coordinator's record into its prefix (type or version) and the body.
pub fn split_prefix(bytes: Bytes) -> Result<(i16, Bytes), DecodeFault> {
    let mut d = Decoder::new(bytes);
    Ok((d.i16()?, d.rest()))
}

/// Reads what [`encode_value`] wrote.
pub fn decode_value<M: Message>(bytes: Bytes) -> Result<M, DecodeError> {
    let fault = |fault| DecodeError { message: M::NAME, version: -1, position: 0, fault };
    let (version, body) = split_prefix(bytes).map_err(fault)?;
    decode_exact(body, version)
}
