//! One partition's log in Kafka's on-disk format: segments, indexes, checkpoints, producer state, recovery.
