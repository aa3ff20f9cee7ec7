//! Group coordination: who is in a group, who consumes what, and how far they have come.
//!
//! ```text
//! api/join_group … ─▶ Coordinator ─▶ the task of a partition (runner) ─▶ Shard ─▶ ClassicGroup, OffsetStore
//!                                        │        ▲                      pure: no clock, no I/O
//!                                        ▼        │
//!                                   __consumer_offsets (log)
//! ```

pub mod classic;
mod coordinator;
mod error;
pub mod load;
pub mod log;
pub mod offsets;
pub mod placement;
pub mod record;
pub(crate) mod runner;
pub mod shard;
pub mod timers;
pub mod topic;

pub use coordinator::Coordinator;
pub use error::{GroupError, WriteResult};

pub use topic::offsets_topic;

pub use ottla_wire::Str;
