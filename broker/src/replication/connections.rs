//! Connections to other brokers, by the listener that brokers use among themselves.

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use ottla_client::{CallError, Connection, Options, address};
use ottla_quorum::MetadataImage;
use ottla_wire::{Request, Str};

use super::peer::{Connect, Peer, PeerError};

/// Longest answer of a broker, in bytes: its first batch may be larger than what was asked for.
const LONGEST_ANSWER: usize = i32::MAX as usize;

/// What the metadata says now.
type Image = Arc<dyn Fn() -> Arc<MetadataImage> + Send + Sync>;

/// Where other brokers are, and how they are spoken to.
#[derive(Clone)]
pub struct Connections {
    image: Image,
    listener: Str,
    options: Options,
}

impl Connections {
    /// To the brokers of the newest `image`, at the addresses that they have on `listener`. A broker that does not answer
    /// within `deadline` (`replica.socket.timeout.ms`) is given up.
    pub fn new(image: Image, listener: Str, client_id: Str, deadline: Duration) -> Self {
        Self { image, listener, options: Options { client_id, deadline, longest_answer: LONGEST_ANSWER } }
    }
}

impl fmt::Debug for Connections {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Connections").field("listener", &self.listener).finish_non_exhaustive()
    }
}

impl Connect for Connections {
    type Peer = Broker;

    fn peer(&self, node: i32) -> Broker {
        Broker { node, connections: self.clone(), connection: None }
    }
}

/// One broker.
#[derive(Debug)]
pub struct Broker {
    node: i32,
    connections: Connections,
    connection: Option<Connection>,
}

impl Broker {
    fn address(&self) -> Result<String, PeerError> {
        let image = (self.connections.image)();
        let listener = &self.connections.listener;
        let broker = image.broker(self.node);
        let endpoint = broker.and_then(|broker| broker.endpoints.iter().find(|it| it.name == *listener));
        let address = endpoint.map(|endpoint| address(&endpoint.host, endpoint.port));
        address.ok_or_else(|| PeerError(format!("broker {} has no address on {listener}", self.node)))
    }
}

impl Peer for Broker {
    async fn call<R: Request + Send>(
        &mut self,
        build: impl FnOnce(i16) -> R + Send,
    ) -> Result<R::Response, PeerError> {
        let told = |error: CallError| PeerError(error.to_string());
        // Taken out while it is in use: a call that is broken off halfway leaves no half-read connection behind.
        let mut connection = match self.connection.take() {
            Some(connection) => connection,
            None => {
                let options = self.connections.options.clone();
                Connection::open(&self.address()?, options).await.map_err(told)?
            }
        };
        let result = connection.send_for(build).await;
        if result.as_ref().err().is_none_or(CallError::is_harmless) {
            self.connection = Some(connection);
        }
        result.map_err(told)
    }
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::{AtomicUsize, Ordering};

    use ottla_client::testing::{broker, framed};
    use ottla_quorum::MetadataRecord;
    use ottla_wire::messages::{MetadataRequest, MetadataResponse};
    use ottla_wire::records::metadata::RegisterBrokerRecord;
    use ottla_wire::records::metadata::register_broker_record::BrokerEndpoint;
    use parking_lot::Mutex;

    use super::*;
    use crate::config::Config;

    /// Metadata in which broker 1 is at the address.
    fn image(address: &str) -> Arc<MetadataImage> {
        let (host, port) = address.rsplit_once(':').expect("host:port");
        let endpoint = BrokerEndpoint {
            name: Str::from_static("INTERNAL"),
            host: Str::from(host),
            port: port.parse().expect("a port"),
            ..Default::default()
        };
        let record = RegisterBrokerRecord { broker_id: 1, end_points: vec![endpoint], ..Default::default() };
        let mut image = MetadataImage::empty("cluster".into());
        image.apply(&MetadataRecord::RegisterBroker(record)).expect("it fits");
        Arc::new(image)
    }

    fn connections(newest: &Arc<Mutex<Arc<MetadataImage>>>) -> Connections {
        let (newest, second) = (Arc::clone(newest), Duration::from_secs(10));
        Connections::new(
            Arc::new(move || newest.lock().clone()),
            "INTERNAL".into(),
            "broker-2".into(),
            second,
        )
    }

    /// A broker that closes the connection at every third request.
    async fn third_fails() -> (String, Arc<AtomicUsize>) {
        let asked = AtomicUsize::new(0);
        let answer = move |key, version, id| {
            let third = asked.fetch_add(1, Ordering::SeqCst) % 3 == 2;
            (!third).then(|| framed(&MetadataResponse::default(), key, version, id))
        };
        broker(4, Arc::new(answer)).await
    }

    #[tokio::test]
    async fn a_connection_is_kept_until_it_fails_and_the_next_goes_to_where_the_broker_is_then() {
        let (first, second) = (third_fails().await, third_fails().await);
        let newest = Arc::new(Mutex::new(image(&first.0)));
        let mut peer = connections(&newest).peer(1);
        let mut succeeded = Vec::new();
        for _ in 0..3 {
            succeeded.push(peer.call(|_| MetadataRequest::default()).await.is_ok());
            *newest.lock() = image(&second.0);
        }
        assert_eq!(succeeded, [true, true, false]);
        assert_eq!((first.1.load(Ordering::SeqCst), second.1.load(Ordering::SeqCst)), (1, 0));
        peer.call(|_| MetadataRequest::default()).await.expect("the broker is found at its new address");
        assert_eq!(second.1.load(Ordering::SeqCst), 1);
    }

    #[tokio::test]
    async fn a_request_is_made_for_the_version_that_both_know() {
        let (address, _) = third_fails().await;
        let mut peer = connections(&Arc::new(Mutex::new(image(&address)))).peer(1);
        let mut made_for = None;
        let request = |version| {
            made_for = Some(version);
            MetadataRequest::default()
        };
        peer.call(request).await.expect("answered");
        assert_eq!(made_for, Some(4));
    }

    #[tokio::test]
    async fn who_is_not_in_the_metadata_is_named() {
        let mut peer = connections(&Arc::new(Mutex::new(image("127.0.0.1:1")))).peer(7);
        let error = peer.call(|_| MetadataRequest::default()).await.expect_err("nobody to ask");
        assert_eq!(error.to_string(), "broker 7 has no address on INTERNAL");
    }

    #[tokio::test]
    async fn a_broker_that_does_not_answer_is_given_up_after_the_configured_time() {
        let silent = tokio::net::TcpListener::bind("127.0.0.1:0").await.expect("a port");
        let address = silent.local_addr().expect("its own").to_string();
        let short = [("replica.socket.timeout.ms", "50"), ("replica.fetch.wait.max.ms", "50")];
        for (overrides, given_up) in [(&short[..], true), (&[], false)] {
            let deadline = Config::from_overrides(overrides).expect("valid").replication.socket_timeout;
            let newest = image(&address);
            let connections = Connections::new(
                Arc::new(move || Arc::clone(&newest)),
                "INTERNAL".into(),
                "2".into(),
                deadline,
            );
            let mut peer = connections.peer(1);
            let call = peer.call(|_| MetadataRequest::default());
            let ended = tokio::time::timeout(Duration::from_millis(500), call).await;
            assert_eq!(ended.is_ok_and(|answer| answer.is_err()), given_up);
        }
    }
}
