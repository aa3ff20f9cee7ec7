//! Levels of loggers over the wire.

use ottla_wire::messages::describe_configs_request::DescribeConfigsResource;
use ottla_wire::messages::incremental_alter_configs_request::{AlterConfigsResource, AlterableConfig};
use ottla_wire::messages::{DescribeConfigsRequest, IncrementalAlterConfigsRequest};
use ottla_wire::{ErrorCode, Str};

use crate::common::{Client, TestNode};

const BROKER_LOGGER: i8 = 8;
const SET: i8 = 0;
const DELETE: i8 = 1;

async fn levels(client: &mut Client) -> Vec<(String, String)> {
    let resource = DescribeConfigsResource {
        resource_type: BROKER_LOGGER,
        resource_name: "1".into(),
        ..Default::default()
    };
    let request = DescribeConfigsRequest { resources: vec![resource], ..Default::default() };
    let result = client.call(&request, 4).await.results.remove(0);
    assert_eq!(result.error_code, 0);
    let level = |value: Option<Str>| value.unwrap_or_default().to_string();
    result.configs.into_iter().map(|entry| (entry.name.to_string(), level(entry.value))).collect()
}

async fn alter(client: &mut Client, node: &str, changes: &[(&str, i8, Option<&str>)]) -> ErrorCode {
    let change = |(name, config_operation, value): &(&str, i8, Option<&str>)| AlterableConfig {
        name: Str::from(*name),
        config_operation: *config_operation,
        value: value.map(Str::from),
        ..Default::default()
    };
    let resource = AlterConfigsResource {
        resource_type: BROKER_LOGGER,
        resource_name: node.into(),
        configs: changes.iter().map(change).collect(),
        ..Default::default()
    };
    let request = IncrementalAlterConfigsRequest { resources: vec![resource], ..Default::default() };
    let code = client.call(&request, 1).await.responses[0].error_code;
    ErrorCode::try_from(code).unwrap()
}

#[tokio::test(flavor = "multi_thread")]
async fn loggers_have_levels_that_can_be_changed() {
    let node = TestNode::start().await;
    let mut client = node.client().await;
    let of = |levels: &[(String, String)], name: &str| {
        levels.iter().find(|(it, _)| it == name).unwrap_or_else(|| panic!("no {name}")).1.clone()
    };
    let before = levels(&mut client).await;
    assert_eq!((&*of(&before, "root"), &*of(&before, "ottla_broker.net")), ("INFO", "INFO"));
    let net = "ottla_broker.net";
    assert_eq!(alter(&mut client, "1", &[(net, SET, Some("DEBUG"))]).await, ErrorCode::None);
    assert_eq!(of(&levels(&mut client).await, net), "DEBUG");
    for (resource, changes, error) in [
        ("1", &[(net, SET, Some("WARN")), ("nothing", SET, Some("WARN"))][..], ErrorCode::InvalidConfig),
        ("1", &[(net, SET, Some("LOUD"))], ErrorCode::InvalidConfig),
        ("1", &[(net, SET, None)], ErrorCode::InvalidRequest),
        ("1", &[("root", DELETE, None)], ErrorCode::InvalidRequest),
        ("1", &[(net, 2, Some("WARN"))], ErrorCode::InvalidRequest),
        ("2", &[(net, SET, Some("WARN"))], ErrorCode::InvalidRequest),
    ] {
        assert_eq!(alter(&mut client, resource, changes).await, error, "{changes:?}");
        assert_eq!(of(&levels(&mut client).await, net), "DEBUG", "nothing has changed");
    }
    assert_eq!(alter(&mut client, "1", &[(net, DELETE, None)]).await, ErrorCode::None);
    assert_eq!(of(&levels(&mut client).await, net), "INFO", "that of the one above");
    node.stop().await;
}
