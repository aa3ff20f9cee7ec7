//! Windows of quotas.

use ottla_wire::ErrorCode;
use ottla_wire::messages::CreateTopicsRequest;
use ottla_wire::messages::create_topics_request::CreatableTopic;

use crate::common::{TestNode, batch, produce_request};
use crate::quotas::alter;

const CLIENT: [(&str, Option<&str>); 1] = [("client-id", Some("test"))];

/// The rate of bytes is taken over the window, so that its length is what a client may send at once.
#[tokio::test(flavor = "multi_thread")]
async fn a_burst_is_as_long_as_the_configured_window() {
    const NUM: &str = "quota.window.num";
    for (settings, throttled) in
        [(&[][..], false), (&[(NUM, "2")], true), (&[(NUM, "2"), ("quota.window.size.seconds", "10")], false)]
    {
        let node = TestNode::start_with(settings).await;
        let mut client = node.client().await;
        client.create_topic("t", 1, &[]).await;
        alter(&mut client, &CLIENT, "producer_byte_rate", Some(1000.0)).await;
        let records = batch(&["x".repeat(2000).as_str()], None);
        let produced = client.call(&produce_request("t", 0, records, -1), 9).await;
        assert_eq!(produced.throttle_time_ms > 0, throttled, "{settings:?}");
        node.stop().await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn changes_of_topics_come_in_bursts_as_long_as_configured() {
    const NUM: &str = "controller.quota.window.num";
    for (settings, refused) in [
        (&[][..], true),
        (&[(NUM, "100")], false),
        (&[(NUM, "1")], true),
        (&[("controller.quota.window.size.seconds", "10")], false),
    ] {
        let node = TestNode::start_with(settings).await;
        let mut client = node.client().await;
        alter(&mut client, &CLIENT, "controller_mutation_rate", Some(0.1)).await;
        let topic = |name: &str| CreatableTopic {
            name: name.into(),
            num_partitions: 5,
            replication_factor: 1,
            ..Default::default()
        };
        let topics = vec![topic("a"), topic("b")];
        let request = CreateTopicsRequest { topics, timeout_ms: 5000, ..Default::default() };
        let made = client.call(&request, 7).await;
        let expected = if refused { ErrorCode::ThrottlingQuotaExceeded } else { ErrorCode::None };
        assert_eq!(
            (made.topics[0].error_code, made.topics[1].error_code),
            (0, expected.code()),
            "{settings:?}"
        );
        node.stop().await;
    }
}
