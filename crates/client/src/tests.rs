use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use ottla_wire::messages::{CreateTopicsRequest, MetadataRequest, MetadataResponse};
use tokio::net::TcpListener;

use super::testing::{broker, framed};
use super::*;

async fn open(address: &str) -> Result<Connection, CallError> {
    let (client_id, deadline) = (Str::from_static("test"), Duration::from_secs(10));
    Connection::open(address, Options { client_id, deadline, longest_answer: 1 << 20 }).await
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
        open(&address).await.unwrap().send(&MetadataRequest::default()).await.unwrap();
        assert_eq!(seen.load(Ordering::SeqCst), usize::try_from(used).unwrap());
    }
}

#[tokio::test]
async fn an_api_that_is_not_offered_is_not_asked_for() {
    let (address, _) = broker(4, Arc::new(|_, _, _| None)).await;
    let mut connection = open(&address).await.unwrap();
    let error = connection.send(&CreateTopicsRequest::default()).await.unwrap_err();
    assert!(matches!(error, CallError::Unsupported(ApiKey::CreateTopics)), "{error}");
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
        let result = open(&address).await.unwrap().send(&MetadataRequest::default()).await;
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
    let result = open(&address).await;
    assert!(matches!(result, Err(CallError::Deadline(_))));
    silent.abort();
}

/// Answers one request each on a connection of its own, with a frame that comes in these pieces, and tells what came of it.
async fn answered_in_pieces(pieces: Vec<Bytes>) -> Result<MetadataResponse, CallError> {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap().to_string();
    let (other, _) = broker(4, Arc::new(|_, _, _| None)).await;
    let versions = Arc::clone(open(&other).await.unwrap().versions());
    let serve = async {
        let (mut stream, _) = listener.accept().await.unwrap();
        let length = stream.read_u32().await.unwrap();
        stream.read_exact(&mut vec![0; usize::try_from(length).unwrap()]).await.unwrap();
        for piece in pieces {
            stream.write_all(&piece).await.unwrap();
            tokio::task::yield_now().await;
            tokio::time::sleep(Duration::from_millis(2)).await;
        }
    };
    let ask = async {
        let stream = TcpStream::connect(&address).await.unwrap();
        let (client_id, deadline) = (Str::from_static("test"), Duration::from_secs(10));
        let options = Options { client_id, deadline, longest_answer: 1 << 20 };
        let mut connection =
            Connection { stream, address: address.clone(), options, versions, correlation_id: 0 };
        connection.send(&MetadataRequest::default()).await
    };
    tokio::join!(ask, serve).0
}

#[tokio::test]
async fn an_answer_is_whole_however_it_is_cut() {
    let cluster = "x".repeat(30_000);
    let whole = MetadataResponse { cluster_id: Some(Str::from(&*cluster)), ..Default::default() };
    let frame = framed(&whole, ApiKey::Metadata, 4, 1);
    for cuts in [vec![], vec![1], vec![4], vec![5, 17_000], vec![2, 4, FIRST, FIRST + 4, frame.len() - 1]] {
        let ends = cuts.iter().copied().chain([frame.len()]);
        let begins = [0].into_iter().chain(cuts.iter().copied());
        let pieces = begins.zip(ends).map(|(from, to)| frame.slice(from..to)).collect();
        let answer = answered_in_pieces(pieces).await.unwrap();
        assert_eq!(answer.cluster_id, whole.cluster_id, "cut at {cuts:?}");
    }
    let half = frame.slice(..frame.len() / 2);
    assert!(matches!(answered_in_pieces(vec![half]).await, Err(CallError::Io { .. })));
}
