//! The members of a group with what is counted over them.
//!
//! Invariants: the leader is a member whenever there is one; every instance id points to a member that carries it;
//! `awaiting_join` and `supporters` equal what counting would give.

use std::collections::BTreeMap;

use super::{Member, Protocol, Token};
use crate::group::Str;

/// Members by id, the leader, static ids, and counts of who supports which protocol.
#[derive(Debug, Clone, Default)]
pub struct Roster {
    members: BTreeMap<Str, Member>,
    leader: Option<Str>,
    static_ids: BTreeMap<Str, Str>,
    supporters: BTreeMap<Str, usize>,
    awaiting_join: usize,
}

impl Roster {
    /// The number of members.
    pub fn len(&self) -> usize {
        self.members.len()
    }

    /// Whether the group has no members.
    pub fn is_empty(&self) -> bool {
        self.members.is_empty()
    }

    /// Whether `id` is a member.
    pub fn contains(&self, id: &Str) -> bool {
        self.members.contains_key(id)
    }

    /// The member of that id.
    pub fn get(&self, id: &Str) -> Option<&Member> {
        self.members.get(id)
    }

    /// All members, by id.
    pub fn iter(&self) -> impl Iterator<Item = &Member> {
        self.members.values()
    }

    /// The ids of all members.
    pub fn ids(&self) -> Vec<Str> {
        self.members.keys().cloned().collect()
    }

    /// The leader's id.
    pub fn leader(&self) -> Option<&Str> {
        self.leader.as_ref()
    }

    /// Whether `id` leads the group.
    pub fn is_leader(&self, id: &Str) -> bool {
        self.leader.as_ref() == Some(id)
    }

    /// The member id that holds an instance id.
    pub fn static_member(&self, instance_id: &Str) -> Option<&Str> {
        self.static_ids.get(instance_id)
    }

    /// How many members wait for the answer to a join.
    pub fn awaiting_join(&self) -> usize {
        self.awaiting_join
    }

    /// Milliseconds: the greatest rebalance timeout of the members.
    pub fn rebalance_timeout_ms(&self) -> i32 {
        self.members.values().map(|member| member.rebalance_timeout_ms).max().unwrap_or(0)
    }

    /// Adds a member; the first becomes the leader.
    pub fn add(&mut self, member: Member) {
        debug_assert!(!self.contains(&member.id), "a member is added once");
        if let Some(instance_id) = &member.instance_id {
            self.static_ids.insert(instance_id.clone(), member.id.clone());
        }
        self.count_in(&member);
        self.leader.get_or_insert_with(|| member.id.clone());
        self.members.insert(member.id.clone(), member);
    }

    /// Restores the leader that a loaded record names.
    pub fn restore_leader(&mut self, id: Option<Str>) {
        if let Some(id) = id.filter(|id| self.contains(id)) {
            self.leader = Some(id);
        }
    }

    /// Removes a member; when it led, another one leads.
    pub fn remove(&mut self, id: &Str) -> Option<Member> {
        let member = self.members.remove(id)?;
        self.count_out(&member);
        if let Some(instance_id) = &member.instance_id
            && self.static_ids.get(instance_id) == Some(id)
        {
            self.static_ids.remove(instance_id);
        }
        if self.is_leader(id) {
            self.leader = self.members.keys().next().cloned();
        }
        Some(member)
    }

    /// Gives a static member a new id, keeping all else but its parked requests, which are returned.
    pub fn replace_static(&mut self, old_id: &Str, new_id: &Str) -> (Option<Token>, Option<Token>) {
        let Some(mut member) = self.members.remove(old_id) else {
            return (None, None);
        };
        self.count_out(&member);
        let parked = (member.awaiting_join.take(), member.awaiting_sync.take());
        member.id = new_id.clone();
        member.is_new = false;
        if let Some(instance_id) = &member.instance_id {
            self.static_ids.insert(instance_id.clone(), new_id.clone());
        }
        if self.is_leader(old_id) {
            self.leader = Some(new_id.clone());
        }
        self.count_in(&member);
        self.members.insert(new_id.clone(), member);
        parked
    }

    /// Changes a member in place and keeps the counts right.
    pub fn update<R>(&mut self, id: &Str, change: impl FnOnce(&mut Member) -> R) -> Option<R> {
        let mut member = self.members.remove(id)?;
        self.count_out(&member);
        let result = change(&mut member);
        self.count_in(&member);
        self.members.insert(id.clone(), member);
        Some(result)
    }

    /// Takes the token of a parked join.
    pub fn take_join(&mut self, id: &Str) -> Option<Token> {
        let token = self.members.get_mut(id)?.awaiting_join.take()?;
        self.awaiting_join -= 1;
        Some(token)
    }

    /// Takes the token of a parked sync.
    pub fn take_sync(&mut self, id: &Str) -> Option<Token> {
        self.members.get_mut(id)?.awaiting_sync.take()
    }

    /// Makes sure that the leader has rejoined, electing another joined member if it has not.
    /// False when nobody has joined.
    pub fn elect_joined_leader(&mut self) -> bool {
        let joined = |id: &Str| self.members.get(id).is_some_and(Member::is_awaiting_join);
        if self.leader.as_ref().is_some_and(joined) {
            return true;
        }
        let elected =
            self.members.values().find(|member| member.is_awaiting_join()).map(|member| member.id.clone());
        let found = elected.is_some();
        if found {
            self.leader = elected;
        }
        found
    }

    /// Whether every member supports at least one of `names`.
    pub fn supports_any<'a>(&self, mut names: impl Iterator<Item = &'a Str>) -> bool {
        names.any(|name| self.supported_by_all(name))
    }

    /// The protocol with most votes among those that all members support: each votes for the first it listed.
    /// Ties go to the lesser name, so that the choice is the same on every run.
    pub fn select_protocol(&self) -> Option<Str> {
        let mut votes: BTreeMap<&Str, usize> = BTreeMap::new();
        for member in self.members.values() {
            let vote = member.protocols.iter().find(|protocol| self.supported_by_all(&protocol.name));
            if let Some(protocol) = vote {
                *votes.entry(&protocol.name).or_default() += 1;
            }
        }
        let most = votes.values().max().copied()?;
        votes.into_iter().find(|(_, count)| *count == most).map(|(name, _)| name.clone())
    }

    fn supported_by_all(&self, name: &Str) -> bool {
        self.supporters.get(name).copied().unwrap_or(0) == self.members.len()
    }

    fn count_in(&mut self, member: &Member) {
        self.awaiting_join += usize::from(member.is_awaiting_join());
        for Protocol { name, .. } in &member.protocols {
            *self.supporters.entry(name.clone()).or_default() += 1;
        }
    }

    fn count_out(&mut self, member: &Member) {
        self.awaiting_join -= usize::from(member.is_awaiting_join());
        for Protocol { name, .. } in &member.protocols {
            if let Some(count) = self.supporters.get_mut(name) {
                *count -= 1;
                if *count == 0 {
                    self.supporters.remove(name);
                }
            }
        }
    }
}
