//! Rules of moves that the simulation breaks, to prove that it would notice.

/// A rule that can be broken, in tests only.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Rule {
    /// A copy is cut back where its original was.
    Fit,
    /// Only a copy that has everything takes the original's place.
    CatchUp,
    /// The controller knows of the new place before that.
    TellController,
}

#[cfg(test)]
thread_local! {
    static BROKEN: std::cell::Cell<Option<Rule>> = const { std::cell::Cell::new(None) };
}

/// Whether the rule is kept. Always, outside of tests.
pub(super) fn keeps(rule: Rule) -> bool {
    #[cfg(test)]
    {
        BROKEN.get() != Some(rule)
    }
    #[cfg(not(test))]
    {
        let _ = rule;
        true
    }
}

/// Runs `f` with the rule broken on this thread.
#[cfg(test)]
pub(crate) fn breaking<T>(rule: Rule, f: impl FnOnce() -> T) -> T {
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
