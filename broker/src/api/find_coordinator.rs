//! FindCoordinator (10).
