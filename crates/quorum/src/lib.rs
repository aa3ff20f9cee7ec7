//! KRaft: quorum state, metadata image and snapshots. Events in, commands out.
//!
//! What a node persists about the cluster lies in `__cluster_metadata-0`: a log of metadata records, snapshots of the
//! [`image`] that they add up to, and `quorum-state`, the vote. [`raft`] decides (pure), [`Quorum`] does what it says:
//! messages of other nodes go in, messages for them come out ([`messages`]).
//! All formats are Kafka's (KIP-500, KIP-595, KIP-630, KIP-853, KIP-868, KIP-996).

pub mod bootstrap;
pub mod control;
pub mod features;
mod file;
pub mod history;
pub mod image;
pub mod load;
pub mod messages;
pub mod metadata_version;
pub mod quorum;
pub mod quorum_state;
pub mod raft;
pub mod record;
pub mod replay;
mod room;
pub mod snapshot;
pub mod standstill;
#[cfg(any(test, feature = "testing"))]
pub mod testing;
#[cfg(not(any(test, feature = "testing")))]
mod testing;
pub mod voters;

pub use features::{FeatureError, KRaftVersion};
pub use image::MetadataImage;
pub use messages::{QuorumRequest, QuorumResponse};
pub use metadata_version::MetadataVersion;
pub use quorum::{
    Inbound, MAX_RECORDS_PER_BATCH, Now, Outbound, Quorum, QuorumConfig, QuorumError, QuorumStatus,
    ReplicaStatus,
};
pub use raft::Timeouts;
pub use raft::message::{Correlation, Destination, Failure, ReplicaKey, Token};
pub use record::{MetadataRecord, RecordError, VersionedRecord};
pub use room::LastRoom;
pub use voters::{Voter, VoterSet};

/// Directory of the metadata log within the metadata log directory.
pub const METADATA_DIR: &str = "__cluster_metadata-0";
/// Topic of the metadata log.
pub const METADATA_TOPIC: &str = "__cluster_metadata";
