//! A connection to a Kafka node, as the operator and other brokers open it: length-prefixed frames, versions negotiated
//! once, one request at a time, each with a deadline. With the feature `admin`: the way to its admin port.

#[cfg(feature = "admin")]
pub mod admin;
#[cfg(any(test, feature = "testing"))]
pub mod testing;
#[cfg(test)]
mod tests;

use std::collections::HashMap;
use std::io;
use std::sync::Arc;
use std::time::Duration;

use bytes::{Buf, Bytes, BytesMut};
use ottla_wire::messages::{ApiVersionsRequest, ResponseHeader};
use ottla_wire::{
    ApiKey, DecodeError, Decoder, EncodeError, ErrorCode, Message as _, Request, Str, encode_request,
};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;
use tokio::time::timeout;

const LENGTH: usize = 4;
/// Memory for an answer whose length is not known yet, in bytes.
const FIRST: usize = 4 * 1024;
/// So much more is promised at once, in bytes, or as much as has come if that is more.
const STEP: usize = 64 * 1024;

/// How a connection behaves.
#[derive(Clone, Debug)]
pub struct Options {
    /// `client.id` of every request.
    pub client_id: Str,
    /// For connecting, and for each request with its answer.
    pub deadline: Duration,
    /// The longest answer that is read, in bytes. Memory grows with what arrives, not with what is announced.
    pub longest_answer: usize,
}

