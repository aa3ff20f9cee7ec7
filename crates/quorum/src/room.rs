//! Room on a full disk for what a node must not fail to write: votes, and the first record of an epoch.

use std::fmt;
use std::sync::Arc;

/// What the owner of a [`Quorum`](crate::Quorum) can let go of when its disk is full; nothing by default.
#[derive(Clone, Default)]
pub struct LastRoom(Option<Arc<dyn Fn() + Send + Sync>>);

impl LastRoom {
    /// `let_go` is called on the quorum's own thread, and may wait for the disk.
    pub fn new(let_go: impl Fn() + Send + Sync + 'static) -> Self {
        Self(Some(Arc::new(let_go)))
    }

    /// Does `write`, and once more where only room was lacking and some may have been made.
    pub(crate) fn try_twice<T, E>(
        &self,
        is_no_space: impl Fn(&E) -> bool,
        mut write: impl FnMut() -> Result<T, E>,
    ) -> Result<T, E> {
        match (write(), &self.0) {
            (Err(error), Some(let_go)) if is_no_space(&error) => {
                let_go();
                write()
            }
            (done, _) => done,
        }
    }
}

impl fmt::Debug for LastRoom {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("LastRoom").field(&self.0.is_some()).finish()
    }
}
