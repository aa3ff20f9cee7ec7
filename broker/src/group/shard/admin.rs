//! Groups as administrators see and remove them: ListGroups, DescribeGroups, DeleteGroups, OffsetDelete.
//!
//! What is removed stays as it is until its tombstones are safe; a write that fails changes nothing.

use std::collections::BTreeSet;

use bytes::Bytes;

use super::{Commands, Effect, Shard, ShardAnswer};
use crate::group::classic::{ClassicGroup, Member, Now, State, Token};
use crate::group::offsets::TopicIndex;
use crate::group::record::GroupRecord;
use crate::group::{GroupError, Str, WriteResult};

/// Tombstones in one append: well under any `max.message.bytes`.
const TOMBSTONES_PER_APPEND: usize = 500;

/// Which groups are listed.
#[derive(Debug, Clone, Default)]
pub struct ListFilter {
    /// Names of states in small letters; none for groups in any state.
    pub states: BTreeSet<String>,
    /// Classic groups are not wanted: all that there are.
    pub without_classic: bool,
}

/// A group of a list.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ListedGroup {
    /// Its id.
    pub id: Str,
    /// What its members speak; none in a group that only stores offsets.
    pub protocol_type: Option<Str>,
    /// Its state.
    pub state: State,
}

/// A group with its members.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct DescribedGroup {
    /// Its state.
    pub state: State,
    /// What its members speak; none in a group that only stores offsets.
    pub protocol_type: Option<Str>,
    /// The protocol of its generation; none unless it is stable.
    pub protocol_name: Option<Str>,
    /// Its members.
    pub members: Vec<DescribedMember>,
}

/// A member of a described group.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct DescribedMember {
    /// Its id.
    pub member_id: Str,
    /// Its instance id.
    pub instance_id: Option<Str>,
    /// Its client's id.
    pub client_id: Str,
    /// Its client's address.
    pub client_host: Str,
    /// What it offered for the group's protocol; empty unless the group is stable.
    pub metadata: Bytes,
    /// Its assignment.
    pub assignment: Bytes,
}

/// Tombstones on their way into the log.
#[derive(Debug, Clone)]
pub(super) struct Removal {
    pub(super) group: Str,
    pub(super) offsets: Vec<TopicIndex>,
    /// The group's own record, too.
    pub(super) whole: bool,
    pub(super) asked: Asked,
}

/// Who wants something removed.
#[derive(Debug, Clone)]
pub(super) enum Asked {
    /// Nobody: it has expired, or its topic is gone.
    Nobody,
    /// DeleteGroups.
    Group(Token),
    /// OffsetDelete, with the fate of each partition as far as it is known.
    Offsets(Token, Vec<(TopicIndex, Result<(), GroupError>)>),
}

impl Asked {
    /// What is answered when the removal fails.
    pub(super) fn failure(self, error: GroupError) -> Option<(Token, ShardAnswer)> {
        match self {
            Self::Nobody => None,
            Self::Group(token) => Some((token, ShardAnswer::Delete(Err(error)))),
            Self::Offsets(token, _) => Some((token, ShardAnswer::DeleteOffsets(Err(error)))),
        }
    }
}

impl Shard {
    pub(super) fn list(&self, filter: &ListFilter) -> Vec<ListedGroup> {
        if filter.without_classic {
            return Vec::new();
        }
        let wanted = |group: &&ClassicGroup| {
            filter.states.is_empty() || filter.states.contains(&group.state().name().to_ascii_lowercase())
        };
        let listed = |group: &ClassicGroup| ListedGroup {
            id: group.id().clone(),
            protocol_type: group.protocol_type().cloned(),
            state: group.state(),
        };
        self.groups.values().filter(wanted).map(listed).collect()
    }

    pub(super) fn describe(&self, id: &Str) -> Option<DescribedGroup> {
        let group = self.groups.get(id)?;
        // Between generations what is selected next is not known.
        let protocol_name = group.protocol_name().filter(|_| group.state() == State::Stable);
        let described = |member: &Member| DescribedMember {
            member_id: member.id.clone(),
            instance_id: member.instance_id.clone(),
            client_id: member.client_id.clone(),
            client_host: member.client_host.clone(),
            metadata: member.metadata(protocol_name),
            assignment: member.assignment.clone(),
        };
        Some(DescribedGroup {
            state: group.state(),
            protocol_type: group.protocol_type().cloned(),
            protocol_name: protocol_name.cloned(),
            members: group.roster().iter().map(described).collect(),
        })
    }

    /// DeleteGroups, of one group: only an empty one goes, with all that it has committed.
    pub(super) fn delete(&mut self, token: Token, id: &Str, now: Now, out: &mut Commands) {
        let refused = match self.groups.get(id).map(ClassicGroup::state) {
            None | Some(State::Dead) => GroupError::GroupIdNotFound,
            Some(State::Empty) => {
                let offsets = self.committed_or_in_flight(id).into_iter().collect();
                return self.remove(id, offsets, true, Asked::Group(token), now, out);
            }
            Some(State::PreparingRebalance | State::CompletingRebalance | State::Stable) => {
                GroupError::NonEmptyGroup
            }
        };
        out.answers.push((token, ShardAnswer::Delete(Err(refused))));
    }

