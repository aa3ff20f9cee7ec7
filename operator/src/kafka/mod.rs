//! A small asynchronous Kafka client: what the operator asks brokers for, each call with a deadline, one connection per cluster.

pub mod admin;
pub mod config_kind;
pub mod error;
pub mod placement;
pub mod pool;
pub mod quorum;

pub use admin::{Admin, ConfigChange, TopicDescription};
pub use config_kind::ConfigKind;
pub use error::KafkaError;
pub use placement::{Partition, Placement};
pub use pool::Pool;
pub use quorum::Quorum;
