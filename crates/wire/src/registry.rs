//! All messages in one list, for tests, fuzzing and tools that treat every message alike.

use std::ops::RangeInclusive;

use bytes::Bytes;

use crate::codec::{DecodeError, EncodeError, EncodeFault};
use crate::message::{Message, decode_exact, encode_to_bytes};

pub use crate::generated::registry::SCHEMAS;

/// The outcome of reading and then of writing.
pub type Recoded = Result<Result<Bytes, EncodeError>, DecodeError>;

/// What a message is used for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    /// A request's body.
    Request,
    /// A response's body.
    Response,
    /// A header.
    Header,
    /// A record of the metadata log.
    MetadataRecord,
    /// Anything else.
    Data,
    /// The key of a coordinator's record.
    CoordinatorKey,
    /// The value of a coordinator's record.
    CoordinatorValue,
}

/// A message, record or header.
#[derive(Debug, Clone)]
pub struct Schema {
    /// The schema's name.
    pub name: &'static str,
    /// The folder of its schema.
    pub family: &'static str,
    /// What it is used for.
    pub kind: Kind,
    /// The API key or record type.
    pub key: Option<i16>,
    /// The versions that exist.
    pub versions: RangeInclusive<i16>,
    /// The first flexible version.
    pub flexible_from: Option<i16>,
    decode: fn(Bytes, i16) -> Result<(), DecodeError>,
    recode: fn(Bytes, i16, i16) -> Recoded,
    default: fn(i16) -> Result<Bytes, EncodeError>,
}

impl Schema {
    pub(crate) const fn of<M: Message>(family: &'static str, kind: Kind, key: Option<i16>) -> Self {
        Self {
            name: M::NAME,
            family,
            kind,
            key,
            versions: M::VERSIONS,
            flexible_from: M::FLEXIBLE_FROM,
            decode: |bytes, version| decode_exact::<M>(bytes, version).map(|_| ()),
            recode: |bytes, from, to| Ok(encode_to_bytes(&decode_exact::<M>(bytes, from)?, to)),
            default: |version| encode_to_bytes(&M::default(), version),
        }
    }

    /// The schema of that name.
    pub fn by_name(name: &str) -> Option<&'static Self> {
        SCHEMAS.iter().find(|schema| schema.name == name)
    }

    /// Reads a message and drops it.
    pub fn decode(&self, bytes: Bytes, version: i16) -> Result<(), DecodeError> {
        (self.decode)(bytes, version)
    }

    /// Reads a message at one version and writes it at another.
    pub fn recode(
        &self,
        bytes: Bytes,
        from: i16,
        to: i16,
    ) -> Result<Result<Bytes, EncodeError>, DecodeError> {
        (self.recode)(bytes, from, to)
    }

    /// Whether bytes that can be read can also be written, and stay the same from then on. True for bytes that cannot
    /// be read, and for a tag that occurs twice, which is read as Kafka does but never written.
    pub fn settles(&self, bytes: Bytes, version: i16) -> bool {
        match self.recode(bytes, version, version) {
            Ok(Ok(written)) => self.recode(written.clone(), version, version) == Ok(Ok(written)),
            Ok(Err(error)) => matches!(error.fault, EncodeFault::DuplicateTag(_)),
            Err(_) => true,
        }
    }

    /// The message with every field at its default.
    pub fn default_bytes(&self, version: i16) -> Result<Bytes, EncodeError> {
        (self.default)(version)
    }
}
