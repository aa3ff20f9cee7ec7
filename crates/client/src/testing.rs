//! A broker that says what a test has it say.
#![expect(clippy::unwrap_used, reason = "a test ends where its broker cannot serve")]

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use bytes::Bytes;
use ottla_wire::messages::ApiVersionsResponse;
use ottla_wire::messages::api_versions_response::ApiVersion;
use ottla_wire::{ApiKey, Message, decode_request_header, encode_response};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{TcpListener, TcpStream};

/// What a broker does with a request that is not ApiVersions.
pub type Answer = Arc<dyn Fn(ApiKey, i16, i32) -> Option<Bytes> + Send + Sync>;

/// What it offers beside ApiVersions.
const OFFERED: [ApiKey; 5] = [
    ApiKey::Metadata,
    ApiKey::DescribeConfigs,
    ApiKey::DescribeQuorum,
    ApiKey::AddRaftVoter,
    ApiKey::RemoveRaftVoter,
];

/// A broker that offers a few requests up to `version` and closes a connection where there is no answer.
pub async fn broker(version: i16, answer: Answer) -> (String, Arc<AtomicUsize>) {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap().to_string();
    let connections = Arc::new(AtomicUsize::new(0));
    let count = Arc::clone(&connections);
    tokio::spawn(async move {
        while let Ok((stream, _)) = listener.accept().await {
            count.fetch_add(1, Ordering::SeqCst);
            tokio::spawn(serve(stream, version, Arc::clone(&answer)));
        }
    });
    (address, connections)
}

async fn serve(mut stream: TcpStream, version: i16, answer: Answer) {
    while let Ok(length) = stream.read_u32().await {
        let mut frame = vec![0; usize::try_from(length).unwrap()];
        stream.read_exact(&mut frame).await.unwrap();
        let (header, _) = decode_request_header(frame.into()).unwrap();
        let key = ApiKey::try_from(header.request_api_key).unwrap();
        let answer = match key {
            ApiKey::ApiVersions => Some(offer(version, header.correlation_id)),
            _ => answer(key, header.request_api_version, header.correlation_id),
        };
        let Some(answer) = answer else { return };
        stream.write_all(&answer).await.unwrap();
    }
}

fn offer(version: i16, correlation_id: i32) -> Bytes {
    let api_keys = OFFERED.map(|key| ApiVersion {
        api_key: key.code(),
        min_version: 0,
        max_version: version,
        ..ApiVersion::default()
    });
    let offered = ApiVersionsResponse { api_keys: api_keys.to_vec(), ..ApiVersionsResponse::default() };
    framed(&offered, ApiKey::ApiVersions, 0, correlation_id)
}

/// An answer with its length.
pub fn framed<M: Message>(message: &M, key: ApiKey, version: i16, correlation_id: i32) -> Bytes {
    let body = encode_response(message, key, version, correlation_id).unwrap().into_bytes().unwrap();
    [&u32::try_from(body.len()).unwrap().to_be_bytes()[..], &body].concat().into()
}
