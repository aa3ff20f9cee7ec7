//! A leader's answers without a broker around it, and what logs hold; for tests.

use std::collections::BTreeMap;
use std::os::unix::fs::FileExt as _;
use std::time::Instant;

use bytes::Bytes;
use ottla_log::Offset;
use ottla_wire::Records;
use ottla_wire::batch::{BatchHeader, batches};
use ottla_wire::messages::fetch_response::FetchableTopicResponse;
use ottla_wire::messages::list_offsets_request::ListOffsetsPartition;
use ottla_wire::messages::list_offsets_response::{ListOffsetsPartitionResponse, ListOffsetsTopicResponse};
use ottla_wire::messages::{FetchRequest, FetchResponse, ListOffsetsRequest, ListOffsetsResponse};

use crate::api::fetch;
use crate::fetch_session::{Sessions, Wanted};
use crate::partition::{Isolation, Partition, Partitions};

/// The answer of a leader of `t`, at once and from memory.
pub(super) fn fetch(partitions: &Partitions, sessions: &Sessions, request: FetchRequest) -> FetchResponse {
    let at = partitions.surroundings().now();
    let from = match request.replica_state.replica_id {
        -1 => (request.replica_id, -1),
        id => (id, request.replica_state.replica_epoch),
    };
    let session = (request.session_id, request.session_epoch);
    let (wanted, forgotten) = fetch::partitions(request);
    let begun = sessions.begin(session, true, wanted, &forgotten, Instant::now());
    let (context, wanted) = match begun {
        Ok(begun) => begun,
        Err(error) => return FetchResponse { error_code: error.code(), ..Default::default() },
    };
    let answer = |wanted: &Wanted| {
        let partition = partitions.find("t", wanted.key.partition);
        let mut data = fetch::replica::answer(partition.as_ref(), wanted, from, at);
        data.records = data.records.map(|records| Records::Bytes(in_memory(records)));
        (wanted.key.clone(), data)
    };
    let topic_id = wanted.first().map(|wanted| wanted.key.topic_id).unwrap_or_default();
    let answers = wanted.iter().map(answer).collect();
    let (session_id, answers) = sessions.finish(context, true, wanted, answers, Instant::now());
    let partitions = answers.into_iter().map(|(_, data)| data).collect();
    let topic = FetchableTopicResponse { topic_id, partitions, ..Default::default() };
    FetchResponse { session_id, responses: vec![topic], ..Default::default() }
}

/// Where logs of `t` begin or end, for followers.
pub(super) fn list_offsets(partitions: &Partitions, request: &ListOffsetsRequest) -> ListOffsetsResponse {
    let row = |asked: &ListOffsetsPartition| {
        let partition = partitions.find("t", asked.partition_index).unwrap();
        let error = partition.check_leader(asked.current_leader_epoch).err();
        let is_end = asked.timestamp == -1;
        let offset = if is_end { partition.log_end_offset() } else { partition.log_start_offset() };
        ListOffsetsPartitionResponse {
            partition_index: asked.partition_index,
            error_code: error.map_or(0, |error| error.code().code()),
            offset: offset.0,
            ..Default::default()
        }
    };
    let partitions = request.topics.iter().flat_map(|topic| &topic.partitions).map(row).collect();
    let topic = ListOffsetsTopicResponse { name: "t".into(), partitions, ..Default::default() };
    ListOffsetsResponse { topics: vec![topic], ..Default::default() }
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
pub(super) fn content(partition: &Partition, start: Offset, end: Offset) -> Vec<Bytes> {
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
pub(super) fn outline(batches: &[Bytes]) -> String {
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
