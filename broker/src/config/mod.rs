//! Configuration: every key of Kafka 4.3, typed and validated.
