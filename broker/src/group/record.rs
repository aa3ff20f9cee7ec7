//! Records of `__consumer_offsets`, at the versions that Kafka 4.3 writes.
//!
//! Kinds that are not read here (those of the newer group protocols) stay in the log as they are.

use bytes::Bytes;
use ottla_wire::batch::{Batch, BatchBuilder, Record};
use ottla_wire::records::group::{
    GroupMetadataKey, GroupMetadataValue, LegacyOffsetCommitKey, OffsetCommitKey, OffsetCommitValue,
    group_metadata_value::MemberMetadata,
};
use ottla_wire::records::{encode_key, encode_value, split_prefix};
use ottla_wire::{DecodeError, DecodeFault, Decoder, EncodeError, Message, Record as _};

use super::Str;
use super::classic::{GroupSnapshot, MemberSnapshot};
use super::offsets::{CommittedOffset, TopicIndex};

/// The version of a group's value: with instance ids.
const GROUP_VERSION: i16 = 3;
/// The version of an offset's value: with a topic id.
const OFFSET_VERSION: i16 = 4;
/// The version of an offset's value that has a time of expiry.
const EXPIRING_OFFSET_VERSION: i16 = 1;

/// A record of `__consumer_offsets`.
#[derive(Debug, Clone, PartialEq)]
pub enum GroupRecord {
    /// A group; without a snapshot it is gone.
    Group {
        /// Its id.
        group: Str,
        /// Its state.
        snapshot: Option<GroupSnapshot>,
    },
    /// A committed offset; none: it is gone.
    Offset {
        /// The group's id.
        group: Str,
        /// Topic and partition.
        index: TopicIndex,
        /// The offset.
        offset: Option<CommittedOffset>,
    },
    /// Of a kind that is not read here.
    Other,
}

