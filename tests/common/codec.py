"""Kafka's messages as dictionaries, read and written by the schemas in crates/wire/schemas.

A codec of its own, not the broker's: what that one reads and writes wrongly shows here. It writes what a client never
would: null where it is not allowed, any number, any length. Names are in snake_case; a field that is left out has its
default; fields that a version lacks are passed over.
"""

import base64
import functools
import json
import re
import struct
from dataclasses import dataclass
from pathlib import Path
from typing import Any

SCHEMAS = Path(__file__).parents[2] / "crates/wire/schemas/client"
NUMBERS = {
    "int8": ">b", "int16": ">h", "uint16": ">H", "int32": ">i", "uint32": ">I", "int64": ">q", "float64": ">d", "bool": ">?",
}  # fmt: skip
NO_ID = "AAAAAAAAAAAAAAAAAAAAAA"


class Raw(bytes):
    """Bytes to be written as they are in place of a field."""


@dataclass(frozen=True)
class Range:
    low: int
    high: int

    @classmethod
    def parse(cls, text: str | None) -> "Range":
        if text in (None, "none"):
            return cls(1, 0)
        if text.endswith("+"):
            return cls(int(text[:-1]), 1 << 15)
        low, _, high = text.partition("-")
        return cls(int(low), int(high or low))

    def __contains__(self, version: int) -> bool:
        return self.low <= version <= self.high

    def __iter__(self):
        return iter(range(self.low, self.high + 1))


class Field:
    def __init__(self, spec: dict, structs: dict[str, list["Field"]]):
        self.name = snake(spec["name"])
        self.is_array = spec["type"].startswith("[]")
        self.type = spec["type"].removeprefix("[]")
        self.versions = Range.parse(spec["versions"])
        self.nullable = Range.parse(spec.get("nullableVersions"))
        self.tagged = Range.parse(spec.get("taggedVersions"))
        self.tag = spec.get("tag")
        self.is_key = spec.get("mapKey", False)
        self.never_flexible = spec.get("flexibleVersions") == "none"
        if "fields" in spec:
            structs[self.type] = [Field(inner, structs) for inner in spec["fields"]]
        self.structs = structs
        self.default = self._default(spec.get("default"))

    @property
    def fields(self) -> list["Field"] | None:
        """Those of its struct."""
        return self.structs.get(self.type)

    def _default(self, given: Any) -> Any:
        if given in (None, "") or given == "null":
            if given == "null":
                return None
            return [] if self.is_array else zero(self.type)
        if self.type == "bool":
            return str(given) == "true"
        if self.type == "float64":
            return float(given)
        return int(str(given), 0) if self.type in NUMBERS else given

    def write(self, value: Any, version: int, flexible: bool) -> bytes:
        if isinstance(value, Raw):
            return bytes(value)
        flexible = flexible and not self.never_flexible
        if self.is_array:
            if value is None:
                return uvarint(0) if flexible else struct.pack(">i", -1)
            count = uvarint(len(value) + 1) if flexible else struct.pack(">i", len(value))
            return count + b"".join(self._write_one(item, version, flexible) for item in value)
        return self._write_one(value, version, flexible)

    def _write_one(self, value: Any, version: int, flexible: bool) -> bytes:
        if isinstance(value, Raw):
            return bytes(value)
        if self.fields is not None:
            mark = b"" if self.is_array or version not in self.nullable else struct.pack(">b", -1 if value is None else 1)
            return mark if value is None else mark + write_struct(self.fields, value, version, flexible)
        if self.type in NUMBERS:
            return struct.pack(NUMBERS[self.type], value)
        if self.type == "uuid":
            return base64.urlsafe_b64decode((value or NO_ID) + "==")
        data = value.encode() if isinstance(value, str) else value
        if flexible:
            return uvarint(0) if data is None else uvarint(len(data) + 1) + data
        size = ">h" if self.type == "string" else ">i"
        return struct.pack(size, -1) if data is None else struct.pack(size, len(data)) + data

    def read(self, data: "Reader", version: int, flexible: bool) -> Any:
        flexible = flexible and not self.never_flexible
        if not self.is_array:
            return self._read_one(data, version, flexible)
        count = data.uvarint() - 1 if flexible else data.number(">i")
        return None if count < 0 else [self._read_one(data, version, flexible) for _ in range(count)]

    def _read_one(self, data: "Reader", version: int, flexible: bool) -> Any:
        if self.fields is not None:
            if not self.is_array and version in self.nullable and data.number(">b") < 0:
                return None
            return read_struct(self.fields, data, version, flexible)
        if self.type in NUMBERS:
            return data.number(NUMBERS[self.type])
        if self.type == "uuid":
            return base64.urlsafe_b64encode(data.take(16)).decode().rstrip("=")
        if flexible:
            size = data.uvarint() - 1
        else:
            size = data.number(">h" if self.type == "string" else ">i")
        if size < 0:
            return None
        return data.take(size).decode() if self.type == "string" else data.take(size)


