//! A small asynchronous Kafka client: what the operator asks brokers for, each call with a deadline, one connection per cluster.

pub mod admin;
pub mod config_kind;
pub mod error;
pub mod pool;

pub use admin::{Admin, ConfigChange, TopicDescription};
pub use config_kind::ConfigKind;
pub use error::KafkaError;
pub use pool::Pool;
