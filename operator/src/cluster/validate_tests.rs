use super::*;
use crate::fixtures::{claims, cluster, ids, validated};
use serde_json::json;

fn refused(change: impl FnOnce(&mut serde_json::Value)) -> String {
    validated(&cluster(change), &Observed::default()).unwrap_err().to_string()
}

#[test]
fn a_new_cluster_gets_the_lowest_ids() {
    let found = validated(&cluster(|_| {}), &Observed::default()).unwrap();
    assert_eq!(
        found.nodes.iter().map(|n| (n.id.0, n.name.as_str())).collect::<Vec<_>>(),
        [(0, "demo-main-0")]
    );
    assert_ne!(found.cluster_id, found.nodes[0].volumes[0].directory.id);
    assert_eq!(found.image, "ottla-broker:1");
}

#[test]
fn a_kept_claim_is_the_same_node_of_the_same_cluster() {
    let mut kept = claims(&cluster(|_| {}));
    let first = validated(&cluster(|_| {}), &Observed::default()).unwrap();
    // Had the cluster another node once, its claim would say so.
    kept[0].metadata.labels.as_mut().unwrap().insert(names::NODE.into(), "7".into());
    kept[0].metadata.annotations.as_mut().unwrap().insert(names::FORMATTED.into(), "true".into());
    let observed = Observed { claims: kept, ..Observed::default() };
    let mut other = ids();
    for _ in 0..50 {
        other();
    }
    let again = validate(&cluster(|_| {}), &observed, "image", other).unwrap();
    assert_eq!(again.cluster_id, first.cluster_id);
    assert_eq!(again.nodes[0].id, NodeId(7));
    assert_eq!(
        again.nodes[0].volumes[0].directory,
        Directory { formatted: true, ..first.nodes[0].volumes[0].directory }
    );
}

#[test]
fn a_claim_of_another_cluster_id_stops_everything() {
    let two = |spec: &mut serde_json::Value| {
        spec["nodePools"][0]["storage"]["volumes"] =
            json!([{"id": 0, "size": "1Gi"}, {"id": 1, "size": "1Gi"}]);
    };
    let mut found = claims(&cluster(two));
    let foreign = Uuid::from_bytes([99; 16]).to_string();
    found[1].metadata.annotations.as_mut().unwrap().insert(names::CLUSTER_ID.into(), foreign.clone());
    let error = validated(&cluster(two), &Observed { claims: found, ..Observed::default() }).unwrap_err();
    assert_eq!(error.reason(), "ClaimConflict");
    assert!(
        error.to_string().contains("data-1-demo-main-0") && error.to_string().contains(&foreign),
        "{error}"
    );
}

#[test]
fn a_claim_that_says_nothing_is_not_taken_up() {
    let mut found = claims(&cluster(|_| {}));
    found[0].metadata.annotations.as_mut().unwrap().remove(names::DIRECTORY_ID);
    let error = validated(&cluster(|_| {}), &Observed { claims: found, ..Observed::default() }).unwrap_err();
    assert_eq!(error.reason(), "ClaimConflict");
    assert!(error.to_string().contains(names::DIRECTORY_ID), "{error}");
}

#[test]
fn claims_on_their_way_out_are_waited_for() {
    let mut found = claims(&cluster(|_| {}));
    found[0].metadata.deletion_timestamp =
        Some(serde_json::from_value(json!("2026-01-01T00:00:00Z")).unwrap());
    let error = validated(&cluster(|_| {}), &Observed { claims: found, ..Observed::default() }).unwrap_err();
    assert_eq!(error, Invalid::ClaimTerminating("data-0-demo-main-0".into()));
}

#[test]
fn a_cluster_that_lost_its_claims_keeps_its_id() {
    let mut found = cluster(|_| {});
    let id = Uuid::from_bytes([42; 16]);
    found.status = Some(serde_json::from_value(json!({"clusterId": id.to_string()})).unwrap());
    assert_eq!(validated(&found, &Observed::default()).unwrap().cluster_id, id);
}

