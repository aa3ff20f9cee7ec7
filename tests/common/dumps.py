"""Apache's DumpLogSegments over a stopped node's directory: nothing in it may look wrong."""

import re
from pathlib import Path

import apache

COMPLAINTS = re.compile(
    r"isvalid: false|[Mm]ismatch|[Cc]orrupt|Found timestamp|out of order|not follow|bytes are invalid|Exception|Non-consecutive"
)


def assert_clean(data: Path) -> None:
    """Segments, indexes and snapshots of every partition, the metadata log included."""
    segments = sorted(data.glob("*/*.log"))
    assert any("__cluster_metadata-0" in str(path) for path in segments), segments
    user = [path for path in segments if "__" not in path.parent.name and not path.parent.name.endswith("-delete")]
    indexes = [
        path.with_suffix(suffix) for path in user for suffix in (".index", ".timeindex") if path.with_suffix(suffix).exists()
    ]
    check("data", "--deep-iteration", "--files", joined(user + indexes + sorted(data.glob("[a-z]*-[0-9]/*.snapshot"))))
    offsets = [path for path in segments if "__consumer_offsets" in str(path) and path.stat().st_size > 0]
    if offsets:
        check("offsets", "--deep-iteration", "--offsets-decoder", "--files", joined(offsets))
    metadata = [path for path in segments if "__cluster_metadata-0" in str(path)]
    metadata += sorted(data.glob("__cluster_metadata-0/*.checkpoint"))
    check(
        "metadata",
        "--deep-iteration",
        "--cluster-metadata-decoder",
        "--skip-record-metadata",
        "--files",
        joined(metadata),
    )


def joined(paths: list[Path]) -> str:
    return ",".join(map(str, paths))


def check(what: str, *arguments: str) -> None:
    dump = apache.tool("org.apache.kafka.tools.DumpLogSegments", *arguments)
    wrong = [line for line in dump.splitlines() if COMPLAINTS.search(line)]
    assert not wrong, f"{what}:\n" + "\n".join(wrong[:20])
    assert "baseOffset" in dump or "Snapshot" in dump or "|" in dump, f"{what}: nothing in it:\n{dump[:2000]}"
