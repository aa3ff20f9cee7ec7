"""Addresses that change under running brokers: clients are told, no pod restarts, and one that is waited for keeps nothing else waiting."""

import json
import re
import time

import kube

SECONDS = 5  # in which clients have to be told


def told(name, listener, through="internal"):
    """Of each broker, the address that clients of a listener are told: asked in a pod, over the listener's own port by way of another Service."""
    host = f"{name}-{through}-bootstrap.{kube.NAMESPACE}.svc"
    listed = kube.inside(f"{host}:{listener['port']}", "-L")
    return dict(re.findall(r"broker (\d+) at ([^\s,]+)", listed))


def until_told(name, listener, expected, seconds=SECONDS):
    def is_told():
        try:
            return told(name, listener, listener["name"]) == expected
        except kube.Refused:
            return False

    return kube.until(f"clients of {listener['name']} are told {expected}", is_told, seconds)[1]


def pods(name):
    """What a restart would change."""
    found = kube.items("pods", "-l", f"ottla.dev/cluster={name}")
    return {
        pod["metadata"]["name"]: (pod["metadata"]["uid"], [it["restartCount"] for it in pod["status"]["containerStatuses"]])
        for pod in found
    }


def give(service, *addresses):
    """Plays the cloud: these are the Service's load balancers."""
    status = {"status": {"loadBalancer": {"ingress": [{"ip": address} for address in addresses]}}}
    kube.kubectl("patch", "service", service, "--subresource=status", "--type=merge", "-p", json.dumps(status))


def listener_status(name, listener):
    (found,) = [it for it in kube.get("kafkacluster", name)["status"]["listeners"] if it["name"] == listener]
    return found


def events(name, reason):
    found = kube.items("events", "--field-selector", f"involvedObject.name={name},reason={reason}")
    return [event["message"] for event in found]


def test_a_load_balancer_that_comes_late_and_changes(report):
    name = "balanced"
    edge = {"name": "edge", "port": 9095, "type": "loadbalancer", "metadata": {"labels": {"kind.ottla.dev/ignore": "true"}}}
    internal = {"name": "internal", "port": 9092, "type": "internal"}
    kube.apply(kube.cluster(name, listeners=[internal, edge]))
    kube.until_ready("kafkacluster", name, 180)
    kube.until_served(name)
    services = [f"{name}-edge-bootstrap", f"{name}-main-0-edge"]

    # Nobody has given them an address: that is said, and all else serves.
    pending = kube.until("what is waited for is told", lambda: listener_status(name, "edge").get("pending"))[0]
    assert [re.search(r"Service (\S+):", it)[1] for it in pending] == services, pending
    assert "bootstrapServers" not in listener_status(name, "edge")
    condition = kube.condition(kube.get("kafkacluster", name), "ListenersReady")
    assert (condition["status"], condition["reason"]) == ("False", "AddressPending"), condition
    assert any(services[1] in message for message in kube.until("the event", lambda: events(name, "AddressPending"))[0])
    before = pods(name)

    # 192.0.2.0/24 leads nowhere: what is told is asked for by way of the bootstrap Service's cluster address.
    for first, second in (("192.0.2.1", "192.0.2.2"), ("192.0.2.7", "192.0.2.8")):
        give(services[0], first)
        give(services[1], second)
        taken = until_told(name, edge, {"0": f"{second}:9095"})
        report(f"load balancer: clients are told {second} after {taken:.1f} s")
        kube.until(
            "status has it", lambda first=first: listener_status(name, "edge").get("bootstrapServers") == f"{first}:9095", SECONDS
        )
    kube.until(
        "nothing is waited for",
        lambda: kube.condition(kube.get("kafkacluster", name), "ListenersReady").get("status") == "True",
        SECONDS,
    )

    # A word of the user's in its place, and back.
    for advertised, expected in (
        ([{"node": 0, "host": "kafka-0.example", "port": 443}], "kafka-0.example:443"),
        ([], "192.0.2.8:9095"),
    ):
        kube.apply(kube.cluster(name, listeners=[internal, edge | {"advertised": advertised}]))
        taken = until_told(name, edge, {"0": expected})
        report(f"advertised: clients are told {expected} after {taken:.1f} s")
    assert pods(name) == before, "no pod was restarted for any of it"
    assert events(name, "AddressChanged")