#[test]
fn a_claim_that_somebody_grew_is_not_shrunk() {
    let observed = Observed {
        claims: claims(&cluster(|s| s["nodePools"][0]["storage"]["volumes"][0]["size"] = json!("9Gi"))),
        ..Observed::default()
    };
    let found = validated(&cluster(|_| {}), &observed).unwrap();
    assert_eq!(found.nodes[0].volumes[0].size.0, "9Gi");
    let grown = validated(
        &cluster(|s| s["nodePools"][0]["storage"]["volumes"][0]["size"] = json!("10Gi")),
        &observed,
    )
    .unwrap();
    assert_eq!(grown.nodes[0].volumes[0].size.0, "10Gi");
}

#[test]
fn a_directory_counts_as_formatted_once_the_container_has_ended_well() {
    let pod = |exit: i32| {
        serde_json::from_value(json!({
            "metadata": {"name": "demo-main-0-0", "labels": {names::NODE: "0"}},
            "status": {"initContainerStatuses": [{
                "name": names::FORMAT_CONTAINER, "image": "", "imageID": "", "ready": exit == 0, "restartCount": 0,
                "state": {"terminated": {"exitCode": exit}}
            }]}
        }))
        .unwrap()
    };
    for (exit, formatted) in [(0, true), (1, false)] {
        let observed =
            Observed { claims: claims(&cluster(|_| {})), pods: vec![pod(exit)], ..Observed::default() };
        assert_eq!(
            validated(&cluster(|_| {}), &observed).unwrap().nodes[0].volumes[0].directory.formatted,
            formatted
        );
    }
}

#[test]
fn fields_are_named() {
    let cases = [
        (refused(|s| s["config"]["retention"] = json!([1])), "spec.config[retention]: a value is"),
        (refused(|s| s["config"]["node.id"] = json!(3)), "spec.config[node.id]: is set by the operator"),
        (
            refused(|s| s["config"]["listener.name.controller.ssl.x"] = json!("y")),
            "spec.config[listener.name.controller.ssl.x]",
        ),
        (
            refused(|s| {
                s["listeners"][1]["nodePort"] = json!(31000);
                s["listeners"].as_array_mut().unwrap().push(json!({
                    "name": "more", "port": 9095, "type": "nodeport", "advertised": [{"node": 0, "nodePort": 31000}]
                }));
            }),
            "spec.listeners[more].advertised[0].nodePort: 31000 is asked for twice",
        ),
        (
            refused(|s| s["nodePools"][0]["storage"]["volumes"][0]["size"] = json!("0")),
            "spec.nodePools[main].storage.volumes[0].size: is zero",
        ),
        (
            refused(|s| s["nodePools"][0]["podOverrides"] = json!({"spec": {"nodeSelectors": {"a": "b"}}})),
            "spec.nodePools[main].podOverrides.spec.nodeSelectors: is not a field of a pod template",
        ),
        (
            refused(|s| s["nodePools"][0]["podOverrides"] = json!({"spec": {"priority": "high"}})),
            "spec.nodePools[main].podOverrides: ",
        ),
    ];
    for (found, expected) in cases {
        assert!(found.starts_with(expected), "{found}");
    }
}

#[test]
fn the_request_is_what_was_asked_for_and_no_more() {
    let request = |change: &dyn Fn(&mut serde_json::Value)| {
        validated(&cluster(change), &Observed::default()).unwrap().request
    };
    let same = request(&|_| {});
    assert_eq!(same, request(&|s| s["nodePools"][0]["storage"]["volumes"][0]["size"] = json!("6Gi")));
    assert_eq!(same, request(&|s| s["nodePools"][0]["storage"]["deletionPolicy"] = json!("Delete")));
    assert_ne!(same, request(&|s| s["config"]["num.partitions"] = json!(3)));
    assert_ne!(same, request(&|s| s["image"] = json!("other")));
    let mut restarted = cluster(|_| {});
    restarted.annotations_mut().insert(names::RESTART.into(), "2026-01-01".into());
    assert_ne!(same, validated(&restarted, &Observed::default()).unwrap().request);
}
