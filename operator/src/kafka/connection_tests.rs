use super::*;
use crate::{
    kafka::{ConfigKind, Pool},
    lease::Leadership,
    telemetry::Metrics,
};
use ottla_wire::{
    decode_request_header, encode_response,
    messages::{
        ApiVersionsResponse, DescribeConfigsResponse, MetadataRequest, MetadataResponse,
        api_versions_response::ApiVersion,
        describe_configs_response::{DescribeConfigsResourceResult, DescribeConfigsResult},
        metadata_response::{MetadataResponsePartition, MetadataResponseTopic},
    },
};
use std::{
    collections::BTreeMap,
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
};
use tokio::net::TcpListener;

/// What a broker does with a request that is not ApiVersions.
type Answer = Arc<dyn Fn(ApiKey, i16, i32) -> Option<Bytes> + Send + Sync>;

/// A broker that offers Metadata and DescribeConfigs up to `version` and closes a connection where there is no answer.
async fn broker(version: i16, answer: Answer) -> (String, Arc<AtomicUsize>) {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap().to_string();
    let connections = Arc::new(AtomicUsize::new(0));
    let count = Arc::clone(&connections);
    tokio::spawn(async move {
        while let Ok((stream, _)) = listener.accept().await {
            count.fetch_add(1, Ordering::SeqCst);
            tokio::spawn(serve(stream, version, Arc::clone(&answer)));
        }
    });
    (address, connections)
}

async fn serve(mut stream: TcpStream, version: i16, answer: Answer) {
    while let Ok(length) = stream.read_u32().await {
        let mut frame = vec![0; length as usize];
        stream.read_exact(&mut frame).await.unwrap();
        let (header, _) = decode_request_header(frame.into()).unwrap();
        let key = ApiKey::try_from(header.request_api_key).unwrap();
        let answer = match key {
            ApiKey::ApiVersions => Some(offer(version, header.correlation_id)),
            _ => answer(key, header.request_api_version, header.correlation_id),
        };
        let Some(answer) = answer else { return };
        stream.write_all(&answer).await.unwrap();
    }
}

fn offer(version: i16, correlation_id: i32) -> Bytes {
    let api_keys = [ApiKey::Metadata, ApiKey::DescribeConfigs].map(|key| ApiVersion {
        api_key: key.code(),
        min_version: 0,
        max_version: version,
        ..ApiVersion::default()
    });
    let offered = ApiVersionsResponse { api_keys: api_keys.to_vec(), ..ApiVersionsResponse::default() };
    framed(&offered, ApiKey::ApiVersions, 0, correlation_id)
}

fn framed<M: Message>(message: &M, key: ApiKey, version: i16, correlation_id: i32) -> Bytes {
    let body = encode_response(message, key, version, correlation_id).unwrap().into_bytes().unwrap();
    [&u32::try_from(body.len()).unwrap().to_be_bytes()[..], &body].concat().into()
}

#[tokio::test]
async fn the_highest_common_version_is_used() {
    for (offered, used) in [(4, 4), (i16::MAX, *MetadataRequest::VERSIONS.end())] {
        let seen = Arc::new(AtomicUsize::new(0));
        let log = Arc::clone(&seen);
        let (address, _) = broker(
            offered,
            Arc::new(move |key, version, correlation_id| {
                log.store(usize::try_from(version).unwrap(), Ordering::SeqCst);
                Some(framed(&MetadataResponse::default(), key, version, correlation_id))
            }),
        )
        .await;
        Connection::open(&address).await.unwrap().send(&MetadataRequest::default()).await.unwrap();
        assert_eq!(seen.load(Ordering::SeqCst), usize::try_from(used).unwrap());
    }
}

#[tokio::test]
async fn an_api_that_is_not_offered_is_not_asked_for() {
    let (address, _) = broker(4, Arc::new(|_, _, _| None)).await;
    let mut connection = Connection::open(&address).await.unwrap();
    let error = connection.send(&ottla_wire::messages::CreateTopicsRequest::default()).await.unwrap_err();
    assert!(matches!(error, KafkaError::Unsupported(ApiKey::CreateTopics)), "{error}");
}

