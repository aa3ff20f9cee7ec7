use super::*;
use crate::{
    cluster::observe::Observed,
    fixtures::{cluster, validated},
};
use authority::{OVERLAP, Signer, Why, step};
use leaf::Due;
use ottla_client::admin::UnixTime;
use serde_json::json;

/// A cluster of nodes, its Secrets, and the time.
struct World {
    cluster: ValidatedCluster,
    secrets: Vec<Secret>,
    now: Timestamp,
    keys: usize,
}

fn cluster_of(nodes: u32) -> ValidatedCluster {
    validated(&cluster(|s| s["nodePools"][0]["replicas"] = json!(nodes)), &Observed::default()).unwrap()
}

impl World {
    /// After the first pass.
    fn new() -> Self {
        let now = Timestamp::from_second(1_790_000_000).unwrap();
        let mut world = Self { cluster: cluster_of(2), secrets: Vec::new(), now, keys: 0 };
        assert_eq!(world.pass().news, None, "there was none before");
        world
    }

    /// What a pass writes is there afterwards.
    fn pass(&mut self) -> Renewal {
        let keys = &mut self.keys;
        let mut fresh = || {
            *keys += 1;
            KeyPair::generate_for(&rcgen::PKCS_ECDSA_P256_SHA256)
        };
        let renewal = renew(&self.cluster, &self.secrets, self.now, &mut fresh).unwrap();
        for secret in &renewal.secrets {
            self.secrets.retain(|s| s.name_any() != secret.name_any());
            self.secrets.push(secret.clone());
        }
        renewal
    }

    fn after(&mut self, seconds: i64) -> Vec<String> {
        self.now = later(self.now, seconds);
        written(&self.pass())
    }

    fn secret(&mut self, name: &str) -> &mut Secret {
        self.secrets.iter_mut().find(|s| s.name_any() == name).unwrap()
    }

    fn forget(&mut self, name: &str) {
        self.secrets.retain(|s| s.name_any() != name);
    }

    fn authority(&self) -> Authority {
        self.secrets.iter().find_map(|s| (s.name_any() == CA).then(|| Authority::read(s).unwrap())).unwrap()
    }

    fn text(&mut self, name: &str, key: &str) -> String {
        text(self.secret(name), key).unwrap().to_owned()
    }

    /// Whether the operator and every node take each other's certificates, now and with what the other had before.
    fn all_trust_all(&mut self, earlier: &[Secret]) {
        let at = UnixTime::since_unix_epoch(std::time::Duration::from_secs(
            u64::try_from(self.now.as_second()).unwrap(),
        ));
        let ours = self.secrets.clone();
        for (trusting, shown) in [(&ours[..], earlier), (earlier, &ours[..]), (&ours[..], &ours[..])] {
            for (by, of, purpose) in [(OPERATOR, NODE, Purpose::Server), (NODE, OPERATOR, Purpose::Client)] {
                let find = |all: &[Secret], name| all.iter().find(|s| s.name_any() == name).unwrap().clone();
                let (trusting, shown) = (find(trusting, by), find(shown, of));
                let part = |secret: &Secret, key| text(secret, key).unwrap().as_bytes().to_vec();
                let identity = Identity::read(
                    &part(&shown, names::CERTIFICATE_FILE),
                    &part(&shown, names::KEY_FILE),
                    &part(&trusting, names::AUTHORITIES_FILE),
                );
                identity.unwrap().check(purpose, at).unwrap();
            }
        }
    }
}

const CA: &str = "demo-admin-ca";
const NODE: &str = "demo-main-0-admin";
const OPERATOR: &str = "demo-admin-operator";

fn written(renewal: &Renewal) -> Vec<String> {
    renewal.secrets.iter().map(ResourceExt::name_any).collect()
}

