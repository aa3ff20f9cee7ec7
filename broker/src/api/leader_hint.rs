//! The hints by which a client finds the new leader without asking for metadata (KIP-951).

use std::collections::BTreeMap;

use ottla_quorum::image::MetadataImage;
use ottla_wire::Str;

use super::ListenerName;

/// A node that a hint points to.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct HintedNode {
    /// Advertised host.
    pub host: Str,
    /// Advertised port.
    pub port: i32,
    /// Its rack.
    pub rack: Option<Str>,
}

/// Collects hints for one response.
#[derive(Debug)]
pub struct LeaderHints<'a> {
    image: &'a MetadataImage,
    listener: &'a ListenerName,
    nodes: BTreeMap<i32, HintedNode>,
}

impl<'a> LeaderHints<'a> {
    /// Hints from `image` for clients of `listener`.
    pub fn new(image: &'a MetadataImage, listener: &'a ListenerName) -> Self {
        Self { image, listener, nodes: BTreeMap::new() }
    }

    /// Leader and leader epoch of the partition, (-1, -1) if unknown; the leader joins the nodes of the response.
    pub fn leader(&mut self, topic: &str, partition: i32) -> (i32, i32) {
        let Some(found) = self.image.partition(topic, partition) else { return (-1, -1) };
        if let Some(broker) = self.image.broker(found.leader)
            && let Some(endpoint) = broker.endpoint(self.listener.as_str())
        {
            let (host, port) = (endpoint.host.clone(), i32::from(endpoint.port));
            self.nodes.insert(broker.id, HintedNode { host, port, rack: broker.rack.clone() });
        }
        (found.leader, found.leader_epoch)
    }

    /// The nodes that were hinted at.
    pub fn into_nodes(self) -> impl Iterator<Item = (i32, HintedNode)> {
        self.nodes.into_iter()
    }
}
