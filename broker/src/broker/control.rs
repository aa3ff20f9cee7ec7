//! The runtime of what must not wait behind clients: the quorum's connections, the controller's listeners, heartbeats.

use std::io;

use tokio::runtime::{Builder, Handle, Runtime};

/// One thread; it ends with this value, and with it whatever runs there.
#[derive(Debug)]
pub(super) struct Control {
    /// Taken out only by `drop`.
    runtime: Option<Runtime>,
    handle: Handle,
}

impl Control {
    /// Stack of the thread, in bytes.
    const STACK: usize = 512 * 1024;
    /// Threads that wait for the name server: a slow one does not keep heartbeats from other addresses. They go when idle.
    const RESOLVING: usize = 32;

    pub(super) fn new() -> io::Result<Self> {
        let runtime = Builder::new_multi_thread()
            .worker_threads(1)
            .max_blocking_threads(Self::RESOLVING)
            .thread_name("control")
            .thread_stack_size(Self::STACK)
            .enable_all()
            .build()?;
        let handle = runtime.handle().clone();
        Ok(Self { runtime: Some(runtime), handle })
    }

    pub(super) fn handle(&self) -> Handle {
        self.handle.clone()
    }
}

impl Drop for Control {
    fn drop(&mut self) {
        // Whoever drops it may be a task, which must not wait.
        if let Some(runtime) = self.runtime.take() {
            runtime.shutdown_background();
        }
    }
}
