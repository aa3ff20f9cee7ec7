"""kubectl, and waiting for what it shows."""

import json
import os
import subprocess
import time
from pathlib import Path

ROOT = Path(__file__).parent.parent.parent
VERSION = os.environ.get("OTTLA_VERSION", "0.1.0")
NAMESPACE = "e2e"
CLUSTER = os.environ.get("OTTLA_E2E_CLUSTER", "ottla-e2e")
KEPT = {"demo"}  # clusters that several tests share
NODE_PORT, BROKER_PORT = 32192, 32193  # mapped to this machine by kind/tests.yaml


def run(*command: str, stdin: str = "", seconds: float = 120, **environment: str) -> str:
    done = subprocess.run(command, input=stdin, capture_output=True, text=True, timeout=seconds, env=os.environ | environment)
    if done.returncode != 0:
        raise Refused(f"{' '.join(command)[:300]} ended with {done.returncode}:\n{done.stdout}{done.stderr}")
    return done.stdout


class Refused(AssertionError):
    """A command failed; its words."""


def install() -> None:
    """The kind cluster with our images and the chart, made or brought up to date."""
    run(str(ROOT / "kind/up.sh"), CLUSTER, str(ROOT / "kind/tests.yaml"), seconds=600, VERSION=VERSION)


def kubectl(*arguments: str, stdin: str = "", seconds: float = 120) -> str:
    return run("kubectl", "--context", f"kind-{CLUSTER}", "-n", NAMESPACE, *arguments, stdin=stdin, seconds=seconds)


def apply(*objects: dict) -> None:
    """As `kubectl apply`; `Refused` if admission says no."""
    kubectl("apply", "-f", "-", stdin=json.dumps({"apiVersion": "v1", "kind": "List", "items": list(objects)}))


def get(kind: str, name: str) -> dict | None:
    text = kubectl("get", kind, name, "-o", "json", "--ignore-not-found")
    return json.loads(text) if text else None


def items(kind: str, *arguments: str) -> list[dict]:
    return json.loads(kubectl("get", kind, "-o", "json", *arguments))["items"]


def condition(resource: dict | None, kind: str = "Ready") -> dict:
    """A condition that speaks of the current generation; empty if there is none."""
    if resource is None:
        return {}
    status = resource.get("status", {})
    if status.get("observedGeneration") != resource["metadata"]["generation"]:
        return {}
    return next((found for found in status.get("conditions", []) if found["type"] == kind), {})


def until(what: str, probe, seconds: float = 60):
    """The first true answer of `probe`, and how long it took."""
    started = time.monotonic()
    while True:
        answer = probe()
        taken = time.monotonic() - started
        if answer:
            return answer, taken
        assert taken < seconds, f"{what}: not in {seconds} s"
        time.sleep(0.2)


def until_ready(kind: str, name: str, seconds: float = 60) -> float:
    """How long it took from now."""
    try:
        return until(f"{kind} {name} Ready", lambda: condition(get(kind, name)).get("status") == "True", seconds)[1]
    except AssertionError as late:
        raise AssertionError(f"{late}: {json.dumps((get(kind, name) or {}).get('status'))}") from None


def until_served(cluster: str) -> None:
    """Ready, and the service leads to it: nodes learn of a pod's readiness a moment later, and kcat, unlike other clients,
    does not try again."""

    def reached():
        try:
            return inside(bootstrap(cluster), "-L")
        except Refused:
            return None

    until_ready("kafkacluster", cluster)
    until(f"{cluster} reached through its service", reached)


def until_gone(kind: str, name: str, seconds: float = 60) -> None:
    until(f"{kind} {name} gone", lambda: get(kind, name) is None, seconds)


def delete(kind: str, name: str) -> None:
    kubectl("delete", kind, name, "--wait=true", "--timeout=90s")


def helm(*arguments: str) -> str:
    context = ("--kube-context", f"kind-{CLUSTER}", "--namespace", "ottla-system")
    return run("helm", *arguments, *context, seconds=240)


def clear(*kept: str) -> None:
    """Nothing of what was applied stays but the clusters `kept`, and no volume of others."""
    names = [item["metadata"]["name"] for item in items("kafkatopics")]
    clusters = [item["metadata"]["name"] for item in items("kafkaclusters") if item["metadata"]["name"] not in kept]
    for kind, found in (("kafkatopics", names), ("kafkaclusters", clusters)):
        if found:
            kubectl("delete", kind, *found, "--ignore-not-found", "--wait=true", "--timeout=90s")
    others = ",".join(["ottla.dev/cluster", *(f"ottla.dev/cluster!={name}" for name in kept)])
    until("pods of cleared clusters gone", lambda: not items("pods", "-l", others))
    kubectl("delete", "pvc", "-l", others, "--wait=true", "--timeout=90s")


def topic(name: str, cluster: str, **spec) -> dict:
    return resource("KafkaTopic", name, {"cluster": cluster} | spec)


def cluster(name: str, **spec) -> dict:
    """A KafkaCluster of one node, with one internal listener unless told otherwise."""
    policy, volume, replicas = spec.pop("deletionPolicy", "Delete"), spec.pop("volume", {}), spec.pop("replicas", 1)
    main = pool("main", ["broker", "controller"], replicas, policy, volume)
    internal = {"name": "internal", "port": 9092, "type": "internal"}
    return resource("KafkaCluster", name, {"nodePools": [main], "listeners": [internal]} | spec)


def pool(name: str, roles: list[str], replicas: int, policy: str = "Delete", volume: dict | None = None) -> dict:
    """A node pool with one volume a node."""
    volumes = [{"id": 0, "size": "1Gi"} | (volume or {})]
    return {"name": name, "roles": roles, "replicas": replicas, "storage": {"deletionPolicy": policy, "volumes": volumes}}


def resource(kind: str, name: str, spec: dict) -> dict:
    metadata = {"name": name, "namespace": NAMESPACE}
    return {"apiVersion": "ottla.dev/v1alpha1", "kind": kind, "metadata": metadata, "spec": spec}


def bootstrap(name: str, listener: str = "internal") -> str:
    (found,) = [entry for entry in get("kafkacluster", name)["status"]["listeners"] if entry["name"] == listener]
    return found["bootstrapServers"]


def inside(servers: str, *arguments: str, stdin: str = "") -> str:
    """kcat in a pod."""
    return kubectl("exec", "-i", "client", "--", "/usr/bin/kcat", "-b", servers, *arguments, stdin=stdin)


def outside(servers: str, *arguments: str, stdin: str = "") -> str:
    """kcat on this machine."""
    return run("kcat", "-b", servers, *arguments, stdin=stdin)


def process_rss_mib(command: str) -> float:
    """Resident memory of a process, the largest of that name on any machine."""
    script = f'for p in /proc/[0-9]*; do [ "$(cat $p/comm 2>/dev/null)" = {command[:15]} ] && grep VmRSS $p/status; done; true'
    machines = run("kind", "get", "nodes", "--name", CLUSTER).split()
    lines = [line for machine in machines for line in run("docker", "exec", machine, "bash", "-c", script).splitlines()]
    assert lines, f"no process {command}"
    return max(int(line.split()[1]) for line in lines) / 1024
