//! The admin port: who is answered there and what, and certificates that are renewed while it serves.

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use ottla_client::admin::{
    ADDRESSES, Address, Addresses, AdminClient, AdminError, Blocker, CaughtUp, Identity, Logs, NotActive,
    PERMIT, Permit, STATE,
};
use ottla_wire::messages::MetadataRequest;
use rcgen::{
    BasicConstraints, CertificateParams, CertifiedIssuer, DnType, ExtendedKeyUsagePurpose, IsCa, KeyPair,
    KeyUsagePurpose,
};
use rustls::pki_types::ServerName;
use rustls::pki_types::pem::PemObject as _;
use tempfile::TempDir;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;
use tokio_rustls::TlsConnector;
use tokio_rustls::client::TlsStream;

use crate::common::pair::Pair;
use crate::common::{Client, PATIENCE, TestNode};

/// A certificate authority.
pub struct Authority(CertifiedIssuer<'static, KeyPair>);

/// A certificate and its key.
#[derive(Clone)]
pub struct Made {
    certificate: String,
    key: String,
}

impl Authority {
    pub fn new(name: &str) -> Self {
        let mut params = CertificateParams::default();
        params.distinguished_name.push(DnType::CommonName, name);
        params.is_ca = IsCa::Ca(BasicConstraints::Constrained(0));
        params.key_usages = vec![KeyUsagePurpose::KeyCertSign];
        Self(CertifiedIssuer::self_signed(params, KeyPair::generate().unwrap()).unwrap())
    }

    fn issue(&self, name: &str, usage: ExtendedKeyUsagePurpose, until_year: i32) -> Made {
        let key = KeyPair::generate().unwrap();
        let mut params = CertificateParams::new(vec![name.to_owned()]).unwrap();
        params.extended_key_usages = vec![usage];
        params.not_after = rcgen::date_time_ymd(until_year, 1, 1);
        let certificate = params.signed_by(&key, &self.0).unwrap().pem();
        Made { certificate, key: key.serialize_pem() }
    }

    fn node(&self, name: &str) -> Made {
        self.issue(name, ExtendedKeyUsagePurpose::ServerAuth, 4000)
    }

    fn operator(&self) -> Made {
        self.issue("operator", ExtendedKeyUsagePurpose::ClientAuth, 4000)
    }

    pub fn pem(&self) -> String {
        self.0.pem()
    }
}

/// Files as a mounted Secret's: a link to a directory, which is moved to the next one as a whole.
pub struct Mounted {
    dir: TempDir,
    version: u32,
}

impl Mounted {
    pub fn new(made: &Made, authorities: &str) -> Self {
        let mut mounted = Self { dir: tempfile::tempdir().unwrap(), version: 0 };
        mounted.put(made, authorities);
        mounted
    }

    fn put(&mut self, made: &Made, authorities: &str) {
        self.version += 1;
        let (root, name) = (self.dir.path(), format!("..{}", self.version));
        std::fs::create_dir(root.join(&name)).unwrap();
        for (file, text) in [("tls.crt", &*made.certificate), ("tls.key", &made.key), ("ca.crt", authorities)]
        {
            std::fs::write(root.join(&name).join(file), text).unwrap();
        }
        std::os::unix::fs::symlink(&name, root.join("..new")).unwrap();
        std::fs::rename(root.join("..new"), root.join("..data")).unwrap();
    }

    fn path(&self, file: &str) -> PathBuf {
        self.dir.path().join("..data").join(file)
    }

    fn settings(&self) -> Vec<(&'static str, String)> {
        let path = |file| self.path(file).display().to_string();
        vec![
            ("ottla.admin.listener", "127.0.0.1:0".to_owned()),
            ("ottla.admin.tls.certificate.path", path("tls.crt")),
            ("ottla.admin.tls.key.path", path("tls.key")),
            ("ottla.admin.tls.ca.path", path("ca.crt")),
        ]
    }
}

fn borrowed<'a>(settings: &'a [(&'static str, String)]) -> Vec<(&'static str, &'a str)> {
    settings.iter().map(|(key, value)| (*key, value.as_str())).collect()
}

async fn start(mounted: &Mounted) -> TestNode {
    TestNode::start_with(&borrowed(&mounted.settings())).await
}

fn address(node: &TestNode) -> SocketAddr {
    node.node.admin_address().unwrap()
}

fn identity(made: &Made, authorities: &str) -> Identity {
    Identity::read(made.certificate.as_bytes(), made.key.as_bytes(), authorities.as_bytes()).unwrap()
}

/// Asks a node that is `name`.
fn client(address: SocketAddr, made: &Made, trusted: &str, name: &str) -> AdminClient {
    AdminClient::new(&identity(made, trusted), address.to_string(), name, PATIENCE).unwrap()
}

#[tokio::test(flavor = "multi_thread")]
async fn the_port_is_where_configured() {
    let node = TestNode::start().await;
    assert_eq!(node.node.admin_address(), None, "unless it is asked for there is none");
    node.stop().await;
    let ours = Authority::new("ours");
    let node = start(&Mounted::new(&ours.node("node"), &ours.pem())).await;
    let state = client(address(&node), &ours.operator(), &ours.pem(), "node").state().await.unwrap();
    assert_eq!(
        (state.node, state.ready, &*state.roles),
        (1, true, &["broker".into(), "controller".into()][..])
    );
    assert_eq!(state.cluster_id, node.node.broker().cluster_id.to_string());
    assert!(state.broker.is_some_and(|broker| !broker.fenced && broker.epoch > 0));
    assert!(
        state.quorum.is_active_here && state.quorum.leader == Some(1) && state.quorum.metadata_offset > 0
    );
    node.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn the_files_are_where_configured() {
    let (ours, foreign) = (Authority::new("ours"), Authority::new("foreign"));
    let both = ours.pem() + &foreign.pem();
    let first = Mounted::new(&ours.node("first"), &ours.pem());
    let second = Mounted::new(&ours.node("second"), &both);
    for (mounted, name, takes_foreign) in [(&first, "first", false), (&second, "second", true)] {
        let node = start(mounted).await;
        let asked = client(address(&node), &ours.operator(), &ours.pem(), name);
        assert_eq!(asked.state().await.unwrap().node, 1);
        let asked = client(address(&node), &foreign.operator(), &both, name);
        assert_eq!(asked.state().await.is_ok(), takes_foreign, "{name}");
        node.stop().await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn who_shows_no_certificate_of_the_clusters_for_asking_is_refused() {
    let (ours, foreign) = (Authority::new("ours"), Authority::new("foreign"));
    let node = start(&Mounted::new(&ours.node("node"), &ours.pem())).await;
    let ask = async |made: &Made, trusted: &str, name: &str| {
        client(address(&node), made, trusted, name).state().await
    };
    let both = ours.pem() + &foreign.pem();
    assert!(ask(&ours.operator(), &both, "node").await.is_ok());
    let expired = ours.issue("operator", ExtendedKeyUsagePurpose::ClientAuth, 2020);
    // The last is another node's certificate, which is for answering.
    for stranger in [foreign.operator(), expired, ours.node("node")] {
        let refused = ask(&stranger, &both, "node").await;
        assert!(matches!(refused, Err(AdminError::Io { .. })), "{refused:?}");
    }
    // Nor does the client take any node for the one that it asks.
    for (trusted, name, why) in
        [(foreign.pem(), "node", "UnknownIssuer"), (ours.pem(), "elsewhere", "not valid for name")]
    {
        let told = ask(&ours.operator(), &trusted, name).await.unwrap_err().to_string();
        assert!(told.contains(why), "{told}");
    }

    let nobody =
        rustls::ClientConfig::builder_with_provider(Arc::new(rustls::crypto::aws_lc_rs::default_provider()))
            .with_protocol_versions(&[&rustls::version::TLS13])
            .unwrap()
            .with_root_certificates(roots(&ours))
            .with_no_client_auth();
    let mut stream = connect(address(&node), nobody, "node").await;
    assert!(self::ask(&mut stream, STATE).await.is_err());

    let mut plain = TcpStream::connect(address(&node)).await.unwrap();
    plain.write_all(b"GET /v1/state HTTP/1.1\r\nHost: node\r\n\r\n").await.unwrap();
    let mut answer = Vec::new();
    // A TLS alert, or nothing.
    drop(tokio::time::timeout(PATIENCE, plain.read_to_end(&mut answer)).await.expect("closed in time"));
    assert!(!answer.starts_with(b"HTTP"), "{answer:?}");
    node.stop().await;
}

fn roots(authority: &Authority) -> rustls::RootCertStore {
    let mut roots = rustls::RootCertStore::empty();
    let der = rustls::pki_types::CertificateDer::from_pem_slice(authority.pem().as_bytes()).unwrap();
    roots.add(der).unwrap();
    roots
}

async fn connect(
    address: SocketAddr,
    config: rustls::ClientConfig,
    name: &'static str,
) -> TlsStream<TcpStream> {
    let stream = TcpStream::connect(address).await.unwrap();
    let name = ServerName::try_from(name).unwrap();
    TlsConnector::from(Arc::new(config)).connect(name, stream).await.unwrap()
}

/// One question on a connection that stays; the head of the answer.
async fn ask(stream: &mut TlsStream<TcpStream>, path: &str) -> std::io::Result<String> {
    stream.write_all(format!("GET {path} HTTP/1.1\r\nHost: node\r\n\r\n").as_bytes()).await?;
    let mut answer = Vec::new();
    loop {
        let mut buffer = [0; 4096];
        let count = tokio::time::timeout(PATIENCE, stream.read(&mut buffer)).await??;
        answer.extend_from_slice(&buffer[..count]);
        let text = String::from_utf8_lossy(&answer).into_owned();
        let length = text.lines().find_map(|line| line.strip_prefix("content-length: "));
        let length: usize = length.and_then(|length| length.parse().ok()).unwrap_or(usize::MAX);
        if text.split_once("\r\n\r\n").is_some_and(|(_, body)| body.len() >= length) {
            return Ok(text);
        }
        if count == 0 {
            return Err(std::io::ErrorKind::UnexpectedEof.into());
        }
    }
}

/// The certificate that a new connection is answered with, in the end.
async fn until_served(node: &TestNode, client: &Identity, wanted: &Made) {
    let wanted = rustls::pki_types::CertificateDer::from_pem_slice(wanted.certificate.as_bytes()).unwrap();
    let until = tokio::time::Instant::now() + PATIENCE;
    loop {
        let stream = TcpStream::connect(address(node)).await.unwrap();
        let connector = TlsConnector::from(Arc::new(client.client().unwrap()));
        if let Ok(stream) = connector.connect(ServerName::try_from("node").unwrap(), stream).await
            && stream.get_ref().1.peer_certificates().unwrap()[0] == wanted
        {
            return;
        }
        assert!(tokio::time::Instant::now() < until, "the new certificate is not served");
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
}

/// Longer than the node takes to look at its files twice.
const TWO_LOOKS: Duration = Duration::from_millis(4500);

#[tokio::test(flavor = "multi_thread")]
async fn renewed_certificates_are_served_to_new_connections_and_old_ones_live_on() {
    let (ours, next) = (Authority::new("ours"), Authority::new("next"));
    let both = ours.pem() + &next.pem();
    let first = ours.node("node");
    let mut mounted = Mounted::new(&first, &ours.pem());
    let node = start(&mounted).await;
    let old = identity(&ours.operator(), &both);
    until_served(&node, &old, &first).await;
    let mut connection = connect(address(&node), old.client().unwrap(), "node").await;
    assert!(ask(&mut connection, STATE).await.unwrap().starts_with("HTTP/1.1 200"));

    // What does not hold changes nothing: expired; another's key; of an authority that is not the cluster's; no file.
    let expired = ours.issue("node", ExtendedKeyUsagePurpose::ServerAuth, 2020);
    let mixed = Made { certificate: ours.node("node").certificate, key: first.key.clone() };
    let empty = Made { certificate: String::new(), key: String::new() };
    for (wrong, authorities) in
        [(&expired, ours.pem()), (&mixed, ours.pem()), (&next.node("node"), ours.pem()), (&empty, ours.pem())]
    {
        mounted.put(wrong, &authorities);
        tokio::time::sleep(TWO_LOOKS).await;
        until_served(&node, &old, &first).await;
    }

    // A new authority, and the old one while certificates change.
    let second = next.node("node");
    mounted.put(&second, &both);
    until_served(&node, &old, &second).await;
    let new = client(address(&node), &next.operator(), &next.pem(), "node");
    assert_eq!(new.state().await.unwrap().node, 1);
    // Then the new one alone.
    mounted.put(&second, &next.pem());
    tokio::time::sleep(TWO_LOOKS).await;
    assert!(client(address(&node), &ours.operator(), &both, "node").state().await.is_err());
    assert!(new.state().await.is_ok());
    assert!(ask(&mut connection, STATE).await.unwrap().starts_with("HTTP/1.1 200"), "it began before");
    node.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_node_without_certificates_serves_clients_and_its_port_when_they_come() {
    let ours = Authority::new("ours");
    let made = ours.node("node");
    let mut mounted = Mounted::new(&made, &ours.pem());
    std::fs::remove_file(mounted.path("tls.key")).unwrap();
    let node = start(&mounted).await;
    let asked = client(address(&node), &ours.operator(), &ours.pem(), "node");
    assert!(asked.state().await.is_err());
    node.client().await.create_topic("t", 1, &[]).await;
    mounted.put(&made, &ours.pem());
    until_served(&node, &identity(&ours.operator(), &ours.pem()), &made).await;
    assert!(asked.state().await.is_ok());
    node.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_lone_node_may_always_stop_and_has_caught_up() {
    let ours = Authority::new("ours");
    let node = start(&Mounted::new(&ours.node("node"), &ours.pem())).await;
    node.client().await.create_topic("t", 2, &[]).await;
    let asked = client(address(&node), &ours.operator(), &ours.pem(), "node");
    let Permit::Granted { for_ms, cost } = asked.ask_permit(1).await.unwrap() else { panic!("refused") };
    assert!((1..=30_000).contains(&for_ms) && cost.majority, "{for_ms}");
    assert_eq!(cost.partitions, ["t-0", "t-1"]);
    asked.return_permit(1).await.unwrap();
    assert_eq!(asked.ask_permit(7).await.unwrap(), Permit::NotNeeded, "no such node");
    let all = CaughtUp {
        caught_up: true,
        logs: Some(Logs::default()),
        coordinators_loaded: true,
        ..CaughtUp::default()
    };
    assert_eq!(asked.caught_up().await.unwrap(), all);
    node.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn the_logs_that_a_start_opens_are_told() {
    let ours = Authority::new("ours");
    let mounted = Mounted::new(&ours.node("node"), &ours.pem());
    let node = start(&mounted).await;
    node.client().await.create_topic("t", 5, &[]).await;
    let node = node.restart(&borrowed(&mounted.settings())).await;
    let asked = client(address(&node), &ours.operator(), &ours.pem(), "node");
    assert_eq!(asked.caught_up().await.unwrap().logs, Some(Logs { found: 5, opened: 5 }));
    node.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_broker_that_is_not_the_active_controller_says_who_is() {
    let ours = Authority::new("ours");
    let mounted = Mounted::new(&ours.node("node"), &ours.pem());
    let settings = mounted.settings();
    let pair = Pair::start_with(&borrowed(&settings), &borrowed(&settings)).await;
    let asked = |node: &ottla_broker::broker::Node| {
        client(node.admin_address().unwrap(), &ours.operator(), &ours.pem(), "node")
    };
    let (controller, broker) = (asked(&pair.controller), asked(&pair.broker));
    for elsewhere in [broker.ask_permit(2).await.map(drop), broker.return_permit(2).await] {
        let Err(AdminError::NotActive(NotActive { active_controller })) = elsewhere else {
            panic!("{elsewhere:?}")
        };
        assert_eq!(active_controller, Some(1));
    }
    // It was elected a moment ago, and does not know what was permitted before.
    let Permit::Refused { blockers, count } = controller.ask_permit(2).await.unwrap() else {
        panic!("granted")
    };
    let [Blocker::NewController { for_ms }] = &*blockers else { panic!("{blockers:?}") };
    assert!(count == 1 && (1..=30_000).contains(for_ms));
    assert_eq!(broker.state().await.unwrap().roles, ["broker"]);
    pair.stop().await;
}

/// What `client` is told about broker 2: host and port of its only listener, where it is not fenced.
async fn told_of_the_other(client: &mut Client) -> Option<(String, i32)> {
    let request = MetadataRequest { topics: Some(Vec::new()), ..Default::default() };
    let metadata = client.call(&request, 12).await;
    let broker = metadata.brokers.iter().find(|it| it.node_id == 2)?;
    Some((broker.host.to_string(), broker.port))
}

fn found_at(host: &str, port: u16) -> Addresses {
    let address = Address { host: host.to_owned(), port };
    Addresses(BTreeMap::from([("PLAINTEXT".to_owned(), Some(address))]))
}

#[tokio::test(flavor = "multi_thread")]
async fn a_broker_that_is_told_of_its_new_address_serves_on_and_clients_are_told_of_it() {
    let ours = Authority::new("ours");
    let mounted = Mounted::new(&ours.node("node"), &ours.pem());
    let settings = mounted.settings();
    let pair = Pair::start_with(&[], &borrowed(&settings)).await;
    let asked = client(pair.broker.admin_address().unwrap(), &ours.operator(), &ours.pem(), "node");
    let own = pair.broker.address("PLAINTEXT").unwrap();
    assert_eq!(asked.addresses().await.unwrap(), found_at("127.0.0.1", own.port()));
    let before = asked.state().await.unwrap().broker;
    let mut clients = Client::connect(pair.controller.address("PLAINTEXT").unwrap()).await;

    for (host, port) in [("kafka-2.example.org", 443), ("2001:db8::7", 31_000), ("127.0.0.1", own.port())] {
        let began = std::time::Instant::now();
        asked.set_addresses(&found_at(host, port)).await.unwrap();
        let new = Some((host.to_owned(), i32::from(port)));
        while told_of_the_other(&mut clients).await != new {
            assert!(began.elapsed() < PATIENCE, "not told of {host}");
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
        println!("clients are told after {:?}", began.elapsed());
        // The broker itself has the metadata a moment after the controller.
        while asked.addresses().await.unwrap() != found_at(host, port) {
            assert!(began.elapsed() < PATIENCE, "not registered at {host}");
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
        assert_eq!(asked.state().await.unwrap().broker, before, "as registered as before");
    }

    for (wrong, why) in [
        (Addresses::default(), "PLAINTEXT has to be among them"),
        (found_at("0.0.0.0", 1), "is every address"),
        (found_at("kafka", 0), "port 0 is none"),
        (Addresses(BTreeMap::from([("OTHER".to_owned(), None)])), "OTHER is no listener"),
    ] {
        match asked.set_addresses(&wrong).await {
            Err(AdminError::Refused { code: 400, text }) => assert!(text.contains(why), "{text}"),
            other => panic!("{other:?}"),
        }
    }
    assert_eq!(asked.addresses().await.unwrap(), found_at("127.0.0.1", own.port()));
    pair.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_no_question_is_refused() {
    let ours = Authority::new("ours");
    let node = start(&Mounted::new(&ours.node("node"), &ours.pem())).await;
    let own = identity(&ours.operator(), &ours.pem());
    let mut stream = connect(address(&node), own.client().unwrap(), "node").await;
    assert!(ask(&mut stream, "/v1/nothing").await.unwrap().starts_with("HTTP/1.1 404"));
    assert!(ask(&mut stream, PERMIT).await.unwrap().starts_with("HTTP/1.1 405"));
    assert!(
        ask(&mut stream, "/metrics").await.unwrap().starts_with("HTTP/1.1 404"),
        "that is open elsewhere"
    );
    let (post, put) = (format!("POST {PERMIT}"), format!("PUT {ADDRESSES}"));
    for (question, body, code) in [
        (&post, "{}".to_owned(), 400),
        (&post, "x".repeat(5000), 413),
        (&put, "[]".to_owned(), 400),
        (&put, "{\"PLAINTEXT\": {\"host\": \"a\", \"port\": 65536}}".to_owned(), 400),
        (&put, "{\"PLAINTEXT\": {\"host\": \"a\", \"port\": 1, \"rack\": \"b\"}}".to_owned(), 400),
        (&put, "x".repeat(5000), 413),
    ] {
        let length = body.len();
        let request = format!("{question} HTTP/1.1\r\nHost: node\r\nContent-Length: {length}\r\n\r\n{body}");
        let mut stream = connect(address(&node), own.client().unwrap(), "node").await;
        stream.write_all(request.as_bytes()).await.unwrap();
        let mut answer = [0; 12];
        stream.read_exact(&mut answer).await.unwrap();
        assert_eq!(String::from_utf8_lossy(&answer), format!("HTTP/1.1 {code}"));
    }
    node.stop().await;
}
