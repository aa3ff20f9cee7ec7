//! This node's part in the metadata quorum, the active controller's decisions where it is that, and the ways to ask it: the
//! [`ControllerHandle`] of this node, and the [`ControllerChannel`] to whichever node is active.
//!
//! One thread owns the quorum ([`ottla_quorum::Quorum`]) and with it the truth; requests are jobs in its queue. A
//! decision is a function of the image, the request, the time and fresh ids to records and a response (`Decision`):
//! `topics`, `configs`, `registration`, `heartbeat`, `alter_partition`, `reassignment`, `elections` and others. What is
//! known of brokers and not written down is in `brokers`; `upkeep` is what the controller does by itself. `state` puts them
//! together, without threads or clock. The thread (`task`) appends the records of all jobs that are waiting, syncs once,
//! publishes the image when the quorum has committed them, and only then answers. The rest of the broker reads the image
//! that was published last.

mod alter_partition;
mod announce;
mod brokers;
mod channel;
mod configs;
mod controller_registration;
mod describe;
mod directories;
mod draft;
mod elections;
mod elr;
mod error;
mod features;
mod handle;
mod handle_cluster;
mod heartbeat;
mod leadership;
mod network;
mod partition_change;
pub mod permits;
mod producer_ids;
mod quotas;
mod reassignment;
mod registration;
mod replace_configs;
pub mod server;
mod settings;
mod state;
mod task;
mod topics;
mod upkeep;
mod view;
mod witness;

#[cfg(test)]
mod brokers_tests;
#[cfg(test)]
mod handle_tests;
#[cfg(test)]
mod partition_change_tests;
#[cfg(test)]
mod partitions_tests;
#[cfg(test)]
mod permits_tests;
#[cfg(test)]
mod property_tests;
#[cfg(test)]
mod quorum_tests;
#[cfg(test)]
pub(crate) mod simulated;
#[cfg(test)]
mod state_tests;
#[cfg(test)]
mod tests;

use ottla_quorum::MetadataRecord;

pub use announce::announce;
pub use channel::{ControllerChannel, ControllerRequest};
pub(crate) use configs::{check_operations, response as refused_change, twice};
pub use directories::Placement;
pub use error::{ControllerError, TopicError};
pub use handle::ControllerHandle;
pub use producer_ids::ProducerIdBlock;
pub(crate) use quotas::refuse_all as refused_quotas;
pub use registration::BrokerRegistration;
pub(crate) use replace_configs::response as refused_replacement;
pub use settings::{ControllerIdentity, ControllerSettings};
pub use task::Leadership;
pub(crate) use topics::name::check as check_topic_name;
pub use witness::look_when_active;

/// Whole answers for when nothing can be decided.
pub(crate) mod refused {
    pub(crate) use super::configs::refuse_all as incremental_alter_configs;
    pub(crate) use super::features::refuse as update_features;
    pub(crate) use super::quotas::refuse_all as alter_client_quotas;
    pub(crate) use super::reassignment::refuse_alter as alter_partition_reassignments;
    pub(crate) use super::replace_configs::refuse_all as alter_configs;
    pub(crate) use super::topics::{
        refuse_create as create_topics, refuse_delete as delete_topics, refuse_grow as create_partitions,
    };
}

/// What a request leads to: records to be written, all or none, and the answer for when they are.
#[derive(Debug)]
pub(crate) struct Decision<R> {
    /// Records, none if nothing is to change.
    pub(crate) records: Vec<MetadataRecord>,
    /// The answer.
    pub(crate) response: R,
}

impl<R> Decision<R> {
    /// Nothing changes.
    pub(crate) fn answer(response: R) -> Self {
        Self { records: Vec::new(), response }
    }
}
