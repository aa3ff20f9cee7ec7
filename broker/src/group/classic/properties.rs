//! Whatever clients, clock and disk do: invariants of a group after every event.

use std::collections::BTreeSet;

use bytes::Bytes;
use proptest::prelude::*;

use super::tests::{LIMITS, protocol};
use super::*;

#[derive(Debug, Clone)]
enum Event {
    Join { member: usize, instance: Option<u8>, offer: u8, two_steps: bool, skip: bool },
    Sync { member: usize, stale: bool },
    Heartbeat { member: usize },
    Leave { member: usize },
    LeaveInstance { instance: u8 },
    Pass { ms: i64 },
    Written { ok: bool },
}

fn event() -> impl Strategy<Value = Event> {
    let member = 0..8_usize;
    prop_oneof![
        4 => (member.clone(), prop::option::weighted(0.3, 0..3_u8), 0..4_u8, any::<bool>(), any::<bool>())
            .prop_map(|(member, instance, offer, two_steps, skip)| Event::Join { member, instance, offer, two_steps, skip }),
        4 => (member.clone(), prop::bool::weighted(0.1)).prop_map(|(member, stale)| Event::Sync { member, stale }),
        2 => member.clone().prop_map(|member| Event::Heartbeat { member }),
        1 => member.prop_map(|member| Event::Leave { member }),
        1 => (0..3_u8).prop_map(|instance| Event::LeaveInstance { instance }),
        3 => (1..8_000_i64).prop_map(|ms| Event::Pass { ms }),
        4 => prop::bool::weighted(0.8).prop_map(|ok| Event::Written { ok }),
    ]
}

struct Model {
    group: ClassicGroup,
    clock: i64,
    tokens: u64,
    parked: BTreeSet<Token>,
    ids: Vec<(Str, Option<Str>)>,
    writes: Vec<GroupWrite>,
    generation: i32,
}

impl Model {
    fn new() -> Self {
        let group = ClassicGroup::new("g".into(), Now { monotonic_ms: 0, wall_ms: 0 });
        Self {
            group,
            clock: 0,
            tokens: 0,
            parked: BTreeSet::new(),
            ids: Vec::new(),
            writes: Vec::new(),
            generation: 0,
        }
    }

    fn now(&self) -> Now {
        Now { monotonic_ms: self.clock, wall_ms: self.clock }
    }

    fn token(&mut self) -> Token {
        self.tokens += 1;
        self.parked.insert(Token(self.tokens));
        Token(self.tokens)
    }

    fn pick(&self, member: usize) -> (Str, Option<Str>) {
        // The last few ids that were given out; beyond them a member without an id.
        self.ids.iter().rev().nth(member).cloned().unwrap_or_default()
    }

    fn step(&mut self, event: &Event) -> Effects {
        let mut out = Effects::default();
        let now = self.now();
        match event {
            Event::Join { member, instance, offer, two_steps, skip } => {
                let (member_id, held) = self.pick(*member);
                let instance_id = held
                    .or_else(|| instance.filter(|_| member_id.is_empty()).map(|n| format!("i{n}").into()));
                let token = self.token();
                let protocols = ["a", "b", "c"]
                    .iter()
                    .cycle()
                    .skip(usize::from(*offer))
                    .take(2)
                    .map(|name| protocol(name, "m"));
                let join = Join {
                    token,
                    member_id,
                    fresh_member_id: format!("m{}", token.0).into(),
                    instance_id,
                    client_id: "c".into(),
                    client_host: "/h".into(),
                    protocol_type: "consumer".into(),
                    protocols: protocols.collect(),
                    session_timeout_ms: 6_000,
                    rebalance_timeout_ms: 9_000,
                    requires_known_member_id: *two_steps,
                    supports_skip_assignment: *skip,
                    reason: None,
                };
                self.group.join(join, &LIMITS, now, &mut out);
            }
            Event::Sync { member, stale } => {
                let (member_id, instance_id) = self.pick(*member);
                let token = self.token();
                let leads = self.group.roster().is_leader(&member_id);
                let ids = if leads { self.group.roster().ids() } else { Vec::new() };
                let assignments = ids.into_iter().map(|id| (id, Bytes::from_static(b"x"))).collect();
                let generation = self.group.generation() - i32::from(*stale);
                let sync = Sync {
                    token,
                    member_id,
                    instance_id,
                    generation,
                    protocol_type: None,
                    protocol_name: None,
                    assignments,
                };
                self.group.sync(sync, &mut out);
            }
            Event::Heartbeat { member } => {
                let (member_id, instance_id) = self.pick(*member);
                let from = Identity { member_id: &member_id, instance_id: instance_id.as_ref() };
                let _ = self.group.heartbeat(from, self.group.generation(), now);
            }
            Event::Leave { member } => {
                let (member_id, instance_id) = self.pick(*member);
                self.group.leave(&[Leaving { member_id, instance_id }], &LIMITS, now, &mut out).unwrap();
            }
            Event::LeaveInstance { instance } => {
                let leaving =
                    Leaving { member_id: Str::default(), instance_id: Some(format!("i{instance}").into()) };
                self.group.leave(&[leaving], &LIMITS, now, &mut out).unwrap();
            }
            Event::Pass { ms } => {
                self.clock += ms;
                self.group.on_deadline(&LIMITS, self.now(), &mut out);
            }
            Event::Written { ok } => {
                if !self.writes.is_empty() {
                    let result = if *ok { Ok(()) } else { Err(GroupError::CoordinatorNotAvailable) };
                    self.group.on_written(self.writes.remove(0).intent, result, &LIMITS, now, &mut out);
                }
            }
        }
        out
    }

