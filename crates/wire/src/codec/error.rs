//! What can be wrong with bytes to be read, or with a message to be written.

use std::ops::RangeInclusive;

use crate::primitive::VarintError;

/// A frame or record that cannot be read.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{message} version {version}, byte {position}: {fault}")]
pub struct DecodeError {
    /// The message's name.
    pub message: &'static str,
    /// The version that it was read as.
    pub version: i16,
    /// How far into the decoder's bytes reading came.
    pub position: usize,
    /// What was found there.
    pub fault: DecodeFault,
}

/// What is wrong with bytes.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum DecodeFault {
    /// A field wants more bytes than there are.
    #[error("{wanted} bytes wanted, {remaining} there")]
    Truncated {
        /// What the field wants.
        wanted: usize,
        /// What is left.
        remaining: usize,
    },
    /// An array claims more elements than there are bytes.
    #[error("an array of {claimed} elements in {remaining} bytes")]
    ArrayTooLong {
        /// The claimed number of elements.
        claimed: usize,
        /// What is left, in bytes.
        remaining: usize,
    },
    /// Arrays that would take far more memory than the frame has bytes.
    #[error("too many elements for the size of the frame")]
    TooManyElements,
    /// Null where the version has no null.
    #[error("null where null is not allowed")]
    Null,
    /// A string longer than 32,767 bytes.
    #[error("a string of {0} bytes, more than there can be")]
    StringTooLong(usize),
    /// A string that is not UTF-8.
    #[error("a string is not UTF-8")]
    Utf8,
    /// A malformed variable-length integer.
    #[error(transparent)]
    Varint(#[from] VarintError),
    /// A tagged field whose content ends before its size does.
    #[error("tagged field {tag} is {left} bytes longer than its content")]
    TagSize {
        /// The field's tag.
        tag: u32,
        /// How many bytes are too many.
        left: usize,
    },
    /// Bytes after the end of the message.
    #[error("{left} bytes after the end")]
    Trailing {
        /// How many.
        left: usize,
    },
    /// The message has no such version.
    #[error("only versions {} to {} exist", supported.start(), supported.end())]
    Version {
        /// Those that exist.
        supported: RangeInclusive<i16>,
    },
    /// A record's frame is of an unknown kind.
    #[error("frame version {0} is unknown")]
    FrameVersion(u32),
}

/// A message that cannot be written at a version.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{message} version {version}: {fault}")]
pub struct EncodeError {
    /// The message's name.
    pub message: &'static str,
    /// The version that was asked for.
    pub version: i16,
    /// What cannot be written.
    pub fault: EncodeFault,
}

/// What is wrong with a message. Fields are named `Struct.field`.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum EncodeFault {
    /// A field that must not be lost has a value, and the version has no place for it.
    #[error("{0} is set, but does not exist in this version")]
    NotInVersion(&'static str),
    /// Null where the version has no null.
    #[error("{0} is null, which this version does not allow")]
    Null(&'static str),
    /// A length that its prefix cannot hold.
    #[error("a length of {0} does not fit its prefix")]
    TooLong(usize),
    /// Two tagged fields with the same tag.
    #[error("tag {0} occurs twice")]
    DuplicateTag(u32),
    /// A file region where bytes are asked for.
    #[error("holds a file region")]
    Region,
    /// The message has no such version.
    #[error("only versions {} to {} exist", supported.start(), supported.end())]
    Version {
        /// Those that exist.
        supported: RangeInclusive<i16>,
    },
}
