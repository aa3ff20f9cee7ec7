//! DeleteTopics (20).
