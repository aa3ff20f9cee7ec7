//! The pieces of simulated worlds, for tests alone: a disk in memory that loses what was not synced, a network that loses,
//! delays, doubles and reorders, clocks that disagree, and seeds.
//!
//! A world is one thread, one [`Rng`], and the shipped code of whatever it is a world of. The same seed is the same
//! world, on every machine: nothing here asks the system for time or chance.

mod clock;
mod counters;
pub mod disk;
mod network;
pub mod seeds;
mod trace;

pub use clock::NodeClock;
pub use disk::MemoryDisk;
pub use network::{Network, Weather};
pub use ottla_log::testing::Rng;
pub use trace::Trace;
