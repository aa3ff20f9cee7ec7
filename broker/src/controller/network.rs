//! Requests of this node's quorum to other nodes: one connection to each, one request at a time.

use std::collections::HashMap;
use std::io;
use std::sync::mpsc::Sender;

use ottla_client::{CallError, Connection, Options, address};
use ottla_quorum::{Correlation, Destination, Failure, Inbound, QuorumRequest, QuorumResponse};
use tokio::runtime::Handle;
use tokio::sync::mpsc::{UnboundedReceiver, UnboundedSender, unbounded_channel};
use tracing::debug;

use super::task::{Message, Ways};

/// A request on its way.
struct Order {
    to: Destination,
    correlation: Correlation,
    request: QuorumRequest,
}

/// The way to other nodes of the quorum. What became of a request arrives as a message.
pub(super) struct Network {
    runtime: Handle,
    options: Options,
    messages: Sender<Message>,
    nodes: HashMap<i32, UnboundedSender<Order>>,
    in_flight: usize,
}

impl Network {
    /// Connections live on `runtime`.
    pub(super) fn new(runtime: Handle, options: Options, messages: Sender<Message>) -> Self {
        Self { runtime, options, messages, nodes: HashMap::new(), in_flight: 0 }
    }
}

impl Ways for Network {
    fn send(&mut self, to: Destination, correlation: Correlation, request: QuorumRequest) {
        let (runtime, options, messages) = (&self.runtime, &self.options, &self.messages);
        let node = self.nodes.entry(to.id).or_insert_with(|| {
            let (orders, waiting) = unbounded_channel();
            let node = OtherNode { options: options.clone(), connection: None };
            runtime.spawn(node.run(waiting, messages.clone()));
            orders
        });
        if node.send(Order { to, correlation, request }).is_ok() {
            self.in_flight += 1;
        }
    }

    fn answered(&mut self) {
        self.in_flight = self.in_flight.saturating_sub(1);
    }

    fn in_flight(&self) -> usize {
        self.in_flight
    }
}

/// One other node.
struct OtherNode {
    options: Options,
    connection: Option<(String, Connection)>,
}

impl OtherNode {
    async fn run(mut self, mut orders: UnboundedReceiver<Order>, messages: Sender<Message>) {
        while let Some(Order { to, correlation, request }) = orders.recv().await {
            let from = to.id;
            let inbound = match self.ask(&to, &request).await {
                Ok(response) => Inbound::Response { from, correlation, response },
                Err(error) => {
                    debug!(node = from, %error, "no answer from a node of the quorum");
                    Inbound::Failed { from, correlation, failure: failure(&error) }
                }
            };
            if messages.send(Message::Answered(inbound)).is_err() {
                return;
            }
        }
    }

    async fn ask(&mut self, to: &Destination, request: &QuorumRequest) -> Result<QuorumResponse, CallError> {
        let address = address(&to.host, to.port);
        let connection = match self.connection.take().filter(|(known, _)| *known == address) {
            Some((_, connection)) => connection,
            None => Connection::open(&address, self.options.clone()).await?,
        };
        let (_, connection) = self.connection.insert((address, connection));
        let answer = exchange(connection, request).await;
        if answer.as_ref().err().is_some_and(|error| !error.is_harmless()) {
            self.connection = None;
        }
        answer
    }
}

async fn exchange(connection: &mut Connection, request: &QuorumRequest) -> Result<QuorumResponse, CallError> {
    use QuorumRequest as Request;
    use QuorumResponse as Response;
    Ok(match request {
        Request::Vote(it) => Response::Vote(connection.send(it).await?),
        Request::BeginQuorumEpoch(it) => Response::BeginQuorumEpoch(connection.send(it).await?),
        Request::EndQuorumEpoch(it) => Response::EndQuorumEpoch(connection.send(it).await?),
        Request::Fetch(it) => Response::Fetch(Box::new(connection.send(&**it).await?)),
        Request::FetchSnapshot(it) => Response::FetchSnapshot(connection.send(it).await?),
        Request::AddRaftVoter(it) => Response::AddRaftVoter(connection.send(it).await?),
        Request::RemoveRaftVoter(it) => Response::RemoveRaftVoter(connection.send(it).await?),
        Request::UpdateRaftVoter(it) => Response::UpdateRaftVoter(connection.send(it).await?),
    })
}

fn failure(error: &CallError) -> Failure {
    match error {
        CallError::Unsupported(_) => Failure::UnsupportedVersion,
        CallError::Io { source, .. } if source.kind() != io::ErrorKind::TimedOut => Failure::Disconnected,
        _ => Failure::TimedOut,
    }
}
