//! Two nodes in this process.

use std::net::TcpListener;
use std::path::Path;

use ottla_broker::broker::{self, Node};
use ottla_broker::clock;
use ottla_broker::config::Config;
use ottla_broker::storage::format::{self, Controllers, Plan};
use ottla_log::disk::StdDisk;

use super::Client;

const CLUSTER: &str = "4L6g3nShT-eMCtK--X86sw";

/// Two nodes, of which the first is the only controller.
pub struct Pair {
    pub controller: Node,
    pub broker: Node,
    pub dir: tempfile::TempDir,
}

impl Pair {
    pub async fn start() -> Self {
        Self::start_with(&[], &[]).await
    }

    /// With configurations of the first and of the second.
    pub async fn start_with(controller: &[(&str, &str)], broker: &[(&str, &str)]) -> Self {
        let dir = tempfile::tempdir().unwrap();
        let free = TcpListener::bind("127.0.0.1:0").unwrap();
        let port = free.local_addr().unwrap().port();
        drop(free);
        let (quorum, own) = (format!("127.0.0.1:{port}"), format!("CONTROLLER://127.0.0.1:{port}"));
        let listeners = format!("PLAINTEXT://127.0.0.1:0,{own}");
        let first = [
            ("process.roles", "broker,controller"),
            ("node.id", "1"),
            ("listeners", &listeners),
            ("controller.quorum.bootstrap.servers", &quorum),
        ];
        let second = [
            ("process.roles", "broker"),
            ("node.id", "2"),
            ("listeners", "PLAINTEXT://127.0.0.1:0"),
            ("controller.quorum.bootstrap.servers", &quorum),
        ];
        let (first, second) = ([&first, controller].concat(), [&second, broker].concat());
        let controller = formatted(&dir.path().join("1"), &first, Controllers::Standalone).await;
        let broker = formatted(&dir.path().join("2"), &second, Controllers::Elsewhere).await;
        assert!(controller.broker().controller.is_active() && !broker.broker().controller.is_active());
        Self { controller, broker, dir }
    }

    /// A client of the broker that is no controller.
    pub async fn client(&self) -> Client {
        Client::connect(self.broker.address("PLAINTEXT").unwrap()).await
    }

    pub async fn stop(self) {
        self.broker.stop().await;
        self.controller.stop().await;
    }
}

async fn formatted(dir: &Path, overrides: &[(&str, &str)], controllers: Controllers) -> Node {
    let mut all = vec![
        ("log.dirs", dir.to_str().unwrap()),
        ("advertised.listeners", "PLAINTEXT://127.0.0.1:0"),
        ("controller.listener.names", "CONTROLLER"),
        ("ottla.http.listener", ""),
        ("offsets.topic.num.partitions", "3"),
        ("offsets.topic.replication.factor", "1"),
    ];
    all.extend_from_slice(overrides);
    let config = Config::from_overrides(&all).unwrap();
    let plan = Plan {
        config: &config,
        cluster_id: CLUSTER.to_owned(),
        controllers,
        release: None,
        features: Vec::new(),
        ignore_formatted: false,
    };
    format::run(&plan, &StdDisk, clock::now()).unwrap();
    broker::start(config).await.unwrap()
}
