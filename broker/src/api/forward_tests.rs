//! Requests on their way to a controller that is elsewhere.

use std::net::{IpAddr, Ipv4Addr};
use std::sync::atomic::{AtomicUsize, Ordering};

use bytes::Bytes;
use ottla_wire::messages::create_topics_request::CreatableTopic;
use ottla_wire::messages::create_topics_response::CreatableTopicResult;
use ottla_wire::messages::{
    CreateTopicsRequest, CreateTopicsResponse, DescribeQuorumRequest, UnregisterBrokerRequest,
};
use ottla_wire::{ApiKey, decode_request_header, encode_response};
use parking_lot::Mutex;

use super::*;
use crate::config::ListenerName;
use crate::quota::Mute;
use crate::security::Principal;

/// Answers what it was told to, in order; the last one from then on. Keeps what it was sent.
#[derive(Debug)]
struct Told {
    answers: Vec<Result<EnvelopeResponse, PeerError>>,
    sent: Mutex<Vec<EnvelopeRequest>>,
}

impl Told {
    fn to(answers: Vec<Result<EnvelopeResponse, PeerError>>) -> Self {
        Self { answers, sent: Mutex::default() }
    }
}

impl RemoteController for Told {
    fn send(&self, request: EnvelopeRequest) -> BoxFuture<'static, Result<EnvelopeResponse, PeerError>> {
        let mut sent = self.sent.lock();
        let answer = self.answers[sent.len().min(self.answers.len() - 1)].clone();
        sent.push(request);
        Box::pin(std::future::ready(answer))
    }
}

fn context(api_version: i16) -> RequestContext {
    RequestContext {
        api_version,
        correlation_id: 77,
        client_id: Some("their client".into()),
        principal: Principal { kind: "User".into(), name: "ada".into() },
        listener: ListenerName::new("PLAINTEXT"),
        client_address: IpAddr::V4(Ipv4Addr::new(10, 1, 2, 3)),
        client_host: "/10.1.2.3".into(),
        mute: Mute::default(),
        lifetime: Arc::default(),
    }
}

fn create(name: &str, timeout_ms: i32) -> CreateTopicsRequest {
    let topic = CreatableTopic { name: name.into(), ..Default::default() };
    CreateTopicsRequest { topics: vec![topic], timeout_ms, ..Default::default() }
}

fn created(name: &str, code: ErrorCode, correlation_id: i32) -> Result<EnvelopeResponse, PeerError> {
    let topic = CreatableTopicResult { name: name.into(), error_code: code.code(), ..Default::default() };
    let response = CreateTopicsResponse { throttle_time_ms: 40, topics: vec![topic], ..Default::default() };
    let parts = encode_response(&response, ApiKey::CreateTopics, 7, correlation_id).expect("encoded");
    Ok(EnvelopeResponse { response_data: parts.into_bytes(), ..Default::default() })
}

fn refused(code: ErrorCode) -> Result<EnvelopeResponse, PeerError> {
    Ok(EnvelopeResponse { error_code: code.code(), ..Default::default() })
}

/// Sends the request until it is decided, and tells how often that was.
async fn forward<R: ControllerApi>(controller: &Told, version: i16, request: R) -> (R::Response, usize) {
    let (context, until) = (context(version), deadline(&request, Instant::now()));
    let attempt = || send(controller, &context, &request, until.max(Instant::now() + ATTEMPT));
    let response = until_decided(&request, until, &CancellationToken::new(), attempt).await;
    (response, controller.sent.lock().len())
}

fn codes(response: &CreateTopicsResponse) -> Vec<i16> {
    response.topics.iter().map(|topic| topic.error_code).collect()
}

#[tokio::test]
async fn the_controller_gets_the_request_as_the_client_sent_it() {
    let controller = Told::to(vec![created("t", ErrorCode::None, 77)]);
    let (response, sent) = forward(&controller, 7, create("t", 5000)).await;
    assert_eq!((codes(&response), response.throttle_time_ms, sent), (vec![0], 40, 1));
    let envelope = controller.sent.lock().remove(0);
    assert_eq!(&*envelope.client_host_address, [10, 1, 2, 3]);
    let principal = envelope::read_principal(envelope.request_principal.expect("a principal"));
    assert_eq!(principal.expect("readable").to_string(), "User:ada");
    let (header, mut body) = decode_request_header(envelope.request_data).expect("a header");
    assert_eq!((header.request_api_key, header.request_api_version, header.correlation_id), (19, 7, 77));
    assert_eq!(header.client_id.as_deref(), Some("their client"));
    let inner = <CreateTopicsRequest as ottla_wire::Message>::decode(&mut body, 7).expect("a body");
    assert_eq!(inner, create("t", 5000));
}

