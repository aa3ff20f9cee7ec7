"""kcat: list, produce, consume from an offset, consume in a group."""

import json
import subprocess

import pytest


def kcat(bootstrap, *arguments, stdin=""):
    done = subprocess.run(["kcat", "-b", bootstrap, *arguments], input=stdin, capture_output=True, text=True, timeout=60)
    assert done.returncode == 0, done.stderr
    return done.stdout


@pytest.mark.parametrize("codec", ["none", "gzip", "snappy", "lz4", "zstd"])
def test_every_codec_through_a_group(bootstrap, name, codec):
    lines = [f"{i}-" + "k" * 50 for i in range(200)]
    kcat(bootstrap, "-P", "-t", name, "-z", codec, "-X", "linger.ms=20", stdin="\n".join(lines) + "\n")
    assert kcat(bootstrap, "-C", "-t", name, "-o", "beginning", "-e", "-q").splitlines() == lines
    group = ["-G", f"{name}-group", "-X", "auto.offset.reset=earliest", "-e", "-q", name]
    assert kcat(bootstrap, *group).splitlines() == lines
    assert kcat(bootstrap, *group) == "", "committed records came again"


def test_metadata_and_offsets(bootstrap, name):
    kcat(bootstrap, "-P", "-t", name, stdin="one\ntwo\nthree\n")
    listed = json.loads(kcat(bootstrap, "-L", "-J"))
    assert [broker["name"] for broker in listed["brokers"]] == [bootstrap]
    (topic,) = [topic for topic in listed["topics"] if topic["topic"] == name]
    assert topic["partitions"][0]["isrs"] == [{"id": 1}]
    assert f"{name} [0] offset 3" in kcat(bootstrap, "-Q", "-t", f"{name}:0:-1")
    assert kcat(bootstrap, "-C", "-t", name, "-o", "1", "-e", "-q") == "two\nthree\n"
