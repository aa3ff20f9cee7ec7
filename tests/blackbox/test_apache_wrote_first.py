"""A directory that Apache Kafka formatted and wrote is started by us, and by Apache again."""

import hashlib

import dumps
import nodes
import pytest
import state
from nodes import CLUSTER_ID, taker_over

# Apache finalises these on its own; we serve none of them yet.
WITHOUT = [
    "transaction.version",
    "group.version",
    "share.version",
    "streams.version",
    "eligible.leader.replicas.version",
]


@pytest.mark.parametrize("kraft_version", [1, 0])
def test_we_start_apaches_directory_as_the_same_node_and_give_it_back(tmp_path, kraft_version):
    apache = nodes.Apache(tmp_path / "node")
    arguments = ["-t", CLUSTER_ID, *(part for feature in WITHOUT for part in ("--feature", f"{feature}=0"))]
    if kraft_version == 1:
        arguments.append("--standalone")
    else:
        apache.properties.pop("controller.quorum.bootstrap.servers")
        apache.properties["controller.quorum.voters"] = f"1@127.0.0.1:{apache.controller_port}"
    apache.format(*arguments)
    apache.start()
    state.populate(apache.bootstrap)
    before = state.observe(apache.bootstrap)
    apache.stop()

    ours = taker_over(apache)
    ours.start()
    state.assert_same(before, state.observe(ours.bootstrap))
    state.add_more(ours.bootstrap, "ours")
    with_more = state.observe(ours.bootstrap)
    assert ours.stop() in (0, 143)
    dumps.assert_clean(ours.data)

    again = nodes.Apache.over(apache).start()
    state.assert_same(with_more, state.observe(again.bootstrap))
    state.add_more(again.bootstrap, "apache")
    again.stop()


@pytest.mark.ours
@pytest.mark.parametrize("started_once", [False, True], ids=["only formatted", "started once"])
def test_features_that_we_lack_are_refused_by_name_before_any_write(tmp_path, started_once):
    apache = nodes.Apache(tmp_path / "node")
    apache.format("-t", CLUSTER_ID, "--standalone")
    if started_once:
        apache.start()
        apache.stop()
    before = fingerprint(apache.data)

    ours = taker_over(apache)
    ours.start(wait=False)
    assert ours.process.wait(20) not in (0, None)
    told = ours.tail()
    assert any(feature in told for feature in WITHOUT) and "level" in told, told
    assert fingerprint(apache.data) == before, "something was written"


def fingerprint(directory) -> dict:
    return {
        str(path.relative_to(directory)): (hashlib.sha256(path.read_bytes()).hexdigest() if path.is_file() else None)
        for path in sorted(directory.rglob("*"))
        if path.name != ".lock"
    }
