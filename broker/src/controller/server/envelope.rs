//! Envelope (58): a client's request that its broker passes on (KIP-590). The broker must be allowed to act for the cluster; the
//! request itself is authorised and paid for as the client's.

use ottla_wire::messages::{EnvelopeRequest, EnvelopeResponse};
use ottla_wire::{ApiKey, Decoder, ErrorCode, decode_request_header};
use tracing::warn;

use crate::api::controlled::{self, CONTROLLED, Decided};
use crate::api::{Call, envelope};
use crate::node::NodeContext;
use crate::security::{Action, Operation, Resource};

/// The wrapped request's answer, or why it has none.
pub(super) async fn answer(node: &NodeContext, call: &Call, request: EnvelopeRequest) -> EnvelopeResponse {
    let refused = |code: ErrorCode| EnvelopeResponse { error_code: code.code(), ..Default::default() };
    if !node.allows(&call.context, Operation::ClusterAction, Resource::Cluster) {
        return refused(ErrorCode::ClusterAuthorizationFailed);
    }
    let (inner, body) = match open(call, request) {
        Ok(opened) => opened,
        Err(code) => return refused(code),
    };
    let may_send = Action { operation: Operation::Describe, resource: Resource::Api(inner.api) };
    if !node.authoriser.allows(&inner.context, may_send) {
        return refused(ErrorCode::ClusterAuthorizationFailed);
    }
    let deciding = match controlled::decide(node, inner, body) {
        Ok(deciding) => deciding,
        Err(reason) => {
            warn!(%reason, "a forwarded request cannot be read");
            return refused(ErrorCode::UnsupportedVersion);
        }
    };
    match deciding.await {
        // The broker looks for the controller, not the client.
        Ok(Decided { is_elsewhere: true, .. }) => refused(ErrorCode::NotController),
        Ok(Decided { response, .. }) => {
            EnvelopeResponse { response_data: response.parts.into_bytes(), ..Default::default() }
        }
        Err(reason) => {
            warn!(%reason, "a forwarded request cannot be answered");
            refused(ErrorCode::UnknownServerError)
        }
    }
}

/// The wrapped request and its body.
fn open(call: &Call, request: EnvelopeRequest) -> Result<(Call, Decoder), ErrorCode> {
    let principal = request.request_principal.and_then(envelope::read_principal);
    let principal = principal.ok_or(ErrorCode::PrincipalDeserializationFailure)?;
    let address = envelope::read_address(&request.client_host_address).ok_or(ErrorCode::InvalidRequest)?;
    let size = request.request_data.len();
    let (header, body) =
        decode_request_header(request.request_data).map_err(|_| ErrorCode::UnsupportedVersion)?;
    let api = ApiKey::try_from(header.request_api_key).map_err(|_| ErrorCode::UnsupportedVersion)?;
    if !CONTROLLED.contains(&api) {
        return Err(ErrorCode::InvalidRequest);
    }
    if !api.versions().contains(&header.request_api_version) {
        return Err(ErrorCode::UnsupportedVersion);
    }
    Ok((call.within(api, header, principal, address, size), body))
}