#[test]
fn a_new_cluster_gets_an_authority_and_a_certificate_for_each_node_and_for_the_operator() {
    let mut world = World::new();
    let names: Vec<_> = world.secrets.iter().map(ResourceExt::name_any).collect();
    assert_eq!(names, [CA, NODE, "demo-main-1-admin", OPERATOR]);
    assert_eq!(world.keys, 4);
    for secret in &world.secrets {
        assert_eq!(secret.owner_references()[0].uid, "uid-demo");
        let keys: Vec<_> = secret.data.as_ref().unwrap().keys().map(String::as_str).collect();
        let has_ca_key = keys.contains(&"ca.key");
        assert_eq!(
            has_ca_key,
            secret.name_any() == CA,
            "the authority's key is in one Secret alone: {keys:?}"
        );
    }
    let facts = Facts::read(&world.text(NODE, names::CERTIFICATE_FILE)).unwrap();
    let names = ["demo-main-0", "demo-main-0.shop", "demo-main-0.shop.svc"].map(str::to_owned);
    assert_eq!(facts.names, BTreeSet::from(names));
    world.all_trust_all(&world.secrets.clone());
}

#[test]
fn while_all_hold_nothing_is_made() {
    let mut world = World::new();
    assert!(world.pass().secrets.is_empty());
    assert!(world.after(59 * DAY).is_empty());
    assert!(identity(world.secret(OPERATOR)).is_some());
}

#[test]
fn a_certificate_is_renewed_after_two_thirds_of_its_time() {
    let mut world = World::new();
    let before = world.text(NODE, names::KEY_FILE);
    assert_eq!(world.after(60 * DAY + 1), [NODE, "demo-main-1-admin", OPERATOR]);
    assert_ne!(world.text(NODE, names::KEY_FILE), before, "with another key");
    assert!(world.after(59 * DAY).is_empty());
}

#[test]
fn what_was_deleted_or_damaged_comes_back_and_nothing_else_changes() {
    let mut world = World::new();
    world.forget(NODE);
    assert_eq!(written(&world.pass()), [NODE]);
    let damage = |secret: &mut Secret, key: &str| {
        secret.data.as_mut().unwrap().insert(key.to_owned(), bytes("nonsense"));
    };
    for key in [names::CERTIFICATE_FILE, names::KEY_FILE, names::AUTHORITIES_FILE] {
        damage(world.secret(NODE), key);
        assert_eq!(written(&world.pass()), [NODE], "{key}");
    }
    let other = world.text("demo-main-1-admin", names::KEY_FILE);
    world.secret(NODE).data.as_mut().unwrap().insert(names::KEY_FILE.to_owned(), bytes(&other));
    assert_eq!(written(&world.pass()), [NODE], "another one's key");
    assert!(world.pass().secrets.is_empty());
}

#[test]
fn a_certificate_for_other_names_or_another_purpose_is_made_anew() {
    let mut world = World::new();
    let other = world.secret("demo-main-1-admin").data.clone();
    world.secret(NODE).data = other;
    assert_eq!(written(&world.pass()), [NODE]);
    let operators = world.secret(OPERATOR).data.clone();
    world.secret(NODE).data = operators;
    assert_eq!(written(&world.pass()), [NODE]);
}

#[test]
fn a_lost_authority_is_another_one_and_all_certificates_with_it_and_users_are_told() {
    let mut world = World::new();
    let before = world.authority();
    world.forget(CA);
    let renewal = world.pass();
    assert_eq!(written(&renewal), [CA, NODE, "demo-main-1-admin", OPERATOR]);
    assert!(renewal.news.unwrap().contains("was lost"));
    assert_ne!(world.authority(), before);
    // A key that does not go with the certificate is as good as none.
    let key = before.current.key;
    world.secret(CA).data.as_mut().unwrap().insert("ca.key".to_owned(), bytes(&key));
    assert_eq!(world.pass().secrets.len(), 4);
    assert!(world.pass().secrets.is_empty());
}

