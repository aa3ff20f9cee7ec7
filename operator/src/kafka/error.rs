//! Why a cluster did not do what it was asked to.

use ottla_client::CallError;
use ottla_wire::{ErrorCode, Str};

/// Why there is no result.
#[derive(Debug, thiserror::Error)]
pub enum KafkaError {
    /// No usable answer.
    #[error(transparent)]
    Call(#[from] CallError),
    /// Another instance of the operator makes the changes.
    #[error("the Lease is not held")]
    NotLeader,
    /// The broker says no.
    #[error("{}: {message}", code.name())]
    Broker {
        /// Kafka's code.
        code: ErrorCode,
        /// The broker's words, else Kafka's.
        message: String,
    },
}

impl KafkaError {
    /// `Ok` for no error; an unknown code is one too.
    ///
    /// # Errors
    /// For every other code.
    pub fn check(code: i16, message: Option<&Str>) -> Result<(), Self> {
        if code == 0 {
            return Ok(());
        }
        let code = ErrorCode::try_from(code).unwrap_or(ErrorCode::UnknownServerError);
        let message = message.map_or_else(|| code.to_string(), |m| m.to_string());
        Err(Self::Broker { code, message })
    }

    /// Kafka's code, where the broker gave one.
    pub fn code(&self) -> Option<ErrorCode> {
        match self {
            Self::Broker { code, .. } => Some(*code),
            _ => None,
        }
    }
}
