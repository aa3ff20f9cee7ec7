"""Every type of listener at once: clients that begin with the string in status reach every broker by what it tells them."""

import re

import kube
from replicated import until_whole

NAME = "listeners"
TYPES = {"internal": 9092, "cluster-ip": 9093, "pod-ip": 9095, "nodeport": 9096}


def listeners():
    return [{"name": type_.replace("-", ""), "port": port, "type": type_} for type_, port in TYPES.items()]


def strings():
    """Of each type: what status says."""
    found = {entry["type"]: entry.get("bootstrapServers") for entry in kube.get("kafkacluster", NAME)["status"]["listeners"]}
    assert set(found) == set(TYPES)
    return found


def told(type_):
    """The brokers' addresses, as a client of the listener is told."""
    servers = strings()[type_]
    return set(re.findall(r"broker \d+ at ([^\s,]+)", kube.inside(servers, "-L"))) if servers else set()


def expected(type_):
    port = TYPES[type_]
    pods = [pod["status"] for pod in kube.items("pods", "-l", f"ottla.dev/cluster={NAME}")]
    names = [f"{NAME}-main-{index}" for index in range(3)]
    match type_:
        case "internal":
            return {f"{name}.{kube.NAMESPACE}.svc:{port}" for name in names}
        case "cluster-ip":
            return {f"{kube.get('service', f'{name}-clusterip')['spec']['clusterIP']}:{port}" for name in names}
        case "pod-ip":
            return {f"{pod['podIP']}:{port}" for pod in pods}
        case "nodeport":
            ports = {name: kube.get("service", f"{name}-nodeport")["spec"]["ports"][0]["nodePort"] for name in names}
            hosts = {
                pod["metadata"]["name"][:-2]: pod["status"]["hostIP"]
                for pod in kube.items("pods", "-l", f"ottla.dev/cluster={NAME}")
            }
            return {f"{hosts[name]}:{ports[name]}" for name in names}


def reach(topic, count):
    """A record through each listener, all of them read through each."""
    for type_ in TYPES:
        kube.until(f"{type_} tells the brokers' addresses", lambda type_=type_: told(type_) == expected(type_), 60)
        kube.inside(strings()[type_], "-P", "-t", topic, "-X", "acks=all", stdin=f"{count}-{type_}\n")
    for type_ in TYPES:
        lines = kube.inside(strings()[type_], "-C", "-t", topic, "-e", "-q").split()
        assert {f"{count}-{of}" for of in TYPES} <= set(lines), (type_, lines)


def test_clients_reach_every_broker_through_every_type_and_through_restarts(report):
    kube.apply(kube.cluster(NAME, replicas=3, listeners=listeners()))
    kube.until_ready("kafkacluster", NAME, 240)
    kube.until_served(NAME)
    topic = "reached"
    kube.apply(kube.topic(topic, NAME, partitions=3, replicas=3))
    kube.until_ready("kafkatopic", topic)
    report(f"listeners in status: {strings()}")
    reach(topic, 1)

    pod = f"{NAME}-main-1-0"
    before = kube.get("pod", pod)
    kube.kubectl("delete", "pod", pod)
    kube.until("the pod is back", lambda: (kube.get("pod", pod) or before)["metadata"]["uid"] != before["metadata"]["uid"], 60)
    kube.until_ready("kafkacluster", NAME, 120)
    until_whole(NAME, topic)
    report(f"address of {pod}: {before['status']['podIP']} before, {kube.get('pod', pod)['status']['podIP']} after")
    reach(topic, 2)
