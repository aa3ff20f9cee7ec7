//! Fetch (1).
