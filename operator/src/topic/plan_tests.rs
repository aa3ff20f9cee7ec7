use super::*;
use crate::{fixtures::topic, ids::Uuid};
use ottla_wire::ErrorCode;
use serde_json::json;

fn present(partitions: i32, config: &[(&str, &str)]) -> TopicDescription {
    let config = config.iter().map(|(k, v)| ((*k).to_owned(), (*v).to_owned())).collect();
    TopicDescription { id: Uuid::from_bytes([1; 16]), partitions, replicas: 1, config }
}

fn change(key: &str, value: Option<&str>) -> ConfigChange {
    (key.to_owned(), value.map(str::to_owned))
}

#[test]
fn a_missing_topic_is_created_as_specified() {
    let plan = plan(
        &topic("a", 0, &json!({"partitions": 3, "replicas": 1, "config": {"retention.ms": 1000}})),
        None,
    );
    let config = BTreeMap::from([("retention.ms".to_owned(), "1000".to_owned())]);
    assert_eq!(plan.steps, [Step::Create { partitions: Some(3), replicas: Some(1), config }]);
}

#[test]
fn a_topic_as_specified_is_left_alone() {
    let wanted = topic("a", 0, &json!({"partitions": 3, "config": {"retention.ms": 1000}}));
    assert_eq!(plan(&wanted, Some(&present(3, &[("retention.ms", "1000")]))), Plan::default());
    // What the resource leaves open is the cluster's affair.
    assert_eq!(plan(&topic("a", 0, &json!({})), Some(&present(7, &[]))), Plan::default());
}

#[test]
fn partitions_go_up_and_never_down() {
    let wanted = topic("a", 0, &json!({"partitions": 3}));
    assert_eq!(plan(&wanted, Some(&present(1, &[]))).steps, [Step::AddPartitions(3)]);
    let down = plan(&wanted, Some(&present(6, &[])));
    assert!(down.steps.is_empty());
    let refused = down.refused.unwrap();
    assert_eq!(refused.reason, "PartitionsCannotGoDown");
    assert!(refused.message.starts_with("spec.partitions: 3 is less than the 6"), "{}", refused.message);
}

#[test]
fn configs_are_set_changed_and_reset_in_one_step() {
    let wanted = topic("a", 0, &json!({"config": {"same": "1", "changed": "new", "added": true}}));
    let has = present(1, &[("same", "1"), ("changed", "old"), ("dropped", "x")]);
    let changes =
        vec![change("added", Some("true")), change("changed", Some("new")), change("dropped", None)];
    assert_eq!(plan(&wanted, Some(&has)).steps, [Step::AlterConfig(changes)]);
}

#[test]
fn another_spelling_is_no_change() {
    let wanted =
        topic("a", 0, &json!({"config": {"cleanup.policy": "compact, delete", "preallocate": "TRUE"}}));
    let has = present(1, &[("cleanup.policy", "compact,delete"), ("preallocate", "true")]);
    assert_eq!(plan(&wanted, Some(&has)), Plan::default());
    let has = present(1, &[("cleanup.policy", "delete,compact"), ("preallocate", "false")]);
    assert_eq!(plan(&wanted, Some(&has)).steps.len(), 1);
}

#[test]
fn a_refusal_does_not_hold_up_the_rest() {
    let wanted = topic("a", 0, &json!({"partitions": 1, "replicas": 3, "config": {"retention.ms": 5}}));
    let plan = plan(&wanted, Some(&present(2, &[])));
    assert_eq!(plan.steps, [Step::AlterConfig(vec![change("retention.ms", Some("5"))])]);
    assert_eq!(plan.refused.unwrap().reason, "PartitionsCannotGoDown");
}

#[test]
fn replicas_that_differ_are_said() {
    let refused = plan(&topic("a", 0, &json!({"replicas": 3})), Some(&present(1, &[]))).refused.unwrap();
    assert!(
        refused.message.starts_with("spec.replicas: the topic has 1 replicas and not 3"),
        "{}",
        refused.message
    );
}

#[test]
fn a_value_that_is_no_scalar_changes_nothing() {
    let plan = plan(
        &topic("a", 0, &json!({"partitions": 9, "config": {"retention.ms": [1]}})),
        Some(&present(1, &[])),
    );
    assert!(plan.steps.is_empty());
    assert!(plan.refused.unwrap().message.starts_with("spec.config[retention.ms]:"));
}

#[test]
fn the_oldest_resource_owns_the_topic() {
    let topics = [
        topic("young", 1, &json!({"topicName": "orders"})),
        topic("orders", 50, &json!({})),
        topic("twin", 50, &json!({"topicName": "orders"})),
        topic("other", 9, &json!({})),
    ];
    let found = claimants(topics.iter());
    let orders = &found["orders"];
    assert_eq!(orders.owner.name_any(), "orders");
    assert_eq!(orders.others.iter().map(|t| t.name_any()).collect::<Vec<_>>(), ["twin", "young"]);
    assert!(found["other"].others.is_empty());
    assert!(conflict(orders.owner).message.contains("older KafkaTopic orders"));
}

#[test]
fn a_refusal_names_the_field() {
    let config =
        BTreeMap::from([("a.b".to_owned(), "1".to_owned()), ("retention.ms".to_owned(), "x".to_owned())]);
    let create = Step::Create { partitions: None, replicas: None, config };
    let alter = Step::AlterConfig(vec![change("flush.ms", Some("y")), change("no.such", Some("1"))]);
    let cases = [
        (
            &create,
            ErrorCode::InvalidConfig,
            "Invalid value x for configuration retention.ms",
            "spec.config[retention.ms]",
        ),
        (&create, ErrorCode::InvalidReplicationFactor, "", "spec.replicas"),
        (&create, ErrorCode::InvalidPartitions, "", "spec.partitions"),
        (&create, ErrorCode::InvalidTopicException, "", "spec.topicName"),
        (&create, ErrorCode::PolicyViolation, "", "spec"),
        (&alter, ErrorCode::InvalidConfig, "Unknown topic config name: no.such", "spec.config[no.such]"),
        (&alter, ErrorCode::InvalidRequest, "something", "spec.config"),
        (&Step::AddPartitions(3), ErrorCode::InvalidPartitions, "", "spec.partitions"),
    ];
    for (step, code, message, expected) in cases {
        assert_eq!(field(step, code, message), expected);
    }
}
