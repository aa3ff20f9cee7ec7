//! What a group request can be refused with.

use ottla_wire::ErrorCode;

/// A refusal by the group coordinator; each variant is one Kafka error code.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum GroupError {
    /// The group is going away, or its partition cannot take writes now.
    #[error("the coordinator is not available")]
    CoordinatorNotAvailable,
    /// A static member was replaced by another with the same instance id.
    #[error("the group instance id is in use by another member id")]
    FencedInstanceId,
    /// No group of that id, for requests that must name one.
    #[error("the group does not exist")]
    GroupIdNotFound,
    /// The group has `group.max.size` members.
    #[error("the group has reached its maximum size")]
    GroupMaxSizeReached,
    /// The group's members consume the topic whose offsets are to go.
    #[error("the group is subscribed to the topic")]
    GroupSubscribedToTopic,
    /// The generation in the request is not the group's.
    #[error("the generation is not the current one")]
    IllegalGeneration,
    /// No protocol in common with the other members, or none offered.
    #[error("no protocol in common with the group")]
    InconsistentGroupProtocol,
    /// The group id is empty.
    #[error("the group id is invalid")]
    InvalidGroupId,
    /// The session timeout is outside the broker's bounds.
    #[error("the session timeout is out of bounds")]
    InvalidSessionTimeout,
    /// The partition's state is being read from the log.
    #[error("the coordinator is loading")]
    LoadInProgress,
    /// A dynamic member must come again with the id it was given.
    #[error("the member must rejoin with its assigned id")]
    MemberIdRequired,
    /// The group has members.
    #[error("the group is not empty")]
    NonEmptyGroup,
    /// Another broker coordinates this group.
    #[error("this broker is not the coordinator")]
    NotCoordinator,
    /// A commit's metadata is over `offset.metadata.max.bytes`.
    #[error("the offset's metadata is too large")]
    OffsetMetadataTooLarge,
    /// The group is between generations.
    #[error("the group is rebalancing")]
    RebalanceInProgress,
    /// The member is not in the group.
    #[error("the member is not known")]
    UnknownMemberId,
    /// Something that should not happen; the log names it.
    #[error("unexpected error")]
    UnknownServerError,
}

/// The outcome of a write to the offsets topic.
pub type WriteResult = Result<(), GroupError>;

impl GroupError {
    /// The code on the wire.
    pub fn code(self) -> ErrorCode {
        match self {
            Self::CoordinatorNotAvailable => ErrorCode::CoordinatorNotAvailable,
            Self::FencedInstanceId => ErrorCode::FencedInstanceId,
            Self::GroupIdNotFound => ErrorCode::GroupIdNotFound,
            Self::GroupMaxSizeReached => ErrorCode::GroupMaxSizeReached,
            Self::GroupSubscribedToTopic => ErrorCode::GroupSubscribedToTopic,
            Self::IllegalGeneration => ErrorCode::IllegalGeneration,
            Self::InconsistentGroupProtocol => ErrorCode::InconsistentGroupProtocol,
            Self::InvalidGroupId => ErrorCode::InvalidGroupId,
            Self::InvalidSessionTimeout => ErrorCode::InvalidSessionTimeout,
            Self::LoadInProgress => ErrorCode::CoordinatorLoadInProgress,
            Self::MemberIdRequired => ErrorCode::MemberIdRequired,
            Self::NonEmptyGroup => ErrorCode::NonEmptyGroup,
            Self::NotCoordinator => ErrorCode::NotCoordinator,
            Self::OffsetMetadataTooLarge => ErrorCode::OffsetMetadataTooLarge,
            Self::RebalanceInProgress => ErrorCode::RebalanceInProgress,
            Self::UnknownMemberId => ErrorCode::UnknownMemberId,
            Self::UnknownServerError => ErrorCode::UnknownServerError,
        }
    }

    /// What a client is told when the offsets topic refused a write.
    pub fn from_append(error: ErrorCode) -> Self {
        match error {
            ErrorCode::NotLeaderOrFollower | ErrorCode::KafkaStorageError => Self::NotCoordinator,
            ErrorCode::UnknownTopicOrPartition
            | ErrorCode::NotEnoughReplicas
            | ErrorCode::NotEnoughReplicasAfterAppend
            | ErrorCode::RequestTimedOut => Self::CoordinatorNotAvailable,
            _ => Self::UnknownServerError,
        }
    }
}
