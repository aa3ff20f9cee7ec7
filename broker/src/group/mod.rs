//! Group coordination: who is in a group, who consumes what, and how far they have come.

pub mod classic;
mod error;
pub mod timers;

pub use error::{GroupError, WriteResult};

/// Strings as the wire has them.
pub use bytestring::ByteString as Str;
