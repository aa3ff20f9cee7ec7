//! A connection: length-prefixed frames, versions negotiated once, one request at a time.

use bytes::{Bytes, BytesMut};
use ottla_wire::{
    ApiKey, DecodeError, Decoder, EncodeError, ErrorCode, Message, Request, Str, encode_request,
    messages::{ApiVersionsRequest, ResponseHeader},
};
use std::{collections::HashMap, io, time::Duration};
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::TcpStream,
    time::timeout,
};

/// The longest answer that is read, in bytes.
const LONGEST_FRAME: usize = 16 << 20;
/// For connecting and for each request with its answer.
pub const DEADLINE: Duration = Duration::from_secs(10);

/// Why a broker gave no usable answer.
#[derive(Debug, thiserror::Error)]
pub enum KafkaError {
    /// The network.
    #[error("{address}: {source}")]
    Io {
        /// Whom we talked to.
        address: String,
        /// What happened.
        source: io::Error,
    },
    /// Another instance of the operator makes the changes.
    #[error("the Lease is not held")]
    NotLeader,
    /// No answer in time.
    #[error("{0} does not answer")]
    Deadline(String),
    /// Bytes that are no answer.
    #[error("the broker's answer cannot be read: {0}")]
    Decode(#[from] DecodeError),
    /// A request that cannot be written, e.g. text that is too long.
    #[error("the request cannot be written: {0}")]
    Encode(#[from] EncodeError),
    /// An answer of another request, or a giant one.
    #[error("the broker's answer makes no sense: {0}")]
    Protocol(&'static str),
    /// No common version.
    #[error("the broker does not serve {0:?} in a version that we know")]
    Unsupported(ApiKey),
    /// The broker says no.
    #[error("{}: {message}", code.name())]
    Broker {
        /// Kafka's code.
        code: ErrorCode,
        /// The broker's words, else Kafka's.
        message: String,
    },
}

impl KafkaError {
    /// `Ok` for no error; an unknown code is one too.
    ///
    /// # Errors
    /// For every other code.
    pub fn check(code: i16, message: Option<&Str>) -> Result<(), Self> {
        if code == 0 {
            return Ok(());
        }
        let code = ErrorCode::try_from(code).unwrap_or(ErrorCode::UnknownServerError);
        let message = message.map_or_else(|| code.to_string(), |m| m.to_string());
        Err(Self::Broker { code, message })
    }

    /// Kafka's code, where the broker gave one.
    pub fn code(&self) -> Option<ErrorCode> {
        match self {
            Self::Broker { code, .. } => Some(*code),
            _ => None,
        }
    }
}

/// A connection to one broker.
pub struct Connection {
    stream: TcpStream,
    address: String,
    versions: HashMap<i16, (i16, i16)>,
    correlation_id: i32,
}

impl Connection {
    /// Connects and asks for the versions.
    ///
    /// # Errors
    /// When the broker cannot be reached in time or does not answer as Kafka does.
    pub async fn open(address: &str) -> Result<Self, KafkaError> {
        let io = |source| KafkaError::Io { address: address.to_owned(), source };
        let late = |_| KafkaError::Deadline(address.to_owned());
        let stream = timeout(DEADLINE, TcpStream::connect(address)).await.map_err(late)?.map_err(io)?;
        stream.set_nodelay(true).map_err(io)?;
        let mut connection =
            Self { stream, address: address.to_owned(), versions: HashMap::new(), correlation_id: 0 };
        let offered = connection.send_version(&ApiVersionsRequest::default(), 0).await?;
        KafkaError::check(offered.error_code, None)?;
        connection.versions =
            offered.api_keys.iter().map(|k| (k.api_key, (k.min_version, k.max_version))).collect();
        Ok(connection)
    }

    /// Sends `request` in the highest common version and waits for its answer.
    ///
    /// # Errors
    /// After any but [`KafkaError::Unsupported`] the connection is of no more use.
    pub async fn send<R: Request>(&mut self, request: &R) -> Result<R::Response, KafkaError> {
        let version = self.common_version::<R>().ok_or(KafkaError::Unsupported(R::KEY))?;
        self.send_version(request, version).await
    }

    fn common_version<R: Request>(&self) -> Option<i16> {
        let (lowest, highest) = *self.versions.get(&R::KEY.code())?;
        let version = highest.min(*R::VERSIONS.end());
        (version >= lowest && version >= *R::VERSIONS.start()).then_some(version)
    }

    async fn send_version<R: Request>(
        &mut self,
        request: &R,
        version: i16,
    ) -> Result<R::Response, KafkaError> {
        self.correlation_id = self.correlation_id.wrapping_add(1);
        let parts =
            encode_request(request, version, self.correlation_id, Some(Str::from_static("ottla-operator")))?;
        let body = parts.into_bytes().ok_or(KafkaError::Protocol("a request is bytes"))?;
        let exchange = timeout(DEADLINE, self.exchange(&body)).await;
        let answer = match exchange {
            Err(_) => return Err(KafkaError::Deadline(self.address.clone())),
            Ok(Err(source)) => return Err(KafkaError::Io { address: self.address.clone(), source }),
            Ok(Ok(answer)) => answer,
        };
        let mut decoder = Decoder::new(answer);
        let header = ResponseHeader::decode(&mut decoder, R::KEY.response_header_version(version))?;
        if header.correlation_id != self.correlation_id {
            return Err(KafkaError::Protocol("it belongs to another request"));
        }
        Ok(R::Response::decode(&mut decoder, version)?)
    }

    async fn exchange(&mut self, body: &Bytes) -> io::Result<Bytes> {
        let length = u32::try_from(body.len()).map_err(|_| io::ErrorKind::InvalidInput)?;
        self.stream.write_all(&length.to_be_bytes()).await?;
        self.stream.write_all(body).await?;
        let length = usize::try_from(self.stream.read_u32().await?).unwrap_or(usize::MAX);
        if length > LONGEST_FRAME {
            return Err(io::Error::new(io::ErrorKind::InvalidData, format!("an answer of {length} bytes")));
        }
        // The buffer grows with what arrives, not with what is announced.
        let mut frame = BytesMut::new();
        let mut rest = (&mut self.stream).take(u64::try_from(length).unwrap_or(u64::MAX));
        while rest.limit() > 0 {
            if rest.read_buf(&mut frame).await? == 0 {
                return Err(io::ErrorKind::UnexpectedEof.into());
            }
        }
        Ok(frame.freeze())
    }
}

#[cfg(test)]
#[path = "connection_tests.rs"]
mod tests;