#[tokio::test]
async fn nonsense_is_an_error() {
    type Case = (&'static str, fn(ApiKey, i16, i32) -> Bytes);
    let cases: [Case; 4] = [
        ("another request's answer", |key, version, id| {
            framed(&MetadataResponse::default(), key, version, id + 7)
        }),
        ("a giant", |_, _, _| Bytes::from_static(&[0x7f, 0xff, 0xff, 0xff, 0])),
        ("half a body", |key, version, id| {
            let whole = framed(&MetadataResponse::default(), key, version, id);
            let shorter = whole.slice(4..whole.len() - 6);
            [&u32::try_from(shorter.len()).unwrap().to_be_bytes()[..], &shorter].concat().into()
        }),
        ("an empty frame", |_, _, _| Bytes::from_static(&[0, 0, 0, 0])),
    ];
    for (what, answer) in cases {
        let (address, _) = broker(4, Arc::new(move |key, version, id| Some(answer(key, version, id)))).await;
        let result = Connection::open(&address).await.unwrap().send(&MetadataRequest::default()).await;
        assert!(result.is_err(), "{what}");
    }
}

#[tokio::test]
async fn a_broker_that_is_silent_is_given_up() {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap().to_string();
    let silent = tokio::spawn(async move {
        let (_stream, _) = listener.accept().await.unwrap();
        std::future::pending::<()>().await;
    });
    tokio::time::pause();
    let result = Connection::open(&address).await;
    assert!(matches!(result, Err(KafkaError::Deadline(_))));
    silent.abort();
}

#[tokio::test]
async fn one_connection_serves_until_it_breaks() {
    let answered = Arc::new(AtomicUsize::new(0));
    let count = Arc::clone(&answered);
    // Every third request finds the connection closed.
    let (address, connections) = broker(
        4,
        Arc::new(move |key, version, id| {
            let third = count.fetch_add(1, Ordering::SeqCst) % 3 == 2;
            (!third).then(|| framed(&MetadataResponse::default(), key, version, id))
        }),
    )
    .await;
    let pool = Pool::new(Leadership::always(), Arc::new(Metrics::default()));
    for _ in 0..4 {
        assert!(pool.admin(&address).describe(&["a".to_owned()]).await.unwrap().is_empty());
    }
    assert_eq!(connections.load(Ordering::SeqCst), 2);
}

fn topics() -> MetadataResponse {
    let topic = |name: &'static str, error: ErrorCode, partitions: usize| MetadataResponseTopic {
        name: Some(Str::from_static(name)),
        topic_id: crate::ids::Uuid::from_bytes([9; 16]),
        error_code: error.code(),
        partitions: vec![
            MetadataResponsePartition {
                replica_nodes: vec![0],
                ..MetadataResponsePartition::default()
            };
            partitions
        ],
        ..MetadataResponseTopic::default()
    };
    let topics = vec![topic("a", ErrorCode::None, 3), topic("b", ErrorCode::UnknownTopicOrPartition, 0)];
    MetadataResponse { topics, ..MetadataResponse::default() }
}

fn configs() -> DescribeConfigsResponse {
    let config = |name: &'static str, source: i8, kind: i8| DescribeConfigsResourceResult {
        name: Str::from_static(name),
        value: Some(Str::from_static("1")),
        config_source: source,
        config_type: kind,
        ..DescribeConfigsResourceResult::default()
    };
    let result = DescribeConfigsResult {
        resource_type: 2,
        resource_name: Str::from_static("a"),
        configs: vec![config("retention.ms", 1, 5), config("segment.ms", 5, 5), config("preallocate", 4, 1)],
        ..DescribeConfigsResult::default()
    };
    DescribeConfigsResponse { results: vec![result], ..DescribeConfigsResponse::default() }
}

#[tokio::test]
async fn a_description_is_what_exists_and_what_is_set_on_it() {
    let (address, _) = broker(
        4,
        Arc::new(|key, version, id| {
            Some(match key {
                ApiKey::Metadata => framed(&topics(), key, version, id),
                _ => framed(&configs(), key, version, id),
            })
        }),
    )
    .await;
    let admin = Pool::new(Leadership::always(), Arc::new(Metrics::default())).admin(&address);
    let found = admin.describe(&["a".to_owned(), "b".to_owned()]).await.unwrap();
    assert_eq!(found.keys().collect::<Vec<_>>(), ["a"]);
    assert_eq!((found["a"].partitions, found["a"].replicas), (3, 1));
    assert_eq!(found["a"].config.keys().collect::<Vec<_>>(), ["retention.ms"]);
    let keys = admin.broker_keys(0).await.unwrap();
    assert_eq!((keys["retention.ms"], keys["preallocate"]), (ConfigKind::Long, ConfigKind::Boolean));
}

#[tokio::test]
async fn without_the_lease_nothing_is_changed() {
    let (address, connections) = broker(4, Arc::new(|_, _, _| None)).await;
    let admin = Pool::new(Leadership::lapsed(), Arc::new(Metrics::default())).admin(&address);
    let results = [
        admin.create("a", None, None, &BTreeMap::new()).await,
        admin.add_partitions("a", 2).await,
        admin.alter_config("a", &[]).await,
        admin.delete(crate::ids::Uuid::from_bytes([1; 16])).await,
    ];
    for result in results {
        assert!(matches!(result, Err(KafkaError::NotLeader)), "{result:?}");
    }
    assert_eq!(connections.load(Ordering::SeqCst), 0);
}
