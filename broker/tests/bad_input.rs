//! What strangers send: the right error or a closed connection, and others go on unharmed.

use crate::common::{Client, TestNode, batch, fetch_request, values};
use ottla_wire::messages::{ApiVersionsRequest, ApiVersionsResponse};
use ottla_wire::{Decoder, ErrorCode, Message as _, Str};
use tokio::io::AsyncWriteExt as _;

/// Does `harm` with one connection; another that was there before must still be served.
async fn unharmed(node: &TestNode, harm: impl AsyncFnOnce(&mut Client)) {
    let (mut other, mut bad) = (node.client().await, node.client().await);
    let before = other.produce("t", 0, batch(&["before"], None)).await;
    harm(&mut bad).await;
    let after = other.produce("t", 0, batch(&["after"], None)).await;
    assert_eq!((after.error_code, after.base_offset), (0, before.base_offset + 1));
}

async fn node() -> TestNode {
    let node = TestNode::start().await;
    node.client().await.create_topic("t", 1, &[]).await;
    node
}

#[tokio::test(flavor = "multi_thread")]
async fn broken_frames_close_the_connection() {
    let node = node().await;
    let frames: [(&str, Vec<u8>); 5] = [
        ("a negative length", (-1_i32).to_be_bytes().to_vec()),
        ("a giant length", i32::MAX.to_be_bytes().to_vec()),
        ("an empty frame", 0_i32.to_be_bytes().to_vec()),
        ("an unknown api", framed(&[0x7f, 0x00, 0, 0, 0, 0, 0, 1, 0xff, 0xff])),
        ("an unknown version of metadata", framed(&[0, 3, 0x7f, 0, 0, 0, 0, 1, 0xff, 0xff])),
    ];
    for (what, bytes) in frames {
        unharmed(&node, async |client: &mut Client| {
            client.socket.write_all(&bytes).await.unwrap();
            assert!(client.is_closed().await, "{what}");
        })
        .await;
    }
    node.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn bytes_behind_the_body_are_ignored_as_by_kafka() {
    let node = node().await;
    let mut client = node.client().await;
    let request = ottla_wire::encode_request(&ApiVersionsRequest::default(), 0, 1, None).unwrap();
    let frame = [&request.into_bytes().unwrap()[..], b"garbage"].concat();
    client.send_frame(&frame).await;
    assert_eq!(client.receive::<ApiVersionsRequest>(0).await.1.error_code, 0);
    assert_eq!(client.produce("t", 0, batch(&["x"], None)).await.error_code, 0);
    node.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_half_frame_is_dropped_with_its_connection() {
    let node = node().await;
    unharmed(&node, async |client: &mut Client| {
        client.socket.write_all(&1000_i32.to_be_bytes()).await.unwrap();
        client.socket.write_all(&[0; 100]).await.unwrap();
        client.socket.shutdown().await.unwrap();
        assert!(client.is_closed().await);
    })
    .await;
    node.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn lengths_within_a_frame_are_not_believed() {
    let node = node().await;
    // Metadata v1 that claims two thousand million topics, and a produce v9 whose records do the same.
    let metadata = [&[0, 3, 0, 1, 0, 0, 0, 1, 0xff, 0xff][..], &i32::MAX.to_be_bytes()].concat();
    let produce =
        [&[0, 0, 0, 9, 0, 0, 0, 1, 0xff, 0xff, 0, 0, 0, 1, 0, 0, 0, 9][..], &[0xff; 4], &[0x0f]].concat();
    for frame in [metadata, produce] {
        unharmed(&node, async |client: &mut Client| {
            client.send_frame(&frame).await;
            assert!(client.is_closed().await);
        })
        .await;
    }
    node.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn an_unknown_version_of_api_versions_is_answered_in_version_0() {
    let node = node().await;
    let mut client = node.client().await;
    client.send_frame(&[0, 18, 0x7f, 0, 0, 0, 0, 42, 0xff, 0xff, 1, 2, 3]).await;
    let mut decoder = Decoder::new(client.receive_frame().await);
    assert_eq!(decoder.i32().unwrap(), 42, "the correlation id, and no tagged fields");
    let response = ApiVersionsResponse::decode(&mut decoder, 0).unwrap();
    assert_eq!(response.error_code, ErrorCode::UnsupportedVersion.code());
    let range = &response.api_keys[0];
    assert_eq!((range.api_key, range.min_version, range.max_version), (18, 0, 4));
    // The connection goes on.
    let request = ApiVersionsRequest {
        client_software_name: Str::from("test"),
        client_software_version: Str::from("1"),
        ..Default::default()
    };
    let response = client.call(&request, range.max_version).await;
    assert_eq!(response.error_code, 0);
    assert!(
        response.api_keys.iter().any(|api| (api.api_key, api.min_version, api.max_version) == (0, 0, 13))
    );
    node.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn bad_batches_are_refused_and_nothing_is_appended() {
    let node = node().await;
    let mut client = node.client().await;
    let good = batch(&["good"], None);
    let mut bad_crc = good.to_vec();
    *bad_crc.last_mut().unwrap() ^= 1;
    let mut old_magic = good.to_vec();
    old_magic[16] = 1;
    let cut = good[..good.len() - 1].to_vec();
    let two = [good.to_vec(), good.to_vec()].concat();
    let cases = [
        ("bad crc", bad_crc, ErrorCode::CorruptMessage),
        ("old magic", old_magic, ErrorCode::InvalidRecord),
        ("two batches", two, ErrorCode::InvalidRecord),
        ("cut short", cut, ErrorCode::InvalidRecord),
        ("nothing", Vec::new(), ErrorCode::InvalidRecord),
    ];
    for (what, bytes, expected) in cases {
        let response = client.produce("t", 0, bytes.into()).await;
        let code = ErrorCode::try_from(response.error_code).unwrap();
        assert_eq!(code, expected, "{what}: {:?}", response.error_message);
    }
    assert_eq!(client.list_offset("t", 0, -1).await, 0);
    node.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_client_that_never_reads_stops_being_read() {
    let node = node().await;
    let value = "x".repeat(500_000);
    let mut client = node.client().await;
    for _ in 0..20 {
        client.produce("t", 0, batch(&[&value], None)).await;
    }
    unharmed(&node, async |deaf: &mut Client| {
        // Each answer is 10 MB, none is read: after a few the broker must stop taking requests.
        let mut request = fetch_request("t", 0, 0);
        request.topics[0].partitions[0].partition_max_bytes = 10 << 20;
        let flood = async {
            loop {
                deaf.send(&request, 12).await;
            }
        };
        let blocked = tokio::time::timeout(std::time::Duration::from_secs(2), flood).await;
        assert!(blocked.is_err());
        // What it did get in is bounded by the socket buffers, and the answers are file regions: memory stays.
        let unsent = crate::metrics::scrape(&node).await["ottla_network_unsentresponsebytes"];
        assert!(unsent < 1_000_000.0, "{unsent} bytes");
    })
    .await;
    let data = client.fetch("t", 0, 0).await;
    assert!(!values(&data).is_empty());
    node.stop().await;
}

fn framed(frame: &[u8]) -> Vec<u8> {
    [&i32::try_from(frame.len()).unwrap().to_be_bytes()[..], frame].concat()
}
