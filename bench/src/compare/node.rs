//! A broker as a process: Apache Kafka or ours, on the same properties. It is killed when it is dropped, and by the kernel when
//! this process ends in any other way.

use std::fs::File;
use std::net::{Ipv4Addr, SocketAddr};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use anyhow::Context as _;
use serde::Serialize;

use crate::cgroup::MemoryLimit;

/// How long a broker may take to end by itself.
const PATIENCE: Duration = Duration::from_secs(60);
/// What `kafka-server-start` and `kafka-run-class` give the JVM.
const STOCK_FLAGS: [&str; 9] = [
    "-Xmx1G",
    "-Xms1G",
    "-server",
    "-XX:+UseG1GC",
    "-XX:MaxGCPauseMillis=20",
    "-XX:InitiatingHeapOccupancyPercent=35",
    "-XX:+ExplicitGCInvokesConcurrent",
    "-XX:MaxInlineLevel=15",
    "-Djava.awt.headless=true",
];

/// Which of the two.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Kind {
    /// Apache Kafka with its stock flags.
    Apache,
    /// Ours.
    Ottla,
}

/// Where the brokers are.
#[derive(Debug, Clone, clap::Args)]
pub struct Programs {
    /// Our broker (default: ottla-broker beside this program)
    #[arg(long, value_name = "FILE")]
    pub ottla: Option<PathBuf>,
    /// What tests/setup.sh printed: Apache Kafka's jars are in its libs/; needed where that is run
    #[arg(long, value_name = "DIR", default_value = "target/peers")]
    pub peers: PathBuf,
    /// First of three ports on 127.0.0.1 for each node
    #[arg(long, default_value_t = 23_100)]
    pub port: u16,
}

impl Programs {
    fn ottla(&self) -> anyhow::Result<PathBuf> {
        match &self.ottla {
            Some(file) => Ok(file.clone()),
            None => Ok(std::env::current_exe()?.with_file_name("ottla-broker")),
        }
    }

    fn java(&self, flags: &[&str]) -> Vec<String> {
        let mut java = vec!["java".to_owned()];
        java.extend(flags.iter().map(|flag| (*flag).to_owned()));
        java.extend(["-cp".to_owned(), format!("{}/libs/*", self.peers.display())]);
        java
    }

    fn server(&self, kind: Kind, home: &Path) -> anyhow::Result<Vec<String>> {
        let properties = home.join("server.properties").display().to_string();
        Ok(match kind {
            Kind::Ottla => vec![self.ottla()?.display().to_string(), properties],
            Kind::Apache => {
                let logging =
                    format!("-Dlog4j2.configurationFile={}", home.join("log4j2.properties").display());
                let mut java = self.java(&[&STOCK_FLAGS[..], &[&logging]].concat());
                java.extend(["kafka.Kafka".to_owned(), properties]);
                java
            }
        })
    }

    fn format(&self, kind: Kind, home: &Path, place: Place) -> anyhow::Result<Vec<String>> {
        let mut command = match kind {
            Kind::Ottla => vec![self.ottla()?.display().to_string()],
            Kind::Apache => {
                let mut java = self.java(&["-Xmx256M"]);
                java.push("kafka.tools.StorageTool".to_owned());
                java
            }
        };
        let properties = home.join("server.properties").display().to_string();
        command.extend(["format", "-t", "4L6g3nShT-eMCtK--X86sw", "-c", &properties].map(str::to_owned));
        command.extend(["--initial-controllers".to_owned(), place.voters(self.port)]);
        Ok(command)
    }
}

/// One of so many nodes, all of them controllers, too.
#[derive(Debug, Clone, Copy)]
pub struct Place {
    /// From 0 on.
    pub index: u16,
    /// How many there are.
    pub nodes: u16,
}

impl Place {
    /// The only one.
    pub const ALONE: Self = Self { index: 0, nodes: 1 };

    /// Its first port, where clients come.
    fn port(self, first: u16) -> u16 {
        first + 3 * self.index
    }

    fn all(self) -> impl Iterator<Item = Self> {
        (0..self.nodes).map(move |index| Self { index, nodes: self.nodes })
    }

