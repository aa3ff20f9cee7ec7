"""Clusters of several nodes: broker and controller at once, or apart; pods that go; more nodes, fewer nodes; a changed spec."""

import json
import random
import time

import kube
import pytest
from replicated import consume, made, produce, servers, status, until_whole

SHAPES = {
    "combined": [kube.pool("main", ["broker", "controller"], 3)],
    "apart": [kube.pool("quorum", ["controller"], 3), kube.pool("main", ["broker"], 3)],
}


def named(shape):
    return f"several-{shape}"


@pytest.fixture(scope="module", params=SHAPES)
def begun(request):
    """A cluster of three brokers and three controllers that the tests of its shape share, and how long its start took."""
    name = named(request.param)
    kube.KEPT.add(name)
    try:
        kube.apply(kube.cluster(name, nodePools=SHAPES[request.param]))
        yield name, kube.until_ready("kafkacluster", name, 240)
    finally:
        kube.KEPT.discard(name)


@pytest.fixture
def shape(begun, report):
    """The shared cluster, ready."""
    name, taken = begun
    report(f"{name}: apply to Ready: {taken:.1f} s")
    kube.until_ready("kafkacluster", name, 120)
    kube.until_served(name)
    return name


def replaced(pod, uid):
    now = kube.get("pod", pod)
    return now and now["metadata"]["uid"] != uid


def test_records_are_on_three_brokers_and_every_pod_may_go(shape, report):
    found = status(shape)
    controllers = {n["id"] for n in found["nodes"] if len(found["nodes"]) == 3 or n["pool"] == "quorum"}
    kube.until("the voters", lambda: set(status(shape).get("voters", [])) == controllers and len(controllers) == 3)
    topic = made(shape)
    until_whole(shape, topic)
    produce(shape, topic, "".join(f"first-{i}\n" for i in range(100)))
    group = ["-G", "readers", "-X", "auto.offset.reset=earliest", "-e", "-q", topic]
    assert len(kube.inside(servers(shape), *group).split()) == 100

    expected = 100
    for node in found["nodes"]:
        pod = f"{node['name']}-0"
        uid = kube.get("pod", pod)["metadata"]["uid"]
        kube.kubectl("delete", "pod", pod, "--wait=false")
        produce(shape, topic, "".join(f"without-{node['id']}-{i}\n" for i in range(10)))
        expected += 10
        kube.until(f"{pod} back", lambda pod=pod, uid=uid: replaced(pod, uid) and ready(pod), 150)
        report(f"{shape}: in sync again after node {node['id']}: {until_whole(shape, topic, 120):.1f} s")
    assert len(set(consume(shape, topic))) == expected
    kube.until_ready("kafkacluster", shape, 60)


def ready(name):
    conditions = (kube.get("pod", name) or {}).get("status", {}).get("conditions", [])
    return any(c["type"] == "Ready" and c["status"] == "True" for c in conditions)


def test_a_changed_spec_is_taken_by_one_node_after_the_other_while_clients_go_on(shape):
    topic = made(shape)
    until_whole(shape, topic)
    pods = {p["metadata"]["name"]: p["metadata"]["uid"] for p in kube.items("pods", "-l", f"ottla.dev/cluster={shape}")}
    changed = json.dumps({"spec": {"config": {"num.partitions": random.randrange(2, 1000)}}})
    kube.kubectl("patch", "kafkacluster", shape, "--type=merge", "-p", changed)
    produced = 0
    deadline = time.monotonic() + 400

    def all_new():
        now = {p["metadata"]["name"]: p for p in kube.items("pods", "-l", f"ottla.dev/cluster={shape}")}
        away = [name for name in pods if name not in now or not ready(name)]
        assert len(away) <= 1, f"more than one away: {away}"
        return not away and all(now[name]["metadata"]["uid"] != uid for name, uid in pods.items())

    while not all_new():
        assert time.monotonic() < deadline, status(shape)
        produce(shape, topic, f"record-{produced}\n")
        produced += 1
    until_whole(shape, topic)
    assert len(set(consume(shape, topic))) == produced


def test_one_node_becomes_three_and_a_broker_with_replicas_does_not_leave():
    kube.apply(kube.cluster("growing", replicas=1))
    kube.until_served("growing")
    kube.apply(kube.cluster("growing", replicas=3))
    kube.until("three voters", lambda: len(status("growing").get("voters", [])) == 3, 240)
    kube.until_ready("kafkacluster", "growing", 60)
    topic = made("growing")
    until_whole("growing", topic)

    kube.apply(kube.cluster("growing", replicas=2))

    def blocked():
        found = kube.condition(kube.get("kafkacluster", "growing"), "Degraded")
        return found.get("reason") == "ScaleDownBlocked" and found

    told, _ = kube.until("the condition", blocked, 60)
    assert "node 2" in told["message"] and topic in told["message"], told
    assert kube.condition(kube.get("kafkacluster", "growing"))["status"] == "True", "what runs goes on"
    until_whole("growing", topic)

    kube.delete("kafkatopic", topic)
    kube.until("node 2 gone", lambda: not kube.items("pods", "-l", "ottla.dev/cluster=growing,ottla.dev/node-id=2"), 240)
    kube.until("two voters", lambda: len(status("growing")["voters"]) == 2, 60)
    assert kube.get("pvc", "data-0-growing-main-2"), "its claim stays"


def test_a_drain_takes_one_node_at_a_time(shape):
    """Evictions as `kubectl drain` asks for them; the second is refused while the first is away."""
    names = [f"{node['name']}-0" for node in status(shape)["nodes"]]

    def evict(pod):
        body = f'{{"apiVersion":"policy/v1","kind":"Eviction","metadata":{{"name":"{pod}","namespace":"{kube.NAMESPACE}"}}}}'
        kube.kubectl("create", "--raw", f"/api/v1/namespaces/{kube.NAMESPACE}/pods/{pod}/eviction", "-f", "-", stdin=body)

    uid = kube.get("pod", names[0])["metadata"]["uid"]
    evict(names[0])
    with pytest.raises(kube.Refused, match="disruption budget"):
        evict(names[1])
    kube.until("back", lambda: replaced(names[0], uid) and ready(names[0]), 150)
    kube.until_ready("kafkacluster", shape, 60)
