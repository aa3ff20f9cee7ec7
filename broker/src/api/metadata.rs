//! Metadata (3).
