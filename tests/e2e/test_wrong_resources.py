"""Wrong resources that were let in, and what becomes of what runs. Each wrong spec by itself: test_wrong_specs.py."""

import json

import kube
import pytest


def told(kind, name, *words):
    """Its condition says no, and why, in these words."""

    def probe():
        found = kube.condition(kube.get(kind, name))
        return found.get("status") == "False" and all(word in found["message"] for word in words) and found

    try:
        return kube.until(f"{name} is told", probe, 30)[0]
    except AssertionError as silent:
        raise AssertionError(f"{silent}: {kube.get(kind, name).get('status')}") from None


def test_a_wrong_topic_is_told_and_the_broker_goes_on(demo):
    kube.apply(kube.topic("bad-config", "demo", partitions=1, config={"no.such.key": "1"}))
    told("kafkatopic", "bad-config", "no.such.key")
    kube.apply(kube.topic("bad-value", "demo", partitions=1, config={"retention.ms": "soon"}))
    told("kafkatopic", "bad-value", "retention.ms")
    kube.apply(kube.topic("lonely", "nowhere", partitions=1))
    told("kafkatopic", "lonely", "nowhere")
    assert kube.condition(kube.get("kafkacluster", "demo"))["status"] == "True"


WRONG = [
    pytest.param("no.such.key", "1", id="a key that Kafka does not have"),
    pytest.param("num.partitions", 0, id="out of range"),
    pytest.param("compression.type", "rar", id="none of the words"),
    pytest.param("broker.heartbeat.interval.ms", 8000, id="at odds with another key"),
]


@pytest.mark.parametrize("key, value", WRONG)
def test_a_wrong_change_leaves_the_running_broker_alone(demo, key, value):
    pod = kube.get("pod", "demo-main-0-0")["metadata"]["uid"]
    patch(key, value)
    try:
        degraded, _ = kube.until("told", lambda: is_degraded("demo"))
        assert degraded["reason"] == "InvalidSpec" and key in degraded["message"], degraded
        assert kube.condition(kube.get("kafkacluster", "demo"))["status"] == "True", "what runs goes on"
        assert "broker 0 at" in kube.inside(kube.bootstrap("demo"), "-L")
        assert kube.get("pod", "demo-main-0-0")["metadata"]["uid"] == pod
    finally:
        patch(key, None)
    kube.until("no fault any more", lambda: kube.condition(kube.get("kafkacluster", "demo"), "Degraded").get("status") == "False")
    kube.until_ready("kafkacluster", "demo")
    assert kube.get("pod", "demo-main-0-0")["metadata"]["uid"] == pod


def is_degraded(name):
    found = kube.condition(kube.get("kafkacluster", name), "Degraded")
    return found.get("status") == "True" and found


def patch(key, value):
    body = json.dumps({"spec": {"config": {key: value}}})
    kube.kubectl("patch", "kafkacluster", "demo", "--type=merge", "-p", body)


def test_a_cluster_that_would_not_start_is_not_begun():
    kube.apply(kube.cluster("bad-value", config={"num.partitions": 0}))
    told("kafkacluster", "bad-value", "spec.config[num.partitions]", "at least 1")
    assert not kube.items("statefulsets,pvc", "-l", "ottla.dev/cluster=bad-value")
