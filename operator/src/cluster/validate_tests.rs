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
        validated(&cluster(change), &Observed::default()).unwrap().nodes[0].request.clone()
    };
    let same = request(&|_| {});
    assert_eq!(same, request(&|s| s["nodePools"][0]["storage"]["volumes"][0]["size"] = json!("6Gi")));
    assert_eq!(same, request(&|s| s["nodePools"][0]["storage"]["deletionPolicy"] = json!("Delete")));
    assert_ne!(same, request(&|s| s["config"]["num.partitions"] = json!(3)));
    assert_ne!(same, request(&|s| s["image"] = json!("other")));
    let mut restarted = cluster(|_| {});
    restarted.annotations_mut().insert(names::RESTART.into(), "2026-01-01".into());
    assert_ne!(same, validated(&restarted, &Observed::default()).unwrap().nodes[0].request);
    assert_eq!(same, request(&|s| s["nodePools"][0]["replicas"] = json!(3)), "how many others there are");
    assert_ne!(same, request(&|s| s["rack"] = json!({})));
    assert_eq!(same, "4160979b50b8b990", "as the releases before had it, else they all restart");
}

/// Of node ids by pool.
fn pools(found: &ValidatedCluster) -> Vec<(i32, &str)> {
    found.nodes.iter().map(|n| (n.id.0, n.pool.as_str())).collect()
}

fn two_pools(first: i32, second: i32) -> crate::crd::KafkaCluster {
    cluster(|s| {
        let mut other = s["nodePools"][0].clone();
        s["nodePools"][0]["replicas"] = json!(first);
        other["name"] = json!("other");
        other["roles"] = json!(["broker"]);
        other["replicas"] = json!(second);
        s["nodePools"].as_array_mut().unwrap().push(other);
    })
}

#[test]
fn ids_are_the_lowest_free_over_all_pools_and_stay_with_their_pool() {
    let mut observed = Observed::default();
    let first = validated(&two_pools(2, 1), &observed).unwrap();
    assert_eq!(pools(&first), [(0, "main"), (1, "main"), (2, "other")]);
    observed.claims = claims(&two_pools(2, 1));
    let more = validated(&two_pools(3, 2), &observed).unwrap();
    assert_eq!(pools(&more), [(0, "main"), (1, "main"), (2, "other"), (3, "main"), (4, "other")]);
    let fewer = validated(&two_pools(1, 1), &observed).unwrap();
    assert_eq!(pools(&fewer), [(0, "main"), (2, "other")], "the highest go, and their claims keep their ids");
    let again = validated(&two_pools(2, 2), &observed).unwrap();
    assert_eq!(pools(&again), [(0, "main"), (1, "main"), (2, "other"), (3, "other")]);
}

#[test]
fn a_node_whose_claim_is_lost_keeps_its_id_while_its_set_is_there() {
    let three = cluster(|s| s["nodePools"][0]["replicas"] = json!(3));
    let made = validated(&three, &Observed::default()).unwrap();
    let made = crate::cluster::build::workload(&made, &Observed::default(), &Default::default());
    let mut observed = Observed { claims: claims(&two_pools(3, 1)), ..Observed::default() };
    observed.stateful_sets = made.nodes.into_iter().map(|n| n.stateful_set).collect();
    observed.claims.retain(|c| c.name_any() != "data-0-demo-main-1");
    let found = validated(&two_pools(3, 2), &observed).unwrap();
    assert_eq!(pools(&found), [(0, "main"), (1, "main"), (2, "main"), (3, "other"), (4, "other")]);
    assert!(
        !found.nodes[1].first_voter,
        "its disk is another one, and votes only when the others have let it in"
    );
    assert!(found.nodes[0].first_voter && found.nodes[2].first_voter);
}

#[test]
fn the_first_voters_are_settled_with_the_first_pod() {
    let voters = |found: &ValidatedCluster| found.first_voters.split(',').count();
    let sized = |n: i32| cluster(move |s| s["nodePools"][0]["replicas"] = json!(n));
    let mut observed = Observed { claims: claims(&sized(3)), ..Observed::default() };
    assert_eq!(voters(&validated(&sized(5), &observed).unwrap()), 5, "no pod was there yet");
    observed.claims[2].metadata.annotations.as_mut().unwrap().insert(names::FORMATTED.into(), "true".into());
    let five = validated(&sized(5), &observed).unwrap();
    assert_eq!(voters(&five), 3);
    assert_eq!(
        five.nodes.iter().map(|n| n.first_voter).collect::<Vec<_>>(),
        [true, true, true, false, false]
    );
    let one = validated(&sized(1), &observed).unwrap();
    assert_eq!((one.nodes.len(), voters(&one)), (1, 3), "who has not formatted yet writes the same list");
}

#[test]
fn the_node_of_an_earlier_release_is_the_first_voter() {
    let mut kept = claims(&cluster(|_| {}));
    let annotations = kept[0].metadata.annotations.as_mut().unwrap();
    annotations.remove(names::FIRST_VOTER);
    annotations.insert(names::FORMATTED.into(), "true".into());
    let three = cluster(|s| s["nodePools"][0]["replicas"] = json!(3));
    let found = validated(&three, &Observed { claims: kept, ..Observed::default() }).unwrap();
    assert_eq!(found.nodes.iter().map(|n| n.first_voter).collect::<Vec<_>>(), [true, false, false]);
}