class Reader:
    def __init__(self, data: bytes):
        self.data, self.at = data, 0

    def take(self, size: int) -> bytes:
        if self.at + size > len(self.data):
            raise ValueError(f"{size} bytes wanted at {self.at} of {len(self.data)}")
        self.at += size
        return self.data[self.at - size : self.at]

    def number(self, form: str) -> Any:
        return struct.unpack(form, self.take(struct.calcsize(form)))[0]

    def uvarint(self) -> int:
        value = shift = 0
        while True:
            byte = self.take(1)[0]
            value |= (byte & 0x7F) << shift
            if byte < 0x80:
                return value
            shift += 7

    def rest(self) -> bytes:
        return self.data[self.at :]


class Schema:
    def __init__(self, path: Path):
        spec = json.loads(path.read_text())
        structs: dict[str, list[Field]] = {}
        for common in spec.get("commonStructs", []):
            structs[common["name"]] = []
        for common in spec.get("commonStructs", []):
            structs[common["name"]] += [Field(field, structs) for field in common["fields"]]
        self.fields = [Field(field, structs) for field in spec["fields"]]
        self.key = spec.get("apiKey")
        self.versions = Range.parse(spec["validVersions"])
        self.unstable = spec.get("latestVersionUnstable", False)
        self.flexible = Range.parse(spec.get("flexibleVersions"))

    def write(self, value: dict, version: int) -> bytes:
        return write_struct(self.fields, value, version, version in self.flexible)

    def read(self, data: Reader, version: int) -> dict:
        return read_struct(self.fields, data, version, version in self.flexible)


def write_struct(fields: list[Field], value: dict, version: int, flexible: bool) -> bytes:
    unknown = value.keys() - {field.name for field in fields} - {"unknown_tags"}
    if unknown:
        raise KeyError(f"no such fields: {sorted(unknown)}")
    out, tags = [], dict(value.get("unknown_tags", {}))
    for field in fields:
        if version not in field.versions:
            continue
        mine = value.get(field.name, field.default)
        if flexible and version in field.tagged:
            if mine != field.default:
                tags[field.tag] = field.write(mine, version, flexible)
        else:
            out.append(field.write(mine, version, flexible))
    if flexible:
        out.append(uvarint(len(tags)))
        for tag, data in sorted(tags.items()):
            out.append(uvarint(tag) + uvarint(len(data)) + data)
    return b"".join(out)


def read_struct(fields: list[Field], data: Reader, version: int, flexible: bool) -> dict:
    fields = [field for field in fields if version in field.versions]
    tagged = {field.tag: field for field in fields if flexible and version in field.tagged}
    value = {field.name: field.read(data, version, flexible) for field in fields if field.tag not in tagged}
    if flexible:
        for _ in range(data.uvarint()):
            tag, inner = data.uvarint(), Reader(data.take(data.uvarint()))
            field = tagged.get(tag)
            value[field.name if field else f"tag_{tag}"] = field.read(inner, version, True) if field else inner.data
    return value


def zero(kind: str) -> Any:
    if kind in NUMBERS:
        return {"bool": False, "float64": 0.0}.get(kind, 0)
    return {"string": "", "uuid": NO_ID, "bytes": b"", "records": None}.get(kind, {})


def uvarint(value: int) -> bytes:
    out = bytearray()
    while value >= 0x80:
        out.append(value & 0x7F | 0x80)
        value >>= 7
    return bytes(out + bytes([value]))


def snake(name: str) -> str:
    return re.sub(r"(?<=[a-z0-9])(?=[A-Z])", "_", name).lower()


@functools.cache
def request(api: str) -> Schema:
    return Schema(SCHEMAS / f"{api}Request.json")


@functools.cache
def response(api: str) -> Schema:
    return Schema(SCHEMAS / f"{api}Response.json")


@functools.cache
def api_names() -> dict[int, str]:
    """By key."""
    names = (path.name.removesuffix("Request.json") for path in SCHEMAS.glob("*Request.json"))
    return {request(name).key: name for name in names}


def encode(api: str, version: int, correlation_id: int, body: dict | bytes, client_id: str | None = "differential") -> bytes:
    """A request with its header, without the length."""
    schema = request(api)
    client = struct.pack(">h", -1) if client_id is None else struct.pack(">h", len(client_id)) + client_id.encode()
    tags = b"\0" if version in schema.flexible else b""
    data = bytes(body) if isinstance(body, bytes) else schema.write(body, version)
    return struct.pack(">hhi", schema.key, version, correlation_id) + client + tags + data


def decode(api: str, version: int, correlation_id: int, frame: bytes) -> dict:
    """A response's body. A wrong correlation id and what is left over are told as fields."""
    schema, data = response(api), Reader(frame)
    found = data.number(">i")
    if version in schema.flexible and api != "ApiVersions":
        for _ in range(data.uvarint()):
            data.uvarint(), data.take(data.uvarint())
    value = schema.read(data, version)
    if found != correlation_id:
        value["correlation_id"] = found
    if data.rest():
        value["left_over"] = data.rest()
    return value
