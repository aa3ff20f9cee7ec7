//! What the controller has to know of the node's configuration.

use std::sync::Arc;
use std::time::Duration;

use ottla_quorum::voters::{Voter, VoterEndpoint};
use ottla_quorum::{QuorumConfig, Timeouts, VoterSet};
use ottla_wire::{Str, Uuid};

use crate::config::{Config, Listener, Nothing, Quorum, topic_value};

/// Ids of this node, from `meta.properties` and made up at start.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ControllerIdentity {
    /// `cluster.id`.
    pub cluster_id: Str,
    /// `directory.id` of the directory with the metadata log.
    pub directory_id: Uuid,
    /// Id of this run of the process.
    pub incarnation_id: Uuid,
}

/// Configuration and identity.
#[derive(Clone, Debug)]
pub struct ControllerSettings {
    /// The node's configuration.
    pub config: Arc<Config>,
    /// Its ids.
    pub identity: ControllerIdentity,
}

impl ControllerSettings {
    /// What the quorum has to know.
    pub fn quorum(&self) -> QuorumConfig {
        let config = &self.config;
        let quorum = &config.quorum;
        let base = QuorumConfig::new(
            config.metadata_log_dir.clone(),
            config.node_id,
            self.identity.directory_id,
            self.identity.cluster_id.clone(),
        );
        QuorumConfig {
            static_voters: self.static_voters(),
            listener: config
                .controller_listener_names
                .first()
                .map_or(base.listener.clone(), |name| Str::from(name.as_str())),
            endpoints: config.advertised_controller_listeners.iter().map(voter_endpoint).collect(),
            bootstrap_servers: quorum
                .bootstrap_servers
                .iter()
                .map(|(host, port)| (Str::from(host.as_str()), *port))
                .collect(),
            timeouts: timeouts(quorum, base.timeouts),
            segment_bytes: u32::try_from(quorum.segment_bytes).unwrap_or(base.segment_bytes),
            segment_ms: quorum.segment_ms,
            retention_bytes: quorum.retention_bytes,
            retention_ms: quorum.retention_ms,
            snapshot_bytes: quorum.snapshot_after_bytes,
            min_insync_replicas: topic_value("min.insync.replicas", &config.layers(), &Nothing)
                .and_then(|value| value.parse().ok())
                .unwrap_or(base.min_insync_replicas),
            snapshot_interval_ms: i64::try_from(quorum.snapshot_interval.as_millis()).unwrap_or(i64::MAX),
            ..base
        }
    }

    fn static_voters(&self) -> Option<VoterSet> {
        let voters = &self.config.quorum.voters;
        let listener = self.config.controller_listener_names.first().map_or("", |name| name.as_str());
        (!voters.is_empty()).then(|| {
            voters.iter().fold(VoterSet::default(), |set, voter| {
                set.with(Voter {
                    id: voter.id,
                    directory_id: Uuid::ZERO,
                    endpoints: vec![VoterEndpoint {
                        name: Str::from(listener),
                        host: Str::from(voter.host.as_str()),
                        port: voter.port,
                    }],
                    kraft_versions: (0, 0),
                })
            })
        })
    }
}

fn timeouts(quorum: &Quorum, defaults: Timeouts) -> Timeouts {
    let ms = |time: Duration| i64::try_from(time.as_millis()).unwrap_or(i64::MAX);
    Timeouts {
        election_ms: ms(quorum.election_timeout),
        fetch_ms: ms(quorum.fetch_timeout),
        election_backoff_max_ms: ms(quorum.election_backoff_max),
        request_ms: ms(quorum.request_timeout),
        retry_backoff_ms: ms(quorum.retry_backoff),
        ..defaults
    }
}

fn voter_endpoint(listener: &Listener) -> VoterEndpoint {
    VoterEndpoint {
        name: Str::from(listener.name.as_str()),
        host: Str::from(listener.host.as_str()),
        port: listener.port,
    }
}