/// Why there is no usable answer.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum CallError {
    /// The network.
    #[error("{address}: {source}")]
    Io {
        /// Whom we talked to.
        address: String,
        /// What happened.
        source: io::Error,
    },
    /// No answer in time.
    #[error("{0} does not answer")]
    Deadline(String),
    /// The node does not say which versions it serves.
    #[error("the broker does not tell its versions: {}", .0.name())]
    Versions(ErrorCode),
    /// No common version. Nothing was sent.
    #[error("the broker does not serve {0:?} in a version that we know")]
    Unsupported(ApiKey),
    /// A request that cannot be written, e.g. text that is too long. Nothing was sent.
    #[error("the request cannot be written: {0}")]
    Encode(#[from] EncodeError),
    /// Bytes that are no answer.
    #[error("the broker's answer cannot be read: {0}")]
    Decode(#[from] DecodeError),
    /// An answer of another request, or one without what it must have.
    #[error("the broker's answer makes no sense: {0}")]
    Protocol(&'static str),
}

impl CallError {
    /// Whether the connection is as good as before: nothing was sent.
    pub fn is_harmless(&self) -> bool {
        matches!(self, Self::Unsupported(_) | Self::Encode(_))
    }
}

/// `host:port`, with brackets around an address of IPv6.
pub fn address(host: &str, port: u16) -> String {
    if host.contains(':') { format!("[{host}]:{port}") } else { format!("{host}:{port}") }
}

/// The lowest and the highest version of each API that a node serves, by the API's key.
pub type Versions = HashMap<i16, (i16, i16)>;

/// A connection to one node.
#[derive(Debug)]
pub struct Connection {
    stream: TcpStream,
    address: String,
    options: Options,
    versions: Arc<Versions>,
    correlation_id: i32,
}

impl Connection {
    /// Connects to a `host:port` and asks for the versions.
    ///
    /// # Errors
    /// When the node cannot be reached in time or does not answer as Kafka does.
    pub async fn open(address: &str, options: Options) -> Result<Self, CallError> {
        let io = |source| CallError::Io { address: address.to_owned(), source };
        let late = |_| CallError::Deadline(address.to_owned());
        let connected = timeout(options.deadline, TcpStream::connect(address)).await;
        let stream = connected.map_err(late)?.map_err(io)?;
        stream.set_nodelay(true).map_err(io)?;
        let (address, versions) = (address.to_owned(), Arc::default());
        let mut connection = Self { stream, address, options, versions, correlation_id: 0 };
        let offered = connection.send_at(&ApiVersionsRequest::default(), 0).await?;
        if offered.error_code != 0 {
            let code = ErrorCode::try_from(offered.error_code);
            return Err(CallError::Versions(code.unwrap_or(ErrorCode::UnknownServerError)));
        }
        let ranges = offered.api_keys.iter().map(|k| (k.api_key, (k.min_version, k.max_version)));
        connection.versions = Arc::new(ranges.collect());
        Ok(connection)
    }

    /// What the node serves.
    pub fn versions(&self) -> &Arc<Versions> {
        &self.versions
    }

    /// The highest version of a request that both sides know.
    fn common_version<R: Request>(&self) -> Result<i16, CallError> {
        let served = self.versions.get(&R::KEY.code());
        let common = served.and_then(|(lowest, highest)| {
            let version = *highest.min(R::VERSIONS.end());
            (version >= *lowest && version >= *R::VERSIONS.start()).then_some(version)
        });
        common.ok_or(CallError::Unsupported(R::KEY))
    }

    /// Sends a request in the highest common version and waits for its answer.
    ///
    /// # Errors
    /// Where they are not [harmless](CallError::is_harmless) the connection is of no more use; nor is it after a call that
    /// was given up halfway.
    pub async fn send<R: Request>(&mut self, request: &R) -> Result<R::Response, CallError> {
        let version = self.common_version::<R>()?;
        self.send_at(request, version).await
    }

    /// As [`Connection::send`], of a request that is made for the version that it is sent in.
    ///
    /// # Errors
    /// As [`Connection::send`].
    pub async fn send_for<R: Request>(
        &mut self,
        build: impl FnOnce(i16) -> R,
    ) -> Result<R::Response, CallError> {
        let version = self.common_version::<R>()?;
        let body = self.encode(&build(version), version)?;
        self.answer::<R>(body, version).await
    }

    async fn send_at<R: Request>(&mut self, request: &R, version: i16) -> Result<R::Response, CallError> {
        let body = self.encode(request, version)?;
        self.answer::<R>(body, version).await
    }

    fn encode<R: Request>(&mut self, request: &R, version: i16) -> Result<Bytes, CallError> {
        self.correlation_id = self.correlation_id.wrapping_add(1);
        let client_id = Some(self.options.client_id.clone());
        let parts = encode_request(request, version, self.correlation_id, client_id)?;
        parts.into_bytes().ok_or(CallError::Protocol("a request is bytes"))
    }

    async fn answer<R: Request>(&mut self, body: Bytes, version: i16) -> Result<R::Response, CallError> {
        let exchange = timeout(self.options.deadline, self.exchange(&body)).await;
        let answer = match exchange {
            Err(_) => return Err(CallError::Deadline(self.address.clone())),
            Ok(Err(source)) => return Err(CallError::Io { address: self.address.clone(), source }),
            Ok(Ok(answer)) => answer,
        };
        let mut decoder = Decoder::new(answer);
        let header = ResponseHeader::decode(&mut decoder, R::KEY.response_header_version(version))?;
        if header.correlation_id != self.correlation_id {
            return Err(CallError::Protocol("it belongs to another request"));
        }
        Ok(R::Response::decode(&mut decoder, version)?)
    }

    async fn exchange(&mut self, body: &Bytes) -> io::Result<Bytes> {
        let length = u32::try_from(body.len()).map_err(|_| io::ErrorKind::InvalidInput)?;
        let length = length.to_be_bytes();
        self.stream.write_all_buf(&mut Buf::chain(&length[..], &body[..])).await?;
        let mut frame = BytesMut::with_capacity(FIRST);
        self.read_until(&mut frame, LENGTH).await?;
        let length = usize::try_from(frame.get_u32()).unwrap_or(usize::MAX);
        if length > self.options.longest_answer {
            return Err(io::Error::new(io::ErrorKind::InvalidData, format!("an answer of {length} bytes")));
        }
        self.read_until(&mut frame, length).await?;
        Ok(frame.split_to(length).freeze())
    }

    /// Reads until there are so many bytes, in as few steps as come: nothing follows an answer before the next request.
    async fn read_until(&mut self, frame: &mut BytesMut, length: usize) -> io::Result<()> {
        while frame.len() < length {
            frame.reserve((length - frame.len()).min(frame.len().max(STEP)));
            if self.stream.read_buf(frame).await? == 0 {
                return Err(io::ErrorKind::UnexpectedEof.into());
            }
        }
        Ok(())
    }
}