    fn absorb(&mut self, mut out: Effects) -> Result<(), TestCaseError> {
        for (token, answer) in out.answers {
            prop_assert!(self.parked.remove(&token), "{token:?} answered twice or never asked");
            match answer {
                Answer::Join(Ok(joined)) => {
                    let member = self.group.roster().get(&joined.member_id);
                    self.remember(
                        joined.member_id.clone(),
                        member.and_then(|member| member.instance_id.clone()),
                    );
                    prop_assert!(!joined.leader.is_empty());
                }
                Answer::Join(Err(refused)) if refused.error == GroupError::MemberIdRequired => {
                    self.remember(refused.member_id, None);
                }
                Answer::Join(Err(_)) | Answer::Sync(_) => {}
            }
        }
        self.writes.append(&mut out.writes);
        Ok(())
    }

    fn remember(&mut self, id: Str, instance_id: Option<Str>) {
        self.ids.retain(|(known, _)| *known != id);
        self.ids.push((id, instance_id));
    }

    fn check(&mut self) -> Result<(), TestCaseError> {
        let group = &self.group;
        let roster = group.roster();
        prop_assert!(group.generation() >= self.generation, "the generation went back");
        self.generation = group.generation();
        prop_assert_eq!(roster.is_empty(), roster.leader().is_none());
        prop_assert!(roster.leader().is_none_or(|leader| roster.contains(leader)));
        let awaiting = roster.iter().filter(|member| member.is_awaiting_join()).count();
        prop_assert_eq!(awaiting, roster.awaiting_join());
        for member in roster.iter() {
            if let Some(instance_id) = &member.instance_id {
                prop_assert_eq!(roster.static_member(instance_id), Some(&member.id));
            }
        }
        if group.state() == State::Stable {
            prop_assert!(group.protocol_name().is_some());
            prop_assert!(roster.iter().all(|member| !member.is_awaiting_sync()));
            prop_assert!(
                roster.iter().all(|member| !member.assignment.is_empty()),
                "stable without an assignment"
            );
        }
        if group.state() == State::Empty {
            prop_assert!(roster.is_empty());
        }
        if group.state() == State::PreparingRebalance {
            prop_assert!(roster.iter().all(|member| !member.is_awaiting_sync()));
        }
        Ok(())
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 600, ..ProptestConfig::default() })]

    #[test]
    fn invariants_hold_and_every_parked_request_is_answered(events in prop::collection::vec(event(), 1..120)) {
        let mut model = Model::new();
        for event in &events {
            let out = model.step(event);
            model.absorb(out)?;
            model.check()?;
        }
        // Everybody goes silent: what is parked is answered once the writes end and the timeouts pass.
        for _ in 0..200 {
            while !model.writes.is_empty() {
                let out = model.step(&Event::Written { ok: true });
                model.absorb(out)?;
            }
            let out = model.step(&Event::Pass { ms: 10_000 });
            model.absorb(out)?;
            model.check()?;
        }
        prop_assert!(model.parked.is_empty(), "{:?} never answered", model.parked);
        prop_assert_eq!(model.group.state(), State::Empty);
    }
}
