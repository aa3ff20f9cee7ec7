//! Headers, frames of records, and how large fields travel through an encoder.
#![allow(
    clippy::unwrap_used,
    clippy::panic,
    clippy::indexing_slicing,
    clippy::expect_used,
    reason = "a test may panic"
)]

use std::fs::File;
use std::io::Write as _;
use std::sync::Arc;

use bytes::Bytes;
use ottla_wire::messages::fetch_response::{FetchResponse, FetchableTopicResponse, PartitionData};
use ottla_wire::messages::{ApiVersionsRequest, ApiVersionsResponse, MetadataRequest};
use ottla_wire::records::group::{OffsetCommitKey, OffsetCommitValue};
use ottla_wire::records::metadata::TopicRecord;
use ottla_wire::records::{
    decode_frame, decode_value, encode_framed, encode_key, encode_value, split_prefix,
};
use ottla_wire::{
    ApiKey, DecodeFault, Decoder, EncodeFault, FileRegion, Message, Part, RawTaggedField, Record, Records,
    Uuid, decode_exact, decode_request_header, encode_request, encode_response, encode_to_bytes,
};

fn golden_frame(name: &str) -> Bytes {
    let line = include_str!("../golden/frames.txt").lines().find_map(|line| line.strip_prefix(name)).unwrap();
    let hex = line.trim();
    (0..hex.len()).step_by(2).map(|at| u8::from_str_radix(&hex[at..at + 2], 16).unwrap()).collect()
}

#[test]
fn metadata_records_have_kafkas_frame() {
    let mut id = [0; 16];
    (id[7], id[15]) = (1, 2);
    let topic = TopicRecord { name: "orders".into(), topic_id: Uuid::from_bytes(id), ..Default::default() };
    assert_eq!(encode_framed(&topic, 0).unwrap(), golden_frame("metadata"));
    let frame = decode_frame(golden_frame("metadata")).unwrap();
    assert_eq!((frame.api_key, frame.version), (TopicRecord::API_KEY, 0));
    assert_eq!(decode_exact::<TopicRecord>(frame.body.clone(), 0).unwrap(), topic);
    assert_eq!(frame.encode().unwrap(), golden_frame("metadata"));
    assert_eq!(decode_frame(Bytes::from_static(&[2, 2, 0])), Err(DecodeFault::FrameVersion(2)));
    assert!(decode_frame(Bytes::from_static(&[1, 0xff, 0xff, 0x7f, 0])).is_err());
}

#[test]
fn coordinator_records_have_kafkas_prefixes() {
    let key = OffsetCommitKey { group: "readers".into(), topic: "orders".into(), partition: 7 };
    let value = OffsetCommitValue { offset: 42, metadata: "m".into(), ..Default::default() };
    assert_eq!(encode_key(&key).unwrap(), golden_frame("key"));
    assert_eq!(encode_value(&value, 3).unwrap(), golden_frame("value"));
    let (kind, body) = split_prefix(golden_frame("key")).unwrap();
    assert_eq!((kind, decode_exact(body, 0).unwrap()), (OffsetCommitKey::API_KEY, key));
    assert_eq!(decode_value::<OffsetCommitValue>(golden_frame("value")).unwrap(), value);
}

#[test]
fn requests_carry_the_header_of_their_version() {
    let request = MetadataRequest { topics: None, ..Default::default() };
    for version in ApiKey::Metadata.versions().skip(1) {
        let frame = encode_request(&request, version, 77, Some("me".into())).unwrap().into_bytes().unwrap();
        let (header, mut d) = decode_request_header(frame).unwrap();
        assert_eq!((header.correlation_id, header.request_api_version), (77, version));
        assert_eq!(header.client_id.as_deref(), Some("me"));
        assert_eq!(MetadataRequest::decode(&mut d, version).unwrap(), request);
        assert_eq!(d.remaining(), 0);
    }
}

#[test]
fn the_header_of_an_unknown_version_can_be_read() {
    for (key, version) in [(18, 99), (999, 0)] {
        let mut frame = Vec::new();
        frame.extend_from_slice(&i16::to_be_bytes(key));
        frame.extend_from_slice(&i16::to_be_bytes(version));
        frame.extend_from_slice(&[0, 0, 0, 9, 0, 1, b'c', 0, 0xff]);
        let (header, _) = decode_request_header(frame.into()).unwrap();
        assert_eq!(
            (header.request_api_key, header.request_api_version, header.correlation_id),
            (key, version, 9)
        );
        assert_eq!(header.client_id.as_deref(), Some("c"));
    }
}

