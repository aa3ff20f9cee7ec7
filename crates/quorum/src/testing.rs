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
