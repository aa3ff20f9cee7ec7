//! The log cleaner: threads that compact the dirtiest log, one after the other, within a budget of memory and I/O.
//!
//! A log that turns out to be damaged is left alone and counted as uncleanable; the others go on. The rules of cleaning
//! itself are [`ottla_log::cleaner`]'s.

mod figures;
mod pace;
mod run;
#[cfg(test)]
mod tests;

use std::collections::HashSet;
use std::io;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::JoinHandle;
use std::time::Duration;

use ottla_log::cleaner::{Buffers, TokenBucket};
use parking_lot::{Condvar, Mutex};
use tracing::{info, warn};

use crate::clock;
use crate::config::Cleaner as Settings;
use crate::partition::{Partitions, TopicPartition};

use figures::LastRun;
pub use figures::{Figure, Uncleanable};

/// What all cleaner threads share.
#[derive(Debug)]
pub struct LogCleaner {
    partitions: Arc<Partitions>,
    settings: Mutex<Settings>,
    /// Wakes up threads that rest or wait for their share of I/O.
    changed: Condvar,
    in_progress: Mutex<HashSet<TopicPartition>>,
    bucket: Mutex<TokenBucket>,
    stopping: AtomicBool,
    threads: Mutex<Vec<JoinHandle<()>>>,
    last_runs: Mutex<Vec<LastRun>>,
    last_look: Mutex<figures::LastLook>,
}

impl LogCleaner {
    /// A cleaner that does nothing yet.
    pub fn new(partitions: Arc<Partitions>, settings: Settings) -> Arc<Self> {
        let now = clock::now();
        Arc::new(Self {
            partitions,
            bucket: Mutex::new(TokenBucket::new(settings.max_bytes_per_second, now.0)),
            settings: Mutex::new(settings),
            changed: Condvar::new(),
            in_progress: Mutex::default(),
            stopping: AtomicBool::new(false),
            threads: Mutex::default(),
            last_runs: Mutex::default(),
            last_look: Mutex::new(figures::LastLook::new(now)),
        })
    }

    /// Starts its threads, unless `log.cleaner.enable` is false.
    ///
    /// # Errors
    /// The system gives no more threads.
    pub fn start(self: &Arc<Self>) -> io::Result<()> {
        let settings = self.settings.lock().clone();
        if !settings.enable || self.stopping.load(Ordering::Acquire) {
            return Ok(());
        }
        let mut threads = self.threads.lock();
        for index in threads.len()..settings.threads {
            let cleaner = Arc::clone(self);
            let named = std::thread::Builder::new().name(format!("log-cleaner-{index}"));
            threads.push(named.spawn(move || cleaner.serve(index))?);
        }
        Ok(())
    }

    /// Puts other settings in force: what is being cleaned goes on with the old memory and the new rate.
    pub fn configure(self: &Arc<Self>, settings: Settings) {
        if *self.settings.lock() == settings {
            return;
        }
        info!(?settings, "log cleaner reconfigured");
        if self.bucket.lock().rate().total_cmp(&settings.max_bytes_per_second).is_ne() {
            *self.bucket.lock() = TokenBucket::new(settings.max_bytes_per_second, clock::now().0);
        }
        let fewer = settings.threads;
        *self.settings.lock() = settings;
        self.changed.notify_all();
        let surplus: Vec<_> = {
            let mut threads = self.threads.lock();
            let from = fewer.min(threads.len());
            threads.drain(from..).collect()
        };
        join(surplus);
        if let Err(error) = self.start() {
            warn!(%error, "cannot start a thread of the log cleaner");
        }
    }

    /// Ends all threads; what was being cleaned is left as it was. Waits for them: not on a task of the runtime.
    pub fn stop(&self) {
        self.stopping.store(true, Ordering::Release);
        // With the lock, so that no thread is between its look at the flag and its rest.
        drop(self.settings.lock());
        self.changed.notify_all();
        let threads = std::mem::take(&mut *self.threads.lock());
        join(threads);
    }

    /// Threads that run.
    pub fn thread_count(&self) -> usize {
        self.threads.lock().iter().filter(|thread| !thread.is_finished()).count()
    }

    /// What a thread may use now; `None` if it is to end.
    fn share(&self, index: usize) -> Option<(Buffers, Duration)> {
        let settings = self.settings.lock();
        if self.stopping.load(Ordering::Acquire) || index >= settings.threads {
            return None;
        }
        let buffers = Buffers {
            dedupe_bytes: settings.dedupe_bytes / settings.threads,
            load_factor: settings.load_factor,
            io_bytes: settings.io_bytes / settings.threads / 2,
        };
        Some((buffers, settings.backoff))
    }

    /// Whether this thread is to end.
    fn is_over(&self, index: usize) -> bool {
        self.share(index).is_none()
    }

    /// Rests, or less long if the settings change or the cleaner stops.
    fn rest(&self, index: usize, time: Duration) {
        let mut settings = self.settings.lock();
        if !self.stopping.load(Ordering::Acquire) && index < settings.threads {
            let _ = self.changed.wait_for(&mut settings, time);
        }
    }
}

fn join(threads: Vec<JoinHandle<()>>) {
    for thread in threads {
        if thread.join().is_err() {
            warn!("a thread of the log cleaner panicked");
        }
    }
}
