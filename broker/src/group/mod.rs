//! Group coordination: who is in a group, who consumes what, and how far they have come.

pub mod classic;
mod error;
pub mod load;
pub mod offsets;
pub mod record;
pub mod shard;
pub mod timers;

pub use error::{GroupError, WriteResult};

pub use ottla_wire::Str;
