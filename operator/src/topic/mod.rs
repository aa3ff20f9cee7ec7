//! Reconciling the `KafkaTopic`s of a cluster, all in one pass: who owns which topic, what to change, what to delete.
//!
//! [`plan`], [`deletion`] and [`record`] are functions; [`pass`] does the I/O of one pass, [`controller`] decides when there is one.

pub mod controller;
pub mod deletion;
pub mod pass;
pub mod plan;
pub mod queue;
pub mod record;
