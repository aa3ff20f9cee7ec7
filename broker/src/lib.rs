//! The Ottla broker: a Kafka node, broker and controller in one process.
//!
//! A request's way: `net` (frame, budget, order) → `api::dispatch` (decode, authorise, encode) → `api::<api>`
//! (one file per API) → `partition`, `group` or `controller`. `broker` starts and stops it all.

pub mod admin;
pub mod api;
mod blocking;
pub mod broker;
pub mod cleaner;
pub mod cli;
pub mod clock;
pub mod controller;
pub mod fetch_session;
pub mod group;
pub mod net;
pub mod node;
pub mod partition;
pub mod quota;
pub mod replication;
pub mod security;
#[cfg(test)]
mod simulation;
pub mod storage;
pub mod telemetry;

pub use ottla_config as config;
