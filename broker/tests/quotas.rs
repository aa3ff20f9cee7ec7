//! Quotas: set, described, kept, and felt.

use std::time::{Duration, Instant};

use crate::common::{Client, TestNode, batch, fetch_request, only_partition, produce_request};
use ottla_wire::messages::alter_client_quotas_request::{EntityData, EntryData, OpData};
use ottla_wire::messages::create_partitions_request::CreatePartitionsTopic;
use ottla_wire::messages::create_topics_request::CreatableTopic;
use ottla_wire::messages::{
    AlterClientQuotasRequest, CreatePartitionsRequest, CreateTopicsRequest, DeleteTopicsRequest,
    DescribeClientQuotasRequest, MetadataRequest,
};
use ottla_wire::{ErrorCode, Str};

type Entity<'a> = &'a [(&'a str, Option<&'a str>)];

/// Sets a quota, or removes it without a value.
pub async fn alter(
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
        (&user, "request_percentage", 0.0, "request_percentage"),
        (&user, "controller_mutation_rate", f64::NAN, "controller_mutation_rate"),
        (&user, "connection_creation_rate", 5.0, "connection_creation_rate"),
        (&[("ip", Some("127.0.0.1"))], "connection_creation_rate", 5.5, "connection_creation_rate"),
        (&[("ip", Some("127.0.0.1"))], "connection_creation_rate", 3e9, "too large for an INT"),
        (&[("ip", Some("no.such.host.invalid"))], "connection_creation_rate", 5.0, "no.such.host.invalid"),
        (&[("ip", None), ("user", None)], "connection_creation_rate", 5.0, "ip"),
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
        (&user, "request_percentage", 12.5),
        (&user, "controller_mutation_rate", 0.5),
        (&[("ip", Some("127.0.0.9"))], "connection_creation_rate", 5.0),
    ];
    for (entity, key, value) in set {
        assert_eq!(alter(&mut client, entity, key, Some(value)).await.0, ErrorCode::None);
    }
    let node = node.restart(&[]).await;
    let mut client = node.client().await;
    let kept = [
        ("client-id=c,user=<default>".to_owned(), "producer_byte_rate".to_owned(), 1e6),
        ("ip=127.0.0.9".to_owned(), "connection_creation_rate".to_owned(), 5.0),
        ("user=u".to_owned(), "consumer_byte_rate".to_owned(), 2e6),
        ("user=u".to_owned(), "controller_mutation_rate".to_owned(), 0.5),
        ("user=u".to_owned(), "request_percentage".to_owned(), 12.5),
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

fn creation(name: &str, partitions: i32, validate_only: bool) -> CreateTopicsRequest {
    let topic = CreatableTopic {
        name: Str::from(name),
        num_partitions: partitions,
        replication_factor: 1,
        ..Default::default()
    };
    CreateTopicsRequest { topics: vec![topic], timeout_ms: 5000, validate_only, ..Default::default() }
}

#[tokio::test(flavor = "multi_thread")]
async fn who_changes_too_many_topics_is_refused_or_slowed_down() {
    let node = TestNode::start().await;
    let mut admin = node.client().await;
    admin.create_topic("there", 1, &[]).await;
    let quota = [("client-id", Some("test"))];
    // Eleven seconds of credit: five partitions and a half.
    let set = alter(&mut admin, &quota, "controller_mutation_rate", Some(0.5)).await;
    assert_eq!(set.0, ErrorCode::None);
    let mut client = node.client().await;
    let made = client.call(&creation("a", 7, false), 7).await;
    assert_eq!(
        (made.topics[0].error_code, made.throttle_time_ms),
        (0, 0),
        "what goes beyond is let through once"
    );
    let refused = ErrorCode::ThrottlingQuotaExceeded.code();
    let response = client.call(&creation("b", 1, false), 7).await;
    assert_eq!(response.topics[0].error_code, refused);
    assert!((2000..=3000).contains(&response.throttle_time_ms), "{}", response.throttle_time_ms);
    let mut other = node.client().await;
    let deletion =
        DeleteTopicsRequest { topic_names: vec!["there".into()], timeout_ms: 5000, ..Default::default() };
    let response = other.call(&deletion, 5).await;
    assert_eq!(response.responses[0].error_code, refused, "the client id pays, not the connection");
    let mut other = node.client().await;
    let growth =
        CreatePartitionsTopic { name: "there".into(), count: 2, assignments: None, ..Default::default() };
    let growth = CreatePartitionsRequest { topics: vec![growth], timeout_ms: 5000, ..Default::default() };
    assert_eq!(other.call(&growth, 3).await.results[0].error_code, refused);
    let mut old = node.client().await;
    let response = old.call(&creation("c", 1, false), 5).await;
    assert!(
        response.topics[0].error_code == 0 && response.throttle_time_ms > 0,
        "an older version is slowed down"
    );
    let mut other = node.client().await;
    assert_eq!(other.list_offset("c", 0, -2).await, 0, "it was made");
    let sent = Instant::now();
    old.call(&MetadataRequest::default(), 12).await;
    assert!(sent.elapsed() > Duration::from_secs(1), "and its client was not read");
    node.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn who_takes_too_much_time_is_not_read_for_a_second_at_most() {
    let node = TestNode::start().await;
    let mut admin = node.client().await;
    admin.create_topic("t", 1, &[]).await;
    admin.produce("t", 0, batch(&["x"], None)).await;
    let quota = [("user", Some("ANONYMOUS")), ("client-id", Some("test"))];
    let set = alter(&mut admin, &quota, "request_percentage", Some(1e-9)).await;
    assert_eq!(set.0, ErrorCode::None);
    let mut client = node.client().await;
    let sent = Instant::now();
    let pause = client.call(&MetadataRequest::default(), 12).await.throttle_time_ms;
    assert_eq!(pause, 1000, "the length of a sample");
    let fetched = client.call(&fetch_request("t", 0, 0), 12).await;
    assert!(sent.elapsed() > Duration::from_millis(900));
    assert!(fetched.throttle_time_ms == 1000 && fetched.responses.is_empty(), "nothing is fetched then");
    let mut client = node.client().await;
    let produced = client.call(&produce_request("t", 0, batch(&["y"], None), -1), 9).await;
    assert_eq!(produced.throttle_time_ms, 1000);
    assert_eq!(only_partition(produced).base_offset, 1);
    node.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn an_address_that_connects_too_often_is_closed_after_a_pause() {
    let node = TestNode::start().await;
    let mut admin = node.client().await;
    let set = alter(&mut admin, &[("ip", None)], "connection_creation_rate", Some(1.0)).await;
    assert_eq!(set.0, ErrorCode::None);
    let mut served = 0;
    for _ in 0..10 {
        let mut client = node.client().await;
        served += usize::from(client.call(&MetadataRequest::default(), 12).await.throttle_time_ms == 0);
    }
    assert_eq!(served, 10, "ten seconds are credit");
    let mut client = node.client().await;
    let tried = Instant::now();
    assert!(client.is_closed().await);
    assert!(tried.elapsed() > Duration::from_millis(500), "a pause keeps it from coming again at once");
    let unset = alter(&mut admin, &[("ip", None)], "connection_creation_rate", None).await;
    assert_eq!(unset.0, ErrorCode::None, "connections that are there go on");
    node.client().await.call(&MetadataRequest::default(), 12).await;
    node.stop().await;
}
