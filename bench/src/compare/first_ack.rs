//! The first acknowledged record after a start, asked for without a client's back-off in between.

use std::io::{Read as _, Write as _};
use std::net::{SocketAddr, TcpStream};
use std::time::{Duration, Instant};

use anyhow::Context as _;
use bytes::Bytes;
use ottla_wire::batch::{BatchBuilder, Record};

use ottla_wire::messages::produce_request::{PartitionProduceData, TopicProduceData};
use ottla_wire::messages::{ProduceRequest, ProduceResponse, ResponseHeader};
use ottla_wire::{Decoder, Message as _, Records, Str, encode_request};

/// The last version that names topics.
const VERSION: i16 = 12;
/// Between two attempts.
const PAUSE: Duration = Duration::from_millis(1);
/// An answer is small.
const LONGEST_ANSWER: usize = 1 << 16;

/// Asks until partition 0 of the topic acknowledges a record.
///
/// # Errors
///
/// Where that does not happen before `end`; what was wrong last.
pub fn wait(address: SocketAddr, topic: &str, end: Instant) -> anyhow::Result<()> {
    let request = request(topic)?;
    loop {
        match attempt(address, &request) {
            Ok(()) => return Ok(()),
            Err(error) if Instant::now() > end => return Err(error.context("no acknowledged record")),
            Err(_) => std::thread::sleep(PAUSE),
        }
    }
}

fn attempt(address: SocketAddr, request: &[u8]) -> anyhow::Result<()> {
    let mut connection = TcpStream::connect_timeout(&address, Duration::from_secs(1))?;
    connection.set_nodelay(true)?;
    connection.set_read_timeout(Some(Duration::from_secs(5)))?;
    match exchange(&mut connection, request)? {
        0 => Ok(()),
        code => anyhow::bail!("error code {code}"),
    }
}

fn exchange(connection: &mut TcpStream, request: &[u8]) -> anyhow::Result<i16> {
    connection.write_all(request)?;
    let mut length = [0; 4];
    connection.read_exact(&mut length)?;
    let length = usize::try_from(i32::from_be_bytes(length))?;
    anyhow::ensure!(length <= LONGEST_ANSWER, "an answer of {length} bytes");
    let mut answer = vec![0; length];
    connection.read_exact(&mut answer)?;
    let mut decoder = Decoder::new(Bytes::from(answer));
    ResponseHeader::decode(&mut decoder, 1)?;
    let response = ProduceResponse::decode(&mut decoder, VERSION)?;
    let partition = response.responses.first().and_then(|topic| topic.partition_responses.first());
    Ok(partition.context("an answer without a partition")?.error_code)
}

fn request(topic: &str) -> anyhow::Result<Vec<u8>> {
    let mut batch = BatchBuilder::new(0);
    batch.push(Record { timestamp: 0, value: Some(Bytes::from_static(b"first")), ..Record::default() });
    let partition = PartitionProduceData {
        index: 0,
        records: Some(Records::Bytes(batch.build())),
        ..PartitionProduceData::default()
    };
    let topic = TopicProduceData {
        name: Str::from(topic),
        partition_data: vec![partition],
        ..TopicProduceData::default()
    };
    let request =
        ProduceRequest { acks: -1, timeout_ms: 5000, topic_data: vec![topic], ..ProduceRequest::default() };
    let body = encode_request(&request, VERSION, 1, Some(Str::from("first-ack")))?;
    let body = body.into_bytes().context("a request of bytes")?;
    let mut frame = i32::try_from(body.len())?.to_be_bytes().to_vec();
    frame.extend_from_slice(&body);
    Ok(frame)
}