    fn controllers(self, first: u16) -> String {
        let each = self.all().map(|node| format!("127.0.0.1:{}", node.port(first) + 1));
        each.collect::<Vec<_>>().join(",")
    }

    fn voters(self, first: u16) -> String {
        let directory = |index| format!("{}L6g3nShT-eMCtK--X86sw", char::from(b'A' + (index % 26) as u8));
        let voter = |node: Self| {
            format!("{}@127.0.0.1:{}:{}", node.index + 1, node.port(first) + 1, directory(node.index))
        };
        self.all().map(voter).collect::<Vec<_>>().join(",")
    }
}

/// One broker.
pub struct Node {
    kind: Kind,
    home: PathBuf,
    programs: Programs,
    place: Place,
    descriptors: Option<u64>,
    wrapper: Vec<String>,
    process: Option<Child>,
}

impl Node {
    /// Writes its properties and formats its directory, which must not exist.
    ///
    /// # Errors
    ///
    /// Where the tool fails; what it said.
    pub fn format(
        kind: Kind,
        home: PathBuf,
        programs: &Programs,
        place: Place,
        more: &[(&str, &str)],
    ) -> anyhow::Result<Self> {
        std::fs::create_dir_all(&home).with_context(|| home.display().to_string())?;
        std::fs::write(home.join("server.properties"), properties(&home, place, programs.port, more))?;
        std::fs::write(home.join("log4j2.properties"), LOGGING)?;
        let command = programs.format(kind, &home, place)?;
        let output = prepared(&command, None)?.output().context("format")?;
        anyhow::ensure!(
            output.status.success(),
            "format: {}{}",
            String::from_utf8_lossy(&output.stdout),
            String::from_utf8_lossy(&output.stderr)
        );
        let (programs, wrapper) = (programs.clone(), Vec::new());
        Ok(Self { kind, home, programs, place, descriptors: None, wrapper, process: None })
    }

    /// From the next start on it runs by this command, which becomes the program itself.
    pub fn set_wrapper(&mut self, wrapper: Vec<String>) {
        self.wrapper = wrapper;
    }

    /// From the next start on it may have so many files open.
    pub fn set_descriptors(&mut self, limit: u64) {
        self.descriptors = Some(limit);
    }

    /// Starts it, on one CPU if one is named. It is not ready when this returns.
    ///
    /// # Errors
    ///
    /// Where the program cannot be started.
    pub fn start(&mut self, cpu: Option<usize>) -> anyhow::Result<()> {
        self.start_within(cpu, None)
    }

    /// The same, within a limit on its memory.
    ///
    /// # Errors
    ///
    /// Where the program cannot be started.
    pub fn start_within(&mut self, cpu: Option<usize>, limit: Option<&MemoryLimit>) -> anyhow::Result<()> {
        let mut command = self.programs.server(self.kind, &self.home)?;
        if let Some(files) = self.descriptors {
            command.splice(0..0, ["prlimit".to_owned(), format!("--nofile={files}:{files}")]);
        }
        command.splice(0..0, self.wrapper.iter().cloned());
        let command = limit.map_or_else(|| command.clone(), |limit| limit.wrapped(&command));
        let log = File::options().create(true).append(true).open(self.home.join("log"))?;
        let mut command = prepared(&command, cpu)?;
        let child = command.stdout(log.try_clone()?).stderr(log).current_dir(&self.home).spawn();
        self.process = Some(child.context("start")?);
        Ok(())
    }

    /// Its process.
    ///
    /// # Errors
    ///
    /// Where it does not run, or no more: the end of its log.
    pub fn pid(&mut self) -> anyhow::Result<u32> {
        let process = self.process.as_mut().context("the broker was not started")?;
        match process.try_wait()? {
            None => Ok(process.id()),
            Some(status) => anyhow::bail!("the broker ended, {status}:\n{}", self.tail()),
        }
    }

    /// Its directory.
    #[must_use]
    pub fn home(&self) -> &Path {
        &self.home
    }

