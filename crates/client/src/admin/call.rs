//! One question, one connection: they are rare.

use std::future::Future;
use std::io;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use http_body_util::{BodyExt as _, Full, Limited};
use hyper::client::conn::http1;
use hyper::header::{CONTENT_TYPE, HOST};
use hyper::{Method, Request, StatusCode};
use hyper_util::rt::TokioIo;
use rustls::ClientConfig;
use rustls::pki_types::ServerName;
use serde::de::DeserializeOwned;
use tokio::net::TcpStream;
use tokio_rustls::TlsConnector;

use super::{
    ADDRESSES, Addresses, CAUGHT_UP, CaughtUp, Identity, IdentityError, NodeState, NotActive, PERMIT, Permit,
    PermitRequest, STATE,
};

/// The longest answer that is read, in bytes.
const LONGEST_ANSWER: usize = 1 << 20;

/// Why there is no answer.
#[derive(Debug, thiserror::Error)]
pub enum AdminError {
    /// The network, or one side does not take the other's certificate.
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
    /// The node is not the active controller.
    #[error("the node is not the active controller")]
    NotActive(NotActive),
    /// Another code than that of an answer.
    #[error("the answer is {code}: {text}")]
    Refused {
        /// HTTP's.
        code: u16,
        /// What it came with.
        text: String,
    },
    /// Something that is no answer.
    #[error("the answer makes no sense: {0}")]
    Protocol(String),
    /// The name cannot be in a certificate.
    #[error("{0} is no name of a host")]
    Name(String),
    /// With this identity nothing can be asked.
    #[error(transparent)]
    Identity(#[from] IdentityError),
}

/// Asks one node.
#[derive(Clone, Debug)]
pub struct AdminClient {
    address: String,
    name: ServerName<'static>,
    config: Arc<ClientConfig>,
    deadline: Duration,
}

impl AdminClient {
    /// Asks as `identity` at `address`, a `host:port`, whoever shows a certificate for `name`; each question with its
    /// answer takes `deadline` at most.
    ///
    /// # Errors
    /// `name` is none, or the identity cannot be used.
    pub fn new(
        identity: &Identity,
        address: String,
        name: &str,
        deadline: Duration,
    ) -> Result<Self, AdminError> {
        let name = ServerName::try_from(name.to_owned()).map_err(|_| AdminError::Name(name.to_owned()))?;
        Ok(Self { address, name, config: Arc::new(identity.client()?), deadline })
    }

    /// May the node stop now? To be asked of the active controller.
    ///
    /// # Errors
    /// [`AdminError::NotActive`], and where nobody answers.
    pub async fn ask_permit(&self, node: i32) -> Result<Permit, AdminError> {
        let body = serde_json::to_vec(&PermitRequest { node }).unwrap_or_default();
        self.ask(Method::POST, PERMIT, body).await
    }

    /// The node does not stop after all.
    ///
    /// # Errors
    /// As [`AdminClient::ask_permit`].
    pub async fn return_permit(&self, node: i32) -> Result<(), AdminError> {
        self.in_time(self.exchange(Method::DELETE, &format!("{PERMIT}/{node}"), Vec::new())).await.map(drop)
    }

    /// Has the node caught up?
    ///
    /// # Errors
    /// Where it does not answer.
    pub async fn caught_up(&self) -> Result<CaughtUp, AdminError> {
        self.ask(Method::GET, CAUGHT_UP, Vec::new()).await
    }

    /// Who and what is the node?
    ///
    /// # Errors
    /// Where it does not answer.
    pub async fn state(&self) -> Result<NodeState, AdminError> {
        self.ask(Method::GET, STATE, Vec::new()).await
    }

    /// Where is the broker said to be found?
    ///
    /// # Errors
    /// Where it does not answer, or the node is no broker.
    pub async fn addresses(&self) -> Result<Addresses, AdminError> {
        self.ask(Method::GET, ADDRESSES, Vec::new()).await
    }

    /// It is to be found there from now on: taken, and told to the controller next.
    ///
    /// # Errors
    /// [`AdminError::Refused`] with 400 where they cannot be; and where it does not answer, or the node is no broker.
    pub async fn set_addresses(&self, addresses: &Addresses) -> Result<(), AdminError> {
        let body = serde_json::to_vec(addresses).unwrap_or_default();
        self.in_time(self.exchange(Method::PUT, ADDRESSES, body)).await.map(drop)
    }

    async fn ask<T: DeserializeOwned>(
        &self,
        method: Method,
        path: &str,
        body: Vec<u8>,
    ) -> Result<T, AdminError> {
        let answer = self.in_time(self.exchange(method, path, body)).await?;
        serde_json::from_slice(&answer).map_err(|error| AdminError::Protocol(error.to_string()))
    }

    async fn in_time<T>(
        &self,
        exchange: impl Future<Output = Result<T, AdminError>>,
    ) -> Result<T, AdminError> {
        let late = |_| AdminError::Deadline(self.address.clone());
        tokio::time::timeout(self.deadline, exchange).await.map_err(late)?
    }

    async fn exchange(&self, method: Method, path: &str, body: Vec<u8>) -> Result<Bytes, AdminError> {
        let told = |error: hyper::Error| self.io(io::Error::other(error));
        let stream = TcpStream::connect(&self.address).await.map_err(|error| self.io(error))?;
        let connector = TlsConnector::from(Arc::clone(&self.config));
        let stream = connector.connect(self.name.clone(), stream).await.map_err(|error| self.io(error))?;
        let (mut sender, connection) = http1::handshake(TokioIo::new(stream)).await.map_err(told)?;
        let request = Request::builder()
            .method(method)
            .uri(path)
            .header(HOST, self.name.to_str().as_ref())
            .header(CONTENT_TYPE, "application/json")
            .body(Full::new(Bytes::from(body)))
            .map_err(|error| AdminError::Protocol(error.to_string()))?;
        let answer = async {
            let response = sender.send_request(request).await.map_err(told)?;
            let status = response.status();
            let body = Limited::new(response.into_body(), LONGEST_ANSWER).collect().await;
            let body = body.map_err(|error| AdminError::Protocol(error.to_string()))?.to_bytes();
            // Dropped here, so that the connection comes to its end.
            drop(sender);
            judge(status, body)
        };
        let (answer, ended) = tokio::join!(answer, connection);
        match (answer, ended) {
            // Why the connection ended says more than that it did.
            (Err(AdminError::Io { .. }), Err(error)) => Err(told(error)),
            (answer, _) => answer,
        }
    }

    fn io(&self, source: io::Error) -> AdminError {
        // hyper's own words are those of the whole; the cause is below.
        let mut cause: &dyn std::error::Error = &source;
        while let Some(below) = cause.source() {
            cause = below;
        }
        let source = io::Error::new(source.kind(), cause.to_string());
        AdminError::Io { address: self.address.clone(), source }
    }
}

fn judge(status: StatusCode, body: Bytes) -> Result<Bytes, AdminError> {
    if status.is_success() {
        return Ok(body);
    }
    if status == StatusCode::MISDIRECTED_REQUEST
        && let Ok(elsewhere) = serde_json::from_slice(&body)
    {
        return Err(AdminError::NotActive(elsewhere));
    }
    let text = String::from_utf8_lossy(&body).chars().take(300).collect();
    Err(AdminError::Refused { code: status.as_u16(), text })
}
