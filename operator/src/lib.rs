//! The Kubernetes operator of Ottla.
//!
//! A reconcile reads as a list of verbs: observe, validate, build, apply, status. Observing and applying talk to the API server; all
//! between is a function of what was observed.

pub mod crd;
