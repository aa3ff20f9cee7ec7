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
    # Whether it is to be cured.
    fault: bool = False
    seen: int = field(default=0, compare=False)

    def matches(self, difference: Difference) -> bool:
        patterns = ((self.api, difference.api), (self.path, difference.path))
        whole = all(re.fullmatch(pattern, text) for pattern, text in patterns)
        return whole and re.search(self.label, difference.label) is not None


TABLE = [
    Allowed("ApiVersions", r"api_keys\[\d+\]", "APIs that we do not serve yet are not advertised"),
    Allowed("ApiVersions", r"supported_features\[[a-z.]+\]", "features that we do not serve yet are not advertised"),
    Allowed("ApiVersions", "finalized_features_epoch", "an offset of the metadata log, which is written in another rhythm"),
    Allowed(
        "DescribeQuorum",
        r".*\.(leader_epoch|high_watermark|log_end_offset)",
        "epoch and offsets of the metadata log, which is written in another rhythm",
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
