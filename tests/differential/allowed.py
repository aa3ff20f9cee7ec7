"""The differences that are allowed, each with its reason, and the faults of ours that are known and not yet cured.

A row allows a difference where all of its patterns match: API, label of the step, path of the field. A row that
nothing needs any more fails the run.
"""

import re
from dataclasses import dataclass, field

from compare import Difference


@dataclass
class Allowed:
    api: str
    path: str
    reason: str
    label: str = ""
    # The values; by default any.
    apache: str = ".*"
    ottla: str = ".*"
    # Whether it is to be cured.
    fault: bool = False
    seen: int = field(default=0, compare=False)

    def matches(self, difference: Difference) -> bool:
        patterns = (
            (self.api, difference.api),
            (self.path, difference.path),
            (self.apache, str(difference.apache)),
            (self.ottla, str(difference.ottla)),
        )
        whole = all(re.fullmatch(pattern, text, re.DOTALL) for pattern, text in patterns)
        return whole and re.search(self.label, difference.label) is not None


TABLE = [
    # Of every API.
    Allowed(
        ".*",
        r"(.*\.)?error_code",
        "an exception that escaped in Apache Kafka; we name the error",
        apache="-1",
        ottla=r"[1-9]\d*",
    ),
    Allowed(".*", r".*error_message", "a reason where Apache Kafka gives none", apache="(None)?", ottla="<text>"),
    Allowed(
        ".*",
        "",
        "text that is not UTF-8 ends the connection; Apache Kafka puts other characters in its place",
        label=r"\\xff\\xfe|not UTF-8",
        ottla="closed",
    ),
    # What we do not serve yet.
    Allowed("ApiVersions", r"api_keys\[\d+\]", "APIs that we do not serve yet are not advertised"),
    Allowed("ApiVersions", r"supported_features\[[a-z.]+\]", "features that we do not serve yet are not advertised"),
    Allowed("FindCoordinator", r"coordinators.*\.error_code", "there are no share groups yet", label="kind 2", ottla="42"),
    Allowed(
        "FindCoordinator",
        r"coordinators.*\.error_code",
        "there are no transactions yet; InitProducerId says so",
        label="key_type=1",
        ottla="0",
    ),
    Allowed("InitProducerId", "error_code", "there are no transactions yet", label="transactional_id=", ottla="53"),
    Allowed(
        "(Describe|Alter|IncrementalAlter)Configs",
        r".*\.error_code",
        "what could be configured of groups and of clients' metrics is not served yet, so that there is nothing to configure",
        label="kind (16|32)",
        ottla="42",
    ),
    Allowed(
        "(GetTelemetrySubscriptions|PushTelemetry)",
        "",
        "clients' metrics are neither advertised nor served; Apache Kafka answers who asks all the same, and wants none",
        label="^unasked$",
        ottla="closed",
    ),
    Allowed(
        "DescribeConfigs",
        r".*\[(listeners|listener.security.protocol.map)\].read_only",
        "listeners do not change while the broker runs: they are registered, and bound, when it starts",
        ottla="True",
    ),
    # By design.
    Allowed(
        "Metadata",
        r"topics\[.*\]\.error_code",
        "a topic that is made on its first use is there when the client is answered; Apache Kafka lets it ask again",
        label="^(first|twice|the internal one|one there, one wrong, one new|named 'x+')$",
        apache="3",
        ottla="0",
    ),
    Allowed("Metadata", r"topics\[.*\]\.error_code", "why it is not made", label="^named almost alike$", apache="3", ottla="17"),
    Allowed("AlterClientQuotas", r".*\.error_code", "a limit that is not a number is refused", label="^not a number", ottla="42"),
    Allowed("DescribeClientQuotas", r".*\.value", "a limit that is not a number is refused", apache="nan"),
    Allowed(
        "DescribeTopicPartitions",
        "next_cursor",
        "the first partition and the limit overflow in Apache Kafka",
        label="cursor.partition_index=2147483647",
    ),
    Allowed("ApiVersions", "finalized_features_epoch", "an offset of the metadata log, which is written in another rhythm"),
    Allowed(
        "DescribeQuorum",
        r".*\.(leader_epoch|high_watermark|log_end_offset)",
        "epoch and offsets of the metadata log, which is written in another rhythm",
    ),
    Allowed(
        "AlterConfigs", "", "Apache Kafka never answers a resource that comes twice", label=r"^resources=\[", apache="unanswered"
    ),
    Allowed("Produce", "", "Apache Kafka never answers null records", label="null records|records=None", apache="unanswered"),
    Allowed(
        "Produce",
        r".*\.error_code",
        "compressed records whose offsets have gaps are written anew; Apache Kafka fails",
        label="gzip, record's delta 1",
        apache="-1",
        ottla="0",
    ),
    Allowed("Produce", r".*\.error_code", "bytes behind what is compressed are refused", label="^gzip more behind$", ottla="2"),
    Allowed(
        "Fetch",
        r".*\.records.*",
        "Apache Kafka cuts the last batch where the limit falls; we end with a whole one",
        label="bytes",
    ),
    Allowed(
        "Fetch",
        r".*\.records\[0\]\.(crc|body)",
        "records whose offsets have gaps are numbered anew; Apache Kafka writes them as they are",
        label="what gaps-kept holds",
    ),
    Allowed(
        "ListGroups",
        r"groups\[\ufffd+\]",
        "the group that Apache Kafka made of a name that is not UTF-8",
        ottla="<absent>",
    ),
    Allowed("DescribeLogDirs", r".*\.(partition_size|usable_bytes)", "what the disk has left, and batches of another size"),
    Allowed(
        "CreateTopics",
        r".*\[cleanup.policy\].value",
        "what a list has twice is shown once",
        label="config policy twice",
    ),
    Allowed("Fetch", "error_code", "a session that its cache has no place for", label="session_id=", apache="-1", ottla="0"),
    Allowed("DescribeConfigs", r".*\[ottla\..*", "our own keys, unknown to Apache Kafka"),
    Allowed(
        "DescribeConfigs",
        r".*\.configs(\[.*)?",
        "loggers are called after modules; only the root is the same",
        label="^kind 8 '1'$",
    ),
    Allowed(
        "IncrementalAlterConfigs", r".*\.error_code", "unknown keys are refused by name", label="unknown of broker", ottla="42"
    ),
]


def unexplained(differences: list[Difference]) -> list[Difference]:
    left = []
    for difference in differences:
        row = next((row for row in TABLE if row.matches(difference)), None)
        if row:
            row.seen += 1
        else:
            left.append(difference)
    return left
