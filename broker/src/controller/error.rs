//! Why the controller refuses, with Kafka's error codes.

use ottla_log::LogError;
use ottla_quorum::QuorumError;
use ottla_wire::{ErrorCode, Str};

/// A refusal of one topic or resource, as responses carry it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TopicError {
    /// Kafka's error code.
    pub code: ErrorCode,
    /// For people.
    pub message: Str,
}

impl TopicError {
    /// A code with its message.
    pub(crate) fn new(code: ErrorCode, message: impl Into<String>) -> Self {
        Self { code, message: Str::from(message.into()) }
    }

    /// For a request that gives no time: it is over before it begins.
    pub(crate) fn out_of_time() -> Self {
        Self::new(ErrorCode::RequestTimedOut, "the request's timeout is over")
    }
}

/// A code that says enough.
impl From<ErrorCode> for TopicError {
    fn from(code: ErrorCode) -> Self {
        Self::new(code, code.to_string())
    }
}

/// The controller cannot do what it decided, or cannot be asked.
#[derive(Debug, thiserror::Error)]
pub enum ControllerError {
    /// It has stopped, or its log failed.
    #[error("the controller has stopped")]
    Stopped,
    /// The quorum did not take the records.
    #[error(transparent)]
    Quorum(#[from] QuorumError),
    /// The request does not fit the state of things.
    #[error("{0}")]
    Refused(ErrorCode),
}

impl ControllerError {
    /// Kafka's error code on the wire.
    pub fn code(&self) -> ErrorCode {
        match self {
            Self::Stopped | Self::Quorum(QuorumError::NotLeader) => ErrorCode::NotController,
            Self::Refused(code) => *code,
            Self::Quorum(QuorumError::TooLarge { .. }) => ErrorCode::PolicyViolation,
            Self::Quorum(QuorumError::Log(LogError::NoSpace { .. }) | QuorumError::Append(_)) => {
                ErrorCode::KafkaStorageError
            }
            Self::Quorum(_) => ErrorCode::UnknownServerError,
        }
    }
}
