"""Wrong resources: refused at admission where it can be judged there, else a condition that names the field."""

import kube
import pytest


@pytest.mark.parametrize(
    "resource, words",
    [
        pytest.param(kube.cluster("many", replicas=3), "replicas", id="more than one replica"),
        pytest.param(kube.cluster("Upper"), "name", id="a name that no Service can have"),
        pytest.param(kube.cluster("l", listeners=[]), "listeners", id="no listener"),
        pytest.param(
            kube.cluster("l", listeners=[{"name": "x", "port": 9092, "type": "carrier-pigeon"}]),
            "type",
            id="listener type",
        ),
        pytest.param(
            kube.cluster("l", listeners=[{"name": "x", "port": 9092, "type": "internal", "protocol": "SSL"}]),
            "protocol",
            id="a protocol that is not served",
        ),
        pytest.param(kube.cluster("v", volume={"size": "much"}), "size", id="a size that is none"),
        pytest.param(kube.topic("t", "demo", partitions=0), "partitions", id="no partitions"),
        pytest.param(kube.topic("t", "demo", topicName="a b"), "topicName", id="a name that no topic can have"),
    ],
)
def test_refused_at_admission(resource, words):
    with pytest.raises(kube.Refused, match=words):
        kube.apply(resource)


def test_what_cannot_change_is_refused(demo):
    kube.apply(kube.topic("fixed", "demo", partitions=2))
    with pytest.raises(kube.Refused, match="partitions"):
        kube.apply(kube.topic("fixed", "demo", partitions=1))
    with pytest.raises(kube.Refused, match="cluster"):
        kube.apply(kube.topic("fixed", "other", partitions=2))


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


def test_a_wrong_cluster_is_told(demo):
    kube.apply(kube.cluster("bad-class", volume={"class": "no-such-class"}))
    told("kafkacluster", "bad-class", "no-such-class", "class")
    kube.delete("kafkacluster", "bad-class")


def test_a_wrong_change_leaves_the_running_broker_alone(demo):
    pod = kube.get("pod", "demo-main-0-0")["metadata"]["uid"]
    changed = kube.get("kafkacluster", "demo")
    good = changed["spec"]["config"]
    kube.kubectl("patch", "kafkacluster", "demo", "--type=merge", "-p", '{"spec":{"config":{"no.such.key":"1"}}}')
    try:
        found, _ = kube.until(
            "told", lambda: kube.condition(kube.get("kafkacluster", "demo"), "Degraded").get("status") == "True"
        )
        message = kube.condition(kube.get("kafkacluster", "demo"), "Degraded")["message"]
        assert "no.such.key" in message
        assert "broker 0 at" in kube.inside(kube.bootstrap("demo"), "-L")
        assert kube.get("pod", "demo-main-0-0")["metadata"]["uid"] == pod
    finally:
        kube.kubectl("patch", "kafkacluster", "demo", "--type=merge", "-p", '{"spec":{"config":{"no.such.key":null}}}')
    assert good is not None
    kube.until_ready("kafkacluster", "demo")