/// What a record cannot be read for.
#[derive(Debug, thiserror::Error)]
pub enum RecordError {
    /// No key: nothing that a coordinator writes.
    #[error("the record has no key")]
    NoKey,
    /// Key or value is not what its type says.
    #[error(transparent)]
    Decode(#[from] DecodeError),
    /// Too short to have a type or a version.
    #[error("the record has no type or version: {0}")]
    Prefix(#[from] DecodeFault),
}

impl GroupRecord {
    /// Key and value for the log.
    ///
    /// # Errors
    /// When a string or an array is longer than the format can say.
    pub fn encode(&self) -> Result<(Bytes, Option<Bytes>), EncodeError> {
        match self {
            Self::Group { group, snapshot } => {
                let key = encode_key(&GroupMetadataKey { group: group.clone() })?;
                let value =
                    snapshot.as_ref().map(|snapshot| encode_value(&group_value(snapshot), GROUP_VERSION));
                Ok((key, value.transpose()?))
            }
            Self::Offset { group, index, offset } => {
                let key =
                    OffsetCommitKey { group: group.clone(), topic: index.0.clone(), partition: index.1 };
                let value = offset.as_ref().map(encode_offset);
                Ok((encode_key(&key)?, value.transpose()?))
            }
            Self::Other => Ok((Bytes::new(), None)),
        }
    }

    /// Reads a record; nothing in the result refers to the buffer that it was read from.
    ///
    /// # Errors
    /// When key or value of a known kind cannot be read.
    pub fn decode(key: Option<Bytes>, value: Option<Bytes>) -> Result<Self, RecordError> {
        let key = key.ok_or(RecordError::NoKey)?;
        let (kind, key) = split_prefix(key)?;
        match kind {
            LegacyOffsetCommitKey::API_KEY => {
                let key: LegacyOffsetCommitKey = decode_key(key)?;
                decode_offset(&key.group, &key.topic, key.partition, value)
            }
            OffsetCommitKey::API_KEY => {
                let key: OffsetCommitKey = decode_key(key)?;
                decode_offset(&key.group, &key.topic, key.partition, value)
            }
            GroupMetadataKey::API_KEY => {
                let key: GroupMetadataKey = decode_key(key)?;
                let value = value.map(decode_value::<GroupMetadataValue>).transpose()?;
                Ok(Self::Group { group: owned(&key.group), snapshot: value.map(group_snapshot) })
            }
            _ => Ok(Self::Other),
        }
    }
}

/// A batch of records with one timestamp, milliseconds since the epoch.
///
/// # Errors
/// See [`GroupRecord::encode`].
pub fn encode_batch(records: &[GroupRecord], timestamp_ms: i64) -> Result<Bytes, EncodeError> {
    let mut builder = BatchBuilder::new(0);
    for record in records {
        let (key, value) = record.encode()?;
        builder.push(Record { timestamp: timestamp_ms, key: Some(key), value, headers: Vec::new() });
    }
    Ok(builder.build())
}

/// The producer whose transaction a batch belongs to.
pub fn transaction_of(batch: &Batch) -> Option<i64> {
    batch.header.is_transactional().then_some(batch.header.producer_id)
}

fn encode_offset(offset: &CommittedOffset) -> Result<Bytes, EncodeError> {
    let value = OffsetCommitValue {
        offset: offset.offset,
        leader_epoch: offset.leader_epoch,
        metadata: offset.metadata.clone(),
        commit_timestamp: offset.commit_timestamp_ms,
        expire_timestamp: offset.expire_timestamp_ms.unwrap_or(-1),
        topic_id: offset.topic_id,
        ..Default::default()
    };
    let version = if offset.expire_timestamp_ms.is_some() { EXPIRING_OFFSET_VERSION } else { OFFSET_VERSION };
    encode_value(&value, version)
}

fn decode_offset(
    group: &Str,
    topic: &Str,
    partition: i32,
    value: Option<Bytes>,
) -> Result<GroupRecord, RecordError> {
    let value = value.map(decode_value::<OffsetCommitValue>).transpose()?;
    let offset = value.map(|value| CommittedOffset {
        offset: value.offset,
        leader_epoch: value.leader_epoch,
        metadata: owned(&value.metadata),
        commit_timestamp_ms: value.commit_timestamp,
        expire_timestamp_ms: (value.expire_timestamp != -1).then_some(value.expire_timestamp),
        topic_id: value.topic_id,
        log_offset: -1,
    });
    Ok(GroupRecord::Offset { group: owned(group), index: (owned(topic), partition), offset })
}

fn group_value(snapshot: &GroupSnapshot) -> GroupMetadataValue {
    let member = |member: &MemberSnapshot| MemberMetadata {
        member_id: member.member_id.clone(),
        group_instance_id: member.instance_id.clone(),
        client_id: member.client_id.clone(),
        client_host: member.client_host.clone(),
        rebalance_timeout: member.rebalance_timeout_ms,
        session_timeout: member.session_timeout_ms,
        subscription: member.subscription.clone(),
        assignment: member.assignment.clone(),
        ..Default::default()
    };
    GroupMetadataValue {
        protocol_type: snapshot.protocol_type.clone().unwrap_or_default(),
        generation: snapshot.generation,
        protocol: snapshot.protocol_name.clone(),
        leader: snapshot.leader.clone(),
        current_state_timestamp: snapshot.state_timestamp_ms,
        members: snapshot.members.iter().map(member).collect(),
        ..Default::default()
    }
}

fn group_snapshot(value: GroupMetadataValue) -> GroupSnapshot {
    let member = |member: MemberMetadata| MemberSnapshot {
        member_id: owned(&member.member_id),
        instance_id: member.group_instance_id.as_ref().map(owned),
        client_id: owned(&member.client_id),
        client_host: owned(&member.client_host),
        rebalance_timeout_ms: member.rebalance_timeout,
        session_timeout_ms: member.session_timeout,
        subscription: Bytes::copy_from_slice(&member.subscription),
        assignment: Bytes::copy_from_slice(&member.assignment),
    };
    GroupSnapshot {
        protocol_type: Some(owned(&value.protocol_type)).filter(|name| !name.is_empty()),
        generation: value.generation,
        protocol_name: value.protocol.as_ref().map(owned),
        leader: value.leader.as_ref().map(owned),
        state_timestamp_ms: value.current_state_timestamp,
        members: value.members.into_iter().map(member).collect(),
    }
}

fn decode_key<M: Message>(body: Bytes) -> Result<M, RecordError> {
    Ok(M::decode(&mut Decoder::new(body), *M::VERSIONS.start())?)
}

fn decode_value<M: Message>(value: Bytes) -> Result<M, RecordError> {
    let (version, body) = split_prefix(value)?;
    Ok(M::decode(&mut Decoder::new(body), version)?)
}

/// A copy that does not keep the buffer alive which it was read from.
pub fn owned(text: &Str) -> Str {
    Str::from(String::from(&**text))
}

#[cfg(test)]
#[path = "record_tests.rs"]
mod tests;