    /// OffsetDelete: what consumers subscribe to stays.
    pub(super) fn delete_offsets(
        &mut self,
        token: Token,
        id: &Str,
        partitions: Vec<TopicIndex>,
        now: Now,
        out: &mut Commands,
    ) {
        let group = match self.deletes_offsets_of(id) {
            Ok(group) => group,
            Err(error) => return out.answers.push((token, ShardAnswer::DeleteOffsets(Err(error)))),
        };
        let fate = |index: TopicIndex| {
            let subscribed = group.may_consume(&index.0);
            (index, if subscribed { Err(GroupError::GroupSubscribedToTopic) } else { Ok(()) })
        };
        let fates: Vec<_> = partitions.into_iter().map(fate).collect();
        let present = self.committed_or_in_flight(id);
        let asked: BTreeSet<&TopicIndex> =
            fates.iter().filter(|(_, fate)| fate.is_ok()).map(|(index, _)| index).collect();
        let offsets: Vec<TopicIndex> = present.into_iter().filter(|index| asked.contains(index)).collect();
        self.remove(id, offsets, false, Asked::Offsets(token, fates), now, out);
    }

    /// Writes tombstones, the group's own last, and answers when they are safe.
    pub(super) fn remove(
        &mut self,
        id: &Str,
        offsets: Vec<TopicIndex>,
        whole: bool,
        asked: Asked,
        now: Now,
        out: &mut Commands,
    ) {
        let mut chunks = offsets.chunks(TOMBSTONES_PER_APPEND).map(<[TopicIndex]>::to_vec).peekable();
        let mut last = Vec::new();
        while let Some(offsets) = chunks.next() {
            if chunks.peek().is_none() {
                last = offsets;
            } else {
                let removal = Removal { group: id.clone(), offsets, whole: false, asked: Asked::Nobody };
                self.append_tombstones(removal, now, out);
            }
        }
        let removal = Removal { group: id.clone(), offsets: last, whole, asked };
        if removal.whole || !removal.offsets.is_empty() {
            self.append_tombstones(removal, now, out);
        } else {
            out.answers.extend(self.removed(removal.asked, id, i64::MAX));
        }
    }

    /// The tombstones are in the log, the last of them at `last_offset`, and safe.
    pub(super) fn on_removed(&mut self, removal: Removal, last_offset: i64) -> Option<(Token, ShardAnswer)> {
        for index in &removal.offsets {
            self.offsets.remove(&removal.group, index);
        }
        if removal.whole {
            self.forget_group(&removal.group);
        }
        self.removed(removal.asked, &removal.group, last_offset)
    }

    fn removed(&self, asked: Asked, id: &Str, last_offset: i64) -> Option<(Token, ShardAnswer)> {
        // An earlier append of the same removal may have failed: then something is still there.
        let outlived = |index: &TopicIndex| {
            self.offsets.get(id, &index.0, index.1).is_some_and(|offset| offset.log_offset < last_offset)
        };
        match asked {
            Asked::Nobody => None,
            Asked::Group(token) => {
                let gone = !self.offsets.of_group(id).any(|(topic, partitions)| {
                    partitions.keys().any(|partition| outlived(&(topic.clone(), *partition)))
                });
                Some((token, ShardAnswer::Delete(whether(gone))))
            }
            Asked::Offsets(token, fates) => {
                let fate = |(index, fate): (TopicIndex, Result<(), GroupError>)| {
                    fate.and_then(|()| whether(last_offset == i64::MAX || !outlived(&index)))
                };
                Some((token, ShardAnswer::DeleteOffsets(Ok(fates.into_iter().map(fate).collect()))))
            }
        }
    }

    /// The log has no record of the group any more. Who has come meanwhile stays.
    fn forget_group(&mut self, id: &Str) {
        let written_again = self.has_in_flight(id, |effect| matches!(effect, Effect::Group { .. }));
        let in_use = written_again || self.offsets.has_any(id);
        let Some(group) = self.groups.get_mut(id) else {
            return;
        };
        if group.state() == State::Empty && !in_use {
            tracing::info!(group = %id, "the group is removed");
            self.groups.remove(id);
            self.deadlines.cancel(id);
        } else {
            group.set_persisted(false);
        }
    }

    fn append_tombstones(&mut self, removal: Removal, now: Now, out: &mut Commands) {
        let group = &removal.group;
        tracing::info!(%group, offsets = removal.offsets.len(), group_too = removal.whole, "offsets are removed");
        let offset = |index: &TopicIndex| GroupRecord::Offset {
            group: group.clone(),
            index: index.clone(),
            offset: None,
        };
        let own = removal.whole.then(|| GroupRecord::Group { group: group.clone(), snapshot: None });
        let records = removal.offsets.iter().map(offset).chain(own).collect();
        self.append(records, Effect::Remove(removal), now, out);
    }

    fn deletes_offsets_of(&self, id: &Str) -> Result<&ClassicGroup, GroupError> {
        let group = self.groups.get(id).ok_or(GroupError::GroupIdNotFound)?;
        match group.state() {
            State::Dead => Err(GroupError::GroupIdNotFound),
            State::Empty => Ok(group),
            // What others than consumers need is not known.
            _ if !group.is_consumer() => Err(GroupError::NonEmptyGroup),
            State::PreparingRebalance | State::CompletingRebalance | State::Stable => Ok(group),
        }
    }

    /// What the group has committed, with what is on its way into the log before anything that is written now.
    fn committed_or_in_flight(&self, id: &Str) -> BTreeSet<TopicIndex> {
        let mut found = self.offsets.indexes_of(id);
        found.append(&mut self.in_flight_commits(id));
        found
    }

    /// What the group's commits on their way into the log are for.
    pub(super) fn in_flight_commits(&self, id: &Str) -> BTreeSet<TopicIndex> {
        let mut found = BTreeSet::new();
        for write in &self.in_flight {
            if let Effect::Commit { group, offsets, .. } = &write.effect
                && group == id
            {
                found.extend(offsets.iter().map(|(index, _)| index.clone()));
            }
        }
        found
    }
}

fn whether(done: bool) -> WriteResult {
    if done { Ok(()) } else { Err(GroupError::CoordinatorNotAvailable) }
}
