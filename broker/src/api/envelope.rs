//! What an Envelope (58) carries: a client's request with its header, who the client is, and its address (KIP-590).

use std::net::IpAddr;

use bytes::Bytes;
use ottla_wire::messages::{DefaultPrincipalData, EnvelopeRequest, ResponseHeader};
use ottla_wire::{DecodeError, Decoder, EncodeError, Encoder, Message as _, Request, encode_request};

use super::RequestContext;
use crate::security::Principal;

/// Version of the principal's bytes, which stands before them.
const PRINCIPAL_VERSION: i16 = 0;

/// An answer that cannot be read.
#[derive(Debug, thiserror::Error)]
pub(crate) enum EnvelopeError {
    /// It is not what the schema says.
    #[error(transparent)]
    Decode(#[from] DecodeError),
    /// It belongs to another request.
    #[error("answer {0} to request {1}")]
    Correlation(i32, i32),
}

/// Wraps a request as its client sent it.
///
/// # Errors
/// It cannot be written in the version that it came in.
pub(super) fn wrap<R: Request>(
    context: &RequestContext,
    request: &R,
) -> Result<EnvelopeRequest, EncodeError> {
    let RequestContext { api_version, correlation_id, client_id, .. } = context;
    let parts = encode_request(request, *api_version, *correlation_id, client_id.clone())?;
    let client_host_address = match context.client_address {
        IpAddr::V4(address) => Bytes::copy_from_slice(&address.octets()),
        IpAddr::V6(address) => Bytes::copy_from_slice(&address.octets()),
    };
    Ok(EnvelopeRequest {
        request_data: parts.into_bytes().unwrap_or_default(),
        request_principal: Some(write_principal(&context.principal)?),
        client_host_address,
        ..Default::default()
    })
}

/// The response to a wrapped request.
///
/// # Errors
/// The bytes are not such.
pub(super) fn response<R: Request>(
    context: &RequestContext,
    bytes: Bytes,
) -> Result<R::Response, EnvelopeError> {
    let mut decoder = Decoder::new(bytes);
    let version = R::KEY.response_header_version(context.api_version);
    let header = ResponseHeader::decode(&mut decoder, version)?;
    if header.correlation_id != context.correlation_id {
        return Err(EnvelopeError::Correlation(header.correlation_id, context.correlation_id));
    }
    Ok(R::Response::decode(&mut decoder, context.api_version)?)
}

fn write_principal(principal: &Principal) -> Result<Bytes, EncodeError> {
    let data = DefaultPrincipalData {
        r#type: principal.kind.clone(),
        name: principal.name.clone(),
        ..Default::default()
    };
    let mut encoder = Encoder::new();
    encoder.i16(PRINCIPAL_VERSION);
    data.encode(&mut encoder, PRINCIPAL_VERSION)?;
    Ok(encoder.finish().into_bytes().unwrap_or_default())
}

/// Who sent the wrapped request; `None` if the bytes do not say.
pub(crate) fn read_principal(bytes: Bytes) -> Option<Principal> {
    let mut decoder = Decoder::new(bytes);
    let version = decoder.i16().ok()?;
    let data = DefaultPrincipalData::decode(&mut decoder, version).ok()?;
    Some(Principal { kind: data.r#type, name: data.name })
}

/// The address that the wrapped request came from; `None` if there are not as many bytes as an address has.
pub(crate) fn read_address(bytes: &[u8]) -> Option<IpAddr> {
    let v4 = <[u8; 4]>::try_from(bytes).map(IpAddr::from).ok();
    v4.or_else(|| <[u8; 16]>::try_from(bytes).map(IpAddr::from).ok())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_principal_is_written_as_kafka_writes_it() {
        let principal = Principal::anonymous();
        let bytes = write_principal(&principal).unwrap();
        // Version, type and name with compact lengths, no token, no tags.
        assert_eq!(&*bytes, b"\0\0\x05User\x0aANONYMOUS\0\0");
        assert_eq!(read_principal(bytes), Some(principal));
    }

    #[test]
    fn what_is_no_principal_or_address_is_none() {
        for bytes in [&b""[..], b"\0", b"\0\x01\x05User\x02a\0\0", b"\0\0\x05Us", b"\xff\xff\x01\x01\0\0"] {
            assert_eq!(read_principal(Bytes::copy_from_slice(bytes)), None, "{bytes:?}");
        }
        assert_eq!(read_address(&[10, 0, 0, 1]), Some(IpAddr::from([10, 0, 0, 1])));
        assert_eq!(read_address(&[0; 16]), Some(IpAddr::from([0u8; 16])));
        assert_eq!((read_address(&[]), read_address(&[1; 5]), read_address(&[1; 17])), (None, None, None));
    }
}
