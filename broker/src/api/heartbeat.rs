//! Heartbeat (12).
