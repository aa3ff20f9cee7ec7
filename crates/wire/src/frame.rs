//! Requests and responses with their headers, as they follow the four bytes of length on a connection.

use bytes::Bytes;

use crate::codec::{DecodeError, Decoder, EncodeError, Encoder, Parts};
use crate::message::{Message, Request};
use crate::messages::{RequestHeader, ResponseHeader};
use crate::{ApiKey, Str};

/// Reads the header of a request; the body is left in the decoder.
///
/// The version of the header follows from key and version of the request. For an unknown key, or a version that is
/// higher than those known, the oldest header is read, which every version begins with.
pub fn decode_request_header(frame: Bytes) -> Result<(RequestHeader, Decoder), DecodeError> {
    let mut d = Decoder::new(frame);
    let mut ahead = d.clone();
    let version = match (ahead.i16().map(ApiKey::try_from), ahead.i16()) {
        (Ok(Ok(key)), Ok(version)) if version <= key.latest_version() => key.request_header_version(version),
        _ => 1,
    };
    let header = RequestHeader::decode(&mut d, version)?;
    Ok((header, d))
}

/// Writes a request with its header, without the length.
pub fn encode_request<R: Request>(
    request: &R,
    version: i16,
    correlation_id: i32,
    client_id: Option<Str>,
) -> Result<Parts, EncodeError> {
    let header = RequestHeader {
        request_api_key: R::KEY.code(),
        request_api_version: version,
        correlation_id,
        client_id,
        ..Default::default()
    };
    let mut e = Encoder::new();
    header.encode(&mut e, R::KEY.request_header_version(version))?;
    request.encode(&mut e, version)?;
    Ok(e.finish())
}

/// Writes a response with its header, without the length.
pub fn encode_response<M: Message>(
    response: &M,
    key: ApiKey,
    version: i16,
    correlation_id: i32,
) -> Result<Parts, EncodeError> {
    let mut e = Encoder::new();
    let header = ResponseHeader { correlation_id, ..Default::default() };
    header.encode(&mut e, key.response_header_version(version))?;
    response.encode(&mut e, version)?;
    Ok(e.finish())
}
