//! Quotas of bytes: set, described, kept, and felt.

use std::time::{Duration, Instant};

use crate::common::{Client, TestNode, batch, fetch_request, only_partition, produce_request};
use ottla_wire::messages::alter_client_quotas_request::{EntityData, EntryData, OpData};
use ottla_wire::messages::{AlterClientQuotasRequest, DescribeClientQuotasRequest, MetadataRequest};
use ottla_wire::{ErrorCode, Str};

type Entity<'a> = &'a [(&'a str, Option<&'a str>)];

/// Sets a quota, or removes it without a value.
async fn alter(
    client: &mut Client,
    entity: Entity<'_>,
    key: &str,
    value: Option<f64>,
) -> (ErrorCode, String) {
    let part = |(kind, name): &(&str, Option<&str>)| EntityData {
        entity_type: Str::from(*kind),
        entity_name: name.map(Str::from),
        ..Default::default()
    };
    let op = OpData {
        key: Str::from(key),
        value: value.unwrap_or_default(),
        remove: value.is_none(),
        ..Default::default()
    };
    let entry = EntryData { entity: entity.iter().map(part).collect(), ops: vec![op], ..Default::default() };
    let request = AlterClientQuotasRequest { entries: vec![entry], ..Default::default() };
    let mut response = client.call(&request, 1).await;
    let entry = response.entries.remove(0);
    let message = entry.error_message.unwrap_or_default().to_string();
    (ErrorCode::try_from(entry.error_code).unwrap(), message)
}

/// Everything that is set: entity, key and value.
async fn described(client: &mut Client) -> Vec<(String, String, f64)> {
    let response = client.call(&DescribeClientQuotasRequest::default(), 1).await;
    assert_eq!(response.error_code, 0);
    let entries = response.entries.unwrap().into_iter();
    entries
        .flat_map(|entry| {
            let name = |part: &ottla_wire::messages::describe_client_quotas_response::EntityData| {
                format!("{}={}", part.entity_type, part.entity_name.as_deref().unwrap_or("<default>"))
            };
            let entity = entry.entity.iter().map(name).collect::<Vec<_>>().join(",");
            entry.values.into_iter().map(move |value| (entity.clone(), value.key.to_string(), value.value))
        })
        .collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn quotas_are_kept_and_wrong_ones_refused() {
    let node = TestNode::start().await;
    let mut client = node.client().await;
    let user = [("user", Some("u"))];
    for (entity, key, value, named) in [
        (&user[..], "nonsense", 1.0, "nonsense"),
        (&user, "producer_byte_rate", 0.0, "producer_byte_rate"),
        (&user, "producer_byte_rate", -1.0, "producer_byte_rate"),
        (&user, "producer_byte_rate", f64::NAN, "producer_byte_rate"),
        (&user, "producer_byte_rate", f64::INFINITY, "producer_byte_rate"),
        (&user, "producer_byte_rate", 1.5, "producer_byte_rate"),
        (&user, "request_percentage", 50.0, "request_percentage is not enforced"),
        (&[("ip", Some("127.0.0.1"))], "connection_creation_rate", 5.0, "connection_creation_rate is not"),
        (&[("ip", None)], "producer_byte_rate", 5.0, "producer_byte_rate"),
        (&[("user", Some(""))], "producer_byte_rate", 5.0, "user"),
        (&[("planet", Some("p"))], "producer_byte_rate", 5.0, "planet"),
        (&[], "producer_byte_rate", 5.0, "empty"),
    ] {
        let (code, message) = alter(&mut client, entity, key, Some(value)).await;
        assert!(code == ErrorCode::InvalidRequest && message.contains(named), "{code} {message}");
    }
    assert_eq!(described(&mut client).await, []);
    let set = [
        (&[("client-id", Some("c")), ("user", None)][..], "producer_byte_rate", 1e6),
        (&user, "consumer_byte_rate", 2e6),
    ];
    for (entity, key, value) in set {
        assert_eq!(alter(&mut client, entity, key, Some(value)).await.0, ErrorCode::None);
    }
    let node = node.restart(&[]).await;
    let mut client = node.client().await;
    let kept = [
        ("client-id=c,user=<default>".to_owned(), "producer_byte_rate".to_owned(), 1e6),
        ("user=u".to_owned(), "consumer_byte_rate".to_owned(), 2e6),
    ];
    assert_eq!(described(&mut client).await, kept);
    for (entity, key, _) in set {
        assert_eq!(alter(&mut client, entity, key, None).await.0, ErrorCode::None);
    }
    assert_eq!(described(&mut client).await, []);
    node.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_producer_beyond_its_quota_is_answered_and_then_not_read() {
    let node = TestNode::start().await;
    let mut client = node.client().await;
    client.create_topic("t", 1, &[]).await;
    let records = batch(&["x".repeat(2000).as_str()], None);
    let first = client.call(&produce_request("t", 0, records.clone(), -1), 9).await;
    assert_eq!(first.throttle_time_ms, 0, "no quota");
    // Ten seconds of credit: 1900 bytes.
    let quota = [("client-id", Some("test"))];
    assert_eq!(
        alter(&mut client, &quota, "producer_byte_rate", Some(1900.0 / 10.0)).await.0,
        ErrorCode::None
    );

    let sent = Instant::now();
    let response = client.call(&produce_request("t", 0, records.clone(), -1), 9).await;
    let (answered, pause) = (sent.elapsed(), response.throttle_time_ms);
    assert!((500..2000).contains(&pause), "{pause} ms for about 200 bytes too many");
    assert_eq!(only_partition(response).base_offset, 1, "it was appended all the same");
    client.call(&MetadataRequest::default(), 12).await;
    let muted = sent.elapsed() - answered;
    assert!(muted >= Duration::from_millis(u64::try_from(pause).unwrap()) - Duration::from_millis(100));
    let mut other = node.client().await;
    let sent = Instant::now();
    other.call(&MetadataRequest::default(), 12).await;
    assert!(sent.elapsed() < Duration::from_secs(1), "other connections go on");
    node.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_consumer_beyond_its_quota_gets_nothing_until_the_pause_is_over() {
    let node = TestNode::start().await;
    let mut client = node.client().await;
    client.create_topic("t", 1, &[]).await;
    client.produce("t", 0, batch(&["x".repeat(2000).as_str()], None)).await;
    let quota = [("client-id", None)];
    assert_eq!(alter(&mut client, &quota, "consumer_byte_rate", Some(350.0)).await.0, ErrorCode::None);
    let got = client.call(&fetch_request("t", 0, 0), 12).await;
    assert_eq!(got.throttle_time_ms, 0);
    assert!(!got.responses[0].partitions[0].records.as_ref().unwrap().is_empty());
    let sent = Instant::now();
    let throttled = client.call(&fetch_request("t", 0, 0), 12).await;
    assert!(throttled.throttle_time_ms > 0 && throttled.responses.is_empty() && throttled.error_code == 0);
    client.call(&MetadataRequest::default(), 12).await;
    let pause = Duration::from_millis(u64::try_from(throttled.throttle_time_ms).unwrap());
    assert!(sent.elapsed() >= pause - Duration::from_millis(100));
    assert_eq!(alter(&mut client, &quota, "consumer_byte_rate", None).await.0, ErrorCode::None);
    let got = client.call(&fetch_request("t", 0, 0), 12).await;
    assert!(got.throttle_time_ms == 0 && !got.responses.is_empty(), "without a quota there is no pause");
    node.stop().await;
}
