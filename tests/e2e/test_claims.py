"""What becomes of the claims when a cluster is deleted, and who takes them up again."""

import kube


def claims(cluster):
    return [item["metadata"]["name"] for item in kube.items("pvc", "-l", f"ottla.dev/cluster={cluster}")]


def remove(cluster):
    kube.delete("kafkacluster", cluster)
    kube.until("pods gone", lambda: not kube.items("pods", "-l", f"ottla.dev/cluster={cluster}"))


def test_retained_claims_are_taken_up_by_the_same_node():
    resource = kube.cluster("kept", deletionPolicy="Retain")
    kube.apply(resource, kube.topic("ledger", "kept", partitions=1, deletionPolicy="Retain"))
    kube.until_served("kept")
    kube.until_ready("kafkatopic", "ledger")
    kube.inside(kube.bootstrap("kept"), "-P", "-t", "ledger", stdin="entry\n")
    before = kube.get("kafkacluster", "kept")["status"]
    topic_id = kube.get("kafkatopic", "ledger")["status"]["topicId"]

    remove("kept")
    assert len(claims("kept")) == 1

    kube.apply(resource)
    kube.until_served("kept")
    after = kube.get("kafkacluster", "kept")["status"]
    assert (before["clusterId"], before["nodeIds"]) == (after["clusterId"], after["nodeIds"])
    kube.until_ready("kafkatopic", "ledger")
    assert kube.get("kafkatopic", "ledger")["status"]["topicId"] == topic_id
    assert kube.inside(kube.bootstrap("kept"), "-C", "-t", "ledger", "-e", "-q") == "entry\n"
    remove("kept")
    kube.kubectl("delete", "pvc", "-l", "ottla.dev/cluster=kept")
    kube.delete("kafkatopic", "ledger")


def test_claims_go_with_the_cluster_if_its_policy_says_so():
    kube.apply(kube.cluster("gone", deletionPolicy="Delete"))
    kube.until_served("gone")
    assert len(claims("gone")) == 1
    remove("gone")
    kube.until("claims gone", lambda: not claims("gone"))
