//! Which worlds are tried: by environment variables, so that a failure can be replayed.

use std::time::{SystemTime, UNIX_EPOCH};

/// A number from an environment variable.
#[must_use]
pub fn asked(name: &str) -> Option<u64> {
    std::env::var(name).ok().and_then(|value| value.parse().ok())
}

/// The seed of `<prefix>_SEED` alone, else `<prefix>_SEEDS` many, `usual` if that is not set, from `first` on.
#[must_use]
pub fn from_environment(prefix: &str, first: u64, usual: u64) -> Vec<u64> {
    match asked(&format!("{prefix}_SEED")) {
        Some(seed) => vec![seed],
        None => {
            let many = asked(&format!("{prefix}_SEEDS")).unwrap_or(usual);
            (first..first.saturating_add(many)).collect()
        }
    }
}

/// A first seed that nobody has tried: `OTTLA_FRESH_SEED`, which is the commit's in CI so that a failure comes again, else by the time.
#[must_use]
pub fn fresh() -> u64 {
    let by_time = || {
        let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
        u64::try_from(since.as_micros()).unwrap_or_default()
    };
    asked("OTTLA_FRESH_SEED").unwrap_or_else(by_time)
}

/// Tells the seed of a panic.
#[derive(Debug)]
pub struct Told(pub &'static str, pub u64);

impl Drop for Told {
    fn drop(&mut self) {
        if std::thread::panicking() {
            eprintln!("{}={}", self.0, self.1);
        }
    }
}
