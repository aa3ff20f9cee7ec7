"""A node's whole directory changes hands: ours, then Apache Kafka as the same node, then ours again."""

import dumps
import nodes
import state
from nodes import first_node


def test_apache_starts_our_directory_as_the_same_node_and_gives_it_back(tmp_path):
    ours = first_node(tmp_path / "node")
    ours.start()
    state.populate(ours.bootstrap)
    before = state.observe(ours.bootstrap)
    assert before["plain"]["committed"] == {0: 11, 1: 22, 2: 33}
    assert ours.stop() in (0, 143)
    dumps.assert_clean(ours.data)

    apache = nodes.Apache.over(ours).start()
    state.assert_same(before, state.observe(apache.bootstrap))
    state.add_more(apache.bootstrap, "apache")
    with_more = state.observe(apache.bootstrap)
    apache.stop()
    assert_quiet(apache)

    again = type(ours).over(ours).start()
    state.assert_same(with_more, state.observe(again.bootstrap))
    state.add_more(again.bootstrap, "ours")
    assert len(state.observe(again.bootstrap)["made-by-ours"]["partitions"]) == 2
    assert again.stop() in (0, 143)


def test_a_killed_nodes_directory_is_recovered_by_apache(tmp_path):
    ours = first_node(tmp_path / "node")
    ours.start()
    state.populate(ours.bootstrap)
    before = state.observe(ours.bootstrap)
    ours.kill()
    apache = nodes.Apache.over(ours).start()
    state.assert_same(before, state.observe(apache.bootstrap))
    apache.stop()


def assert_quiet(apache: nodes.Apache) -> None:
    """Apache found nothing to repair."""
    wrong = [line for line in apache.log.read_text().splitlines() if " ERROR " in line or "orrupt" in line or "unclean" in line]
    wrong = [line for line in wrong if "Expected partition" not in line]
    assert not wrong, "\n".join(wrong[:10])
