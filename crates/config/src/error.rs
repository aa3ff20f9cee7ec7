//! What can be wrong with a configuration.

use std::fmt;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use thiserror::Error;

use ottla_log::properties::PropertiesError;

/// Where a setting comes from.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Origin {
    /// A properties file.
    File(Arc<Path>, usize),
    /// `--override`.
    Override,
    /// An environment variable of this name.
    Environment(String),
    /// What a node that is told no role assumes: one node that is broker and controller.
    SingleNode,
    /// A request to alter a broker's or a topic's configuration.
    Request,
}

impl fmt::Display for Origin {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Origin::File(path, line) => write!(f, "{}:{line}: ", path.display()),
            Origin::Override => f.write_str("--override: "),
            Origin::Environment(name) => write!(f, "environment variable {name}: "),
            Origin::SingleNode => f.write_str("single node: "),
            Origin::Request => Ok(()),
        }
    }
}

/// One thing that is wrong.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
pub enum ConfigError {
    /// Kafka has no such key.
    #[error("{origin}unknown key {key}{}", suggest(*suggestion))]
    Unknown {
        /// The key.
        key: String,
        /// Where it is.
        origin: Origin,
        /// A known key that looks like it.
        suggestion: Option<&'static str>,
    },
    /// An older Kafka had this key, and starting without it would not do what was meant.
    #[error("{origin}{key} is no longer a key: {advice}")]
    Removed {
        /// The key.
        key: String,
        /// Where it is.
        origin: Origin,
        /// What to do instead.
        advice: &'static str,
    },
    /// The value does not fit the key.
    #[error("{origin}invalid value {value:?} for {key}: {reason}")]
    Invalid {
        /// The key.
        key: String,
        /// The value, hidden if it is a secret.
        value: String,
        /// What it should be.
        reason: String,
        /// Where it is.
        origin: Origin,
    },
    /// Keys that do not fit together, or one that is needed.
    #[error("{0}")]
    Conflict(String),
    /// A key that may not be changed this way while the broker runs.
    #[error("{key} cannot be changed {how}")]
    NotDynamic {
        /// The key.
        key: String,
        /// "while the broker runs", "for all brokers at once".
        how: &'static str,
    },
    /// The file is not a properties file.
    #[error("{}: {error}", path.display())]
    Properties {
        /// The file.
        path: PathBuf,
        /// What is wrong with it.
        error: PropertiesError,
    },
    /// The file cannot be read.
    #[error("{}: {reason}", path.display())]
    Read {
        /// The file.
        path: PathBuf,
        /// The operating system's reason.
        reason: String,
    },
}

fn suggest(name: Option<&'static str>) -> String {
    name.map_or_else(String::new, |name| format!("; did you mean {name}?"))
}

/// Everything that is wrong with a configuration, at least one thing.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
pub struct ConfigErrors(pub Vec<ConfigError>);

impl fmt::Display for ConfigErrors {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (index, error) in self.0.iter().enumerate() {
            if index > 0 {
                f.write_str("\n")?;
            }
            error.fmt(f)?;
        }
        Ok(())
    }
}

impl From<ConfigError> for ConfigErrors {
    fn from(error: ConfigError) -> ConfigErrors {
        ConfigErrors(vec![error])
    }
}
