"""The same requests to Apache Kafka and to our broker: every scenario gives the same answers."""

import allowed
import pytest
import scenarios
from compare import told

SHOWN = 200


@pytest.mark.parametrize("scenario", [pytest.param(found, id=name) for name, found in scenarios.all_of_them().items()])
def test_same_answers(pair, scenario):
    judge(pair, scenario)


MAKING = scenarios.all_of_them(("on_use",))


@pytest.mark.parametrize("scenario", [pytest.param(found, id=name) for name, found in MAKING.items()])
def test_same_answers_where_topics_are_made_on_use(making_topics, scenario):
    judge(making_topics, scenario)


def judge(pair, scenario):
    left = told(pair.run(scenario))
    if left:
        more = [f"and {len(left) - SHOWN} more"] if len(left) > SHOWN else []
        pytest.fail("\n".join([f"{len(left)} differences", *left[:SHOWN], *more]), pytrace=False)


def test_every_version_that_we_serve_was_asked(pair):
    missing = [
        f"{api} v{version}" for api, versions in pair.served.items() for version in versions if (api, version) not in pair.asked
    ]
    assert not missing


def test_every_allowed_difference_occurs():
    unused = [f"{row.api} {row.label} {row.path}: {row.reason}" for row in allowed.TABLE if not row.seen]
    assert not unused
