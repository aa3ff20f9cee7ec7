"""The admin ports of a cluster: whom they answer, that the operator asks there, and certificates that change under running brokers."""

import base64
import http.client
import json
import random
import re
import ssl
import subprocess
import time
from contextlib import contextmanager

import kube
import pytest

NAME = "certified"
NODES = [f"{NAME}-main-{node}" for node in range(3)]


@pytest.fixture(scope="module")
def begun():
    kube.KEPT.add(NAME)
    try:
        kube.apply(kube.cluster(NAME, replicas=3))
        kube.until_ready("kafkacluster", NAME, 240)
        yield
    finally:
        kube.KEPT.discard(NAME)


@pytest.fixture
def certified(begun):
    kube.until_ready("kafkacluster", NAME, 120)


def secret(name):
    found = kube.get("secret", name)
    return found and {key: base64.b64decode(value).decode() for key, value in found["data"].items()}


def look_again():
    """The operator looks at a cluster when it changes, and every five minutes."""
    kube.kubectl("annotate", "--overwrite", "kafkacluster", NAME, f"test.ottla.dev/looked={time.monotonic()}")


def runs():
    """Each pod with the number of its restarts."""
    pods = kube.items("pods", "-l", f"ottla.dev/cluster={NAME}")
    return {p["metadata"]["uid"]: [c["restartCount"] for c in p["status"].get("containerStatuses", [])] for p in pods}


@contextmanager
def forwarded(node):
    """A port of this machine that leads to the node's admin port."""
    command = ["kubectl", "--context", f"kind-{kube.CLUSTER}", "-n", kube.NAMESPACE, "port-forward", f"pod/{node}-0", ":9405"]
    process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
    try:
        line = process.stdout.readline()
        assert line, process.stderr.read()
        yield int(re.search(r":(\d+) ->", line)[1])
    finally:
        process.terminate()
        process.wait(10)


def identity(tmp_path, certificate, trusted):
    context = ssl.create_default_context(cadata=trusted)
    if certificate:
        (tmp_path / "tls.crt").write_text(certificate["tls.crt"])
        (tmp_path / "tls.key").write_text(certificate["tls.key"])
        context.load_cert_chain(tmp_path / "tls.crt", tmp_path / "tls.key")
    return context


def ask(node, context, path="/v1/state"):
    """The answer, and the certificate of who gave it."""
    with forwarded(node) as port:
        connection = http.client.HTTPSConnection("127.0.0.1", port, context=context, timeout=10)
        raw = http.client.socket.create_connection(("127.0.0.1", port), 10)
        connection.sock = context.wrap_socket(raw, server_hostname=f"{node}.{kube.NAMESPACE}.svc")
        try:
            connection.request("GET", path)
            answer = json.loads(connection.getresponse().read())
            return answer, ssl.DER_cert_to_PEM_cert(connection.sock.getpeercert(binary_form=True))
        finally:
            connection.close()


def as_operator(tmp_path):
    own = secret(f"{NAME}-admin-operator")
    return identity(tmp_path, own, own["ca.crt"])


def same(one, other):
    return ssl.PEM_cert_to_DER_cert(one) == ssl.PEM_cert_to_DER_cert(other)


def served(node, tmp_path):
    try:
        return ask(node, as_operator(tmp_path))[1]
    except (OSError, http.client.HTTPException):
        return None


def test_a_node_answers_the_operator_and_nobody_else(certified, tmp_path):
    answer, _ = ask(NODES[1], as_operator(tmp_path))
    assert (answer["node"], answer["ready"], answer["roles"]) == (1, True, ["broker", "controller"])
    leader = answer["quorum"]["leader"]
    assert ask(NODES[leader], as_operator(tmp_path))[0]["quorum"]["isActiveHere"]
    kube.until("caught up", lambda: ask(NODES[2], as_operator(tmp_path), "/v1/caught-up")[0]["caughtUp"])
    trusted = secret(f"{NAME}-admin-operator")["ca.crt"]
    for stranger in (None, secret(f"{NODES[0]}-admin")):
        with pytest.raises((ssl.SSLError, OSError, http.client.HTTPException)):
            ask(NODES[1], identity(tmp_path, stranger, trusted))


def test_the_authoritys_key_is_in_no_pod(certified):
    mounted = {
        volume["secret"]["secretName"]
        for pod in kube.items("pods", "-l", f"ottla.dev/cluster={NAME}")
        for volume in pod["spec"]["volumes"]
        if "secret" in volume
    }
    assert mounted == {f"{node}-admin" for node in NODES}
    assert all(set(secret(name)) == {"tls.crt", "tls.key", "ca.crt"} for name in mounted)
    assert "ca.key" in secret(f"{NAME}-admin-ca")


def test_a_deleted_certificate_comes_back_and_is_served_without_a_restart(certified, tmp_path, report):
    before, name = runs(), f"{NODES[0]}-admin"
    old = secret(name)["tls.crt"]
    assert same(served(NODES[0], tmp_path), old)
    kube.kubectl("delete", "secret", name)
    look_again()
    kube.until("the Secret", lambda: secret(name))
    new = secret(name)["tls.crt"]
    assert not same(new, old)

    def is_new():
        found = served(NODES[0], tmp_path)
        return found and same(found, new)

    report(f"a new certificate is served after {kube.until('the new certificate', is_new, 240)[1]:.0f} s")
    assert runs() == before


def test_a_lost_authority_is_replaced_without_a_restart(certified, tmp_path, report):
    before, old = runs(), secret(f"{NAME}-admin-ca")["ca.crt"]
    kube.kubectl("delete", "secret", f"{NAME}-admin-ca")
    look_again()
    kube.until("another authority", lambda: (secret(f"{NAME}-admin-ca") or {"ca.crt": old})["ca.crt"] != old)
    kube.until("the event", lambda: [e for e in kube.items("events") if e["reason"] == "AdminAuthorityReplaced"])
    all_answer = lambda: all(served(node, tmp_path) for node in NODES)  # noqa: E731
    report(f"all nodes answer under another authority after {kube.until('answers', all_answer, 240)[1]:.0f} s")
    assert runs() == before


def test_a_node_is_restarted_when_the_active_controller_permits_it(certified):
    def asked():
        log = kube.run(
            "kubectl", "--context", f"kind-{kube.CLUSTER}", "-n", "ottla-system", "logs", "deployment/ottla", "--tail=-1"
        )
        granted = r'asked whether a node may stop cluster="certified" node=(\d+) .*Granted'
        return re.findall(granted, log)

    before, earlier = set(runs()), len(asked())
    changed = json.dumps({"spec": {"config": {"num.partitions": random.randrange(2, 1000)}}})
    kube.kubectl("patch", "kafkacluster", NAME, "--type=merge", "-p", changed)
    kube.until("all restarted", lambda: len(set(runs()) - before) == 3, 400)
    kube.until_ready("kafkacluster", NAME, 120)
    assert sorted(asked()[earlier:]) == ["0", "1", "2"]
