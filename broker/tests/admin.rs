//! AlterConfigs, ListConfigResources and UpdateFeatures.

use crate::common::{Client, TestNode};
use ottla_wire::messages::alter_configs_request::{AlterConfigsResource, AlterableConfig};
use ottla_wire::messages::describe_configs_request::DescribeConfigsResource;
use ottla_wire::messages::update_features_request::FeatureUpdateKey;
use ottla_wire::messages::{
    AlterConfigsRequest, ApiVersionsRequest, DescribeConfigsRequest, ListConfigResourcesRequest,
    UpdateFeaturesRequest,
};
use ottla_wire::{ErrorCode, Str};

async fn replace(client: &mut Client, name: &str, configs: &[(&str, Option<&str>)]) -> ErrorCode {
    let config = |(name, value): &(&str, Option<&str>)| AlterableConfig {
        name: Str::from(*name),
        value: value.map(Str::from),
        ..Default::default()
    };
    let resource = AlterConfigsResource {
        resource_type: 2,
        resource_name: Str::from(name),
        configs: configs.iter().map(config).collect(),
        ..Default::default()
    };
    let request = AlterConfigsRequest { resources: vec![resource], ..Default::default() };
    ErrorCode::try_from(client.call(&request, 2).await.responses[0].error_code).unwrap()
}

/// The topic's own configs.
async fn overrides(client: &mut Client, name: &str) -> Vec<(String, String)> {
    let resource =
        DescribeConfigsResource { resource_type: 2, resource_name: Str::from(name), ..Default::default() };
    let request = DescribeConfigsRequest { resources: vec![resource], ..Default::default() };
    let mut response = client.call(&request, 4).await;
    let configs = response.results.remove(0).configs.into_iter().filter(|config| config.config_source == 1);
    configs.map(|config| (config.name.to_string(), config.value.unwrap().to_string())).collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn what_alter_configs_does_not_name_is_unset() {
    let node = TestNode::start().await;
    let mut client = node.client().await;
    client.create_topic("t", 1, &[("retention.ms", "5"), ("segment.ms", "7")]).await;
    for (wrong, code) in [
        (&[("nonsense", Some("1"))][..], ErrorCode::InvalidConfig),
        (&[("retention.ms", Some("x"))], ErrorCode::InvalidConfig),
        (&[("retention.ms", None)], ErrorCode::InvalidRequest),
    ] {
        assert_eq!(replace(&mut client, "t", wrong).await, code, "{wrong:?}");
    }
    assert_eq!(replace(&mut client, "nowhere", &[]).await, ErrorCode::UnknownTopicOrPartition);
    assert_eq!(overrides(&mut client, "t").await.len(), 2);
    let wanted = [("segment.ms", Some("7")), ("max.message.bytes", Some("9000"))];
    assert_eq!(replace(&mut client, "t", &wanted).await, ErrorCode::None);
    let is = [("max.message.bytes", "9000"), ("segment.ms", "7")].map(|(k, v)| (k.to_owned(), v.to_owned()));
    assert_eq!(overrides(&mut client, "t").await, is);
    assert_eq!(replace(&mut client, "t", &[]).await, ErrorCode::None);
    assert_eq!(overrides(&mut client, "t").await, []);
    node.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn resources_are_listed_by_kind() {
    let node = TestNode::start().await;
    let mut client = node.client().await;
    client.create_topic("t", 1, &[]).await;
    for (kinds, expected) in [
        (vec![2], vec![(2, "t")]),
        (vec![4], vec![(4, "1")]),
        (vec![16, 32], vec![]),
        (vec![], vec![(8, "1"), (4, "1"), (2, "t")]),
    ] {
        let request = ListConfigResourcesRequest { resource_types: kinds, ..Default::default() };
        let response = client.call(&request, 1).await;
        let found: Vec<_> =
            response.config_resources.iter().map(|row| (row.resource_type, &*row.resource_name)).collect();
        assert_eq!((response.error_code, found), (0, expected));
    }
    let request = ListConfigResourcesRequest { resource_types: vec![3], ..Default::default() };
    assert_eq!(client.call(&request, 1).await.error_code, ErrorCode::UnsupportedVersion.code());
    assert!(client.call(&ListConfigResourcesRequest::default(), 0).await.config_resources.is_empty());
    node.stop().await;
}

async fn update(client: &mut Client, feature: &str, level: i16, upgrade_type: i8) -> (ErrorCode, String) {
    let feature = Str::from(feature);
    let update = FeatureUpdateKey { feature, max_version_level: level, upgrade_type, ..Default::default() };
    let request = UpdateFeaturesRequest { feature_updates: vec![update], ..Default::default() };
    let response = client.call(&request, 2).await;
    let message = response.error_message.unwrap_or_default().to_string();
    (ErrorCode::try_from(response.error_code).unwrap(), message)
}

#[tokio::test(flavor = "multi_thread")]
async fn features_go_up_and_down_only_where_nothing_is_lost() {
    let node = TestNode::start().await;
    let mut client = node.client().await;
    for (feature, level, kind, named) in [
        ("metadata.version", 31, 1, "metadata.version"),
        ("metadata.version", 29, 1, "downgrade"),
        ("metadata.version", 29, 2, "4.3-IV0 to 4.2-IV1"),
        ("metadata.version", 29, 3, "Unsafe"),
        ("metadata.version", -1, 1, "less than 0"),
        ("group.version", 1, 1, "group.version"),
        ("nonsense", 1, 1, "nonsense"),
        ("kraft.version", 0, 2, "downgrade"),
        ("metadata.version", 30, 9, "upgrade type"),
    ] {
        let (code, message) = update(&mut client, feature, level, kind).await;
        assert!(
            code == ErrorCode::InvalidUpdateVersion && message.contains(named),
            "{feature} {level} {kind}: {code} {message}"
        );
    }
    assert_eq!(update(&mut client, "metadata.version", 30, 1).await.0, ErrorCode::None);
    let request = ApiVersionsRequest {
        client_software_name: Str::from("test"),
        client_software_version: Str::from("1"),
        ..Default::default()
    };
    let response = client.call(&request, 4).await;
    let level = response.finalized_features.iter().find(|feature| &*feature.name == "metadata.version");
    assert_eq!(level.unwrap().max_version_level, 30);
    node.stop().await;
}
