//! A switch by which the crash tests prove that they would notice a recovery that does not truncate.

#[cfg(any(test, feature = "testing"))]
thread_local! {
    static TRUNCATES: std::cell::Cell<bool> = const { std::cell::Cell::new(true) };
}

/// Whether recovery cuts off what is damaged. Always, outside of tests.
pub(crate) fn truncates() -> bool {
    #[cfg(any(test, feature = "testing"))]
    {
        TRUNCATES.get()
    }
    #[cfg(not(any(test, feature = "testing")))]
    {
        true
    }
}

/// Runs `f` with truncation switched off on this thread.
#[cfg(any(test, feature = "testing"))]
pub fn without_truncation<T>(f: impl FnOnce() -> T) -> T {
    TRUNCATES.set(false);
    let result = f();
    TRUNCATES.set(true);
    result
}
