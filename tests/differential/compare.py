"""Two brokers' answers, field by field, after what must differ has become the same.

Placeholders stand for ids that a broker makes, by the order in which they appear, for its port, for its directory and
for times near now. Texts for people count as present or absent. The order of lists whose elements have a key does not
count: Kafka's own comes from hash maps.
"""

import json
import re
import time
from dataclasses import dataclass
from typing import Any

import batches
import codec
from brokers import UNKNOWN_ID, UUID, Step
from nodes import Node

TEXTS = {"error_message", "batch_index_error_message", "documentation"}
IDS = {"topic_id", "replica_directory_id", "voter_directory_id"}
SESSIONS = {"session_id"}
DAY_MS = 24 * 3600 * 1000
# Fields that name an element of a list where the schema has no key, most telling first.
NAMING = ("name", "topic", "topic_id", "topic_name", "resource_name", "group_id", "group", "partition_index", "partition",
          "member_id", "key", "broker_id", "node_id", "api_key", "index", "feature", "entity", "entity_type")  # fmt: skip


@dataclass
class Difference:
    api: str
    version: int
    label: str
    path: str
    apache: Any
    ottla: Any


class Normal:
    """Makes one broker's answers comparable."""

    def __init__(self, node: Node):
        self.ports = {node.port: "<port>", node.controller_port: "<controller's port>"}
        self.directory = str(node.data)
        self.ids: dict[tuple[str, Any], str] = {}

    def of(self, value: Any, name: str = "") -> Any:
        if isinstance(value, dict):
            self._learn(value)
            return {key: self.of(inner, key) for key, inner in value.items()}
        if isinstance(value, list):
            return ordered([self.of(inner, name) for inner in value])
        if isinstance(value, str):
            return self._text(value, name)
        if isinstance(value, bytes) and name == "records":
            return self.of(batches.parse(value), "batches")
        if isinstance(value, bytes):
            return value.hex()
        if isinstance(value, int) and not isinstance(value, bool):
            return self._number(value, name)
        return value

    def _learn(self, value: dict) -> None:
        """A topic's id is called after the topic."""
        name, made = value.get("name"), value.get("topic_id", codec.NO_ID)
        if name and made != codec.NO_ID:
            self.ids.setdefault(("id", made), f"<id of {name}>")

    def _text(self, value: str, name: str) -> str:
        if name in TEXTS:
            return "<text>" if value else value
        if name in IDS and value not in (codec.NO_ID, UNKNOWN_ID):
            return self._placeholder("id", value)
        value = UUID.sub(lambda match: self._placeholder("uuid", match[0]), value)
        for port, name in self.ports.items():
            value = value.replace(str(port), name)
        return value.replace(self.directory, "<directory>")

    def _number(self, value: int, name: str) -> Any:
        if value in self.ports:
            return self.ports[value]
        if name in SESSIONS and value:
            return "<session>"
        if name == "throttle_time_ms" and value > 0:
            return "<pause>"
        if name == "producer_id" and value >= 0:
            return self._placeholder("producer", value)
        now = time.time() * 1000
        return "<now>" if abs(value - now) < DAY_MS else value

    def _placeholder(self, kind: str, value: Any) -> str:
        return self.ids.setdefault((kind, value), f"<{kind} {sum(known == kind for known, _ in self.ids)}>")


def ordered(items: list) -> list:
    """By key, if the elements have one."""
    if not items or not isinstance(items[0], dict):
        return items
    names = [name for name in NAMING if name in items[0]]
    return sorted(items, key=lambda item: json.dumps([item.get(name) for name in names], default=str)) if names else items


def compare(apache: list[Step], ottla: list[Step], normals: tuple[Normal, Normal]) -> list[Difference]:
    found = []
    for one, two in zip(apache, ottla):
        if (one.api, one.version, one.label) != (two.api, two.version, two.label):
            raise AssertionError(f"the scenario went another way: {one} against {two}")
        differ(normals[0].of(one.outcome), normals[1].of(two.outcome), "", one, found)
    if len(apache) != len(ottla):
        raise AssertionError(f"{len(apache)} steps against Apache, {len(ottla)} against ours")
    return found


def differ(apache: Any, ottla: Any, path: str, step: Step, found: list[Difference]) -> None:
    if isinstance(apache, dict) and isinstance(ottla, dict):
        if apache.get("error_code") != ottla.get("error_code"):
            # What else differs follows from it.
            apache, ottla = ({"error_code": side.get("error_code", "<absent>")} for side in (apache, ottla))
        for key in dict.fromkeys([*apache, *ottla]):
            differ(apache.get(key, "<absent>"), ottla.get(key, "<absent>"), f"{path}.{key}" if path else key, step, found)
    elif isinstance(apache, list) and isinstance(ottla, list) and (elements := aligned(apache, ottla)):
        for index, (one, two) in elements:
            differ(one, two, f"{path}[{index}]", step, found)
    elif apache != ottla:
        found.append(Difference(step.api, step.version, step.label, path, shortened(apache), shortened(ottla)))


def aligned(apache: list, ottla: list) -> list[tuple[Any, tuple[Any, Any]]]:
    """Elements of the same key side by side, so that one too many does not make all the others differ."""
    name = next((name for name in NAMING if all(isinstance(i, dict) and name in i for i in apache + ottla)), None)
    if name is None or len({str(i[name]) for i in apache}) != len(apache) or len({str(i[name]) for i in ottla}) != len(ottla):
        count = max(len(apache), len(ottla))
        filled = [items + ["<absent>"] * (count - len(items)) for items in (apache, ottla)]
        return list(enumerate(zip(*filled)))
    ones, twos = ({str(i[name]): i for i in items} for items in (apache, ottla))
    return [(key, (ones.get(key, "<absent>"), twos.get(key, "<absent>"))) for key in dict.fromkeys([*ones, *twos])]


def told(differences: list[Difference]) -> list[str]:
    """A line for each, those of several versions in one."""
    lines: dict[tuple, list[Difference]] = {}
    for one in differences:
        lines.setdefault((one.api, one.label, re.sub(r"<id of \S+>", "<id>", one.path)), []).append(one)
    return [
        f"{api} v{','.join(str(v) for v in dict.fromkeys(one.version for one in same))} | {label} | {same[0].path}"
        f" | Apache {same[0].apache} | ours {same[0].ottla}"
        for (api, label, _), same in lines.items()
    ]


def shortened(value: Any) -> Any:
    text = str(value)
    return value if len(text) <= 120 else f"{text[:120]}… ({len(text)})"