#[test]
fn api_versions_is_answered_behind_the_oldest_header() {
    let response = ApiVersionsResponse { error_code: 35, ..Default::default() };
    let frame = encode_response(&response, ApiKey::ApiVersions, 3, 5).unwrap().into_bytes().unwrap();
    let mut d = Decoder::new(frame);
    assert_eq!(d.i32(), Ok(5));
    assert_eq!(ApiVersionsResponse::decode(&mut d, 3).unwrap(), response);
}

#[test]
fn records_are_neither_copied_nor_read() {
    let mut file = tempfile::tempfile().unwrap();
    file.write_all(b"0123456789").unwrap();
    let region = FileRegion { file: Arc::<File>::new(file), position: 2, len: 5 };
    let large = Bytes::from(vec![7; 100_000]);
    let small = Bytes::from_static(b"small");
    let partitions = [Records::Region(region.clone()), large.clone().into(), small.into()]
        .map(|records| PartitionData { records: Some(records), ..Default::default() });
    let topic = FetchableTopicResponse { partitions: partitions.into(), ..Default::default() };
    let response = FetchResponse { responses: vec![topic], ..Default::default() };

    let parts = encode_response(&response, ApiKey::Fetch, 17, 1).unwrap();
    assert_eq!(parts.len(), parts.iter().map(Part::len).sum::<usize>());
    let regions: Vec<&Part> = parts.iter().filter(|part| matches!(part, Part::Region(_))).collect();
    assert_eq!(regions, [&Part::Region(region)]);
    let shared = |part: &Part| matches!(part, Part::Bytes(bytes) if bytes.as_ptr() == large.as_ptr());
    assert!(parts.iter().any(shared));
    assert_eq!(parts.iter().count(), 5);
    assert_eq!(encode_to_bytes(&response, 17).unwrap_err().fault, EncodeFault::Region);
}

#[test]
fn decoded_records_are_a_slice_of_the_frame() {
    let partition = PartitionData { records: Some(Bytes::from(vec![7; 100]).into()), ..Default::default() };
    let topic = FetchableTopicResponse { partitions: vec![partition], ..Default::default() };
    let response = FetchResponse { responses: vec![topic], ..Default::default() };
    let frame = encode_to_bytes(&response, 12).unwrap();
    let read: FetchResponse = decode_exact(frame.clone(), 12).unwrap();
    assert_eq!(read, response);
    let records = read.responses[0].partitions[0].records.as_ref().unwrap().as_bytes().unwrap();
    assert!(frame.as_ptr_range().contains(&records.as_ptr()));
}

#[test]
fn unknown_tagged_fields_are_written_in_order_and_only_once() {
    let field = |tag| RawTaggedField { tag, data: Bytes::from_static(b"x") };
    let mut request =
        ApiVersionsRequest { unknown_tagged_fields: vec![field(9), field(3)], ..Default::default() };
    let bytes = encode_to_bytes(&request, 3).unwrap();
    let read: ApiVersionsRequest = decode_exact(bytes, 3).unwrap();
    assert_eq!(read.unknown_tagged_fields, [field(3), field(9)]);
    request.unknown_tagged_fields.push(field(9));
    assert_eq!(encode_to_bytes(&request, 3).unwrap_err().fault, EncodeFault::DuplicateTag(9));
}

#[test]
fn what_a_version_cannot_say_is_refused_by_name() {
    let request = MetadataRequest { topics: None, ..Default::default() };
    let error = encode_to_bytes(&request, 0).unwrap_err();
    assert_eq!(error.fault, EncodeFault::Null("MetadataRequest.topics"));
    assert_eq!(
        error.to_string(),
        "MetadataRequest version 0: MetadataRequest.topics is null, which this version does not allow"
    );
    let request = MetadataRequest { allow_auto_topic_creation: false, ..Default::default() };
    let error = encode_to_bytes(&request, 3).unwrap_err();
    assert_eq!(error.fault, EncodeFault::NotInVersion("MetadataRequest.allow_auto_topic_creation"));
}

#[test]
fn strings_must_be_utf8_and_arrays_must_fit() {
    let fault = |bytes: &'static [u8]| {
        decode_exact::<MetadataRequest>(Bytes::from_static(bytes), 1).unwrap_err().fault
    };
    assert_eq!(fault(&[0, 0, 0, 1, 0, 2, 0xc3, 0x28]), DecodeFault::Utf8);
    assert_eq!(
        fault(&[0x7f, 0xff, 0xff, 0xff, 0]),
        DecodeFault::ArrayTooLong { claimed: 0x7fff_ffff, remaining: 1 }
    );
    assert_eq!(fault(&[0, 0, 0, 1, 0xff, 0xff]), DecodeFault::Null);
    assert_eq!(fault(&[0, 0, 0, 0, 1]), DecodeFault::Trailing { left: 1 });
}
