//! The node: start, registration, graceful stop.
