//! Produce (0).
