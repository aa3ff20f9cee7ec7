//! Kafka's wire protocol, sans-io: messages generated from the published schemas, record batches, limits.

pub mod batch;
mod region;

pub use region::{FileRegion, Records};