def test_a_node_port_that_changes(report):
    name = "ported"
    outside = {"name": "outside", "port": 9094, "type": "nodeport"}
    internal = {"name": "internal", "port": 9092, "type": "internal"}
    kube.apply(kube.cluster(name, listeners=[internal, outside]))
    kube.until_ready("kafkacluster", name, 180)
    kube.until_served(name)
    (pod,) = kube.items("pods", "-l", f"ottla.dev/cluster={name}")
    machine, service = pod["status"]["hostIP"], f"{name}-main-0-outside"

    def port():
        found = kube.get("service", service)
        return found and (found["metadata"]["uid"], found["spec"]["ports"][0]["nodePort"])

    before, first = pods(name), port()
    until_told(name, outside, {"0": f"{machine}:{first[1]}"})
    kube.kubectl("delete", "service", service)
    second = kube.until("the Service is back", lambda: (found := port()) and found[0] != first[0] and found)[0]
    taken = until_told(name, outside, {"0": f"{machine}:{second[1]}"})
    report(f"node port {first[1]}, then {second[1]}: clients are told after {taken:.1f} s")

    # The machine's own name in place of its address.
    named = outside | {"preferredAddressTypes": ["Hostname"]}
    kube.apply(kube.cluster(name, listeners=[internal, named]))
    taken = until_told(name, outside, {"0": f"{pod['spec']['nodeName']}:{second[1]}"})
    report(f"the machine's name: clients are told after {taken:.1f} s")
    assert pods(name) == before, "no pod was restarted for any of it"


def moved_volume(name, size="1Gi"):
    """A volume that is bound to no machine: the same path on each, and there is something only where the test put it."""
    path = f"/var/{name}"
    return path, [
        {
            "apiVersion": "storage.k8s.io/v1",
            "kind": "StorageClass",
            "metadata": {"name": name},
            "provisioner": "kubernetes.io/no-provisioner",
        },
        {
            "apiVersion": "v1",
            "kind": "PersistentVolume",
            "metadata": {"name": name},
            "spec": {
                "capacity": {"storage": size},
                "accessModes": ["ReadWriteOnce"],
                "storageClassName": name,
                "persistentVolumeReclaimPolicy": "Retain",
                # A pod waits on its machine until the directory is there.
                "hostPath": {"path": path, "type": "Directory"},
            },
        },
    ]


def on(machine, script):
    return kube.run("docker", "exec", machine, "bash", "-ec", script)


def test_a_pod_that_is_started_on_another_machine(report):
    name = "roaming"
    path, objects = moved_volume(name)
    outside = {"name": "outside", "port": 9094, "type": "nodeport", "preferredAddressTypes": ["Hostname"]}
    internal = {"name": "internal", "port": 9092, "type": "internal"}
    workers = [f"{kube.CLUSTER}-worker", f"{kube.CLUSTER}-worker2"]
    spec = kube.cluster(name, listeners=[internal, outside], volume={"class": name})
    spec["spec"]["pods"] = {"nodeSelector": {"kubernetes.io/hostname": workers[0]}}
    on(workers[0], f"mkdir -p {path} && chown 65532:65532 {path}")
    try:
        kube.apply(*objects)
        kube.apply(spec)
        kube.until_ready("kafkacluster", name, 180)
        kube.until_served(name)
        port = kube.get("service", f"{name}-main-0-outside")["spec"]["ports"][0]["nodePort"]
        until_told(name, outside, {"0": f"{workers[0]}:{port}"})

        spec["spec"]["pods"] = {"nodeSelector": {"kubernetes.io/hostname": workers[1]}}
        first = pods(name)
        kube.apply(spec)

        def is_there():
            found = kube.get("pod", f"{name}-main-0-0")
            return (
                found and found["metadata"]["uid"] != first[f"{name}-main-0-0"][0] and found["spec"].get("nodeName") == workers[1]
            )

        kube.until("the pod is to be started on the other machine", is_there, 120)
        archive = on(workers[0], f"tar -C {path} -c . | base64 -w0")
        kube.run(
            "docker",
            "exec",
            "-i",
            workers[1],
            "bash",
            "-ec",
            f"mkdir {path}.new && base64 -d | tar -C {path}.new -x && mv {path}.new {path}",
            stdin=archive,
        )
        kube.until(
            "the pod is ready", lambda: kube.kubectl("wait", f"pod/{name}-main-0-0", "--for=condition=Ready", "--timeout=120s")
        )
        began, second = time.monotonic(), pods(name)
        until_told(name, outside, {"0": f"{workers[1]}:{port}"})
        report(f"another machine: clients are told {time.monotonic() - began:.1f} s after the pod is ready")
        assert pods(name) == second, "and it is the pod that was started there"
    finally:
        kube.clear(*kube.KEPT)
        kube.kubectl("delete", "pv,storageclass", name, "--ignore-not-found")
        for worker in workers:
            on(worker, f"rm -rf {path} {path}.new")
