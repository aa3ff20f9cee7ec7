//! Switches by which the simulation proves that it would notice a broken rule.

/// A rule that can be broken, in tests only.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Rule {
    /// A vote is on disk before it counts.
    RememberVotes,
    /// What counts is flushed.
    CountFlushed,
    /// A follower truncates what the leader has not.
    Truncate,
    /// What a majority has is committed, not what the leader alone has.
    AskMajority,
    /// An epoch is led by at most one node: a leader begins a new one.
    NewEpoch,
}

#[cfg(any(test, feature = "testing"))]
thread_local! {
    static BROKEN: std::cell::Cell<Option<Rule>> = const { std::cell::Cell::new(None) };
}

/// Whether the rule is kept. Always, outside of tests.
#[cfg_attr(not(any(test, feature = "testing")), expect(unused_variables, reason = "no rule is ever broken"))]
pub(crate) fn keeps(rule: Rule) -> bool {
    #[cfg(any(test, feature = "testing"))]
    {
        BROKEN.get() != Some(rule)
    }
    #[cfg(not(any(test, feature = "testing")))]
    {
        true
    }
}

/// Runs `f` with the rule broken on this thread.
#[cfg(any(test, feature = "testing"))]
pub fn breaking<T>(rule: Rule, f: impl FnOnce() -> T) -> T {
    struct Restore;
    impl Drop for Restore {
        fn drop(&mut self) {
            BROKEN.set(None);
        }
    }
    BROKEN.set(Some(rule));
    let _restore = Restore;
    f()
}

/// What an administrator asks for next so that the replica votes, which is reached at `endpoint`: another directory of its node
/// goes, then it comes. `None` where it votes.
#[cfg(any(test, feature = "testing"))]
#[must_use]
pub fn next_change_of_voters(
    voters: &[crate::Voter],
    replica: crate::ReplicaKey,
    endpoint: crate::voters::VoterEndpoint,
) -> Option<crate::QuorumRequest> {
    use ottla_wire::messages::{
        AddRaftVoterRequest, RemoveRaftVoterRequest, add_raft_voter_request::Listener,
    };
    let Some(old) = voters.iter().find(|voter| voter.id == replica.id) else {
        let (name, host, port) = (endpoint.name, endpoint.host, endpoint.port);
        return Some(crate::QuorumRequest::AddRaftVoter(AddRaftVoterRequest {
            cluster_id: None,
            timeout_ms: 1000,
            voter_id: replica.id,
            voter_directory_id: replica.directory_id,
            listeners: vec![Listener { name, host, port, ..Default::default() }],
            ack_when_committed: true,
            ..Default::default()
        }));
    };
    (old.directory_id != replica.directory_id).then(|| {
        crate::QuorumRequest::RemoveRaftVoter(RemoveRaftVoterRequest {
            cluster_id: None,
            voter_id: old.id,
            voter_directory_id: old.directory_id,
            ..Default::default()
        })
    })
}
