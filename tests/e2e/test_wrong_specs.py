"""Every row of tests/wrong-specs.json with a real API server and operator: refused at admission in these words, or told in a condition."""

import copy
import json

import kube
import pytest

TABLE = json.loads((kube.ROOT / "tests/wrong-specs.json").read_text())
REFUSED = [row for row in TABLE["rows"] if "refused" in row]
TOLD = [row for row in TABLE["rows"] if "refused" not in row]


def changed(row):
    """The object of a row."""
    found = copy.deepcopy(TABLE[row.get("kind", "base")])
    found["metadata"]["namespace"] = kube.NAMESPACE
    for pointer, value in row["set"].items():
        *path, last = pointer.strip("/").split("/")
        parent = found
        for step in path:
            parent = parent[int(step) if isinstance(parent, list) else step]
        if isinstance(parent, dict):
            parent.pop(last) if value is None else parent.update({last: value})
        elif last == "-":
            parent.append(value)
        elif value is None:
            del parent[int(last)]
        else:
            parent[int(last)] = value
    return found


@pytest.fixture(scope="module")
def before():
    """What the changes would be changes of."""
    found = [changed({"set": {}}), changed({"kind": "topic", "set": {}})]
    kube.KEPT.add("wrong")
    kube.apply(*found)
    yield
    kube.KEPT.discard("wrong")


@pytest.mark.parametrize("row", REFUSED, ids=[row["name"] for row in REFUSED])
def test_refused_at_admission(row, request):
    if row.get("change"):
        request.getfixturevalue("before")
        kube.apply(changed({"kind": row.get("kind", "base"), "set": {}}))
    verb = "replace" if row.get("change") else "create"
    found = changed(row)
    if not row.get("change") and "/metadata/name" not in row["set"]:
        found["metadata"]["name"] = "new"
    assert row["refused"] in judged(verb, found)


def judged(verb, found):
    """The API server's word, not the client's; asked again where the operator has just written a status."""
    for _ in range(20):
        try:
            kube.kubectl(verb, "--dry-run=server", "--validate=ignore", "-f", "-", stdin=json.dumps(found))
            return "let in"
        except kube.Refused as refused:
            if "the object has been modified" not in str(refused):
                return str(refused)
    raise AssertionError("the object is never left alone")


def test_let_in_and_told():
    """All at once: nearly none of them makes a pod."""
    objects = {f"told-{index}": row for index, row in enumerate(TOLD)}
    for name, row in objects.items():
        found = changed(row)
        found["metadata"]["name"] = name
        kube.apply(found)
    silent = dict(objects)

    def all_told():
        for name in [name for name, row in silent.items() if is_told(name, row)]:
            del silent[name]
        return not silent

    try:
        kube.until("all told", all_told, 120)
    except AssertionError:
        kinds = {name: "kafkatopic" if row.get("kind") == "topic" else "kafkacluster" for name, row in silent.items()}
        statuses = {row["name"]: (kube.get(kinds[name], name) or {}).get("status") for name, row in silent.items()}
        raise AssertionError(json.dumps(statuses, indent=1)) from None


def is_told(name, row):
    found = kube.get("kafkatopic" if row.get("kind") == "topic" else "kafkacluster", name)
    if "warned" in row:
        return any(row["warned"] in warning for warning in found.get("status", {}).get("warnings", []))
    said = kube.condition(found)
    return said.get("status") == "False" and all(words in said["message"] for words in row["told"])
