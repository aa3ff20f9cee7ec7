//! How many files the process may have open, and how many of those its logs get.

use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};
use tracing::warn;

/// Raises the soft limit of descriptors to the hard one, as the JVM does for Kafka, and returns how many log files may stay
/// open at once: three of four; the rest is for connections, and for files that are open while something is done.
pub fn log_files() -> usize {
    let mut limit = getrlimit(Resource::Nofile);
    let raised = Rlimit { current: limit.maximum, ..limit };
    if limit != raised {
        match setrlimit(Resource::Nofile, raised) {
            Ok(()) => limit = raised,
            Err(error) => warn!(%error, "the limit of open files stays as it is"),
        }
    }
    share(limit.current)
}

fn share(limit: Option<u64>) -> usize {
    let limit = limit.and_then(|limit| usize::try_from(limit).ok()).unwrap_or(usize::MAX);
    (limit / 4).saturating_mul(3)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn logs_leave_a_quarter_to_others() {
        assert_eq!((share(Some(20_000)), share(Some(1024)), share(Some(0))), (15_000, 768, 0));
        assert!(share(None) > 1 << 30);
        assert!(log_files() > 0);
    }
}
