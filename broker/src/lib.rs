//! The Ottla broker: a Kafka node, broker and controller in one process.
