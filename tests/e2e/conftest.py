"""A kind cluster with the operator, a client pod, and one KafkaCluster that most scenarios share."""

import os
import shutil
import tempfile
from pathlib import Path

import kube
import pytest
from reporting import pytest_terminal_summary, report  # noqa: F401

DEMO = kube.cluster(
    "demo",
    listeners=[
        {"name": "internal", "port": 9092, "type": "internal"},
        {
            "name": "external",
            "port": 9094,
            "type": "nodeport",
            "nodePort": kube.NODE_PORT,
            "advertised": [{"node": 0, "host": "127.0.0.1", "nodePort": kube.BROKER_PORT}],
        },
    ],
    config={"auto.create.topics.enable": False},
)


@pytest.fixture(scope="session", autouse=True)
def operator():
    """A new kind cluster, removed at the end; with OTTLA_E2E_KEEP set one that is there is taken, and kept."""
    keep = "OTTLA_E2E_KEEP" in os.environ
    settings = kube.run(str(kube.ROOT / "kind/tools.sh"), seconds=3600)
    for line in settings.splitlines():
        name, _, value = line.removeprefix("export ").partition("=")
        os.environ[name] = value.replace("$PATH", os.environ["PATH"])
    if not keep:
        kube.run("kind", "delete", "cluster", "--name", kube.CLUSTER)
    kube.install()
    client_image()
    namespace()
    kube.clear()
    yield
    if not keep:
        kube.run("kind", "delete", "cluster", "--name", kube.CLUSTER)


def client_image():
    with tempfile.TemporaryDirectory() as context:
        client = Path(context) / "client"
        kube.run(str(kube.ROOT / "tools/stage-image.sh"), str(client), shutil.which("kcat"), shutil.which("sleep"))
        dockerfile = str(Path(__file__).parent / "Dockerfile")
        kube.run("docker", "build", "-q", "-t", "ottla-e2e-client:local", "-f", dockerfile, context)
    kube.run("kind", "load", "docker-image", "--name", kube.CLUSTER, "ottla-e2e-client:local")


def namespace():
    """Everything of ours runs under the restricted profile."""
    kube.apply(
        {
            "apiVersion": "v1",
            "kind": "Namespace",
            "metadata": {"name": kube.NAMESPACE, "labels": {"pod-security.kubernetes.io/enforce": "restricted"}},
        }
    )
    context = {
        "allowPrivilegeEscalation": False,
        "capabilities": {"drop": ["ALL"]},
        "readOnlyRootFilesystem": True,
        "runAsNonRoot": True,
        "seccompProfile": {"type": "RuntimeDefault"},
    }
    container = {
        "name": "client",
        "image": "ottla-e2e-client:local",
        "imagePullPolicy": "Never",
        "securityContext": context,
    }
    kube.until("service account", lambda: kube.get("serviceaccount", "default"))
    kube.apply(
        {
            "apiVersion": "v1",
            "kind": "Pod",
            "metadata": {"name": "client", "namespace": kube.NAMESPACE},
            # Where the API server is, too: machines without either may be killed.
            "spec": {
                "containers": [container],
                "terminationGracePeriodSeconds": 0,
                "nodeSelector": {"node-role.kubernetes.io/control-plane": ""},
            },
        }
    )
    kube.kubectl("wait", "pod/client", "--for=condition=Ready", "--timeout=60s")


@pytest.fixture(autouse=True)
def clean(operator):
    """No test finds what another one has left, whatever the order and however that one ended."""
    yield
    kube.clear(*kube.KEPT)


@pytest.fixture(scope="session")
def first_start():
    kube.apply(DEMO)
    return kube.until_ready("kafkacluster", "demo", 120)


@pytest.fixture
def demo(first_start):
    """The shared cluster, ready. How long that took the first time."""
    kube.until_ready("kafkacluster", "demo", 120)
    return first_start


@pytest.hookimpl(hookwrapper=True)
def pytest_runtest_makereport(item, call):
    """A failure shows what the cluster looked like."""
    outcome = (yield).get_result()
    if outcome.when in ("setup", "call") and outcome.failed:
        for title, command in {
            "objects": ["get", "kafkaclusters,kafkatopics,statefulsets,pods,pvc,services"],
            "events": ["get", "events", "--sort-by=.lastTimestamp"],
            "operator": ["-n", "ottla-system", "logs", "deployment/ottla", "--tail=40"],
            "broker": ["logs", "-l", "ottla.dev/cluster", "--tail=40", "--all-containers", "--prefix"],
        }.items():
            try:
                outcome.sections.append((title, kube.kubectl(*command)[-6000:]))
            except Exception as unknown:
                outcome.sections.append((title, str(unknown)[-2000:]))
