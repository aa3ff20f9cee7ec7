//! The Kubernetes operator of Ottla.
//!
//! A reconcile reads as a list of verbs: observe, validate, build, apply, status. Observing and applying talk to the API server; all
//! between is a function of what was observed.

pub mod cluster;
pub mod context;
pub mod crd;
#[cfg(test)]
mod fixtures;
pub mod ids;
pub mod kafka;
pub mod lease;
pub mod report;
pub mod run;
pub mod telemetry;
pub mod topic;
