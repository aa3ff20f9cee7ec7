use super::*;
use http::{Request, Response};
use k8s_openapi::api::core::v1::{ConfigMap, Pod};
use kube::client::Body;
use serde_json::Value;
use std::sync::{Arc, Mutex};

/// What was asked of the API server: method, path with query, body.
type Asked = Arc<Mutex<Vec<(String, String, Value)>>>;

/// A writer to an API server that answers every request with `answer`.
fn writer(
    leadership: Leadership,
    answer: impl Fn(&str, &str) -> (u16, Value) + Send + 'static,
) -> (Writer, Asked) {
    let (service, mut handle) = tower_test::mock::pair::<Request<Body>, Response<Body>>();
    let asked = Asked::default();
    let log = Arc::clone(&asked);
    tokio::spawn(async move {
        while let Some((request, respond)) = handle.next_request().await {
            let (parts, body) = request.into_parts();
            let body = body.collect_bytes().await.unwrap();
            let (method, path) = (parts.method.to_string(), parts.uri.to_string());
            let (code, value) = answer(&method, &path);
            log.lock().unwrap().push((method, path, serde_json::from_slice(&body).unwrap_or_default()));
            let body = Body::from(serde_json::to_vec(&value).unwrap());
            respond.send_response(Response::builder().status(code).body(body).unwrap());
        }
    });
    (Writer::new(Client::new(service, "shop"), leadership), asked)
}

fn config_map(labels: &[(&str, &str)]) -> ConfigMap {
    serde_json::from_value(json!({
        "apiVersion": "v1", "kind": "ConfigMap",
        "metadata": {"name": "demo-main-0", "namespace": "shop", "uid": "u1",
            "labels": labels.iter().copied().collect::<std::collections::BTreeMap<_, _>>()}
    }))
    .unwrap()
}

fn ours() -> ConfigMap {
    config_map(&[(names::CLUSTER, "demo"), ("app.kubernetes.io/managed-by", FIELD_MANAGER)])
}

fn status(code: u16) -> (u16, Value) {
    let reason = if code == 404 { "NotFound" } else { "Other" };
    let body = json!({"kind": "Status", "apiVersion": "v1", "status": "Failure", "message": "no", "reason": reason, "code": code});
    (code, body)
}

fn steps(asked: &Asked) -> Vec<String> {
    asked.lock().unwrap().iter().map(|(method, path, _)| format!("{method} {path}")).collect()
}

const PATH: &str = "/api/v1/namespaces/shop/configmaps/demo-main-0";

#[tokio::test]
async fn a_new_object_is_looked_for_and_then_applied() {
    let (writer, asked) = writer(Leadership::always(), |method, _| match method {
        "GET" => status(404),
        _ => (200, serde_json::to_value(ours()).unwrap()),
    });
    writer.apply("shop", &[ours()], &[]).await.unwrap();
    let apply = format!("PATCH {PATH}?&force=true&fieldManager={FIELD_MANAGER}");
    assert_eq!(steps(&asked), [format!("GET {PATH}"), apply]);
}

#[tokio::test]
async fn an_object_that_is_known_is_applied_at_once() {
    let (writer, asked) = writer(Leadership::always(), |_, _| (200, serde_json::to_value(ours()).unwrap()));
    writer.apply("shop", &[ours()], &[ours()]).await.unwrap();
    assert_eq!(steps(&asked).len(), 1);
}

#[tokio::test]
async fn somebody_elses_object_is_not_taken_over() {
    for labels in [&[][..], &[(names::CLUSTER, "other"), ("app.kubernetes.io/managed-by", FIELD_MANAGER)][..]]
    {
        let foreign = serde_json::to_value(config_map(labels)).unwrap();
        let (writer, asked) = writer(Leadership::always(), move |_, _| (200, foreign.clone()));
        let error = writer.apply("shop", &[ours()], &[]).await.unwrap_err();
        assert!(matches!(&error, WriteError::NameTaken { kind, .. } if kind == "ConfigMap"), "{error}");
        assert!(error.refusal().is_some());
        assert_eq!(steps(&asked), [format!("GET {PATH}")]);
    }
}

#[tokio::test]
async fn without_the_lease_nothing_is_asked() {
    let lapsed = Leadership::lapsed();
    let (writer, asked) = writer(lapsed, |_, _| status(500));
    let results = [
        writer.apply("shop", &[ours()], &[ours()]).await.map(drop),
        writer.delete::<Pod>("shop", "p", "u".into()).await,
        writer.status::<Pod>("shop", "p", &json!({})).await,
        writer.prune("shop", "owner", &[owned()], &[]).await,
    ];
    for result in results {
        assert!(matches!(result, Err(WriteError::NotLeader)), "{result:?}");
    }
    assert!(steps(&asked).is_empty());
}

fn owned() -> ConfigMap {
    let mut map = ours();
    map.metadata.owner_references = Some(vec![
        serde_json::from_value(json!({
            "apiVersion": "ottla.dev/v1alpha1", "kind": "KafkaCluster", "name": "demo", "uid": "owner"
        }))
        .unwrap(),
    ]);
    map
}

#[tokio::test]
async fn only_what_is_owned_and_unwanted_is_pruned_and_only_that_very_object() {
    let (writer, asked) =
        writer(Leadership::always(), |_, _| (200, json!({"kind": "Status", "status": "Success"})));
    writer.prune("shop", "owner", &[ours()], &[]).await.unwrap();
    writer.prune("shop", "owner", &[owned()], &["demo-main-0".to_owned()]).await.unwrap();
    assert!(steps(&asked).is_empty());
    writer.prune("shop", "owner", &[owned()], &[]).await.unwrap();
    let asked = asked.lock().unwrap();
    assert_eq!(asked.len(), 1);
    assert_eq!((asked[0].0.as_str(), &asked[0].2["preconditions"]["uid"]), ("DELETE", &json!("u1")));
}

#[tokio::test]
async fn what_is_gone_needs_neither_deleting_nor_a_status() {
    let (writer, _) = writer(Leadership::always(), |_, _| status(404));
    writer.delete::<Pod>("shop", "p", "u".into()).await.unwrap();
    writer.status::<Pod>("shop", "p", &json!({})).await.unwrap();
}

#[tokio::test]
async fn a_judgement_is_a_refusal_and_a_fault_is_not() {
    for (code, refusal) in [(422, true), (403, true), (500, false), (409, false), (429, false)] {
        let (writer, _) = writer(Leadership::always(), move |_, _| status(code));
        let error = writer.apply("shop", &[ours()], &[ours()]).await.unwrap_err();
        assert_eq!(error.refusal().is_some(), refusal, "{code}");
    }
}

#[tokio::test(start_paused = true)]
async fn an_api_server_that_does_not_answer_is_given_up() {
    let (service, _handle) = tower_test::mock::pair::<Request<Body>, Response<Body>>();
    let writer = Writer::new(Client::new(service, "shop"), Leadership::always());
    let objects = [ours()];
    let start = tokio::time::Instant::now();
    let result = writer.apply("shop", &objects, &objects).await;
    assert!(matches!(result, Err(WriteError::Deadline { .. })));
    assert_eq!(start.elapsed(), WRITE);
}
