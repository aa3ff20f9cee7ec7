//! One request after the other, without a client's queues and back-offs in between.

use std::io::{Read as _, Write as _};
use std::net::{SocketAddr, TcpStream};
use std::time::Duration;

use anyhow::Context as _;
use bytes::Bytes;
use ottla_wire::messages::ResponseHeader;
use ottla_wire::{Decoder, Message as _, Request, Str, encode_request};

/// No answer is longer, in bytes.
const LONGEST_ANSWER: usize = 64 << 20;

/// A connection to a broker.
pub struct Connection {
    socket: TcpStream,
}

impl Connection {
    /// Connects; an answer may take as long as `patience`.
    ///
    /// # Errors
    ///
    /// Nobody listens there.
    pub fn open(address: SocketAddr, patience: Duration) -> anyhow::Result<Self> {
        let socket = TcpStream::connect_timeout(&address, Duration::from_secs(5))?;
        socket.set_nodelay(true)?;
        socket.set_read_timeout(Some(patience))?;
        Ok(Self { socket })
    }

    /// Sends a request and waits for its answer.
    ///
    /// # Errors
    ///
    /// The connection breaks, or the answer is no answer.
    pub fn call<R: Request>(&mut self, request: &R, version: i16) -> anyhow::Result<R::Response> {
        let body = encode_request(request, version, 1, Some(Str::from("partitions")))?;
        let body = body.into_bytes().context("a request of bytes")?;
        let mut frame = i32::try_from(body.len())?.to_be_bytes().to_vec();
        frame.extend_from_slice(&body);
        self.socket.write_all(&frame)?;
        let mut length = [0; 4];
        self.socket.read_exact(&mut length)?;
        let length = usize::try_from(i32::from_be_bytes(length))?;
        anyhow::ensure!(length <= LONGEST_ANSWER, "an answer of {length} bytes");
        let mut answer = vec![0; length];
        self.socket.read_exact(&mut answer)?;
        let mut decoder = Decoder::new(Bytes::from(answer));
        ResponseHeader::decode(&mut decoder, R::KEY.response_header_version(version))?;
        Ok(R::Response::decode(&mut decoder, version)?)
    }
}
