"""Apache's kafka-metadata-quorum and cluster tools see a quorum of one."""

import re

import apache


def test_status_and_replication(bootstrap):
    def quorum(what):
        arguments = ["--bootstrap-server", bootstrap, "describe", what]
        return apache.tool("org.apache.kafka.tools.MetadataQuorumCommand", *arguments)

    status = quorum("--status")
    assert re.search(r"LeaderId:\s+1\b", status) and re.search(r"MaxFollowerLag:\s+0\b", status), status
    assert re.search(r'CurrentVoters:\s+\[\{"id": 1, "directoryId": "[A-Za-z0-9_-]{22}"', status), status
    (leader,) = [line.split() for line in quorum("--replication").splitlines() if "Leader" in line.split()]
    assert leader[0] == "1" and int(leader[2]) > 0 and leader[3] == "0", leader
