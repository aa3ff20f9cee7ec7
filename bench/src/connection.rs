//! A connection that speaks Kafka's protocol itself, for what a client library would not do: send without end, read nothing.

use std::fs::File;
use std::io::{Read as _, Write as _};
use std::net::{SocketAddr, TcpStream};
use std::time::Duration;

use anyhow::Context as _;
use bytes::Bytes;
use ottla_wire::messages::ResponseHeader;
use ottla_wire::{Decoder, Message as _, Request, Str, encode_request};

/// How long an answer may take.
const PATIENCE: Duration = Duration::from_secs(120);
/// No answer is longer, in bytes.
const LONGEST_ANSWER: usize = 64 << 20;

/// One connection; answers come in the order of the requests.
#[derive(Debug)]
pub struct Connection {
    socket: TcpStream,
    client_id: Str,
}

impl Connection {
    /// Connects.
    ///
    /// # Errors
    ///
    /// Where nobody listens.
    pub fn open(address: SocketAddr, client_id: &str) -> anyhow::Result<Self> {
        let socket = TcpStream::connect_timeout(&address, Duration::from_secs(10))?;
        socket.set_nodelay(true)?;
        socket.set_read_timeout(Some(PATIENCE))?;
        socket.set_write_timeout(Some(PATIENCE))?;
        Ok(Self { socket, client_id: Str::from(client_id) })
    }

    /// A request with its length before it.
    ///
    /// # Errors
    ///
    /// What does not fit the version.
    pub fn frame<R: Request>(&self, request: &R, version: i16) -> anyhow::Result<Vec<u8>> {
        let parts = encode_request(request, version, 1, Some(self.client_id.clone()))?;
        let body = parts.into_bytes().context("a request of bytes")?;
        let mut frame = i32::try_from(body.len())?.to_be_bytes().to_vec();
        frame.extend_from_slice(&body);
        Ok(frame)
    }

    /// Sends a frame.
    ///
    /// # Errors
    ///
    /// The connection is gone, or takes nothing for two minutes.
    pub fn send(&mut self, frame: &[u8]) -> anyhow::Result<()> {
        self.socket.write_all(frame).context("send")
    }

    /// Sends so many bytes of a file from a position on. They are not copied: they must not change until the answer.
    ///
    /// # Errors
    ///
    /// As [`Connection::send`]; or the file is shorter.
    pub fn send_file(&mut self, file: &File, mut position: u64, len: usize) -> anyhow::Result<()> {
        let end = position + len as u64;
        while position < end {
            let left = usize::try_from(end - position)?;
            let sent = rustix::fs::sendfile(&self.socket, file, Some(&mut position), left).context("send")?;
            anyhow::ensure!(sent > 0, "the file is too short");
        }
        Ok(())
    }

    /// The next answer.
    ///
    /// # Errors
    ///
    /// The connection is gone, no answer within two minutes, or none of this kind.
    pub fn receive<R: Request>(&mut self, version: i16) -> anyhow::Result<R::Response> {
        let mut length = [0; 4];
        self.socket.read_exact(&mut length).context("receive")?;
        let length = usize::try_from(i32::from_be_bytes(length))?;
        anyhow::ensure!(length <= LONGEST_ANSWER, "an answer of {length} bytes");
        let mut answer = vec![0; length];
        self.socket.read_exact(&mut answer).context("receive")?;
        let mut decoder = Decoder::new(Bytes::from(answer));
        ResponseHeader::decode(&mut decoder, R::KEY.response_header_version(version))?;
        Ok(R::Response::decode(&mut decoder, version)?)
    }

    /// One request and its answer.
    ///
    /// # Errors
    ///
    /// As sending and receiving.
    pub fn call<R: Request>(&mut self, request: &R, version: i16) -> anyhow::Result<R::Response> {
        let frame = self.frame(request, version)?;
        self.send(&frame)?;
        self.receive::<R>(version)
    }
}
