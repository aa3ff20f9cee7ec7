//! Control records of the metadata log and of snapshots: elections, voters, and a snapshot's first and last record.

use bytes::{BufMut, Bytes, BytesMut};
use ottla_wire::batch::{BatchBuilder, Record};
use ottla_wire::records::raft::{
    KRaftVersionRecord, LeaderChangeMessage, SnapshotFooterRecord, SnapshotHeaderRecord, VotersRecord,
    leader_change_message,
};
use ottla_wire::{Decoder, Message, encode_to_bytes};

use crate::record::RecordError;

/// A control record by the type in its key. Types that mean nothing in the metadata log are `Other`.
#[derive(Clone, Debug, PartialEq)]
pub enum ControlRecord {
    /// A leader's first record in its epoch.
    LeaderChange(LeaderChangeMessage),
    /// First record of a snapshot.
    SnapshotHeader(SnapshotHeaderRecord),
    /// Last record of a snapshot.
    SnapshotFooter(SnapshotFooterRecord),
    /// Level of `kraft.version`.
    KRaftVersion(KRaftVersionRecord),
    /// The voters.
    Voters(VotersRecord),
    /// Anything else; it has no effect on the metadata.
    Other(i16),
}

const LEADER_CHANGE: i16 = 2;
const SNAPSHOT_HEADER: i16 = 3;
const SNAPSHOT_FOOTER: i16 = 4;
const KRAFT_VERSION: i16 = 5;
const KRAFT_VOTERS: i16 = 6;

impl ControlRecord {
    /// The record that begins an epoch.
    pub fn leader_change(leader: i32, voters: &[i32], granting: &[i32]) -> Self {
        let voter = |id: &i32| leader_change_message::Voter { voter_id: *id, ..Default::default() };
        Self::LeaderChange(LeaderChangeMessage {
            version: 0,
            leader_id: leader,
            voters: voters.iter().map(voter).collect(),
            granting_voters: granting.iter().map(voter).collect(),
            ..Default::default()
        })
    }

    /// The record that finalises `kraft.version`.
    pub fn kraft_version(level: i16) -> Self {
        Self::KRaftVersion(KRaftVersionRecord { version: 0, kraft_version: level, ..Default::default() })
    }

    /// Reads key and value of a record in a control batch.
    ///
    /// # Errors
    /// The key is too short or the value is not what the type says.
    pub fn decode(key: Option<&Bytes>, value: Option<Bytes>) -> Result<Self, RecordError> {
        let kind = key
            .and_then(|key| key.get(2..4))
            .and_then(|bytes| bytes.try_into().ok())
            .map(i16::from_be_bytes)
            .ok_or(RecordError::Frame)?;
        let value = value.unwrap_or_default();
        Ok(match kind {
            LEADER_CHANGE => Self::LeaderChange(decode_value(value, leader_change_version)?),
            SNAPSHOT_HEADER => Self::SnapshotHeader(decode_value(value, own_version)?),
            SNAPSHOT_FOOTER => Self::SnapshotFooter(decode_value(value, own_version)?),
            KRAFT_VERSION => Self::KRaftVersion(decode_value(value, own_version)?),
            KRAFT_VOTERS => Self::Voters(decode_value(value, own_version)?),
            other => Self::Other(other),
        })
    }

    fn encode(&self) -> Result<(Bytes, Bytes), RecordError> {
        let (kind, value) = match self {
            Self::LeaderChange(record) => (LEADER_CHANGE, encode_value(record)?),
            Self::SnapshotHeader(record) => (SNAPSHOT_HEADER, encode_value(record)?),
            Self::SnapshotFooter(record) => (SNAPSHOT_FOOTER, encode_value(record)?),
            Self::KRaftVersion(record) => (KRAFT_VERSION, encode_value(record)?),
            Self::Voters(record) => (KRAFT_VOTERS, encode_value(record)?),
            Self::Other(kind) => (*kind, Bytes::new()),
        };
        let mut key = BytesMut::with_capacity(4);
        key.put_i16(0);
        key.put_i16(kind);
        Ok((key.freeze(), value))
    }
}

/// A control batch of the records.
///
/// # Errors
/// A record cannot be encoded.
pub fn control_batch(
    records: &[ControlRecord],
    base_offset: i64,
    epoch: i32,
    timestamp: i64,
) -> Result<Bytes, RecordError> {
    let mut batch = BatchBuilder::new(base_offset).leader_epoch(epoch).control(true);
    for record in records {
        let (key, value) = record.encode()?;
        batch.push(Record { timestamp, key: Some(key), value: Some(value), headers: Vec::new() });
    }
    Ok(batch.build())
}

/// The version of these values is their first field.
fn own_version(value: &Bytes) -> Option<i16> {
    value.get(..2).and_then(|bytes| bytes.try_into().ok()).map(i16::from_be_bytes)
}

/// 4.x writes version 0 whatever the voters are; the field says 0 or 1.
fn leader_change_version(value: &Bytes) -> Option<i16> {
    own_version(value)
}

fn decode_value<M: Message>(value: Bytes, version: impl Fn(&Bytes) -> Option<i16>) -> Result<M, RecordError> {
    let version = version(&value).ok_or(RecordError::Frame)?;
    if !M::VERSIONS.contains(&version) {
        return Err(RecordError::Version { name: M::NAME, version });
    }
    let mut decoder = Decoder::new(value);
    M::decode(&mut decoder, version).map_err(|error| RecordError::Decode {
        name: M::NAME,
        version,
        reason: error.to_string(),
    })
}

fn encode_value<M: Message>(record: &M) -> Result<Bytes, RecordError> {
    encode_to_bytes(record, 0).map_err(|error| RecordError::Encode {
        name: M::NAME,
        version: 0,
        reason: error.to_string(),
    })
}
