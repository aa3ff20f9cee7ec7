//! Settings as Rust values.

use std::time::Duration;

use super::value::Value;
use super::{ConfigError, Settings};

/// Typed reading of settings whose values have been checked.
pub(super) struct Reader<'a>(pub(super) &'a Settings);

impl Reader<'_> {
    pub(super) fn number<T: TryFrom<i64> + Default>(&self, key: &str) -> T {
        match self.0.value(key) {
            Some(Value::Number(number)) => T::try_from(number).unwrap_or_default(),
            _ => T::default(),
        }
    }

    pub(super) fn double(&self, key: &str) -> f64 {
        match self.0.value(key) {
            Some(Value::Double(number)) => number,
            _ => 0.0,
        }
    }

    pub(super) fn flag(&self, key: &str) -> bool {
        matches!(self.0.value(key), Some(Value::Bool(true)))
    }

    pub(super) fn text(&self, key: &str) -> String {
        self.optional_text(key).unwrap_or_default()
    }

    pub(super) fn optional_text(&self, key: &str) -> Option<String> {
        match self.0.value(key) {
            Some(Value::Text(text)) => Some(text),
            _ => None,
        }
    }

    pub(super) fn list(&self, key: &str) -> Vec<String> {
        match self.0.value(key) {
            Some(Value::List(list)) => list,
            _ => Vec::new(),
        }
    }

    pub(super) fn is_set(&self, key: &str) -> bool {
        self.0.is_set(key)
    }

    /// The error of a key whose value is of its type and yet wrong.
    pub(super) fn invalid(&self, key: &str, reason: String) -> ConfigError {
        match self.0.get(key) {
            Some(setting) => ConfigError::Invalid {
                key: key.to_owned(),
                value: setting.value.clone(),
                reason,
                origin: setting.origin.clone(),
            },
            None => ConfigError::Conflict(format!("{key}: {reason}")),
        }
    }

    pub(super) fn millis(&self, key: &str) -> Duration {
        Duration::from_millis(self.number(key))
    }
}
