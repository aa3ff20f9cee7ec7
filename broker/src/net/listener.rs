//! One listening socket and the connections that it has accepted.

use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::{Duration, Instant};

use ottla_wire::Str;
use rustix::net::sockopt;
use tokio::net::{TcpListener, TcpSocket, TcpStream};
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;
use tracing::{debug, info, warn};

use super::connection::{Connection, Peer};
use super::slots::Slot;
use super::{Service, SocketOptions};
use crate::api::ListenerName;
use crate::quota::Mute;
use crate::security::Principal;

/// How long to wait after a failed accept: the process is usually out of file descriptors.
const ACCEPT_PAUSE: Duration = Duration::from_millis(100);

/// The listener's address cannot be had.
#[derive(Debug, thiserror::Error)]
#[error("listener {listener}: cannot listen on {address}: {source}")]
pub struct BindError {
    listener: ListenerName,
    address: String,
    source: io::Error,
}

/// A bound socket; clients queue in its backlog until [`Listener::serve`].
#[derive(Debug)]
pub struct Listener {
    name: ListenerName,
    socket: TcpListener,
    options: SocketOptions,
    protected: bool,
}

impl Listener {
    /// Binds `host:port`; an empty host is every address (IPv6 and IPv4 where the system has both).
    pub async fn bind(
        name: ListenerName,
        host: &str,
        port: u16,
        options: SocketOptions,
    ) -> Result<Self, BindError> {
        let addresses = resolve(host, port).await;
        let failed = |source| BindError { listener: name.clone(), address: format!("{host}:{port}"), source };
        let mut last = io::Error::new(io::ErrorKind::NotFound, "host has no address");
        for address in addresses.map_err(failed)? {
            match listen(address, &options) {
                Ok(socket) => return Ok(Self { name, socket, options, protected: false }),
                Err(e) => last = e,
            }
        }
        Err(BindError { listener: name.clone(), address: format!("{host}:{port}"), source: last })
    }

    /// Its connections are let in even where there are as many as there may be.
    pub fn protect(&mut self) {
        self.protected = true;
    }

    /// Where it listens; the port is the system's choice when 0 was asked for.
    pub fn local_addr(&self) -> io::Result<SocketAddr> {
        self.socket.local_addr()
    }

    /// The listener's name.
    pub fn name(&self) -> &ListenerName {
        &self.name
    }

    /// Accepts until the service stops; `connections` tracks what was accepted.
    pub async fn serve<S: Service>(self, service: Arc<S>, connections: TaskTracker) {
        let stopping = service.stopping().clone();
        loop {
            let accepted = tokio::select! {
                biased;
                () = stopping.cancelled() => return,
                accepted = self.accept(&*service, &connections) => accepted,
            };
            match accepted {
                Ok(Some((socket, address, slot))) => {
                    let evicted = slot.evicted();
                    let connection = self.connection(socket, address, slot, &service);
                    let gauge = service.metrics().network.connection_opened(&self.name);
                    connections.spawn(async move {
                        tokio::select! {
                            () = connection.serve() => {}
                            () = evicted.cancelled() => {
                                info!(client = %address.ip(), "connection closed: above max.connections");
                            }
                        }
                        drop(gauge);
                    });
                }
                Ok(None) => {}
                Err(error) => {
                    warn!(listener = %self.name, %error, "accept failed");
                    tokio::time::sleep(ACCEPT_PAUSE).await;
                }
            }
        }
    }

    async fn accept<S: Service>(
        &self,
        service: &S,
        connections: &TaskTracker,
    ) -> io::Result<Option<(TcpStream, SocketAddr, Slot)>> {
        let slots = service.connections();
        slots.free(self.protected).await;
        let (socket, address) = self.socket.accept().await?;
        if let Some(pause) = service.quotas().connect(address.ip(), Instant::now()) {
            debug!(client = %address.ip(), listener = %self.name, "connection refused: too many in a short time");
            connections.spawn(close_later(socket, pause, service.stopping().clone()));
            return Ok(None);
        }
        let Some(slot) = slots.take(address.ip(), self.protected).await else {
            info!(client = %address.ip(), listener = %self.name, "connection refused: max.connections.per.ip reached");
            return Ok(None);
        };
        if let Err(error) = tune(&socket, &self.options) {
            info!(client = %address.ip(), %error, "connection lost before it was served");
            return Ok(None);
        }
        Ok(Some((socket, address, slot)))
    }

    fn connection<S: Service>(
        &self,
        socket: TcpStream,
        address: SocketAddr,
        slot: Slot,
        service: &Arc<S>,
    ) -> Connection<S> {
        let address = address.ip().to_canonical();
        let peer = Peer {
            listener: self.name.clone(),
            principal: Principal::anonymous(),
            address,
            host: Str::from(format!("/{address}")),
            mute: Mute::default(),
            lifetime: Arc::default(),
        };
        Connection::new(socket, Arc::new(peer), slot, Arc::clone(service), &self.options)
    }
}

/// Keeps a client that comes too often from coming again at once.
async fn close_later(socket: TcpStream, pause: Duration, stopping: CancellationToken) {
    tokio::select! {
        () = tokio::time::sleep(pause) => {}
        () = stopping.cancelled() => {}
    }
    drop(socket);
}

async fn resolve(host: &str, port: u16) -> io::Result<Vec<SocketAddr>> {
    if host.is_empty() {
        return Ok(vec![SocketAddr::from(([0u16; 8], port)), SocketAddr::from(([0u8; 4], port))]);
    }
    let host = host.trim_start_matches('[').trim_end_matches(']');
    Ok(tokio::net::lookup_host((host, port)).await?.collect())
}

fn listen(address: SocketAddr, options: &SocketOptions) -> io::Result<TcpListener> {
    let socket = if address.is_ipv4() { TcpSocket::new_v4()? } else { TcpSocket::new_v6()? };
    if address.is_ipv6() && address.ip().is_unspecified() {
        sockopt::set_ipv6_v6only(&socket, false)?;
    }
    socket.set_reuseaddr(true)?;
    if let Some(bytes) = options.receive_buffer_bytes {
        // On the listening socket: the window scale is fixed in the handshake.
        sockopt::set_socket_recv_buffer_size(&socket, bytes)?;
    }
    socket.bind(address)?;
    socket.listen(options.backlog)
}

fn tune(socket: &TcpStream, options: &SocketOptions) -> io::Result<()> {
    socket.set_nodelay(true)?;
    sockopt::set_socket_keepalive(socket, true)?;
    if let Some(bytes) = options.send_buffer_bytes {
        sockopt::set_socket_send_buffer_size(socket, bytes)?;
    }
    Ok(())
}
