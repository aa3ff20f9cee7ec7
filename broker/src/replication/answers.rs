//! A leader's answers without a broker around it, and what logs hold; for tests.

use std::collections::BTreeMap;
use std::os::unix::fs::FileExt as _;
use std::sync::Arc;
use std::time::Instant;

use bytes::Bytes;
use ottla_log::Offset;
use ottla_wire::batch::{BatchHeader, batches};
use ottla_wire::messages::fetch_response::{FetchableTopicResponse, PartitionData};
use ottla_wire::messages::list_offsets_request::{ListOffsetsPartition, ListOffsetsTopic};
use ottla_wire::messages::list_offsets_response::{ListOffsetsPartitionResponse, ListOffsetsTopicResponse};
use ottla_wire::messages::{FetchRequest, FetchResponse, ListOffsetsRequest, ListOffsetsResponse};
use ottla_wire::{ErrorCode, Records, Str};

use crate::api::fetch;
use crate::clock::Millis;
use crate::fetch_session::{Context, PartitionKey, Sessions, Wanted};
use crate::partition::{Isolation, Partition, Partitions};

/// A follower's fetch that waits at the leader.
pub(crate) struct Asked {
    context: Context,
    pub(crate) wanted: Vec<Wanted>,
    from: (i32, i64),
}

/// Takes in a follower's fetch.
pub(crate) fn begin(sessions: &Sessions, request: FetchRequest) -> Result<Asked, FetchResponse> {
    let from = match request.replica_state.replica_id {
        -1 => (request.replica_id, -1),
        id => (id, request.replica_state.replica_epoch),
    };
    let session = (request.session_id, request.session_epoch);
    let (wanted, forgotten) = fetch::partitions(request);
    match sessions.begin(session, true, wanted, &forgotten, Instant::now()) {
        Ok((context, wanted)) => Ok(Asked { context, wanted, from }),
        Err(error) => Err(FetchResponse { error_code: error.code(), ..Default::default() }),
    }
}

type Rows = Vec<(PartitionKey, PartitionData)>;

/// What the leader has for it, from memory. With `at` it is noted how far the follower is: once for each fetch.
pub(crate) fn look(
    find: impl Fn(&PartitionKey) -> Option<Arc<Partition>>,
    asked: &Asked,
    at: Option<Millis>,
) -> Rows {
    let answer = |wanted: &Wanted| {
        let partition = find(&wanted.key);
        let mut data = fetch::replica::answer(partition.as_ref(), wanted, asked.from, at);
        data.records = data.records.map(|records| Records::Bytes(in_memory(records)));
        (wanted.key.clone(), data)
    };
    asked.wanted.iter().map(answer).collect()
}

/// Whether these would be sent at once.
pub(crate) fn is_enough(rows: &Rows) -> bool {
    let says = |data: &PartitionData| {
        data.error_code != 0
            || data.diverging_epoch.end_offset >= 0
            || data.records.as_ref().is_some_and(|records| !records.is_empty())
    };
    rows.iter().any(|(_, data)| says(data))
}

/// The answer.
pub(crate) fn finish(sessions: &Sessions, asked: Asked, rows: Rows) -> FetchResponse {
    let (session_id, rows) = sessions.finish(asked.context, true, asked.wanted, rows, Instant::now());
    let mut responses: Vec<FetchableTopicResponse> = Vec::new();
    for (key, data) in rows {
        match responses.iter_mut().find(|topic| topic.topic_id == key.topic_id) {
            Some(topic) => topic.partitions.push(data),
            None => responses.push(FetchableTopicResponse {
                topic_id: key.topic_id,
                partitions: vec![data],
                ..Default::default()
            }),
        }
    }
    FetchResponse { session_id, responses, ..Default::default() }
}

/// The answer of a leader of `t`, at once and from memory.
pub(super) fn fetch(partitions: &Partitions, sessions: &Sessions, request: FetchRequest) -> FetchResponse {
    let asked = match begin(sessions, request) {
        Ok(asked) => asked,
        Err(refusal) => return refusal,
    };
    let at = Some(partitions.surroundings().now());
    let rows = look(|key| partitions.find("t", key.partition), &asked, at);
    finish(sessions, asked, rows)
}

/// Where logs begin or end, for followers.
pub(crate) fn list_offsets(partitions: &Partitions, request: &ListOffsetsRequest) -> ListOffsetsResponse {
    let row = |topic: &Str, asked: &ListOffsetsPartition| {
        let partition = partitions.find(topic, asked.partition_index);
        let checked = match &partition {
            Some(partition) => {
                partition.check_leader(asked.current_leader_epoch).map_err(|error| error.code())
            }
            None => Err(ErrorCode::NotLeaderOrFollower),
        };
        let is_end = asked.timestamp == -1;
        let offset = partition.map_or(Offset(-1), |partition| {
            if is_end { partition.log_end_offset() } else { partition.log_start_offset() }
        });
        ListOffsetsPartitionResponse {
            partition_index: asked.partition_index,
            error_code: checked.err().map_or(0, ErrorCode::code),
            offset: offset.0,
            ..Default::default()
        }
    };
    let topic = |topic: &ListOffsetsTopic| ListOffsetsTopicResponse {
        name: topic.name.clone(),
        partitions: topic.partitions.iter().map(|asked| row(&topic.name, asked)).collect(),
        ..Default::default()
    };
    ListOffsetsResponse { topics: request.topics.iter().map(topic).collect(), ..Default::default() }
}

fn in_memory(records: Records) -> Bytes {
    match records {
        Records::Bytes(bytes) => bytes,
        Records::Region(region) => {
            let mut bytes = vec![0; region.len];
            region.file.read_exact_at(&mut bytes, region.position).unwrap();
            bytes.into()
        }
    }
}

/// All bytes of the batches from the one with `start` on, below `end`.
pub(crate) fn content(partition: &Partition, start: Offset, end: Offset) -> Vec<Bytes> {
    let mut found = Vec::new();
    let mut at = start;
    while at < end {
        let read = partition.read(at, 1 << 20, Isolation::LogEnd, true).unwrap();
        let bytes = in_memory(read.records);
        for batch in batches(&bytes) {
            let batch = batch.unwrap();
            at = Offset(batch.header.next_offset());
            if at <= end {
                found.push(batch.bytes.clone());
            }
        }
        if bytes.is_empty() {
            break;
        }
    }
    found
}

/// Offsets, epoch and checksum of each batch.
pub(crate) fn outline(batches: &[Bytes]) -> String {
    let header = |bytes: &Bytes| BatchHeader::parse(bytes).unwrap();
    let headers = batches.iter().map(header);
    let one = |it: BatchHeader| {
        format!("{}-{}@{}#{:x}", it.base_offset, it.last_offset(), it.partition_leader_epoch, it.crc)
    };
    format!("{:?}", headers.map(one).collect::<Vec<_>>())
}

/// The last value of each batch, by its offset.
pub(super) fn values(partition: &Partition) -> BTreeMap<i64, Bytes> {
    let mut values = BTreeMap::new();
    for bytes in content(partition, partition.log_start_offset(), partition.log_end_offset()) {
        for batch in batches(&bytes) {
            let batch = batch.unwrap();
            let last = batch.records().unwrap().last().unwrap().unwrap();
            values.insert(last.offset, last.value.unwrap());
        }
    }
    values
}
