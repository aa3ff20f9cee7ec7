//! Names of topics: what they may be made of, and which ones collide in the names of metrics.

use ottla_wire::ErrorCode;

use crate::controller::TopicError;

const MAX_LENGTH: usize = 249;

/// Whether a topic may have the name.
pub(crate) fn check(name: &str) -> Result<(), TopicError> {
    let allowed = |c: char| c.is_ascii_alphanumeric() || matches!(c, '.' | '_' | '-');
    let reason = if name.is_empty() {
        "the empty string is not allowed".to_owned()
    } else if name == "." || name == ".." {
        format!("'{name}' is not allowed")
    } else if name.len() > MAX_LENGTH {
        format!("the length of '{name}' is longer than the max allowed length {MAX_LENGTH}")
    } else if !name.chars().all(allowed) {
        format!("'{name}' contains one or more characters other than ASCII alphanumerics, '.', '_' and '-'")
    } else {
        return Ok(());
    };
    Err(TopicError::new(ErrorCode::InvalidTopicException, format!("Topic name is invalid: {reason}")))
}

/// The name with what metrics cannot tell apart made equal.
pub(crate) fn collision_key(name: &str) -> String {
    name.replace('.', "_")
}

/// Whether the name can collide with another.
pub(crate) fn can_collide(name: &str) -> bool {
    name.contains(['.', '_'])
}
