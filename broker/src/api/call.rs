//! One request between its frame and its response: what decodes and encodes it, and why it may end its connection instead.

use ottla_wire::{ApiKey, DecodeError, Decoder, EncodeError, ErrorCode, Message, Request};

use super::RequestContext;
use crate::net::{Payer, Response, Share};
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

pub(super) fn encode<M: Message>(
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
