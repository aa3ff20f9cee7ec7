//! A limit on a process's memory, its page cache included, as a container has it: a control group of version 2 or 1.

use std::fs;
use std::path::{Path, PathBuf};

use anyhow::Context as _;

/// Where groups are, and what their files are called.
struct Version {
    root: &'static str,
    /// That limits can be set below it.
    probe: &'static str,
    limit: &'static str,
    peak: &'static str,
    kills: &'static str,
    anonymous: &'static str,
    cached: &'static str,
}

const VERSIONS: [Version; 2] = [
    Version {
        root: "/sys/fs/cgroup",
        probe: "cgroup.subtree_control",
        limit: "memory.max",
        peak: "memory.peak",
        kills: "memory.events",
        anonymous: "anon",
        cached: "file",
    },
    Version {
        root: "/sys/fs/cgroup/memory",
        probe: "memory.limit_in_bytes",
        limit: "memory.limit_in_bytes",
        peak: "memory.max_usage_in_bytes",
        kills: "memory.oom_control",
        anonymous: "total_rss",
        cached: "total_cache",
    },
];

/// A group of its own, gone when dropped. What runs in it must have ended by then.
pub struct MemoryLimit {
    directory: PathBuf,
    version: &'static Version,
}

/// What a group used, in bytes.
#[derive(Debug, Clone, Copy, serde::Serialize)]
pub struct GroupUsage {
    /// The most of all, page cache included.
    pub peak: u64,
    /// Memory of processes now.
    pub anonymous: u64,
    /// Page cache now.
    pub cached: u64,
    /// Processes that the kernel killed for want of memory.
    pub kills: u64,
}

impl MemoryLimit {
    /// A group that may use so many bytes. Needs the right to make groups, which root has.
    ///
    /// # Errors
    ///
    /// There are no groups here, or they cannot be made.
    pub fn new(bytes: u64) -> anyhow::Result<Self> {
        let usable = |version: &&Version| {
            let probe = fs::read_to_string(Path::new(version.root).join(version.probe));
            probe.is_ok_and(|text| version.probe != "cgroup.subtree_control" || text.contains("memory"))
        };
        let version =
            VERSIONS.iter().find(usable).context("no control groups for memory in /sys/fs/cgroup")?;
        let directory = Path::new(version.root).join(format!("ottla-bench-{}", std::process::id()));
        fs::create_dir_all(&directory).with_context(|| directory.display().to_string())?;
        let group = Self { directory, version };
        let limit = group.directory.join(version.limit);
        fs::write(&limit, bytes.to_string()).with_context(|| limit.display().to_string())?;
        Ok(group)
    }

    /// A command that puts itself into the group before it becomes the program.
    #[must_use]
    pub fn wrapped(&self, command: &[String]) -> Vec<String> {
        let enter = format!("echo $$ >{}/cgroup.procs && exec \"$@\"", self.directory.display());
        let shell = ["sh", "-c", &enter, "sh"].map(str::to_owned);
        shell.into_iter().chain(command.iter().cloned()).collect()
    }

    /// What was used until now.
    ///
    /// # Errors
    ///
    /// Files are not there, or not as they should be.
    pub fn usage(&self) -> anyhow::Result<GroupUsage> {
        let read = |name: &str| {
            let path = self.directory.join(name);
            fs::read_to_string(&path).with_context(|| path.display().to_string())
        };
        let stat = read("memory.stat")?;
        let number = |text: &str, key: &str| {
            let value = text.lines().find_map(|line| line.strip_prefix(key)?.strip_prefix(' '));
            value.and_then(|value| value.trim().parse::<u64>().ok())
        };
        Ok(GroupUsage {
            // Older kernels do not keep it.
            peak: read(self.version.peak).ok().and_then(|text| text.trim().parse().ok()).unwrap_or(0),
            anonymous: number(&stat, self.version.anonymous).context("memory.stat")?,
            cached: number(&stat, self.version.cached).context("memory.stat")?,
            kills: number(&read(self.version.kills)?, "oom_kill").unwrap_or(0),
        })
    }
}

impl Drop for MemoryLimit {
    fn drop(&mut self) {
        for _ in 0..50 {
            if fs::remove_dir(&self.directory).is_ok() {
                return;
            }
            std::thread::sleep(std::time::Duration::from_millis(20));
        }
    }
}
