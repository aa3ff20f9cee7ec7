use std::collections::BTreeMap;

use super::*;
use crate::config::{Config, Nothing};

fn lookup(pairs: &[(&str, &str)]) -> BTreeMap<String, String> {
    pairs.iter().map(|(key, value)| ((*key).to_owned(), (*value).to_owned())).collect()
}

type Pairs<'a> = &'a [(&'a str, &'a str)];

/// Describes with `log.retention.minutes=5` and a password set statically.
fn ask(
    (kind, name): (i8, &str),
    asked: &[&str],
    (broker, cluster, topic): (Pairs<'_>, Pairs<'_>, Pairs<'_>),
) -> DescribeConfigsResult {
    let config = Config::from_overrides(&[
        ("log.retention.minutes", "5"),
        ("ssl.key.password", "secret"),
        ("listener.name.external.ssl.key.password", "secret"),
    ])
    .unwrap();
    let topics = |asked: &str| {
        let found: Arc<dyn Lookup> = Arc::new(lookup(topic));
        (asked == "t").then_some(found)
    };
    let (broker, cluster) = (lookup(broker), lookup(cluster));
    let layers = BrokerLayers { broker: &broker, cluster: &cluster, fixed: &config.settings };
    let resource = DescribeConfigsResource {
        resource_type: kind,
        resource_name: name.into(),
        configuration_keys: (!asked.is_empty()).then(|| asked.iter().map(|key| Str::from(*key)).collect()),
        ..Default::default()
    };
    let request = DescribeConfigsRequest {
        resources: vec![resource],
        include_synonyms: true,
        include_documentation: true,
        ..Default::default()
    };
    describe(
        &View {
            node_id: 1,
            layers,
            topic: &topics,
            loggers: &Loggers::default(),
            allowed: &|resource| &*resource.resource_name != "secret",
        },
        &request,
    )
    .results
    .remove(0)
}

fn value(result: &DescribeConfigsResult) -> (&str, i8, bool) {
    assert_eq!(result.configs.len(), 1, "{result:?}");
    let entry = &result.configs[0];
    (entry.value.as_deref().unwrap_or("null"), entry.config_source, entry.read_only)
}

fn synonyms(result: &DescribeConfigsResult) -> Vec<(&str, &str, i8)> {
    result.configs[0]
        .synonyms
        .iter()
        .map(|s| (&*s.name, s.value.as_deref().unwrap_or("null"), s.source))
        .collect()
}

#[test]
fn a_topics_value_comes_from_the_strongest_layer() {
    let key = ["retention.ms"];
    let broker: &[_] = &[("log.retention.ms", "3")];
    let cluster: &[_] = &[("log.retention.ms", "2")];
    let found = ask((TOPIC, "t"), &key, (&[], &[], &[]));
    assert_eq!(value(&found), ("300000", 5, false));
    assert_eq!(synonyms(&found), []);
    assert_eq!(value(&ask((TOPIC, "t"), &key, (&[], cluster, &[]))), ("2", 3, false));
    assert_eq!(value(&ask((TOPIC, "t"), &key, (broker, cluster, &[]))), ("3", 2, false));
    let found = ask((TOPIC, "t"), &key, (broker, cluster, &[("retention.ms", "4")]));
    assert_eq!(value(&found), ("4", 1, false));
    assert_eq!(
        synonyms(&found),
        [
            ("retention.ms", "4", 1),
            ("log.retention.ms", "3", 2),
            ("log.retention.ms", "2", 3),
            ("log.retention.minutes", "5", 4),
            ("log.retention.hours", "168", 5)
        ]
    );
    assert_eq!(found.configs[0].config_type, 5);
}

#[test]
fn all_public_topic_keys_are_described_without_a_filter() {
    let found = ask((TOPIC, "t"), &[], (&[], &[], &[]));
    let names: Vec<_> = found.configs.iter().map(|entry| entry.name.to_string()).collect();
    assert_eq!(names.len(), keys::all(Scope::Topic).count() - 1, "{names:?}");
    assert!(!names.contains(&"internal.segment.bytes".to_owned()));
    assert!(found.configs.iter().all(|entry| entry.documentation.is_some() && entry.config_type > 0));
}

#[test]
fn a_brokers_value_has_its_source_and_says_whether_it_can_change() {
    let nothing: (Pairs<'_>, Pairs<'_>, Pairs<'_>) = (&[], &[], &[]);
    assert_eq!(value(&ask((BROKER, "1"), &["node.id"], nothing)), ("1", 4, true));
    assert_eq!(value(&ask((BROKER, "1"), &["log.retention.minutes"], nothing)), ("5", 4, true));
    assert_eq!(value(&ask((BROKER, "1"), &["message.max.bytes"], nothing)), ("1048588", 5, false));
    let changed: (Pairs<'_>, Pairs<'_>, Pairs<'_>) =
        (&[("message.max.bytes", "9")], &[("message.max.bytes", "8")], &[]);
    let found = ask((BROKER, "1"), &["message.max.bytes"], changed);
    assert_eq!(value(&found), ("9", 2, false));
    let expected =
        [("message.max.bytes", "9", 2), ("message.max.bytes", "8", 3), ("message.max.bytes", "1048588", 5)];
    assert_eq!(synonyms(&found), expected);
}

#[test]
fn secrets_are_not_shown() {
    for key in ["ssl.key.password", "listener.name.external.ssl.key.password"] {
        let found = ask((BROKER, "1"), &[key], (&[], &[], &[]));
        assert_eq!(value(&found).0, "null", "{key}");
        assert!(found.configs[0].is_sensitive);
        assert!(!format!("{found:?}").contains("secret"));
    }
}

#[test]
fn the_default_of_all_brokers_has_only_what_was_set() {
    let found = ask((BROKER, ""), &[], (&[], &[("log.retention.ms", "2")], &[]));
    assert_eq!(value(&found), ("2", 3, false));
    assert_eq!(synonyms(&found), [("log.retention.ms", "2", 3)]);
}

#[test]
fn what_is_not_there_is_refused() {
    let nothing: (Pairs<'_>, Pairs<'_>, Pairs<'_>) = (&[], &[], &[]);
    for (resource, code) in [
        ((TOPIC, "a b"), ErrorCode::InvalidTopicException),
        ((TOPIC, "u"), ErrorCode::UnknownTopicOrPartition),
        ((BROKER, "2"), ErrorCode::InvalidRequest),
        ((BROKER, "x"), ErrorCode::InvalidRequest),
        ((BROKER_LOGGER, "2"), ErrorCode::InvalidRequest),
        ((32, "g"), ErrorCode::InvalidRequest),
        ((TOPIC, "secret"), ErrorCode::TopicAuthorizationFailed),
        ((BROKER, "secret"), ErrorCode::ClusterAuthorizationFailed),
    ] {
        let found = ask(resource, &[], nothing);
        assert_eq!(found.error_code, code.code(), "{resource:?}");
        assert!(found.configs.is_empty() && found.error_message.is_some());
    }
    assert!(Nothing.keys().is_empty());
}