    /// Where it listens.
    #[must_use]
    pub fn address(&self) -> SocketAddr {
        SocketAddr::from((Ipv4Addr::LOCALHOST, self.place.port(self.programs.port)))
    }

    /// Asks it to end and waits; kills it where it does not.
    ///
    /// # Errors
    ///
    /// Where it did not run.
    pub fn stop(&mut self) -> anyhow::Result<()> {
        let pid = self.pid()?;
        Command::new("kill").arg(pid.to_string()).status()?;
        let end = Instant::now() + PATIENCE;
        while Instant::now() < end {
            if self.process.as_mut().is_none_or(|process| !matches!(process.try_wait(), Ok(None))) {
                self.process = None;
                return Ok(());
            }
            std::thread::sleep(Duration::from_millis(20));
        }
        self.kill();
        anyhow::bail!("the broker did not end within {} s", PATIENCE.as_secs())
    }

    /// Kills it, if it runs.
    pub fn kill(&mut self) {
        if let Some(mut process) = self.process.take() {
            let _ = process.kill();
            let _ = process.wait();
        }
    }

    fn tail(&self) -> String {
        let log = std::fs::read(self.home.join("log")).unwrap_or_default();
        let log = String::from_utf8_lossy(&log);
        let lines: Vec<&str> = log.lines().collect();
        lines.iter().skip(lines.len().saturating_sub(20)).copied().collect::<Vec<_>>().join("\n")
    }
}

impl Drop for Node {
    fn drop(&mut self) {
        self.kill();
        let _ = std::fs::remove_dir_all(&self.home);
    }
}

/// A command that the kernel kills with this process, on one CPU if one is named. Both wrappers become the program itself, so
/// its process id is the child's.
///
/// # Errors
///
/// An empty command.
pub fn prepared(command: &[String], cpu: Option<usize>) -> anyhow::Result<Command> {
    anyhow::ensure!(!command.is_empty(), "no command");
    let mut prepared = Command::new("setpriv");
    prepared.args(["--pdeathsig", "KILL"]);
    if let Some(cpu) = cpu {
        prepared.args(["taskset", "-c"]).arg(cpu.to_string());
    }
    prepared.args(command).stdin(Stdio::null());
    Ok(prepared)
}

/// Apache Kafka's `server.properties` for one node, with ports, directory and replicas of our own.
fn properties(home: &Path, place: Place, first: u16, more: &[(&str, &str)]) -> String {
    let (id, replicas) = (place.index + 1, place.nodes.min(3));
    let port = place.port(first);
    let (controller, http, controllers) = (port + 1, port + 2, place.controllers(first));
    let mut properties = format!(
        "process.roles=broker,controller\n\
         node.id={id}\n\
         listeners=PLAINTEXT://127.0.0.1:{port},CONTROLLER://127.0.0.1:{controller}\n\
         controller.listener.names=CONTROLLER\n\
         controller.quorum.bootstrap.servers={controllers}\n\
         log.dirs={}\n\
         num.network.threads=3\n\
         num.io.threads=8\n\
         socket.send.buffer.bytes=102400\n\
         socket.receive.buffer.bytes=102400\n\
         socket.request.max.bytes=104857600\n\
         num.recovery.threads.per.data.dir=2\n\
         offsets.topic.replication.factor={replicas}\n\
         transaction.state.log.replication.factor={replicas}\n\
         transaction.state.log.min.isr=1\n\
         log.retention.hours=168\n\
         log.segment.bytes=1073741824\n\
         log.retention.check.interval.ms=300000\n\
         ottla.http.listener=127.0.0.1:{http}\n",
        home.join("data").display()
    );
    for (key, value) in more {
        properties.push_str(&format!("{key}={value}\n"));
    }
    properties
}

/// Warnings alone: writing more would cost Apache Kafka time.
const LOGGING: &str = "\
status = error
appender.console.type = Console
appender.console.name = STDOUT
appender.console.layout.type = PatternLayout
appender.console.layout.pattern = [%d] %p %m (%c)%n
rootLogger.level = WARN
rootLogger.appenderRefs = stdout
rootLogger.appenderRef.stdout.ref = STDOUT
";
