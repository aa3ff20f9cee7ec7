//! The instruments that Ottla is judged by, against any Kafka: `ottla-verify`, the load that proves that nothing is lost, and
//! `ottla-bench`, Apache Kafka and ours in turn.
//!
//! The client is librdkafka, which nobody here wrote. [`judge`], [`record`], [`schedule`] and [`series`] are pure; the rest does
//! the input and output around them.

pub mod cgroup;
pub mod client;
pub mod compare;
pub mod connection;
pub mod judge;
pub mod load;
pub mod plot;
pub mod record;
pub mod schedule;
pub mod series;
pub mod strain;
pub mod verify;
