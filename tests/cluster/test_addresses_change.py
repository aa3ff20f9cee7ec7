"""A broker is told on its admin port that it is found elsewhere: under controllers of either kind clients are told, and nothing else changes."""

import dataclasses
import http.client
import json
import ssl
import subprocess
import time

import pytest
from cluster import Cluster
from conftest import CLUSTERS, ELR
from nodes import Ottla, free_port

SECONDS = 5  # in which clients have to be told


def openssl(home, *arguments):
    subprocess.run(["openssl", *arguments], cwd=home, check=True, capture_output=True)


@pytest.fixture
def files(tmp_path):
    """Certificates of an authority's: a node's to answer with and one to ask with."""
    home = tmp_path / "certificates"
    home.mkdir()
    key = ["req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes", "-days", "2"]
    openssl(home, *key, "-subj", "/CN=authority", "-keyout", "ca.key", "-out", "ca.crt")
    for name, usage in (("node", "serverAuth"), ("operator", "clientAuth")):
        of = ["-subj", f"/CN={name}", "-addext", "subjectAltName=IP:127.0.0.1", "-addext", f"extendedKeyUsage={usage}"]
        by = ["-CA", "ca.crt", "-CAkey", "ca.key", "-addext", "basicConstraints=critical,CA:FALSE"]
        openssl(home, *key, *of, *by, "-keyout", f"{name}.key", "-out", f"{name}.crt")
    return home


class Admin:
    """Asks a node as the operator does."""

    def __init__(self, port, files):
        self.port, self.context = port, ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
        self.context.load_verify_locations(files / "ca.crt")
        self.context.load_cert_chain(files / "operator.crt", files / "operator.key")

    def ask(self, method, path, body=None):
        connection = http.client.HTTPSConnection("127.0.0.1", self.port, context=self.context, timeout=10)
        connection.request(method, path, body and json.dumps(body))
        answer = connection.getresponse()
        text = answer.read()
        connection.close()
        return answer.status, json.loads(text) if answer.getheader("content-type") == "application/json" else text

    def registration(self):
        return self.ask("GET", "/v1/state")[1]["broker"]


def with_admin(members, files):
    """The members, those of ours with an admin port; and these ports."""
    ports = {member.id: free_port() for member in members if member.kind is Ottla}

    def settings(id):
        paths = {"certificate": "node.crt", "key": "node.key", "ca": "ca.crt"}
        own = {f"ottla.admin.tls.{name}.path": str(files / file) for name, file in paths.items()}
        return tuple((own | {"ottla.admin.listener": f"127.0.0.1:{ports[id]}"}).items())

    changed = [dataclasses.replace(member, overrides=settings(member.id)) if member.id in ports else member for member in members]
    return changed, ports


def hosts(cluster, of):
    """Where the brokers are, as one of them tells clients."""
    return {it["broker_id"]: it["host"] for it in cluster.ask("DescribeCluster", 1, {"endpoint_type": 1}, of)["brokers"]}


def test_a_broker_that_is_found_elsewhere_serves_on(tmp_path, kind, files, report):
    members, ports = with_admin(CLUSTERS[kind](), files)
    cluster = Cluster(tmp_path, members, elr=ELR).start()
    moved = next((id for id in reversed(cluster.brokers) if id in ports), None)
    if moved is None:
        pytest.skip("no broker is ours")
    others = [id for id in cluster.brokers if id != moved]
    admin, port = Admin(ports[moved], files), cluster.nodes[moved].port
    cluster.create("t", [[moved, *others]])
    cluster.until_whole("t")
    before, registered = cluster.describe("t", others[0]), admin.registration()
    assert before[0].leader == moved

    for host in ("localhost", "127.0.0.1"):
        began = time.monotonic()
        assert admin.ask("PUT", "/v1/addresses", {"PLAINTEXT": {"host": host, "port": port}}) == (202, b"")
        for other in others:
            cluster.until(
                f"broker {other} tells of {host}", lambda other=other, host=host: hosts(cluster, other)[moved] == host, SECONDS
            )
        report(f"{kind}: all brokers tell clients of it after {(time.monotonic() - began) * 1000:.0f} ms")
        assert admin.ask("GET", "/v1/addresses")[1] == {"PLAINTEXT": {"host": host, "port": port}}

    # Its followers found it at its new address meanwhile, too.
    time.sleep(3)
    assert admin.registration() == registered, "the same epoch, not fenced"
    assert cluster.describe("t", others[0]) == before, "it leads on, under the same epoch, and all are in sync"
    status, reason = admin.ask("PUT", "/v1/addresses", {"NOWHERE": {"host": "a", "port": 1}})
    assert (status, b"no listener of this broker" in reason) == (400, True), reason
