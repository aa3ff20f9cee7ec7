//! Following other brokers' partitions: fetching their logs, and asking the controller for ISRs.
//!
//! - [`Fetcher`] is one connection's worth of followed partitions as a state machine: what to ask the leader, and what its
//!   answers mean. `session` keeps a leader from being told the same again with every request (KIP-227).
//! - `follow` does to the logs what a fetcher says; `run` is the loop around both, over a [`Peer`], which `connections` makes.
//! - [`Replication`] has a fetcher for each leader, or several, as the metadata wants it.
//! - [`isr`] carries leaders' proposals to the controller.

#[cfg(test)]
pub(crate) mod answers;
mod connections;
mod fetcher;
mod follow;
pub mod isr;
#[cfg(test)]
mod key_tests;
mod peer;
mod run;
mod session;
#[cfg(test)]
mod simulation;
mod supervisor;
#[cfg(test)]
mod tests;

pub use connections::Connections;
pub use fetcher::{Action, Command, FetchSettings, Fetcher, Followed, FollowedKey, Step, fit};
pub use follow::carry_out;
pub use peer::{AsksForIsrs, Connect, Peer, PeerError};
pub use supervisor::Replication;
