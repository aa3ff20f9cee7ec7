"""Topics with replicas on every broker of a cluster, and clients that find each of them."""

import re
import uuid

import kube


def status(name):
    return kube.get("kafkacluster", name)["status"]


def made(cluster, partitions=3):
    """A new topic with three replicas of each partition."""
    name = f"replicated-{uuid.uuid4().hex[:8]}"
    kube.apply(kube.topic(name, cluster, partitions=partitions, replicas=3))
    kube.until_ready("kafkatopic", name)
    return name


def servers(cluster):
    """Every broker by its own Service: kcat ends where the one address that it was given leads to a pod that has just gone."""
    named = [node["name"] for node in status(cluster)["nodes"] if node["pool"] == "main"]
    return ",".join(f"{name}.{kube.NAMESPACE}.svc:9092" for name in named)


def described(cluster, topic):
    """Of each partition: leader, replicas, ISR; none while nobody answers."""
    try:
        listed = kube.inside(servers(cluster), "-L", "-t", topic)
    except kube.Refused:
        return []
    found = re.findall(r"partition \d+, leader (-?\d+), replicas: ([\d,]*), isrs: ([\d,]*)", listed)
    return [(int(leader), set(replicas.split(",")), set(isr.split(","))) for leader, replicas, isr in found]


def until_whole(cluster, topic, seconds=60):
    def whole():
        partitions = described(cluster, topic)
        return partitions and all(leader >= 0 and len(isr) == 3 and isr == replicas for leader, replicas, isr in partitions)

    return kube.until(f"all replicas of {topic} in sync", whole, seconds)[1]


def produce(cluster, topic, lines):
    """kcat ends as soon as it has found every address refused once, other clients try again: the machines' rules for a Service follow a new
    pod by a second or two. What was acknowledged before it gave up may be there twice."""

    def produced():
        try:
            kube.inside(servers(cluster), "-P", "-t", topic, "-X", "acks=all", "-X", "message.timeout.ms=60000", stdin=lines)
        except kube.Refused as refused:
            if "brokers are down" not in str(refused):
                raise
            return False
        return True

    kube.until(f"{topic} written to", produced, 15)


def consume(cluster, topic):
    return sorted(kube.inside(servers(cluster), "-C", "-t", topic, "-e", "-q").split())
