//! The admin port's listener: a connection counts once both sides have taken the other's certificate.

use std::future::pending;
use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::{Duration, Instant};

use axum::Router;
use axum::serve::Listener;
use parking_lot::Mutex;
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{Semaphore, mpsc};
use tokio::task::JoinSet;
use tokio_rustls::TlsAcceptor;
use tokio_rustls::server::TlsStream;
use tokio_util::sync::CancellationToken;
use tracing::{debug, warn};

use super::certificates::{InForce, Watch};
use crate::config::AdminPort;

/// Handshakes at a time: strangers can make no more work than that.
const HANDSHAKES: usize = 64;
/// For a handshake.
const DEADLINE: Duration = Duration::from_secs(5);
/// Between two warnings of refused connections; those between are for who debugs.
const WARN_INTERVAL: Duration = Duration::from_secs(10);

type Stream = (TlsStream<TcpStream>, SocketAddr);

/// Serves until `stopping`; requests in hand are answered.
pub(super) async fn serve(listener: TcpListener, files: AdminPort, app: Router, stopping: CancellationToken) {
    let (watch, in_force) = Watch::new(files);
    let (greeted, streams) = mpsc::channel(1);
    let authenticated = Authenticated { streams, address: listener.local_addr() };
    let server = axum::serve(authenticated, app).with_graceful_shutdown(stopping.cancelled_owned());
    tokio::select! {
        result = server => if let Err(error) = result {
            warn!(%error, "the admin port failed");
        },
        () = watch.run() => {}
        () = greet(listener, in_force, greeted) => {}
    }
}

/// Shakes hands with whoever connects, any number at a time up to [`HANDSHAKES`].
async fn greet(mut listener: TcpListener, in_force: InForce, greeted: mpsc::Sender<Stream>) {
    let places = Arc::new(Semaphore::new(HANDSHAKES));
    let refusals = Arc::new(Refusals::default());
    let mut handshakes = JoinSet::new();
    while let Ok(place) = Arc::clone(&places).acquire_owned().await {
        let (stream, peer) = Listener::accept(&mut listener).await;
        while handshakes.try_join_next().is_some() {}
        let Some(config) = in_force.load_full() else {
            refusals.note(peer, "this node has no certificate that holds");
            continue;
        };
        let (greeted, refusals) = (greeted.clone(), Arc::clone(&refusals));
        handshakes.spawn(async move {
            let accepting = TlsAcceptor::from(config).accept(stream);
            match tokio::time::timeout(DEADLINE, accepting).await {
                // It fails only when nobody serves any more.
                Ok(Ok(stream)) => drop(greeted.send((stream, peer)).await),
                Ok(Err(error)) => refusals.note(peer, &error.to_string()),
                Err(_) => refusals.note(peer, "no handshake in time"),
            }
            drop(place);
        });
    }
}

/// Says who was refused, but not at the pace of strangers.
#[derive(Default)]
struct Refusals(Mutex<Option<Instant>>);

impl Refusals {
    fn note(&self, peer: SocketAddr, why: &str) {
        let mut told = self.0.lock();
        if told.is_some_and(|at| at.elapsed() < WARN_INTERVAL) {
            debug!(%peer, why, "a connection to the admin port is refused");
        } else {
            *told = Some(Instant::now());
            warn!(%peer, why, "a connection to the admin port is refused");
        }
    }
}

/// Connections of those whose certificate counts.
struct Authenticated {
    streams: mpsc::Receiver<Stream>,
    address: io::Result<SocketAddr>,
}

impl Listener for Authenticated {
    type Io = TlsStream<TcpStream>;
    type Addr = SocketAddr;

    async fn accept(&mut self) -> Stream {
        match self.streams.recv().await {
            Some(stream) => stream,
            None => pending().await,
        }
    }

    fn local_addr(&self) -> io::Result<SocketAddr> {
        self.address.as_ref().map(|address| *address).map_err(|error| error.kind().into())
    }
}
