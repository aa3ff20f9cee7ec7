//! One request between its frame and its response: what decodes and encodes it, and why it may end its connection instead.

use std::net::IpAddr;
use std::sync::Arc;
use std::time::Instant;

use ottla_wire::messages::{ApiVersionsResponse, RequestHeader};
use ottla_wire::{ApiKey, DecodeError, Decoder, EncodeError, ErrorCode, Message, Request, Str};

use super::RequestContext;
use crate::net::{Answer, Frame, Handling, Payer, Peer, Response, Share};
use crate::node::NodeContext;
use crate::quota::Mute;
use crate::security::{Action, Operation, Principal, Resource};
use crate::telemetry::Timing;

/// Why a request ends its connection instead of being answered.
#[derive(Debug, thiserror::Error)]
pub enum Refusal {
    /// No API has this key, or none that is served.
    #[error("api key {0} is not served")]
    UnknownApi(i16),
    /// The API is served in other versions.
    #[error("{api} version {version} is not served")]
    UnsupportedVersion {
        /// The API.
        api: ApiKey,
        /// As sent.
        version: i16,
    },
    /// The frame ends before its header does.
    #[error("request header: {0}")]
    Header(DecodeError),
    /// The body is not what the schema says.
    #[error("{api} version {version}: {reason}")]
    Malformed {
        /// The API.
        api: ApiKey,
        /// Its version.
        version: i16,
        /// What the decoder found.
        reason: DecodeError,
    },
    /// The principal may not send this request at all.
    #[error("{0} is not allowed")]
    Unauthorised(ApiKey),
    /// A response does not fit its version: a fault of the broker.
    #[error("{api} version {version} cannot be encoded: {reason}")]
    Unencodable {
        /// The API.
        api: ApiKey,
        /// The version asked for.
        version: i16,
        /// What the encoder found.
        reason: EncodeError,
    },
    /// The node stops.
    #[error("the node stops")]
    Stopping,
    /// A produce with acks=0 failed; without a response, closing is how the client learns of it.
    #[error("produce with acks=0 failed: {0}")]
    UnackedProduce(ErrorCode),
}

/// A frame whose header was read.
#[expect(clippy::large_enum_variant, reason = "taken apart at once; a box would be made for every request")]
pub(crate) enum Opened {
    /// A request that is served, and its body.
    Call(Call, Decoder),
    /// There is nothing to handle.
    Answered(Handling),
}

/// One request on its way: envelope, memory share, clock.
#[derive(Debug)]
pub(crate) struct Call {
    pub(crate) api: ApiKey,
    pub(crate) context: RequestContext,
    pub(super) timing: Timing,
    pub(super) share: Option<Share>,
    /// Whether time for its response is counted.
    pub(super) counted: bool,
}

impl Call {
    /// Reads the header of a frame that came to a listener which serves these APIs.
    ///
    /// # Errors
    /// It ends its connection instead of being answered.
    pub(crate) fn open(
        served: &[ApiKey],
        node: &NodeContext,
        peer: &Peer,
        frame: Frame,
    ) -> Result<Opened, Refusal> {
        let length = frame.bytes.len();
        let (header, body) = ottla_wire::decode_request_header(frame.bytes).map_err(Refusal::Header)?;
        let (key, version) = (header.request_api_key, header.request_api_version);
        let api = ApiKey::try_from(key).map_err(|_| Refusal::UnknownApi(key))?;
        let timing = Timing { api, version, arrived: frame.arrived, bytes: length };
        if !served.contains(&api) {
            return Err(Refusal::UnknownApi(key));
        }
        if !api.versions().contains(&version) {
            if api == ApiKey::ApiVersions {
                return Ok(Opened::Answered(unsupported_api_versions(header.correlation_id, timing)));
            }
            return Err(Refusal::UnsupportedVersion { api, version });
        }
        let context = RequestContext {
            api_version: version,
            correlation_id: header.correlation_id,
            client_id: header.client_id,
            principal: peer.principal.clone(),
            listener: peer.listener.clone(),
            client_address: peer.address,
            client_host: peer.host.clone(),
            mute: peer.mute.clone(),
            lifetime: Arc::clone(&peer.lifetime),
        };
        let action = Action { operation: Operation::Describe, resource: Resource::Api(api) };
        if !node.authoriser.allows(&context, action) {
            return Err(Refusal::Unauthorised(api));
        }
        let counted = node.quotas.limits_time();
        Ok(Opened::Call(Self { api, context, timing, share: frame.share, counted }, body))
    }

    /// A request of `bytes` that came within this one, from another client. It is that client's broker which keeps
    /// its connection from being read.
    pub(crate) fn within(
        &self,
        api: ApiKey,
        header: RequestHeader,
        principal: Principal,
        address: IpAddr,
        bytes: usize,
    ) -> Self {
        let version = header.request_api_version;
        let context = RequestContext {
            api_version: version,
            correlation_id: header.correlation_id,
            client_id: header.client_id,
            principal,
            listener: self.context.listener.clone(),
            client_address: address,
            client_host: Str::from(format!("/{address}")),
            mute: Mute::default(),
            lifetime: Arc::default(),
        };
        let timing = Timing { api, version, arrived: self.timing.arrived, bytes };
        Self { api, context, timing, share: None, counted: false }
    }

    /// When the last byte of the request was read.
    pub(crate) fn arrived(&self) -> Instant {
        self.timing.arrived
    }

    pub(crate) fn decode<R: Request>(&self, mut body: Decoder) -> Result<R, Refusal> {
        let version = self.context.api_version;
        let malformed = |reason| Refusal::Malformed { api: self.api, version, reason };
        // What follows the body is passed over, as Kafka does: librdkafka asks for all topics in Metadata v13 with three bytes too many.
        R::decode(&mut body, version).map_err(malformed)
    }

    /// Size of the request, header included, in bytes.
    pub(crate) fn size(&self) -> usize {
        self.timing.bytes
    }

    /// Header and body of the response; the request's memory is free from here on.
    pub(crate) fn encode<M: Message>(mut self, response: &M) -> Result<Response, Refusal> {
        self.share = None;
        let (version, correlation_id) = (self.context.api_version, self.context.correlation_id);
        let mut response = encode(self.api, correlation_id, response, version, self.timing)?;
        response.payer = self.counted.then(|| {
            let RequestContext { principal, client_id, .. } = self.context;
            Payer { user: principal.name, client: client_id.unwrap_or_default() }
        });
        Ok(response)
    }
}

fn encode<M: Message>(
    api: ApiKey,
    correlation_id: i32,
    response: &M,
    version: i16,
    timing: Timing,
) -> Result<Response, Refusal> {
    let parts = ottla_wire::encode_response(response, api, version, correlation_id)
        .map_err(|reason| Refusal::Unencodable { api, version, reason })?;
    Ok(Response { parts, timing, payer: None })
}

/// The answer to a version that we do not know, in version 0, which every client reads (KIP-511).
fn unsupported_api_versions(correlation_id: i32, timing: Timing) -> Handling {
    let response = ApiVersionsResponse {
        error_code: ErrorCode::UnsupportedVersion.code(),
        api_keys: super::api_versions::own_range(),
        ..Default::default()
    };
    let answer = encode(ApiKey::ApiVersions, correlation_id, &response, 0, timing).map(Answer::Now);
    Box::pin(std::future::ready(answer))
}
