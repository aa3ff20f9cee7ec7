//! What processes use, as /proc tells.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::thread::JoinHandle;
use std::time::Duration;

use anyhow::Context as _;

/// How often memory is looked at.
const EVERY: Duration = Duration::from_millis(100);

/// CPU-seconds, user and system, of a process and all its threads since it began.
///
/// # Errors
///
/// Where there is no such process.
pub fn cpu_seconds(pid: u32) -> anyhow::Result<f64> {
    let stat =
        std::fs::read_to_string(format!("/proc/{pid}/stat")).with_context(|| format!("process {pid}"))?;
    ticks_of(&stat).map(seconds).with_context(|| format!("/proc/{pid}/stat: {stat}"))
}

/// CPU-seconds that were not idle, of the whole machine since it began.
///
/// # Errors
///
/// Where there is no /proc.
pub fn machine_seconds() -> anyhow::Result<f64> {
    let stat = std::fs::read_to_string("/proc/stat").context("/proc/stat")?;
    busy_of(&stat).map(seconds).context("/proc/stat: no line for all CPUs")
}

/// Resident memory of a process in bytes, pages of files that it maps included.
///
/// # Errors
///
/// Where there is no such process.
pub fn resident(pid: u32) -> anyhow::Result<u64> {
    let status =
        std::fs::read_to_string(format!("/proc/{pid}/status")).with_context(|| format!("process {pid}"))?;
    let kib = status
        .lines()
        .find_map(|line| line.strip_prefix("VmRSS:")?.trim().strip_suffix(" kB")?.parse::<u64>().ok());
    kib.map(|kib| kib * 1024).with_context(|| format!("/proc/{pid}/status: no VmRSS"))
}

/// Follows the memory of processes, all together, for as long as it is asked to.
pub struct MemoryPeak {
    peak: Arc<AtomicU64>,
    over: Arc<AtomicBool>,
    thread: JoinHandle<()>,
}

impl MemoryPeak {
    /// Begins.
    #[must_use]
    pub fn follow(pids: Vec<u32>) -> Self {
        let (peak, over) = (Arc::new(AtomicU64::new(0)), Arc::new(AtomicBool::new(false)));
        let (noted, ended) = (Arc::clone(&peak), Arc::clone(&over));
        let thread = std::thread::spawn(move || {
            while !ended.load(Ordering::Relaxed) {
                let all = pids.iter().map(|pid| resident(*pid).unwrap_or(0)).sum();
                noted.fetch_max(all, Ordering::Relaxed);
                std::thread::sleep(EVERY);
            }
        });
        Self { peak, over, thread }
    }

    /// The most that was seen, in bytes.
    #[must_use]
    pub fn end(self) -> u64 {
        self.over.store(true, Ordering::Relaxed);
        let _ = self.thread.join();
        self.peak.load(Ordering::Relaxed)
    }
}

/// utime + stime: the 14th and 15th field; the 2nd, the name, may hold anything.
fn ticks_of(stat: &str) -> Option<u64> {
    let mut fields = stat.get(stat.rfind(')')? + 1..)?.split_ascii_whitespace().skip(11);
    Some(fields.next()?.parse::<u64>().ok()? + fields.next()?.parse::<u64>().ok()?)
}

/// user, nice, system, irq, softirq, steal of the line for all CPUs.
fn busy_of(stat: &str) -> Option<u64> {
    let fields: Vec<u64> = stat
        .lines()
        .next()?
        .strip_prefix("cpu ")?
        .split_ascii_whitespace()
        .map_while(|field| field.parse().ok())
        .collect();
    [0, 1, 2, 5, 6, 7].into_iter().map(|field| fields.get(field).copied()).sum()
}

fn seconds(ticks: u64) -> f64 {
    ticks as f64 / rustix::param::clock_ticks_per_second() as f64
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ticks_are_found_behind_any_name() {
        let stat = "77 (a) b) c) S 1 77 77 0 -1 4194560 1 2 3 4 150 25 8 9 20 0 12 0 1";
        assert_eq!(ticks_of(stat), Some(175));
        assert_eq!(ticks_of("77 (a"), None);
    }

    #[test]
    fn idle_and_waiting_are_not_busy() {
        assert_eq!(busy_of("cpu  1 2 3 1000 1000 4 5 6 0 0\ncpu0 9 9 9"), Some(21));
    }

    #[test]
    fn this_process_has_used_something() {
        let pid = std::process::id();
        assert!(resident(pid).unwrap() > 100_000);
        assert!(cpu_seconds(pid).unwrap() <= machine_seconds().unwrap());
        let peak = MemoryPeak::follow(vec![pid]);
        std::thread::sleep(Duration::from_millis(20));
        assert!(peak.end() > 100_000);
    }
}
