//! The voters of the quorum, configured (static) or from the log (dynamic, KIP-853).

use std::collections::BTreeMap;

use ottla_wire::records::raft::{VotersRecord, voters_record};
use ottla_wire::{Str, Uuid};

use crate::raft::message::ReplicaKey;

/// A controller listener of a voter.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct VoterEndpoint {
    /// Name of the listener.
    pub name: Str,
    /// Host that the other voters connect to.
    pub host: Str,
    /// Port that the other voters connect to.
    pub port: u16,
}

/// A member of the quorum that may vote and lead.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Voter {
    /// Node id.
    pub id: i32,
    /// Directory of the voter's metadata log; zero where voters are static.
    pub directory_id: Uuid,
    /// Controller listeners.
    pub endpoints: Vec<VoterEndpoint>,
    /// Lowest and highest `kraft.version` that the voter can work with.
    pub kraft_versions: (i16, i16),
}

impl Voter {
    /// The voter of a new quorum of one: this node.
    pub fn standalone(id: i32, directory_id: Uuid, endpoints: Vec<VoterEndpoint>) -> Self {
        Self { id, directory_id, endpoints, kraft_versions: (0, 1) }
    }
}

/// Why `controller.quorum.voters` is not a list of voters.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum VotersError {
    /// An entry is not `id@host:port`.
    #[error("controller.quorum.voters: {0:?} is not of the form id@host:port")]
    Entry(String),
    /// An id is there twice.
    #[error("controller.quorum.voters: node {0} is listed twice")]
    Duplicate(i32),
    /// Nobody is listed.
    #[error("controller.quorum.voters is empty")]
    Empty,
}

/// The voters by id.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct VoterSet {
    voters: BTreeMap<i32, Voter>,
}

impl VoterSet {
    /// A quorum of one.
    pub fn of_one(voter: Voter) -> Self {
        Self { voters: BTreeMap::from([(voter.id, voter)]) }
    }

    /// Reads `controller.quorum.voters`: `1@host:9093,2@other:9093`. Listeners get the name given.
    ///
    /// # Errors
    /// See [`VotersError`].
    pub fn parse_static(value: &str, listener: &str) -> Result<Self, VotersError> {
        let mut voters = BTreeMap::new();
        for entry in value.split(',').map(str::trim).filter(|entry| !entry.is_empty()) {
            let voter = parse_entry(entry, listener).ok_or_else(|| VotersError::Entry(entry.to_owned()))?;
            let id = voter.id;
            if voters.insert(id, voter).is_some() {
                return Err(VotersError::Duplicate(id));
            }
        }
        if voters.is_empty() { Err(VotersError::Empty) } else { Ok(Self { voters }) }
    }

    /// The voter with the id.
    pub fn get(&self, id: i32) -> Option<&Voter> {
        self.voters.get(&id)
    }

    /// Whether the replica is one of the voters: the same node with the same directory, where directories count.
    pub fn contains(&self, replica: ReplicaKey) -> bool {
        let voter = self.voters.get(&replica.id);
        voter.is_some_and(|voter| ReplicaKey::new(voter.id, voter.directory_id).covers(replica))
    }

    /// Voters in the order of their ids.
    pub fn iter(&self) -> impl Iterator<Item = &Voter> {
        self.voters.values()
    }

    /// Ids in order.
    pub fn ids(&self) -> impl Iterator<Item = i32> {
        self.voters.keys().copied()
    }

    /// Number of voters.
    pub fn len(&self) -> usize {
        self.voters.len()
    }

    /// Whether there are no voters.
    pub fn is_empty(&self) -> bool {
        self.voters.is_empty()
    }

    /// How many votes or replicas decide.
    pub fn majority(&self) -> usize {
        self.voters.len() / 2 + 1
    }

    /// Puts the voter in, in place of one with the same id.
    pub fn with(mut self, voter: Voter) -> Self {
        self.voters.insert(voter.id, voter);
        self
    }

    /// Leaves the voter out.
    pub fn without(mut self, id: i32) -> Self {
        self.voters.remove(&id);
        self
    }

    /// The set as it is in the log.
    pub fn from_record(record: &VotersRecord) -> Self {
        Self { voters: record.voters.iter().map(|voter| (voter.voter_id, from_wire(voter))).collect() }
    }

    /// The record for the log.
    pub fn to_record(&self) -> VotersRecord {
        VotersRecord { version: 0, voters: self.iter().map(to_wire).collect(), ..Default::default() }
    }
}

fn parse_entry(entry: &str, listener: &str) -> Option<Voter> {
    let (id, address) = entry.split_once('@')?;
    let (host, port) = address.rsplit_once(':')?;
    let host = host.trim_start_matches('[').trim_end_matches(']');
    if host.is_empty() {
        return None;
    }
    let id: i32 = id.parse().ok().filter(|id| *id >= 0)?;
    let endpoint =
        VoterEndpoint { name: Str::from(listener), host: Str::from(host), port: port.parse().ok()? };
    Some(Voter { id, directory_id: Uuid::ZERO, endpoints: vec![endpoint], kraft_versions: (0, 0) })
}

fn from_wire(voter: &voters_record::Voter) -> Voter {
    let versions = &voter.kraft_version_feature;
    Voter {
        id: voter.voter_id,
        directory_id: voter.voter_directory_id,
        endpoints: voter
            .endpoints
            .iter()
            .map(|endpoint| VoterEndpoint {
                name: endpoint.name.clone(),
                host: endpoint.host.clone(),
                port: endpoint.port,
            })
            .collect(),
        kraft_versions: (versions.min_supported_version, versions.max_supported_version),
    }
}

fn to_wire(voter: &Voter) -> voters_record::Voter {
    voters_record::Voter {
        voter_id: voter.id,
        voter_directory_id: voter.directory_id,
        endpoints: voter
            .endpoints
            .iter()
            .map(|endpoint| voters_record::Endpoint {
                name: endpoint.name.clone(),
                host: endpoint.host.clone(),
                port: endpoint.port,
                ..Default::default()
            })
            .collect(),
        kraft_version_feature: voters_record::KRaftVersionFeature {
            min_supported_version: voter.kraft_versions.0,
            max_supported_version: voter.kraft_versions.1,
            ..Default::default()
        },
        ..Default::default()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn static_voters_are_read_as_tutorials_write_them() {
        let voters = VoterSet::parse_static("1@localhost:9093, 2@[::1]:9094", "CONTROLLER").expect("valid");
        assert_eq!(voters.ids().collect::<Vec<_>>(), [1, 2]);
        assert_eq!(voters.majority(), 2);
        let second = voters.get(2).expect("listed");
        assert_eq!(&*second.endpoints[0].host, "::1");
        assert_eq!(second.endpoints[0].port, 9094);
    }

    #[test]
    fn bad_static_voters_are_named() {
        let bad = |value| VoterSet::parse_static(value, "CONTROLLER").expect_err("invalid");
        assert_eq!(bad("localhost:9093"), VotersError::Entry("localhost:9093".to_owned()));
        assert_eq!(bad("1@localhost"), VotersError::Entry("1@localhost".to_owned()));
        assert_eq!(bad("1@a:1,1@b:1"), VotersError::Duplicate(1));
        assert_eq!(bad(" "), VotersError::Empty);
    }

    #[test]
    fn the_record_gives_the_set_again() {
        let endpoint = VoterEndpoint { name: "CONTROLLER".into(), host: "a".into(), port: 9093 };
        let set = VoterSet::of_one(Voter::standalone(3, Uuid::from_bytes([7; 16]), vec![endpoint]));
        assert_eq!(VoterSet::from_record(&set.to_record()), set);
    }
}
