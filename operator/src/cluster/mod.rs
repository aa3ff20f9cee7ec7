//! Reconciling a `KafkaCluster`: observe, validate, build, apply, restart, status.
//!
//! [`observe`], [`apply`] and [`controller`] talk to the API server. All else is a function of what was observed.

pub mod acceptance;
pub mod apply;
pub mod build;
pub mod controller;
pub mod identity;
pub mod names;
pub mod observe;
pub mod quantity;
pub mod restart;
pub mod status;
pub mod validate;