#[tokio::test]
async fn who_is_not_the_controller_any_more_is_not_the_last_word() {
    let controller = Told::to(vec![
        Err(PeerError("refused".to_owned())),
        refused(ErrorCode::NotController),
        created("t", ErrorCode::NotController, 77),
        created("t", ErrorCode::TopicAlreadyExists, 77),
    ]);
    let (response, sent) = forward(&controller, 7, create("t", 5000)).await;
    assert_eq!((codes(&response), sent), (vec![ErrorCode::TopicAlreadyExists.code()], 4));
}

#[tokio::test]
async fn when_the_clients_time_is_over_it_learns_so() {
    let began = Instant::now();
    let controller = Told::to(vec![Err(PeerError("nobody".to_owned()))]);
    let (response, sent) = forward(&controller, 7, create("t", 500)).await;
    assert_eq!(codes(&response), [ErrorCode::RequestTimedOut.code()]);
    assert!(began.elapsed() >= Duration::from_millis(500) && sent > 1, "{sent} in {:?}", began.elapsed());
    // Without a time of its own it is as long as Kafka's.
    assert_eq!(deadline(&UnregisterBrokerRequest::default(), began), began + PATIENCE);
    assert_eq!(deadline(&create("t", i32::MAX), began), began + PATIENCE);
    // A client that gives none is answered by the controller all the same.
    let controller = Told::to(vec![created("t", ErrorCode::None, 77)]);
    assert_eq!(codes(&forward(&controller, 7, create("t", 0)).await.0), [0]);
}

#[tokio::test]
async fn a_controller_that_does_not_answer_is_given_up() {
    #[derive(Debug)]
    struct Silent(AtomicUsize);
    impl RemoteController for Silent {
        fn send(&self, _: EnvelopeRequest) -> BoxFuture<'static, Result<EnvelopeResponse, PeerError>> {
            self.0.fetch_add(1, Ordering::SeqCst);
            Box::pin(std::future::pending())
        }
    }
    let (controller, request) = (Silent(AtomicUsize::new(0)), create("t", 200));
    let began = Instant::now();
    let failure = send(&controller, &context(7), &request, deadline(&request, began)).await;
    assert!(matches!(failure, Err(Failure::Passing(_))));
    assert!(began.elapsed() >= Duration::from_millis(200));
    assert_eq!(controller.0.into_inner(), 1);
}

#[tokio::test]
async fn what_is_wrong_between_the_nodes_is_not_tried_again() {
    let garbage = EnvelopeResponse { response_data: Some(Bytes::from_static(b"x")), ..Default::default() };
    for (answer, code) in [
        (refused(ErrorCode::ClusterAuthorizationFailed), ErrorCode::UnknownServerError),
        (refused(ErrorCode::PrincipalDeserializationFailure), ErrorCode::UnknownServerError),
        (refused(ErrorCode::UnsupportedVersion), ErrorCode::UnsupportedVersion),
        (created("t", ErrorCode::None, 78), ErrorCode::UnknownServerError),
        (Ok(garbage), ErrorCode::UnknownServerError),
    ] {
        let (response, sent) = forward(&Told::to(vec![answer]), 7, create("t", 5000)).await;
        assert_eq!((codes(&response), sent), (vec![code.code()], 1));
    }
}

#[tokio::test]
async fn a_node_that_stops_waits_for_no_controller() {
    let (request, stopping) = (DescribeQuorumRequest::default(), CancellationToken::new());
    stopping.cancel();
    let began = Instant::now();
    let attempt = || async { Err(Failure::Passing("nobody".to_owned())) };
    let response = until_decided(&request, began + PATIENCE, &stopping, attempt).await;
    assert_eq!(response.error_code, ErrorCode::RequestTimedOut.code());
    assert!(began.elapsed() < PATIENCE);
}
