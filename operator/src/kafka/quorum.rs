//! The metadata quorum as the active controller describes it, and changes to its voters (KIP-853).

use super::{admin::Admin, error::KafkaError};
use ottla_client::CallError;
use ottla_wire::{
    ErrorCode, Uuid,
    messages::{
        AddRaftVoterRequest, DescribeQuorumRequest, RemoveRaftVoterRequest, UnregisterBrokerRequest,
        add_raft_voter_request::Listener,
        describe_quorum_request::{PartitionData, TopicData},
        describe_quorum_response::ReplicaState,
    },
};

/// The topic of the metadata log.
const METADATA_TOPIC: &str = "__cluster_metadata";
/// How long a change of voters may take to be committed, below [`crate::lease::WRITE`].
const TIMEOUT_MS: i32 = 3_000;

/// Who votes, who watches, and how far they are.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Quorum {
    /// The active controller; none during an election.
    pub leader: Option<i32>,
    /// Those that vote.
    pub voters: Vec<Replica>,
    /// Those that follow without a vote: brokers, and controllers that are not voters yet.
    pub observers: Vec<Replica>,
}

/// A copy of the metadata log.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Replica {
    /// The node.
    pub id: i32,
    /// Its directory; zero where voters are static.
    pub directory: Uuid,
    /// When it last had everything that the leader had, in ms on the leader's clock; −1 if never.
    pub caught_up_ms: i64,
    /// When it last asked, in ms on the leader's clock; −1 if never.
    pub fetched_ms: i64,
}

/// Where a controller is reached.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Endpoint {
    /// Name of the listener.
    pub listener: String,
    /// Host name.
    pub host: String,
    /// Port.
    pub port: u16,
}

impl Admin {
    /// Describes the quorum.
    ///
    /// # Errors
    /// When nobody answers for it.
    pub async fn quorum(&self) -> Result<Quorum, KafkaError> {
        let partition = PartitionData { partition_index: 0, ..PartitionData::default() };
        let topic = TopicData {
            topic_name: METADATA_TOPIC.into(),
            partitions: vec![partition],
            ..TopicData::default()
        };
        let request = DescribeQuorumRequest { topics: vec![topic], ..DescribeQuorumRequest::default() };
        let response = self.send(&request).await?;
        KafkaError::check(response.error_code, response.error_message.as_ref())?;
        let partition = response.topics.into_iter().flat_map(|t| t.partitions).next();
        let partition = partition.ok_or(CallError::Protocol("no partition in it"))?;
        KafkaError::check(partition.error_code, partition.error_message.as_ref())?;
        Ok(Quorum {
            leader: Some(partition.leader_id).filter(|id| *id >= 0),
            voters: partition.current_voters.iter().map(replica).collect(),
            observers: partition.observers.iter().map(replica).collect(),
        })
    }

    /// Makes a node that has caught up a voter. One that is a voter already is no error.
    ///
    /// # Errors
    /// The controller's refusal.
    pub async fn add_voter(
        &self,
        cluster_id: Uuid,
        id: i32,
        directory: Uuid,
        endpoint: &Endpoint,
    ) -> Result<(), KafkaError> {
        let listener = Listener {
            name: endpoint.listener.as_str().into(),
            host: endpoint.host.as_str().into(),
            port: endpoint.port,
            ..Listener::default()
        };
        let request = AddRaftVoterRequest {
            cluster_id: Some(cluster_id.to_string().into()),
            timeout_ms: TIMEOUT_MS,
            voter_id: id,
            voter_directory_id: directory,
            listeners: vec![listener],
            ..AddRaftVoterRequest::default()
        };
        let response = self.change(&request).await?;
        match KafkaError::check(response.error_code, response.error_message.as_ref()) {
            Err(error) if error.code() == Some(ErrorCode::DuplicateVoter) => Ok(()),
            result => result,
        }
    }

    /// Takes a voter's vote away. One that is no voter any more is no error.
    ///
    /// # Errors
    /// The controller's refusal.
    pub async fn remove_voter(&self, cluster_id: Uuid, id: i32, directory: Uuid) -> Result<(), KafkaError> {
        let request = RemoveRaftVoterRequest {
            cluster_id: Some(cluster_id.to_string().into()),
            voter_id: id,
            voter_directory_id: directory,
            ..RemoveRaftVoterRequest::default()
        };
        let response = self.change(&request).await?;
        match KafkaError::check(response.error_code, response.error_message.as_ref()) {
            Err(error) if error.code() == Some(ErrorCode::VoterNotFound) => Ok(()),
            result => result,
        }
    }

    /// Forgets a broker that will not come back. One that is not registered is no error.
    ///
    /// # Errors
    /// The controller's refusal.
    pub async fn unregister(&self, id: i32) -> Result<(), KafkaError> {
        let request = UnregisterBrokerRequest { broker_id: id, ..UnregisterBrokerRequest::default() };
        let response = self.change(&request).await?;
        match KafkaError::check(response.error_code, response.error_message.as_ref()) {
            Err(error) if error.code() == Some(ErrorCode::BrokerIdNotRegistered) => Ok(()),
            result => result,
        }
    }
}

fn replica(state: &ReplicaState) -> Replica {
    Replica {
        id: state.replica_id,
        directory: state.replica_directory_id,
        caught_up_ms: state.last_caught_up_timestamp,
        fetched_ms: state.last_fetch_timestamp,
    }
}
