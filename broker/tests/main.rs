//! The node over the wire, one scenario a file. One program for all of them: each would be linked anew with everything below it.
#![allow(
    missing_docs,
    clippy::unwrap_used,
    clippy::indexing_slicing,
    clippy::panic,
    clippy::field_reassign_with_default,
    clippy::float_cmp,
    reason = "a test may fail where it likes"
)]

mod admin;
mod admin_port;
mod bad_input;
mod budgets;
mod common;
mod controller_listener;
mod cordons;
mod every_version;
mod failing_disk;
mod fetch_sessions;
mod forwarding;
mod groups;
mod idempotence;
mod keys;
mod kill_nine;
mod log_start;
mod loggers;
mod long_poll;
mod many_partitions;
mod metrics;
mod moves;
mod pipelining;
mod produce_fetch;
mod quotas;
mod restart;
