//! The protocol's error codes.

use std::fmt;

/// Defines the codes: number, variant, name in Kafka's tools and documentation, whether to try again, meaning.
macro_rules! error_codes {
    ($($code:literal $variant:ident $name:ident $retry:ident $text:literal;)*) => {
        /// What a response says about the request or a part of it. Displayed in words.
        #[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
        #[repr(i16)]
        pub enum ErrorCode {
            $(#[doc = $text] $variant = $code,)*
        }

        impl ErrorCode {
            /// Every code, in ascending order.
            pub const ALL: &[Self] = &[$(Self::$variant),*];

            fn row(self) -> (&'static str, bool, &'static str) {
                match self {
                    $(Self::$variant => (stringify!($name), is_retriable!($retry), $text),)*
                }
            }

            fn from_code(code: i16) -> Option<Self> {
                Some(match code {
                    $($code => Self::$variant,)*
                    _ => return None,
                })
            }
        }
    };
}

macro_rules! is_retriable {
    (retriable) => {
        true
    };
    (fatal) => {
        false
    };
}

impl ErrorCode {
    /// The number on the wire.
    pub const fn code(self) -> i16 {
        self as i16
    }

    /// The name in Kafka's documentation, such as `NOT_LEADER_OR_FOLLOWER`.
    pub fn name(self) -> &'static str {
        self.row().0
    }

    /// Whether Kafka's clients try the request again.
    pub fn is_retriable(self) -> bool {
        self.row().1
    }

    /// Whether this is not [`ErrorCode::None`].
    pub fn is_error(self) -> bool {
        self != Self::None
    }
}

#[expect(clippy::derivable_impls, reason = "the macro has no place for the attribute")]
impl Default for ErrorCode {
    fn default() -> Self {
        Self::None
    }
}

/// The protocol has no such code.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("unknown error code {0}")]
pub struct UnknownErrorCode(pub i16);

impl TryFrom<i16> for ErrorCode {
    type Error = UnknownErrorCode;

    fn try_from(code: i16) -> Result<Self, UnknownErrorCode> {
        Self::from_code(code).ok_or(UnknownErrorCode(code))
    }
}

impl From<ErrorCode> for i16 {
    fn from(code: ErrorCode) -> Self {
        code.code()
    }
}

impl fmt::Display for ErrorCode {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.row().2)
    }
}

impl std::error::Error for ErrorCode {}

