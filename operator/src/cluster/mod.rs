//! Reconciling a `KafkaCluster`: observe, validate, build, ask, plan (restart, leave, quorum), apply, status.
//!
//! [`observe`], [`machines`], [`apply`], [`carry_out`], [`certificates`] and [`controller`] talk to the API server, [`answers`], [`addresses`],
//! [`permit`] and [`carry_out`] to the brokers. All else is a function of what was observed and answered.

pub mod acceptance;
pub mod addresses;
pub mod answers;
pub mod apply;
pub mod build;
pub mod carry_out;
pub mod certificates;
pub mod controller;
pub mod identity;
pub mod leave;
pub mod machines;
pub mod names;
pub mod observe;
pub mod overrides;
pub mod permit;
pub mod pods;
pub mod quantity;
pub mod quorum;
pub mod references;
pub mod restart;
pub mod status;
pub mod validate;
pub mod warnings;
