//! Partitions hosted here: their logs, high watermarks and waiters.
