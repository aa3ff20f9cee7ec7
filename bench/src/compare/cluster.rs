//! Nodes of one cluster, each a process. What they use counts together.

use std::net::SocketAddr;
use std::path::Path;

use anyhow::Context as _;

use super::node::{Kind, Node, Place, Programs};
use super::usage;

/// Nodes that know each other. They end when it is dropped.
pub struct Cluster {
    nodes: Vec<Node>,
}

impl Cluster {
    /// Formats so many nodes in directories below `home`.
    ///
    /// # Errors
    ///
    /// Where the tool fails; what it said.
    pub fn format(
        kind: Kind,
        home: &Path,
        programs: &Programs,
        nodes: u16,
        more: &[(&str, &str)],
    ) -> anyhow::Result<Self> {
        let place = |index| Place { index, nodes };
        let home = |index: u16| home.with_extension(index.to_string());
        let nodes = (0..nodes).map(|index| Node::format(kind, home(index), programs, place(index), more));
        Ok(Self { nodes: nodes.collect::<Result<_, _>>()? })
    }

    /// Its nodes.
    pub fn nodes(&mut self) -> impl Iterator<Item = &mut Node> {
        self.nodes.iter_mut()
    }

    /// Starts all of them, on one CPU if one is named. They are not ready when this returns.
    ///
    /// # Errors
    ///
    /// Where the program cannot be started.
    pub fn start(&mut self, cpu: Option<usize>) -> anyhow::Result<()> {
        self.nodes().try_for_each(|node| node.start(cpu))
    }

    /// Ends them: a single node as one is asked to, of several the quorum is gone with the second.
    ///
    /// # Errors
    ///
    /// One did not run any more, or does not end.
    pub fn stop(&mut self) -> anyhow::Result<()> {
        if let [node] = self.nodes.as_mut_slice() {
            return node.stop();
        }
        self.pids()?;
        self.nodes().for_each(Node::kill);
        Ok(())
    }

    /// Where the first one listens.
    ///
    /// # Errors
    ///
    /// There is none.
    pub fn first(&self) -> anyhow::Result<SocketAddr> {
        Ok(self.nodes.first().context("a cluster without a node")?.address())
    }

    /// Where all of them listen, as clients are told.
    #[must_use]
    pub fn bootstrap(&self) -> String {
        self.nodes.iter().map(|node| node.address().to_string()).collect::<Vec<_>>().join(",")
    }

    /// Their processes.
    ///
    /// # Errors
    ///
    /// Where one does not run: the end of its log.
    pub fn pids(&mut self) -> anyhow::Result<Vec<u32>> {
        self.nodes().map(Node::pid).collect()
    }

    /// CPU-seconds, user and system, of all since they began.
    ///
    /// # Errors
    ///
    /// Where one does not run.
    pub fn cpu_seconds(&mut self) -> anyhow::Result<f64> {
        self.nodes().map(|node| usage::cpu_seconds(node.pid()?)).sum()
    }
}
