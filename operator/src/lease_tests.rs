use super::*;
use http::{Method, Request, Response};
use kube::client::Body;
use std::sync::{
    Arc, Mutex,
    atomic::{AtomicBool, Ordering},
};

fn lease(holder: &str, version: &str) -> Lease {
    serde_json::from_value(serde_json::json!({
        "metadata": {"name": "x", "resourceVersion": version},
        "spec": {"holderIdentity": holder, "leaseTransitions": 3}
    }))
    .unwrap()
}

const fn at(seconds: u64) -> Duration {
    Duration::from_secs(seconds)
}

#[test]
fn a_missing_free_or_own_lease_is_taken_at_once() {
    let mut election = Election::new("me");
    assert_eq!(election.step(None, at(0)), Step::Create);
    assert_eq!(election.step(Some(&lease("", "1")), at(0)), Step::Write);
    assert_eq!(election.step(Some(&lease("me", "1")), at(0)), Step::Write);
}

#[test]
fn a_holder_that_renews_keeps_it_and_a_silent_one_loses_it() {
    let mut election = Election::new("me");
    for second in 0..60 {
        let version = second.to_string();
        assert_eq!(election.step(Some(&lease("other", &version)), at(second)), Step::Wait);
    }
    assert_eq!(election.step(Some(&lease("other", "59")), at(73)), Step::Wait);
    assert_eq!(election.step(Some(&lease("other", "59")), at(74)), Step::Write);
}

#[test]
fn a_rival_waits_longer_than_a_hold_and_its_last_write_take() {
    assert!(LEASE > HOLD + WRITE);
}

#[test]
fn a_transition_is_counted_once() {
    let election = Election::new("me");
    let taken = election.claim(Some(lease("other", "1")), "x", Timestamp::UNIX_EPOCH);
    let renewed = election.claim(Some(taken.clone()), "x", Timestamp::from_second(9).unwrap());
    for lease in [&taken, &renewed] {
        let spec = lease.spec.as_ref().unwrap();
        assert_eq!((spec.holder_identity.as_deref(), spec.lease_transitions), (Some("me"), Some(4)));
    }
    assert_eq!(renewed.spec.unwrap().acquire_time, taken.spec.unwrap().acquire_time);
}

#[test]
fn a_hold_ends_by_itself() {
    assert_eq!(Leadership::lapsed().check(), Err(NotHeld));
    assert_eq!(Leadership::always().check(), Ok(()));
}

/// The API server, as far as one Lease goes: versions, and writes that conflict.
#[derive(Clone, Default)]
struct Server(Arc<Mutex<Option<Lease>>>);

impl Server {
    fn answer(&self, method: &Method, body: &[u8]) -> (u16, serde_json::Value) {
        let mut stored = self.0.lock().unwrap();
        let version = |lease: &Option<Lease>| lease.as_ref().and_then(ResourceExt::resource_version);
        if method == Method::GET {
            return match stored.as_ref() {
                Some(lease) => (200, serde_json::to_value(lease).unwrap()),
                None => refusal(404),
            };
        }
        let mut lease: Lease = serde_json::from_slice(body).unwrap();
        if version(&Some(lease.clone())) != version(&stored) {
            return refusal(409);
        }
        let next = version(&stored).map_or(1, |v| v.parse::<u64>().unwrap() + 1);
        lease.metadata.resource_version = Some(next.to_string());
        *stored = Some(lease.clone());
        (200, serde_json::to_value(lease).unwrap())
    }

    /// An instance that reaches the server while `reachable`; a request that does not get through stays without an answer.
    fn instance(&self, identity: &str, reachable: &Arc<AtomicBool>) -> Leadership {
        let (service, mut handle) = tower_test::mock::pair::<Request<Body>, Response<Body>>();
        let (server, reachable) = (self.clone(), Arc::clone(reachable));
        tokio::spawn(async move {
            let mut lost = Vec::new();
            while let Some((request, respond)) = handle.next_request().await {
                if !reachable.load(Ordering::SeqCst) {
                    lost.push(respond);
                    continue;
                }
                let (parts, body) = request.into_parts();
                let (code, value) = server.answer(&parts.method, &body.collect_bytes().await.unwrap());
                let body = Body::from(serde_json::to_vec(&value).unwrap());
                respond.send_response(Response::builder().status(code).body(body).unwrap());
            }
        });
        let (keeper, leadership) = Keeper::new(Client::new(service, "x"), "x", "x", identity);
        tokio::spawn(keeper.run(CancellationToken::new()));
        leadership
    }
}

fn refusal(code: u16) -> (u16, serde_json::Value) {
    let reason = if code == 404 { "NotFound" } else { "Conflict" };
    let body = serde_json::json!({"kind": "Status", "apiVersion": "v1", "status": "Failure", "reason": reason, "code": code});
    (code, body)
}

async fn pass(time: Duration, mut each: impl FnMut(Instant)) {
    let end = Instant::now() + time;
    while Instant::now() < end {
        tokio::time::sleep(Duration::from_millis(100)).await;
        each(Instant::now());
    }
}

#[tokio::test(start_paused = true)]
async fn a_leader_that_is_cut_off_has_stopped_before_the_next_one_starts() {
    // The cut falls into every part of the leader's period.
    for delay in (0..10).map(|part| Duration::from_millis(7_000 + 300 * part)) {
        let server = Server::default();
        let (here, there) = (Arc::new(AtomicBool::new(true)), Arc::new(AtomicBool::new(true)));
        let first = server.instance("first", &here);
        tokio::time::sleep(Duration::from_millis(500)).await;
        let second = server.instance("second", &there);
        pass(delay, |_| assert!(first.check().is_ok() && second.check().is_err())).await;

        here.store(false, Ordering::SeqCst);
        let (cut, mut last, mut taken) = (Instant::now(), None, None);
        pass(at(40), |now| {
            last = first.check().is_ok().then_some(now).or(last);
            taken = taken.or(second.check().is_ok().then_some(now));
        })
        .await;
        let (last, taken) = (last.unwrap(), taken.expect("the second one takes over"));
        assert!(
            last + WRITE < taken,
            "writes go on for {WRITE:?} after {:?}, taken over after {:?}",
            last - cut,
            taken - cut
        );
        assert!(taken - cut <= LEASE + 2 * PERIOD);

        here.store(true, Ordering::SeqCst);
        pass(at(30), |_| assert!(first.check().is_err() && second.check().is_ok())).await;
    }
}