#[test]
fn an_authority_is_followed_by_the_next_and_at_no_time_does_anybody_distrust_anybody() {
    let mut world = World::new();
    let first = world.authority().current;
    let due = first.facts.renewed_at().as_second() - world.now.as_second();
    // The certificates are young when it begins, so that only the authority's turn changes them.
    world.after(due - DAY);
    let earlier = world.secrets.clone();
    let certificate = world.text(NODE, names::CERTIFICATE_FILE);
    assert_eq!(world.after(DAY), [CA, NODE, "demo-main-1-admin", OPERATOR], "the next one is made known");
    assert_eq!(world.text(NODE, names::CERTIFICATE_FILE), certificate, "and signs nothing yet");
    assert_eq!(world.authority().current, first);
    world.all_trust_all(&earlier);

    let earlier = world.secrets.clone();
    let next = world.authority().next.unwrap();
    assert!(world.after(OVERLAP / 2).is_empty());
    assert_eq!(world.after(OVERLAP / 2).len(), 4, "it signs");
    assert_eq!(world.authority().current, next);
    world.all_trust_all(&earlier);

    let earlier = world.secrets.clone();
    assert!(world.after(OVERLAP / 2).is_empty());
    assert_eq!(world.after(OVERLAP / 2).len(), 4, "the first one is not trusted any more");
    assert!(!world.text(NODE, names::AUTHORITIES_FILE).contains(&first.certificate));
    world.all_trust_all(&earlier);
    assert!(world.after(OVERLAP).is_empty());
}

fn signer(from: i64, to: i64) -> Signer {
    let at = |second| Timestamp::from_second(second).unwrap();
    let (names, public_key) = (BTreeSet::new(), Vec::new());
    let facts = Facts { not_before: at(from), not_after: at(to), names, public_key };
    Signer { certificate: "certificate".to_owned(), key: "key".to_owned(), facts }
}

#[test]
fn each_step_of_an_authority_has_its_time() {
    let at = |second| Timestamp::from_second(second).unwrap();
    let life = 300 * OVERLAP;
    let lone = Authority { current: signer(0, life), next: None, old: String::new() };
    let followed = Authority { next: Some(signer(200 * OVERLAP, 500 * OVERLAP)), ..lone.clone() };
    let following = Authority { old: "old".to_owned(), ..lone.clone() };
    for (authority, now, expected) in [
        (None, 0, Step::Make(Why::Lost)),
        (Some(&lone), 200 * OVERLAP - 1, Step::Keep),
        (Some(&lone), 200 * OVERLAP, Step::AddNext),
        (Some(&followed), 201 * OVERLAP + BACKDATED - 1, Step::Keep),
        (Some(&followed), 201 * OVERLAP + BACKDATED, Step::Promote),
        (Some(&following), 2 * OVERLAP + BACKDATED - 1, Step::Keep),
        (Some(&following), 2 * OVERLAP + BACKDATED, Step::ForgetOld),
        (Some(&lone), life - 1, Step::AddNext),
        (Some(&lone), life, Step::Make(Why::Expired)),
        (Some(&followed), life, Step::Make(Why::Expired)),
    ] {
        assert_eq!(step(authority, at(now)), expected, "{now}");
    }
}

#[test]
fn a_certificate_lasts_no_longer_than_its_authority() {
    let mut world = World::new();
    let mut authority = world.authority();
    let end = authority.current.facts.not_after;
    world.now = later(end, -10 * DAY);
    let leaf = leaves(&world.cluster).remove(0);
    assert!(matches!(leaf::due(None, &leaf, &authority, world.now), Some(Due::Missing)));
    authority.next = None;
    let key = KeyPair::generate_for(&rcgen::PKCS_ECDSA_P256_SHA256).unwrap();
    let data = leaf.issue(&authority, world.now, key).unwrap();
    let certificate = String::from_utf8(data[names::CERTIFICATE_FILE].0.clone()).unwrap();
    assert_eq!(Facts::read(&certificate).unwrap().not_after, end);
}

#[test]
fn more_nodes_get_certificates_and_the_others_keep_theirs() {
    let mut world = World::new();
    world.cluster = cluster_of(3);
    assert_eq!(written(&world.pass()), ["demo-main-2-admin"]);
}