error_codes! {
    -1 UnknownServerError UNKNOWN_SERVER_ERROR fatal "an unexpected error on the server";
    0 None NONE fatal "no error";
    1 OffsetOutOfRange OFFSET_OUT_OF_RANGE fatal "the offset is outside of what the partition holds";
    2 CorruptMessage CORRUPT_MESSAGE retriable "the message is corrupt: wrong checksum, size, or a missing key";
    3 UnknownTopicOrPartition UNKNOWN_TOPIC_OR_PARTITION retriable "no such topic or partition on this server";
    4 InvalidFetchSize INVALID_FETCH_SIZE fatal "the fetch size is not valid";
    5 LeaderNotAvailable LEADER_NOT_AVAILABLE retriable "the partition has no leader at the moment";
    6 NotLeaderOrFollower NOT_LEADER_OR_FOLLOWER retriable "this broker is not the leader or a replica of the partition";
    7 RequestTimedOut REQUEST_TIMED_OUT retriable "the request timed out";
    8 BrokerNotAvailable BROKER_NOT_AVAILABLE fatal "the broker is not available";
    9 ReplicaNotAvailable REPLICA_NOT_AVAILABLE retriable "the replica is not available";
    10 MessageTooLarge MESSAGE_TOO_LARGE fatal "the message is larger than the server accepts";
    11 StaleControllerEpoch STALE_CONTROLLER_EPOCH fatal "the controller epoch is out of date";
    12 OffsetMetadataTooLarge OFFSET_METADATA_TOO_LARGE fatal "the offset's metadata is too large";
    13 NetworkException NETWORK_EXCEPTION retriable "the connection was lost before the response came";
    14 CoordinatorLoadInProgress COORDINATOR_LOAD_IN_PROGRESS retriable "the coordinator is still loading";
    15 CoordinatorNotAvailable COORDINATOR_NOT_AVAILABLE retriable "the coordinator is not available";
    16 NotCoordinator NOT_COORDINATOR retriable "this broker is not the coordinator";
    17 InvalidTopicException INVALID_TOPIC_EXCEPTION fatal "the topic name is not valid, or the topic must not be written to";
    18 RecordListTooLarge RECORD_LIST_TOO_LARGE fatal "the batch is larger than a segment";
    19 NotEnoughReplicas NOT_ENOUGH_REPLICAS retriable "fewer in-sync replicas than required; nothing was written";
    20 NotEnoughReplicasAfterAppend NOT_ENOUGH_REPLICAS_AFTER_APPEND retriable "written, but to fewer in-sync replicas than required";
    21 InvalidRequiredAcks INVALID_REQUIRED_ACKS fatal "the required acks are not one of -1, 0 and 1";
    22 IllegalGeneration ILLEGAL_GENERATION fatal "the group generation is not the current one";
    23 InconsistentGroupProtocol INCONSISTENT_GROUP_PROTOCOL fatal "the member's protocols do not match the group's";
    24 InvalidGroupId INVALID_GROUP_ID fatal "the group id is not valid";
    25 UnknownMemberId UNKNOWN_MEMBER_ID fatal "the member is not known to the coordinator";
    26 InvalidSessionTimeout INVALID_SESSION_TIMEOUT fatal "the session timeout is outside of the allowed range";
    27 RebalanceInProgress REBALANCE_IN_PROGRESS fatal "the group is rebalancing";
    28 InvalidCommitOffsetSize INVALID_COMMIT_OFFSET_SIZE fatal "the commit is too large";
    29 TopicAuthorizationFailed TOPIC_AUTHORIZATION_FAILED fatal "not authorised for the topic";
    30 GroupAuthorizationFailed GROUP_AUTHORIZATION_FAILED fatal "not authorised for the group";
    31 ClusterAuthorizationFailed CLUSTER_AUTHORIZATION_FAILED fatal "not authorised for the cluster";
    32 InvalidTimestamp INVALID_TIMESTAMP fatal "the timestamp is outside of the accepted range";
    33 UnsupportedSaslMechanism UNSUPPORTED_SASL_MECHANISM fatal "the SASL mechanism is not enabled";
    34 IllegalSaslState ILLEGAL_SASL_STATE fatal "the request does not fit the state of the SASL exchange";
    35 UnsupportedVersion UNSUPPORTED_VERSION fatal "the version is not supported";
    36 TopicAlreadyExists TOPIC_ALREADY_EXISTS fatal "a topic of this name exists";
    37 InvalidPartitions INVALID_PARTITIONS fatal "the number of partitions is not valid";
    38 InvalidReplicationFactor INVALID_REPLICATION_FACTOR fatal "the replication factor is not valid, or larger than the number of brokers";
    39 InvalidReplicaAssignment INVALID_REPLICA_ASSIGNMENT fatal "the replica assignment is not valid";
    40 InvalidConfig INVALID_CONFIG fatal "the configuration is not valid";
    41 NotController NOT_CONTROLLER retriable "this node is not the active controller";
    42 InvalidRequest INVALID_REQUEST fatal "the request is malformed or contradicts itself";
    43 UnsupportedForMessageFormat UNSUPPORTED_FOR_MESSAGE_FORMAT fatal "the message format does not support the request";
    44 PolicyViolation POLICY_VIOLATION fatal "refused by the configured policy";
    45 OutOfOrderSequenceNumber OUT_OF_ORDER_SEQUENCE_NUMBER fatal "a sequence number is out of order";
    46 DuplicateSequenceNumber DUPLICATE_SEQUENCE_NUMBER fatal "the sequence number was seen before";
    47 InvalidProducerEpoch INVALID_PRODUCER_EPOCH fatal "the producer epoch is older than the current one";
    48 InvalidTxnState INVALID_TXN_STATE fatal "the transaction is not in a state that allows this";
    49 InvalidProducerIdMapping INVALID_PRODUCER_ID_MAPPING fatal "the producer id does not belong to the transactional id";
    50 InvalidTransactionTimeout INVALID_TRANSACTION_TIMEOUT fatal "the transaction timeout is larger than the broker allows";
    51 ConcurrentTransactions CONCURRENT_TRANSACTIONS retriable "another operation on this transaction is going on";
    52 TransactionCoordinatorFenced TRANSACTION_COORDINATOR_FENCED fatal "a newer transaction coordinator has taken over";
    53 TransactionalIdAuthorizationFailed TRANSACTIONAL_ID_AUTHORIZATION_FAILED fatal "not authorised for the transactional id";
    54 SecurityDisabled SECURITY_DISABLED fatal "security features are disabled";
    55 OperationNotAttempted OPERATION_NOT_ATTEMPTED fatal "not attempted, since another part of the request failed";
    56 KafkaStorageError KAFKA_STORAGE_ERROR retriable "a disk failed";
    57 LogDirNotFound LOG_DIR_NOT_FOUND fatal "no such log directory";
    58 SaslAuthenticationFailed SASL_AUTHENTICATION_FAILED fatal "authentication failed";
    59 UnknownProducerId UNKNOWN_PRODUCER_ID fatal "nothing is known of the producer id";
    60 ReassignmentInProgress REASSIGNMENT_IN_PROGRESS fatal "a reassignment of the partition is in progress";
    61 DelegationTokenAuthDisabled DELEGATION_TOKEN_AUTH_DISABLED fatal "delegation tokens are not enabled";
    62 DelegationTokenNotFound DELEGATION_TOKEN_NOT_FOUND fatal "no such delegation token";
    63 DelegationTokenOwnerMismatch DELEGATION_TOKEN_OWNER_MISMATCH fatal "the principal is not the token's owner or renewer";
    64 DelegationTokenRequestNotAllowed DELEGATION_TOKEN_REQUEST_NOT_ALLOWED fatal "delegation tokens cannot be requested over this connection";
    65 DelegationTokenAuthorizationFailed DELEGATION_TOKEN_AUTHORIZATION_FAILED fatal "not authorised for the delegation token";
    66 DelegationTokenExpired DELEGATION_TOKEN_EXPIRED fatal "the delegation token has expired";
    67 InvalidPrincipalType INVALID_PRINCIPAL_TYPE fatal "the type of principal is not supported";
    68 NonEmptyGroup NON_EMPTY_GROUP fatal "the group is not empty";
    69 GroupIdNotFound GROUP_ID_NOT_FOUND fatal "no such group";
    70 FetchSessionIdNotFound FETCH_SESSION_ID_NOT_FOUND retriable "no such fetch session";
    71 InvalidFetchSessionEpoch INVALID_FETCH_SESSION_EPOCH retriable "the fetch session epoch is not the expected one";
    72 ListenerNotFound LISTENER_NOT_FOUND retriable "the leader has no listener of this name";
    73 TopicDeletionDisabled TOPIC_DELETION_DISABLED fatal "deletion of topics is disabled";
    74 FencedLeaderEpoch FENCED_LEADER_EPOCH retriable "the leader epoch is older than the current one";
    75 UnknownLeaderEpoch UNKNOWN_LEADER_EPOCH retriable "the leader epoch is newer than the one known here";
    76 UnsupportedCompressionType UNSUPPORTED_COMPRESSION_TYPE fatal "the client does not support the compression type";
    77 StaleBrokerEpoch STALE_BROKER_EPOCH fatal "the broker epoch is not the current one";
    78 OffsetNotAvailable OFFSET_NOT_AVAILABLE retriable "offsets are not available until the new leader has caught up";
    79 MemberIdRequired MEMBER_ID_REQUIRED fatal "join again with the member id given";
    80 PreferredLeaderNotAvailable PREFERRED_LEADER_NOT_AVAILABLE retriable "the preferred leader is not available";
    81 GroupMaxSizeReached GROUP_MAX_SIZE_REACHED fatal "the group is full";
    82 FencedInstanceId FENCED_INSTANCE_ID fatal "another member has taken this instance id";
    83 EligibleLeadersNotAvailable ELIGIBLE_LEADERS_NOT_AVAILABLE retriable "no eligible leader is available";
    84 ElectionNotNeeded ELECTION_NOT_NEEDED retriable "the partition has the leader it should have";
    85 NoReassignmentInProgress NO_REASSIGNMENT_IN_PROGRESS fatal "no reassignment is in progress";
    86 GroupSubscribedToTopic GROUP_SUBSCRIBED_TO_TOPIC fatal "the group is subscribed to the topic";
    87 InvalidRecord INVALID_RECORD fatal "the record was refused";
    88 UnstableOffsetCommit UNSTABLE_OFFSET_COMMIT retriable "an offset waits for its transaction to end";
    89 ThrottlingQuotaExceeded THROTTLING_QUOTA_EXCEEDED retriable "a quota is exceeded";
    90 ProducerFenced PRODUCER_FENCED fatal "a newer producer has the same transactional id";
    91 ResourceNotFound RESOURCE_NOT_FOUND fatal "no such resource";
    92 DuplicateResource DUPLICATE_RESOURCE fatal "the resource is named twice";
    93 UnacceptableCredential UNACCEPTABLE_CREDENTIAL fatal "the credential is not acceptable";
    94 InconsistentVoterSet INCONSISTENT_VOTER_SET fatal "sender or receiver is not one of the expected voters";
    95 InvalidUpdateVersion INVALID_UPDATE_VERSION fatal "the version of the update is not valid";
    96 FeatureUpdateFailed FEATURE_UPDATE_FAILED fatal "the feature could not be updated";
    97 PrincipalDeserializationFailure PRINCIPAL_DESERIALIZATION_FAILURE fatal "the forwarded principal cannot be read";
    98 SnapshotNotFound SNAPSHOT_NOT_FOUND fatal "no such snapshot";
    99 PositionOutOfRange POSITION_OUT_OF_RANGE fatal "the position is outside of the snapshot";
    100 UnknownTopicId UNKNOWN_TOPIC_ID retriable "no such topic id on this server";
    101 DuplicateBrokerRegistration DUPLICATE_BROKER_REGISTRATION fatal "the broker id is in use";
    102 BrokerIdNotRegistered BROKER_ID_NOT_REGISTERED fatal "the broker id is not registered";
    103 InconsistentTopicId INCONSISTENT_TOPIC_ID retriable "the topic id is not the log's";
    104 InconsistentClusterId INCONSISTENT_CLUSTER_ID fatal "the cluster id is another one";
    105 TransactionalIdNotFound TRANSACTIONAL_ID_NOT_FOUND fatal "no such transactional id";
    106 FetchSessionTopicIdError FETCH_SESSION_TOPIC_ID_ERROR retriable "the fetch session mixes topic ids and names";
    107 IneligibleReplica INELIGIBLE_REPLICA fatal "a replica is not eligible for the ISR";
    108 NewLeaderElected NEW_LEADER_ELECTED fatal "the change was made, and the leader is another one now";
    109 OffsetMovedToTieredStorage OFFSET_MOVED_TO_TIERED_STORAGE fatal "the offset is in tiered storage";
    110 FencedMemberEpoch FENCED_MEMBER_EPOCH fatal "the member epoch is fenced: give up all partitions and join again";
    111 UnreleasedInstanceId UNRELEASED_INSTANCE_ID fatal "the instance id is still in use";
    112 UnsupportedAssignor UNSUPPORTED_ASSIGNOR fatal "the assignor or its version is not supported by the group";
    113 StaleMemberEpoch STALE_MEMBER_EPOCH fatal "the member epoch is out of date";
    114 MismatchedEndpointType MISMATCHED_ENDPOINT_TYPE fatal "this kind of endpoint does not serve the request";
    115 UnsupportedEndpointType UNSUPPORTED_ENDPOINT_TYPE fatal "the kind of endpoint is not supported";
    116 UnknownControllerId UNKNOWN_CONTROLLER_ID fatal "no such controller";
    117 UnknownSubscriptionId UNKNOWN_SUBSCRIPTION_ID fatal "the telemetry subscription is unknown or out of date";
    118 TelemetryTooLarge TELEMETRY_TOO_LARGE fatal "the telemetry is larger than the broker accepts";
    119 InvalidRegistration INVALID_REGISTRATION fatal "the registration is not valid";
    120 TransactionAbortable TRANSACTION_ABORTABLE fatal "the transaction failed and can be aborted";
    121 InvalidRecordState INVALID_RECORD_STATE fatal "the record is not in a state that can be acknowledged";
    122 ShareSessionNotFound SHARE_SESSION_NOT_FOUND retriable "no such share session";
    123 InvalidShareSessionEpoch INVALID_SHARE_SESSION_EPOCH retriable "the share session epoch is not the expected one";
    124 FencedStateEpoch FENCED_STATE_EPOCH fatal "the state epoch is not the current one";
    125 InvalidVoterKey INVALID_VOTER_KEY fatal "the voter's key is not the receiver's";
    126 DuplicateVoter DUPLICATE_VOTER fatal "the voter is in the set already";
    127 VoterNotFound VOTER_NOT_FOUND fatal "no such voter";
    128 InvalidRegularExpression INVALID_REGULAR_EXPRESSION fatal "the regular expression is not valid";
    129 RebootstrapRequired REBOOTSTRAP_REQUIRED fatal "the client's metadata is out of date: bootstrap again";
    130 StreamsInvalidTopology STREAMS_INVALID_TOPOLOGY fatal "the topology is not valid";
    131 StreamsInvalidTopologyEpoch STREAMS_INVALID_TOPOLOGY_EPOCH fatal "the topology epoch is not valid";
    132 StreamsTopologyFenced STREAMS_TOPOLOGY_FENCED fatal "the topology epoch is out of date";
    133 ShareSessionLimitReached SHARE_SESSION_LIMIT_REACHED retriable "too many share sessions";
}
