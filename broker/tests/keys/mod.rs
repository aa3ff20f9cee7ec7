//! Configuration keys over the wire: each changes what a node does. `in_use.tsv` of `crates/config` names the test of each key.

mod cleaning;
mod creation;
mod dynamic;
mod fetches;
mod flushing;
mod groups;
pub mod network;
mod node;
mod quotas;
mod records;
pub mod replication;
mod retention;
mod segments;
pub mod topic;
