//! Configuration keys over the wire: each changes what a node does. `in_use.tsv` of `crates/config` names the test of each key.
#![allow(
    missing_docs,
    clippy::unwrap_used,
    clippy::indexing_slicing,
    clippy::panic,
    clippy::field_reassign_with_default,
    reason = "a test may fail where it likes"
)]

mod cleaning;
#[path = "../common/mod.rs"]
mod common;
mod creation;
mod dynamic;
mod fetches;
mod flushing;
mod groups;
mod network;
mod node;
mod records;
mod retention;
mod segments;
mod topic;
